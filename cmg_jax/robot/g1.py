"""Our G1: what its MJCF says of joints and bodies, and body poses for files and pictures, by C MuJoCo."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.robot.joints import indices

MJCF_PATH = Path(__file__).with_name("g1.xml")

Progress = Callable[[int], Any]
"""Called with the number of frames just finished."""


class BodyPoses(NamedTuple):
    """World poses of the 30 bodies, pelvis first."""

    position: np.ndarray  # [N, 30, 3] m
    rotation: np.ndarray  # [N, 30, 4] wxyz


@cache
def mj_model() -> Any:
    """The compiled `mujoco.MjModel` of `g1.xml`; treat it as read-only."""
    import mujoco  # not needed to generate motion

    return mujoco.MjModel.from_xml_path(str(MJCF_PATH))


def joint_names() -> tuple[str, ...]:
    """The 29 hinges in the order of qpos[7:]."""
    return tuple(mj_model().joint(index).name for index in range(1, mj_model().njnt))


def body_names() -> tuple[str, ...]:
    """The 30 bodies in the order of `BodyPoses`."""
    return tuple(mj_model().body(index).name for index in range(1, mj_model().nbody))


def joint_limits(names: Sequence[str]) -> np.ndarray:
    """Lower and upper limits [len(names), 2] rad."""
    return mj_model().jnt_range[1:][indices(names, joint_names())].astype(np.float32)


def standing_joint_pos(names: Sequence[str]) -> np.ndarray:
    """Joint positions [len(names)] rad of the keyframe `stand`: upright, knees slightly bent."""
    return mj_model().key("stand").qpos[7:][indices(names, joint_names())].astype(np.float32)


def qpos(
    joint_pos: np.ndarray,
    names: Sequence[str],
    root_pos: np.ndarray | None = None,
    root_quat: np.ndarray | None = None,
) -> np.ndarray:
    """MuJoCo positions [N, 36]; joints that are not among `names` stay at zero.

    Args:
      joint_pos: [N, J] rad, in the order of `names`.
      names: names of the J joints.
      root_pos: [N, 3] m; the origin by default.
      root_quat: [N, 4] wxyz; upright by default.

    Raises:
      ValueError: a name is no joint of the G1.
    """
    out = np.zeros((len(joint_pos), 36))
    out[:, :3] = 0.0 if root_pos is None else root_pos
    out[:, 3:7] = (1.0, 0.0, 0.0, 0.0) if root_quat is None else root_quat
    out[:, 7 + indices(names, joint_names())] = joint_pos
    return out


def body_poses(positions: np.ndarray, progress: Progress = lambda _: None) -> BodyPoses:
    """Poses of all bodies for MuJoCo positions [N, 36]; about 6 us a frame."""
    bodies = mj_model().nbody - 1
    out = BodyPoses(
        np.empty((len(positions), bodies, 3), np.float32), np.empty((len(positions), bodies, 4), np.float32)
    )
    for index, data in _forward(positions, progress):
        out.position[index] = data.xpos[1:]
        out.rotation[index] = data.xquat[1:]
    return out


def _forward(positions: np.ndarray, progress: Progress, report_every: int = 4096):
    import mujoco

    model, data = mj_model(), mujoco.MjData(mj_model())
    for index, position in enumerate(positions):
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        yield index, data
        if (index + 1) % report_every == 0:
            progress(report_every)
    progress(len(positions) % report_every)
