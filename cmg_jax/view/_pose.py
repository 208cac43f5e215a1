"""The state of a robot at one frame that the page shows, from a driven model or a played file."""

from typing import NamedTuple

import numpy as np


class Pose(NamedTuple):
    """A robot at one frame."""

    joint_pos: np.ndarray  # [J] rad
    root_pos: np.ndarray  # [3] m
    root_quat: np.ndarray  # [4] wxyz
    feet: np.ndarray  # [2, 3] m, the middle of each sole, left foot first
    contact: np.ndarray  # [2] whether each foot is on the floor
    command: np.ndarray  # [3] m/s, m/s, rad/s; NaN if there is none
    velocity: np.ndarray  # [3] m/s, m/s, rad/s, measured
    gate: np.ndarray  # [E] weights of the experts; E is 0 if no network runs
