"""What the page shows of a robot at one frame, and what both of its sources have: models driven, or a file played."""

from typing import NamedTuple, Protocol

import numpy as np

from cmg_jax.robot import Robot


class Pose(NamedTuple):
    joint_pos: np.ndarray  # [J] rad
    root_pos: np.ndarray  # [3] m
    root_quat: np.ndarray  # [4] wxyz
    feet: np.ndarray  # [2, 3] m, the middle of each sole, left foot first
    contact: np.ndarray  # [2] whether it is on the floor
    command: np.ndarray  # [3] m/s, m/s, rad/s; NaN where there is none
    walked: np.ndarray  # [3] the same, really walked
    gate: np.ndarray  # [E] weights of the experts; none where no network runs


class Source(Protocol):
    """Frames one after the other."""

    fps: float
    robot: Robot
    labels: tuple[str, ...]
    """A name for each robot."""
    frame: int
    """Of the pose last given; 0 at the beginning."""

    @property
    def finished(self) -> bool:
        """Whether there is no next frame."""
        ...

    def reset(self) -> list[Pose]:
        """Back to the beginning: the poses of all robots at frame 0."""
        ...

    def step(self) -> list[Pose]:
        """The poses at the next frame."""
        ...


def contacts(soles: np.ndarray, floor: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Middles [2, 3] of soles [2, P, 3] in the world, and whether they are down."""
    return soles.mean(axis=1), soles[..., 2].min(axis=1) < floor + height
