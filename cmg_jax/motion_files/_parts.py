"""A motion taken apart, in whatever layout: its joints and root, its bodies, its clips."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cmg_jax.motion_files._clips import Clip, Rejected, cut
from cmg_jax.motion_files._layouts import BODY_NAMES, JOINT_NAMES, QPOS, ROLLOUTS, Content
from cmg_jax.robot import Robot
from cmg_jax.robot._g1 import G1_29_JOINTS, g1_spelling

ROOT = 7
"""Numbers of a free joint: position and quaternion."""

WORLD = ("world", "worldbody", "universe")


class Columns(NamedTuple):
    """Joints and root of a motion, where the file puts them."""

    joint_pos: np.ndarray  # [..., T, J]
    joint_vel: np.ndarray | None
    root_pos: np.ndarray  # [..., T, 3]
    root_quat: np.ndarray  # [..., T, 4] in the file's order
    note: str = ""


def columns(found: Content) -> Columns:
    """Take a motion apart.

    Raises:
      Rejected: an array is missing, or of another shape.
    """
    taken = _columns(found)
    frames, count = taken.joint_pos.shape[:-1], taken.joint_pos.shape[-1]
    for name, width in (("joint_vel", count), ("root_pos", 3), ("root_quat", 4)):
        array = getattr(taken, name)
        if array is not None and array.shape != (*frames, width):
            raise Rejected(
                f"{name} has shape {array.shape}; beside joints {taken.joint_pos.shape} it is {(*frames, width)}"
            )
    return taken


def _columns(found: Content) -> Columns:
    layout, key = found.layout, found.key(found.layout.joint_pos) or ""
    dims = np.ndim(found.arrays[key]) if layout is ROLLOUTS else 2
    if layout is ROLLOUTS and dims not in (2, 3):
        raise Rejected(f"{key} has {dims} axes; 2 or 3 are expected")
    joint_pos = found.array(key, dims)
    vel_key = found.key(layout.joint_vel)
    joint_vel = None if vel_key is None else found.array(vel_key, dims)
    count = _named_joints(found)
    # A free joint may stand before the joints, and the pose of an object behind them.
    if layout is QPOS or (layout.body_pos == "body_pos_w" and joint_pos.shape[1] in (36, 43, 7 + (count or 29))):
        return _with_root(joint_pos, joint_vel, count)
    if layout.root_pos:
        pos, quat = (found.array(found.key(keys) or "", dims) for keys in (layout.root_pos, layout.root_quat))
    else:
        body_quat = found.array(layout.body_quat, 3)
        body_pos = found.array(layout.body_pos, 3) if layout.body_pos in found.arrays else None
        root, note = root_body(found.names(BODY_NAMES, "body"), body_pos, body_quat)
        if body_pos is None:
            pos = np.cumsum(found.array("body_linear_velocities", 3)[:, root], axis=0) / found.fps()
        else:
            pos = body_pos[:, root]
        return Columns(joint_pos, joint_vel, pos, body_quat[:, root], note)
    return Columns(joint_pos, joint_vel, pos, quat)


def _with_root(qpos: np.ndarray, qvel: np.ndarray | None, count: int | None) -> Columns:
    """Positions of a free joint and of hinges; OmniRetarget has the quaternion before the position."""
    if qpos.shape[1] <= ROOT:
        raise Rejected(f"qpos has {qpos.shape[1]} columns; a root and joints are more than 7")
    joints, note = qpos.shape[1] - ROOT, ""
    if count is not None and count < joints:
        joints, note = count, f"the last {joints - count} columns of qpos are no joints of it"
    elif count is None and joints == len(G1_29_JOINTS) + ROOT:
        joints, note = len(G1_29_JOINTS), "the last 7 columns, an object's pose, are left out"
    first, second = (np.abs(np.linalg.norm(qpos[:, at : at + 4], axis=-1) - 1).max() for at in (0, 3))
    quat_first = first < 0.05 < second
    if quat_first:
        note = "; ".join(filter(None, [note, "the quaternion stands before the position"]))
    pos, quat = (qpos[:, 4:7], qpos[:, :4]) if quat_first else (qpos[:, :3], qpos[:, 3:7])
    velocity = None
    if qvel is not None and qvel.ndim == 2 and qvel.shape[1] >= 6 + joints:
        velocity = qvel[:, 6 : 6 + joints]
    return Columns(qpos[:, ROOT : ROOT + joints], velocity, pos, quat, note)


def _named_joints(found: Content) -> int | None:
    names = joint_names(found)
    return None if names is None else len(names)


def joint_names(found: Content) -> tuple[str, ...] | None:
    """The file's own names of its joints as the G1 spells them, without that of a free joint."""
    names = found.names(JOINT_NAMES, "joint")
    if names is None:
        return None
    names = g1_spelling(names)
    free = len(names) > 1 and re.search("root|free|float", names[0].lower())
    return names[1:] if free else names


def root_body(names: Sequence[str] | None, pos: np.ndarray | None, quat: np.ndarray) -> tuple[int, str]:
    """Which body is the root, and what there is to say: by its name, else the first that is not the world."""
    plain = [name.lower() for name in names or ()]
    for known in ("pelvis", "pelvis_link", "base_link", "base", "root", "root_link"):
        if known in plain:
            return plain.index(known), "" if plain.index(known) == 0 else f"the root is body {plain.index(known)}"
    if "torso_link" in plain:
        raise Rejected(f"names {len(plain)} bodies and no pelvis ({', '.join((names or [])[:4])})")
    still = pos is not None and pos.shape[1] > 1 and not pos[:, 0].any() and np.ptp(quat[:, 0], axis=0).max() == 0
    if (plain and plain[0] in WORLD) or (still and pos[:, 1].any()):  # pyright: ignore
        return 1, "the first body is the world; the second is taken as the root"
    return 0, ""


class Bodies(NamedTuple):
    """Body poses of a file, all its clips one after the other."""

    names: tuple[str, ...] | None
    """None where the file does not name them, or only numbers them."""
    position: np.ndarray  # [N, bodies, 3] m
    rotation: np.ndarray | None  # [N, bodies, 4]
    local: bool
    """In the frame of the pelvis; else in the world."""
    root: int
    """The pelvis among them."""


def bodies(found: Content) -> Bodies | None:
    """The body poses of a motion, where it has any; the world is none.

    Raises:
      Rejected: they are no arrays of poses.
    """
    layout = found.layout
    if found.arrays.get(layout.body_pos) is None:
        return None
    dims = 4 if np.ndim(found.arrays[layout.body_pos]) == 4 else 3
    position = found.array(layout.body_pos, dims)
    if position.shape[-1] != 3:
        raise Rejected(f"{layout.body_pos} has shape {position.shape}; its last axis is 3")
    position = position.reshape(-1, *position.shape[-2:])
    rotation = None
    if found.arrays.get(layout.body_quat) is not None:
        rotation = found.array(layout.body_quat, dims).reshape(-1, *found.arrays[layout.body_quat].shape[-2:])
        if rotation.shape != (*position.shape[:2], 4):
            raise Rejected(f"{layout.body_quat} has shape {rotation.shape}, {layout.body_pos} {position.shape}")
    names = found.names(BODY_NAMES, "body")
    if names and len(names) != position.shape[1]:
        raise Rejected(f"names {len(names)} bodies and holds {position.shape[1]}")
    if rotation is None:
        return Bodies(names, position, None, layout.local, names.index("pelvis") if names and "pelvis" in names else 0)
    root, _ = root_body(names, position, rotation)
    world = root == 1 and (names is None or names[0].lower() in WORLD)
    if world:
        names = names and names[1:]
        position, rotation, root = position[:, 1:], rotation[:, 1:], 0
    # Placeholders are no names.
    if names and sum(name.lower().rstrip("0123456789_") in ("body", "link", "") for name in names) * 2 > len(names):
        names = None
    return Bodies(names, position, rotation, layout.local, root)


def clips(found: Content, fps: float, robot: Robot, taken: Columns) -> list[Clip]:
    """The clips of a motion: one, an episode each, or those between its split points; quaternions as they are."""
    joint_pos, joint_vel, root_pos, root_quat = taken[:4]
    if joint_pos.ndim == 3:
        command = _command(found, joint_pos.shape)
        return [
            Clip(
                f"{found.name}[{index}]",
                fps,
                robot,
                joint_pos[index],
                None if joint_vel is None else joint_vel[index],
                root_pos[index],
                root_quat[index],
                None if command is None else command[index],
            )
            for index in range(len(joint_pos))
        ]
    command = _command(found, joint_pos[None].shape)
    clip = Clip(
        found.name, fps, robot, joint_pos, joint_vel, root_pos, root_quat, None if command is None else command[0]
    )
    return _split(found, clip)


def _command(found: Content, shape: tuple[int, ...]) -> np.ndarray | None:
    key = found.key(("command", "commands")) if found.layout is ROLLOUTS else None
    if key is None:
        return None
    command = found.array(key, np.ndim(found.arrays[key]))
    command = command[None] if command.ndim == 2 else command
    if command.shape[1] == shape[1] - 1:  # ours: T commands lead to T+1 frames
        command = np.concatenate([command, command[:, -1:]], axis=1)
    return command


def _split(found: Content, clip: Clip) -> list[Clip]:
    if found.arrays.get("split_points") is None:
        return [clip]
    points = found.array("split_points", 1).astype(int).tolist()
    if points != sorted(points) or len(points) < 2 or points[0] < 0 or points[-1] > len(clip.joint_pos):
        raise Rejected(f"its split_points do not rise from 0 to {len(clip.joint_pos)}")
    pieces = [cut(clip, first, last) for first, last in pairwise(points)]
    if len(pieces) == 1:
        return pieces
    return [piece._replace(name=f"{clip.name}[{index}]") for index, piece in enumerate(pieces)]
