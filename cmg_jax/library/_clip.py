"""What a library keeps of one clip: where its feet are, where it goes, and where it may be played from."""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.data import LEFT, RIGHT
from cmg_jax.model._library import future_frames
from cmg_jax.robot import Robot, _root, root_motion, split_frame
from cmg_jax.robot._frame import MotionFrame

AIR_HEIGHT, AIR_SPEED = 0.035, 0.8
"""m above the floor and m/s along it, of the centre of a sole, above either of which the foot counts as lifted: the
steps of a turn on the spot are low."""

STILL_SOLE, STILL_ROOT, STILL_TURN = 0.12, 0.15, 0.3
"""m/s, m/s and rad/s of a robot that stands: people sway and shift their weight."""

STILL_SECONDS = 0.3
"""Standing needs this time, which no slow step spends with both feet still."""

SOON = 0.8
"""s within which a foot has to be lifted to be the one that goes first."""

YAW_SECONDS, PATH_SECONDS = 0.24, 0.16
"""Standard deviations of the Gaussians over which headings and paths are smoothed: the pelvis turns and sways with each
step, which no command asks for."""


class Limits(NamedTuple):
    """Which frames may be played."""

    lowest: float
    highest: float
    """m, of the root."""
    lean: float


class Described(NamedTuple):
    """Arrays of the frames of a clip, see `MotionLibrary`; the features are physical."""

    frames: np.ndarray
    command: np.ndarray
    soles: np.ndarray
    clearance: np.ndarray
    contact: np.ndarray
    features: np.ndarray
    allowed: np.ndarray
    support: np.ndarray
    standing: np.ndarray
    first_foot: np.ndarray


@lru_cache(maxsize=8)
def limits(robot: Robot, least_height: float, most_lean: float) -> Limits:
    """The limits of a robot; its height is that of its standing pose."""
    joint_pos = jnp.asarray(robot.standing_joint_pos)
    standing = MotionFrame(joint_pos, jnp.zeros_like(joint_pos))
    height = float(root_motion(standing, jnp.zeros(3, jnp.float32), robot).height[0])
    return Limits(least_height * height, 1.17 * height, most_lean)


def describe(
    frames: np.ndarray, command: np.ndarray, points: np.ndarray, joints: int, fps: float, limit: Limits
) -> Described:
    """All arrays of a clip of 3 frames or more, whose soles have points [T, 2, P, 3] in the heading frame."""
    soles = points.mean(axis=2, dtype=np.float64)
    height, gravity, velocity, yaw_rate = np.split(frames[:, 2 * joints :].astype(np.float64), [1, 3, 5], axis=-1)
    moving = np.gradient(soles, 1 / fps, axis=0)
    in_world = moving.copy()
    in_world[..., 0] += velocity[:, :1] - yaw_rate * soles[..., 1]
    in_world[..., 1] += velocity[:, 1:] + yaw_rate * soles[..., 0]
    speed = np.linalg.norm(in_world[..., :2], axis=-1)
    contact = (points[..., 2].min(axis=-1) < _root.CONTACT_HEIGHT) & (speed < _root.CONTACT_SPEED)
    air = (soles[..., 2] > AIR_HEIGHT) | (speed > AIR_SPEED)
    planar = np.linalg.norm(velocity, axis=-1)
    still = (speed < STILL_SOLE).all(axis=-1) & (planar < STILL_ROOT) & (np.abs(yaw_rate[:, 0]) < STILL_TURN)
    support = np.where(air.any(axis=-1), 0, np.where(still, 2, 1))
    path, heading = _future(np.concatenate([velocity, yaw_rate], axis=-1), fps)
    count = len(frames)
    features = [soles, in_world, velocity, path, heading]
    bad = (height[:, 0] < limit.lowest) | (height[:, 0] > limit.highest)
    bad |= np.linalg.norm(gravity, axis=-1) > limit.lean
    return Described(
        frames,
        command,
        soles,
        points[..., 2].min(axis=(1, 2)),
        smooth(contact.astype(np.float64), 0.03 * fps),
        np.concatenate([part.reshape(count, -1) for part in features], axis=-1),
        followed(bad, future_frames(fps)[-1] + 2),
        support,
        _held(support == 2, max(round(STILL_SECONDS * fps), 1)),
        _first_foot(air, round(SOON * fps)),
    )


def smooth(values: np.ndarray, frames: float) -> np.ndarray:
    """Values [T, ...] smoothed by a Gaussian of this standard deviation; at the ends they are mirrored."""
    radius = max(round(4 * frames), 1)
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / frames))
    kernel /= kernel.sum()
    padded = np.pad(values.reshape(len(values), -1), ((radius, radius), (0, 0)), mode="symmetric")
    out = np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=-1)
    return out.reshape(values.shape)


def sole_points(frames: np.ndarray, robot: Robot) -> np.ndarray:
    """Points of the soles [N, 2, P, 3] of frames [N, D] in their heading frames, in bounded memory."""
    size = 8192
    padded = np.concatenate([frames, np.repeat(frames[-1:], -len(frames) % size, axis=0)]).astype(np.float32)
    blocks = [np.asarray(_block_soles(block, robot)) for block in padded.reshape(-1, size, frames.shape[-1])]
    return np.concatenate(blocks)[: len(frames)]


@partial(jax.jit, static_argnums=1)
def _block_soles(frames: jax.Array, robot: Robot) -> jax.Array:
    return _root.soles_in_heading(split_frame(frames, robot.num_joints), robot)


def _future(planar: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Path [T, 3, 2] m and heading [T, 3, 2], cosine and sine, at the times of `FUTURE_SECONDS`, in the smoothed
    heading of each frame. Beyond the end of a clip its last frame counts."""
    yaw = np.cumsum(planar[:, 2]) / fps
    half_way = yaw - planar[:, 2] / (2 * fps)  # a chord of an arc; short ones are as long as their arcs
    cos, sin = np.cos(half_way), np.sin(half_way)
    path = np.cumsum(np.stack([cos * planar[:, 0] - sin * planar[:, 1], sin * planar[:, 0] + cos * planar[:, 1]], 1), 0)
    path = path / fps
    yaw, path = smooth(yaw, YAW_SECONDS * fps), smooth(path, PATH_SECONDS * fps)
    now = np.arange(len(planar))
    then = np.minimum(now[:, None] + np.array(future_frames(fps)), len(planar) - 1)
    distance, turned = path[then] - path[:, None], yaw[then] - yaw[:, None]
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    local = np.stack(
        [cos * distance[..., 0] + sin * distance[..., 1], cos * distance[..., 1] - sin * distance[..., 0]], axis=-1
    )
    return local, np.stack([np.cos(turned), np.sin(turned)], axis=-1)


def followed(bad: np.ndarray, ahead: int) -> np.ndarray:
    """Frames [T] that are followed by `ahead` frames, none of which is bad."""
    count = np.concatenate([[0], np.cumsum(bad)])
    out = np.zeros(len(bad), bool)
    if len(bad) > ahead:
        out[: len(bad) - ahead] = count[ahead + 1 :] == count[: len(bad) - ahead]
    return out


def _held(condition: np.ndarray, frames: int) -> np.ndarray:
    """Where a condition [T] has held for so many frames."""
    broken = np.where(condition, -1, np.arange(len(condition)))
    return np.arange(len(condition)) - np.maximum.accumulate(np.maximum(broken, -1)) >= frames


def _first_foot(air: np.ndarray, soon: int) -> np.ndarray:
    """LEFT or RIGHT, of the foot that is in the air first from each frame on, or 0."""
    frames = len(air)
    lifted = np.where(air, np.arange(frames)[:, None], frames + soon)
    following = np.minimum.accumulate(lifted[::-1], axis=0)[::-1] - np.arange(frames)[:, None]
    return np.where(following.min(axis=-1) < soon, np.where(following[:, 0] < following[:, 1], LEFT, RIGHT), 0)
