"""The parts of a motion in any format: its joints and root, its bodies, and its clips."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cmg_jax.motion_files import _names
from cmg_jax.motion_files._clips import Clip, MotionFileError, cut
from cmg_jax.motion_files._format import Columns, Content
from cmg_jax.motion_files._names import BODY_NAMES, JOINT_NAMES
from cmg_jax.robot import Robot
from cmg_jax.robot._g1 import g1_spelling

ROOT = 7
"""Number of values of a free joint: position and quaternion."""

WORLD = ("world", "worldbody", "universe")


def columns(content: Content) -> Columns:
    """Find the joints and the root of a motion.

    Raises:
      MotionFileError: an array is missing, or has another shape.
    """
    found = (content.format.read or by_keys)(content)
    frames, count = found.joint_pos.shape[:-1], found.joint_pos.shape[-1]
    for name, width in (("joint_vel", count), ("root_pos", 3), ("root_quat", 4)):
        array = getattr(found, name)
        if array is not None and array.shape != (*frames, width):
            raise MotionFileError(
                f"{name} has shape {array.shape}; for joints of shape {found.joint_pos.shape} "
                f"it must be {(*frames, width)}"
            )
    return found


def joints(content: Content, dims: int = 2) -> tuple[np.ndarray, np.ndarray | None]:
    """Joint positions and, if the file has them, velocities, as arrays of `dims` axes."""
    position, velocity = (content.key(keys) for keys in (content.format.joint_pos, content.format.joint_vel))
    joint_pos = content.array(position or "", dims)
    return joint_pos, None if velocity is None else content.array(velocity, dims)


def by_keys(content: Content, dims: int = 2) -> Columns:
    """Joints and root, each under its key; without keys for the root, one of the bodies is taken as the root."""
    joint_pos, joint_vel = joints(content, dims)
    keys = (content.format.root_pos, content.format.root_quat)
    if content.format.root_pos:
        root_pos, root_quat = (content.array(content.key(names) or "", dims) for names in keys)
        return Columns(joint_pos, joint_vel, root_pos, root_quat)
    body_pos, body_quat = (content.array(key, 3) for key in (content.format.body_pos, content.format.body_quat))
    root, note = root_body(content.names(BODY_NAMES, "body"), body_pos, body_quat)
    return Columns(joint_pos, joint_vel, body_pos[:, root], body_quat[:, root], note)


def joint_names(content: Content) -> tuple[str, ...] | None:
    """The joint names of the file in the robot's spelling, without that of a free joint.

    Without a list under a known key, a list under any key is used if all its entries name joints of the robot.

    Raises:
      MotionFileError: there are several such lists, in different orders.
    """
    names = content.names(JOINT_NAMES, "joint")
    if names is not None:
        return _names.without_root(g1_spelling(names))
    width = _width(content)
    counts = (width, width - ROOT, width - 2 * ROOT)
    found = dict(_names.found(content.arrays, content.robot, counts))
    if len(set(found.values())) > 1:
        raise MotionFileError(f"names its joints in several orders, under {' and '.join(found)}")
    return next(iter(found.values()), None)


def _width(content: Content) -> int:
    """Size of the last axis of the joint positions; 0 if they are not an array."""
    value = content.arrays.get(content.key(content.format.joint_pos) or "")
    try:
        shape: list[int] = list(np.asarray(value).shape)
    except (TypeError, ValueError):
        return 0
    if len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    return shape[-1] if shape else 0


def root_body(names: Sequence[str] | None, pos: np.ndarray | None, quat: np.ndarray) -> tuple[int, str]:
    """Which body is the root, and a note about it: the one with the root's name, else the first but the world."""
    plain = [name.lower() for name in names or ()]
    for known in ("pelvis", "pelvis_link", "base_link", "base", "root", "root_link"):
        if known in plain:
            return plain.index(known), "" if plain.index(known) == 0 else f"the root is body {plain.index(known)}"
    if "torso_link" in plain:
        raise MotionFileError(f"names {len(plain)} bodies and no pelvis ({', '.join((names or [])[:4])})")
    still = pos is not None and pos.shape[1] > 1 and not pos[:, 0].any() and np.ptp(quat[:, 0], axis=0).max() == 0
    if (plain and plain[0] in WORLD) or (still and pos[:, 1].any()):  # pyright: ignore
        return 1, "the first body is the world; the second is taken as the root"
    return 0, ""


class Bodies(NamedTuple):
    """Body poses of a file, all its clips one after the other."""

    names: tuple[str, ...] | None
    """None if the file does not name them, or only numbers them."""
    position: np.ndarray  # [N, bodies, 3] m
    rotation: np.ndarray | None  # [N, bodies, 4]
    local: bool
    """Whether positions are in the frame of the root instead of the world."""
    root: int
    """Index of the root among them."""


def bodies(content: Content) -> Bodies | None:
    """The body poses of a motion, without the world; None if the file has none.

    Raises:
      MotionFileError: they are not arrays of poses.
    """
    form = content.format
    if content.arrays.get(form.body_pos) is None:
        return None
    dims = 4 if np.ndim(content.arrays[form.body_pos]) == 4 else 3
    position = content.array(form.body_pos, dims)
    if position.shape[-1] != 3:
        raise MotionFileError(f"{form.body_pos} has shape {position.shape}; its last axis must be 3")
    position = position.reshape(-1, *position.shape[-2:])
    rotation = None
    if content.arrays.get(form.body_quat) is not None:
        rotation = content.array(form.body_quat, dims).reshape(-1, *content.arrays[form.body_quat].shape[-2:])
        if rotation.shape != (*position.shape[:2], 4):
            raise MotionFileError(f"{form.body_quat} has shape {rotation.shape}, {form.body_pos} {position.shape}")
    names = content.names(BODY_NAMES, "body")
    if names and len(names) != position.shape[1]:
        raise MotionFileError(f"names {len(names)} bodies but holds {position.shape[1]}")
    if rotation is None:
        return Bodies(names, position, None, form.local, names.index("pelvis") if names and "pelvis" in names else 0)
    root, _ = root_body(names, position, rotation)
    world = root == 1 and (names is None or names[0].lower() in WORLD)
    if world:
        names = names and names[1:]
        position, rotation, root = position[:, 1:], rotation[:, 1:], 0
    # Placeholders such as body_3 are not names.
    if names and sum(name.lower().rstrip("0123456789_") in ("body", "link", "") for name in names) * 2 > len(names):
        names = None
    return Bodies(names, position, rotation, form.local, root)


def clips(content: Content, fps: float, robot: Robot, found: Columns) -> list[Clip]:
    """The clips of a motion: one, one for each episode, or those between its split points.

    Quaternions keep the file's order.
    """
    if found.joint_pos.ndim == 2:
        return _split(content, _clip(content.name, fps, robot, found))
    episodes = (
        Columns(*(array[index] if isinstance(array, np.ndarray) else array for array in found))  # pyright: ignore
        for index in range(len(found.joint_pos))
    )
    return [_clip(f"{content.name}[{index}]", fps, robot, episode) for index, episode in enumerate(episodes)]


def _clip(name: str, fps: float, robot: Robot, found: Columns) -> Clip:
    return Clip(name, fps, robot, found.joint_pos, found.joint_vel, found.root_pos, found.root_quat, found.command)


def _split(content: Content, clip: Clip) -> list[Clip]:
    if content.arrays.get("split_points") is None:
        return [clip]
    points = content.array("split_points", 1).astype(int).tolist()
    if points != sorted(points) or len(points) < 2 or points[0] < 0 or points[-1] > len(clip.joint_pos):
        raise MotionFileError(f"its split_points do not rise from 0 to {len(clip.joint_pos)}")
    pieces = [cut(clip, first, last) for first, last in pairwise(points)]
    if len(pieces) == 1:
        return pieces
    return [piece._replace(name=f"{clip.name}[{index}]") for index, piece in enumerate(pieces)]
