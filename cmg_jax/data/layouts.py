"""Which arrays a motion is made of, under the keys of each program that writes motions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.data.clips import Clip, Rejected
from cmg_jax.robot.joints import G1_23_JOINTS, G1_29_JOINTS, g1_spelling

ROOT = 7
"""Numbers of a free joint: position and quaternion."""


class Layout(NamedTuple):
    """Keys, each as those that are known for it."""

    name: str
    joint_pos: tuple[str, ...]
    root_pos: tuple[str, ...] = ()
    root_quat: tuple[str, ...] = ()
    """[T, 4]; without these two keys the root is a body."""
    quaternion_order: str = "wxyz"
    joint_vel: tuple[str, ...] = ()
    body_pos: str = ""
    body_quat: str = ""
    local: bool = False
    """The bodies are in the frame of the pelvis; else in the world."""
    joints: tuple[tuple[str, ...], ...] = (G1_29_JOINTS,)
    """Those that its programs mean where they do not name them."""


_TRACKED = {"body_pos": "body_pos_w", "body_quat": "body_quat_w"}

CSV = Layout("table (CSV)", ("dof_pos",), ("root_pos",), ("root_rot",), "xyzw", ("dof_vel",))
CSV_NAMED = CSV._replace(root_quat=("root_quat",), quaternion_order="wxyz")
ROLLOUTS = Layout(
    "rollouts NPZ",
    ("joint_pos", "dof_positions"),
    ("root_pos",),
    ("root_quat_wxyz",),
    joint_vel=("joint_vel", "dof_velocities"),
    body_pos="body_positions",
    body_quat="body_rotations",
)
QPOS = Layout("MuJoCo trajectory (qpos)", ("qpos",), joint_vel=("qvel",))
LAYOUTS: tuple[Layout, ...] = (
    ROLLOUTS,
    Layout(
        "retargeted NPZ (Instinct)",
        ("joint_pos",),
        ("base_pos_w",),
        ("base_quat_w",),
        joint_vel=("joint_vel",),
        **_TRACKED,
    ),
    Layout("tracking NPZ (mjlab, BeyondMimic)", ("joint_pos",), joint_vel=("joint_vel",), **_TRACKED),
    Layout(
        "NPZ of the original",
        ("dof_positions",),
        joint_vel=("dof_velocities",),
        body_pos="body_positions",
        body_quat="body_rotations",
    ),
    Layout(
        "TWIST-style, GMR",
        ("dof_pos",),
        ("root_pos",),
        ("root_rot",),
        "xyzw",
        ("dof_vel",),
        "local_body_pos",
        local=True,
    ),
    Layout(
        "ASAP, PBHC, human2humanoid",
        ("dof", "dof_pos"),
        ("root_trans_offset", "root_trans"),
        ("root_rot", "root_quat"),
        "xyzw",
        ("dof_vel", "dof_vels"),
        joints=(G1_29_JOINTS, G1_23_JOINTS),
    ),
    Layout("ami-iit", ("joint_positions",), ("root_position",), ("root_quaternion",), "xyzw"),
    Layout(
        "HoloMotion",
        ("ref_dof_pos", "dof_pos"),
        quaternion_order="xyzw",
        joint_vel=("ref_dof_vel", "dof_vels"),
        body_pos="ref_global_translation",
        body_quat="ref_global_rotation_quat",
    ),
    QPOS,
)
"""The first whose keys are all there is taken."""

JOINT_NAMES = ("dof_names", "joint_names", "joints_list")
BODY_NAMES = ("body_names", "link_body_list", "link_names")
RATES = ("fps", "framerate", "frame_rate", "frequency", "motion_fps", "mocap_framerate", "mocap_frame_rate")
STEPS = ("dt", "timestep", "time_step")

PERSON = ("poses", "pose_body", "body_pose", "smpl_poses", "trans")
"""Keys of recordings of a person."""


class Content(NamedTuple):
    """A motion as a file holds it."""

    name: str
    layout: Layout
    arrays: Mapping[str, Any]

    def key(self, keys: Sequence[str]) -> str | None:
        """The first of these keys that it has."""
        return next((key for key in keys if self.arrays.get(key) is not None), None)

    def array(self, key: str, dims: int) -> np.ndarray:
        """Numbers of so many axes.

        Raises:
          Rejected: they are not there, or something else.
        """
        if self.arrays.get(key) is None:
            raise Rejected(f"has no {key}")
        value = self.arrays[key]
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise Rejected(f"{key} is no array of numbers{_why(value)}") from None
        if array.ndim != dims:
            raise Rejected(f"{key} has {array.ndim} axes; {dims} are expected")
        return array

    def names(self, keys: Sequence[str], kind: str) -> tuple[str, ...] | None:
        """Names of joints or bodies; None where there are none, or mere numbers of them."""
        key = self.key(keys)
        value = None if key is None else self.arrays[key]
        if key is None or not isinstance(value, np.ndarray | list | tuple):
            return None
        names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in np.ravel(np.array(value)))
        numbered = all(name.strip().lower().removeprefix(kind).strip("_ ").isdigit() for name in names)
        return None if numbered else names

    def fps(self) -> float:
        """Its rate.

        Raises:
          Rejected: it does not say.
        """
        if key := self.key(RATES):
            fps = self._number(key)
            return 1 / fps if 0 < fps < 1 else fps  # some write the time of a frame there
        if key := self.key(STEPS):
            step = self._number(key)
            return 1 / step if step else 0.0
        metadata = self.arrays.get("metadata")
        if isinstance(metadata, np.ndarray | str) and np.ndim(metadata) == 0:
            try:
                return float(json.loads(str(metadata))["motion_fps"])
            except (ValueError, TypeError, LookupError):
                pass
        raise Rejected("has no fps; say it with --assume fps=50")

    def _number(self, key: str) -> float:
        try:
            return float(np.asarray(self.arrays[key], np.float64).reshape(()))
        except (TypeError, ValueError):
            raise Rejected(f"{key} is not a number") from None


def _why(value: Any) -> str:
    return f": {value}" if isinstance(value, Exception) else ""


def content(name: str, arrays: Mapping[str, Any]) -> Content:
    """The motion under `arrays`, in its layout.

    Raises:
      Rejected: of no layout known.
    """
    if "root_quat" in arrays and "dof_pos" in arrays and "root_pos" in arrays:
        return Content(name, CSV_NAMED, arrays)
    for layout in LAYOUTS:
        found = Content(name, layout, arrays)
        needed = [layout.joint_pos, *(keys for keys in (layout.root_pos, layout.root_quat) if keys)]
        if not layout.root_pos and layout is not QPOS:
            needed.append((layout.body_quat,))
        if all(found.key(keys) for keys in needed):
            return found
    held = ", ".join(map(str, list(arrays)[:8])) or "nothing"
    if len(arrays) > 8:
        held += f" and {len(arrays) - 8} more"
    if any(key in arrays for key in PERSON):
        raise Rejected(f"is a recording of a person, not of a robot (it holds {held}): retarget it to the G1 first")
    for layout in LAYOUTS:
        found = Content(name, layout, arrays)
        if joints := found.key(layout.joint_pos):
            lacks = layout.root_quat or (layout.body_quat,)
            raise Rejected(f"has {joints} but no {' or '.join(lacks)} (it holds {held})")
    raise Rejected(f"has no joint positions under a key that is known, such as dof_pos or joint_pos (it holds {held})")


class Columns(NamedTuple):
    """Joints and root of a motion, where the file puts them."""

    joint_pos: np.ndarray  # [..., T, J]
    joint_vel: np.ndarray | None
    root_pos: np.ndarray  # [..., T, 3]
    root_quat: np.ndarray  # [..., T, 4] in the file's order
    note: str = ""
    quaternion_order: str = ""
    """Other than the layout's, where the numbers cannot be anything else."""


def columns(found: Content) -> Columns:
    """Take a motion apart.

    Raises:
      Rejected: an array is missing, or of another shape.
    """
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
    if joint_vel is not None and joint_vel.shape != joint_pos.shape:
        raise Rejected(f"{vel_key} has shape {joint_vel.shape}, {key} {joint_pos.shape}")
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
    if pos.shape[-1] != 3 or quat.shape[-1] != 4:
        raise Rejected(f"its root has {pos.shape[-1]} and {quat.shape[-1]} numbers a frame; 3 and 4 are expected")
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
    free = len(names) > 1 and names[0] not in G1_29_JOINTS and names[1] in G1_29_JOINTS
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
    if (plain and plain[0] in ("world", "worldbody", "universe")) or (still and pos[:, 1].any()):  # pyright: ignore
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
    world = root == 1 and (names is None or names[0].lower() in ("world", "worldbody", "universe"))
    if world:
        names = names and names[1:]
        position, rotation, root = position[:, 1:], rotation[:, 1:], 0
    # Placeholders are no names.
    if names and sum(name.lower().rstrip("0123456789_") in ("body", "link", "") for name in names) * 2 > len(names):
        names = None
    return Bodies(names, position, rotation, layout.local, root)


def clips(found: Content, fps: float, names: tuple[str, ...], taken: Columns) -> list[Clip]:
    """The clips of a motion: one, or an episode each, or what lies between its split points; quaternions as they are."""
    joint_pos, joint_vel, root_pos, root_quat = taken[:4]
    if joint_pos.ndim == 3:
        command = _command(found, joint_pos.shape)
        return [
            Clip(
                f"{found.name}[{index}]",
                fps,
                names,
                joint_pos[index],
                None if joint_vel is None else joint_vel[index],
                root_pos[index],
                root_quat[index],
                None if command is None else command[index],
            )
            for index in range(len(joint_pos))
        ]
    command = _command(found, joint_pos[None].shape)
    clip = Clip(found.name, fps, names, joint_pos, joint_vel, root_pos, root_quat, None if command is None else command[0])
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
    from cmg_jax.data.clips import cut

    if found.arrays.get("split_points") is None:
        return [clip]
    points = found.array("split_points", 1).astype(int).tolist()
    if points != sorted(points) or len(points) < 2 or points[0] < 0 or points[-1] > len(clip.joint_pos):
        raise Rejected(f"its split_points do not rise from 0 to {len(clip.joint_pos)}")
    pieces = [cut(clip, first, last) for first, last in zip(points[:-1], points[1:], strict=True)]
    if len(pieces) == 1:
        return pieces
    return [piece._replace(name=f"{clip.name}[{index}]") for index, piece in enumerate(pieces)]
