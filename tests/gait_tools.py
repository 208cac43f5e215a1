"""A walker made by hand: its feet follow simple curves, so that what is cut from its clips is known."""

import numpy as np

from cmg_jax.gaits import _feet, _plan, _strides, _synthesis
from cmg_jax.gaits._plan import Segment
from cmg_jax.gaits._table import FINE, STEP, Table
from cmg_jax.motion_files import Clip
from cmg_jax.robot import G1

FPS = 50.0
DUTY, ANKLE, HEIGHT, WIDTH = 0.62, 0.035, 0.75, 0.12  # -, m above the sole, m of the root, m aside


def period(speed: float) -> float:
    """s of a stride."""
    return 1.2 - 0.3 * abs(speed)


def library() -> _synthesis.Library:
    """Walking from -0.4 to 1 m/s."""
    speeds = np.arange(-4, 11) * STEP
    table = Table(
        speeds,
        np.array([_stride(speed) for speed in speeds]),
        np.array([period(speed) for speed in speeds]),
        np.full(len(speeds), DUTY),
        np.full(len(speeds), 9),
    )
    limits = np.add(G1.joint_limits, [0.02, -0.02])
    return _synthesis.Library(table, None, _still(), np.full(2, 0.655), limits.astype(np.float64), G1)


def clip(*segments: Segment, name: str = "walk", phase: float = 0.3) -> Clip:
    """A clip of the walker."""
    made = library()
    plan = _plan.make_plan(segments, _plan.Clock(made.walk, None), FPS, phase)
    motion = _synthesis.synthesise([plan], made, FPS)[0]
    return Clip(name, FPS, G1, motion.joint_pos, None, motion.root_pos, motion.root_quat)


def _still() -> np.ndarray:
    root = np.array([0, 0, HEIGHT, 0, 0.03, 0])
    feet = np.array([[0, WIDTH, ANKLE, 0, 0], [0, -WIDTH, ANKLE, 0, 0]])
    return _strides.channels_of(root, G1.standing_joint_pos.astype(float), feet)


def _stride(speed: float) -> np.ndarray:
    samples = FINE * _strides.PHASES
    phase = np.arange(samples) / samples
    root, joint_pos, feet = _strides.split_channels(np.tile(_still(), (samples, 1)))
    root, joint_pos, feet = root.copy(), joint_pos.copy(), feet.copy()
    travel = speed * period(speed) * DUTY
    for foot in range(2):
        own = (phase - foot / 2) % 1.0
        swing = np.clip((own - DUTY) / (1 - DUTY), 0, 1)
        ahead = np.where(own < DUTY, 0.5 - own / DUTY, _plan.smoothstep(swing) - 0.5)
        feet[:, foot, 0] = travel * ahead
        feet[:, foot, 2] += 0.06 * np.sin(np.pi * swing) ** 2
        side = ("left", "right")[foot]
        joint_pos[:, G1.joint_names.index(f"{side}_shoulder_pitch_joint")] += 0.4 * speed * ahead
    root[:, 1] = -0.02 * np.cos(2 * np.pi * (phase - DUTY / 2 + 0.5))
    return _strides.channels_of(root, joint_pos, feet)


def sole_heights(motion: Clip) -> np.ndarray:
    """Height [T, 2] m of the lowest balls' centres under each foot."""
    poses = _feet.foot_poses(motion.joint_pos, motion.root_pos, motion.root_quat, G1)
    return _feet.sole_points(poses, G1)[..., 2].min(axis=-1)
