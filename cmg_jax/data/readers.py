"""Motion files of several origins, read into clips. Nothing in a file is ever executed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax import safe_pickle
from cmg_jax.data.clips import Clip, Rejected
from cmg_jax.files import ZIP_ERRORS, first_line
from cmg_jax.robot import G1, Robot
from cmg_jax.robot.g1 import robot_of, robot_of_size

LAFAN1_FPS = 30.0
"""LAFAN1-style CSV files do not state their rate."""

SUFFIXES = (".npz", ".csv", ".pkl")


CSV, TWIST, TRACKING, ROLLOUTS, ORIGINAL = LAYOUTS = (
    "LAFAN1-style CSV",
    "TWIST-style PKL",
    "tracking NPZ (mjlab, BeyondMimic)",
    "rollouts NPZ",
    "NPZ of the original",
)


class Content(NamedTuple):
    """What a file holds, as it holds it."""

    name: str
    layout: str
    """One of `LAYOUTS`."""
    arrays: Mapping[str, Any]
    csv_fps: float
    robot: Robot = G1
    """Whose joints they are taken to be: all of them, where the file does not name its joints."""

    @property
    def quaternion_order(self) -> str:
        """What files of this layout hold."""
        return "xyzw" if self.layout in (CSV, TWIST) else "wxyz"


class Bodies(NamedTuple):
    """Body poses of a file, all its clips one after the other."""

    names: tuple[str, ...] | None
    """None where the file does not name them, or only numbers them."""
    position: np.ndarray  # [N, bodies, 3] m
    rotation: np.ndarray | None  # [N, bodies, 4]
    local: bool
    """In the frame of the pelvis; else in the world."""


def read(path: Path, csv_fps: float = LAFAN1_FPS, robot: Robot = G1) -> list[Clip]:
    """The clips of a file, by its suffix.

    - `.npz`: the original's motion files (`dof_positions`, `dof_velocities`, `body_rotations` wxyz, `fps`, names), with
      the root's path in `body_positions`, `body_linear_velocities` or `root_pos`; rollouts of many
      episodes (`joint_pos` [episodes, T, J], `root_pos`, `root_quat_wxyz`, `command`); or tracking motions
      (`joint_pos` [T, J], `body_pos_w`, `body_quat_w`), the root being the first body.
    - `.csv`: LAFAN1-style, no header, 36 columns for the G1: root x y z, root quaternion x y z w, joints.
    - `.pkl`: TWIST-style: `fps`, `root_pos`, `root_rot` xyzw, `dof_pos`.

    Raises:
      Rejected: not one of these, damaged, or without something needed.
      OSError: the file cannot be opened.
    """
    return clips(load(path, csv_fps, robot))


def load(path: Path, csv_fps: float = LAFAN1_FPS, robot: Robot = G1) -> Content:
    """The arrays of a file, and which layout they are in.

    Raises:
      Rejected: an unknown suffix, or damaged.
      OSError: the file cannot be opened.
    """
    if path.suffix not in SUFFIXES:
        raise Rejected(f"unknown format {path.suffix!r}; known are {', '.join(SUFFIXES)}")
    if path.suffix == ".csv":
        return Content(path.stem, CSV, _load_csv(path, robot), csv_fps, robot)
    if path.suffix == ".pkl":
        return Content(path.stem, TWIST, _load_pickle(path), csv_fps, robot)
    arrays = _load_npz(path)
    layout = ROLLOUTS if "root_quat_wxyz" in arrays else TRACKING if "body_pos_w" in arrays else ORIGINAL
    return Content(path.stem, layout, arrays, csv_fps, robot)


def clips(content: Content) -> list[Clip]:
    """The clips of a file's content.

    Raises:
      Rejected: it lacks something needed.
    """
    if content.layout == ROLLOUTS:
        return _rollouts(content)
    function = {CSV: _csv, TWIST: _twist, TRACKING: _tracking, ORIGINAL: _original}[content.layout]
    return [function(content)]


def bodies(content: Content) -> Bodies | None:
    """The body poses of a file's content, where it has any.

    Raises:
      Rejected: they are no arrays of poses.
    """
    position_key, rotation_key, names_key = {
        TWIST: ("local_body_pos", "", "link_body_list"),
        TRACKING: ("body_pos_w", "body_quat_w", "body_names"),
    }.get(content.layout, ("body_positions", "body_rotations", "body_names"))
    if content.arrays.get(position_key) is None:
        return None
    get = _getter(content.arrays)
    dims = 4 if np.ndim(content.arrays[position_key]) == 4 else 3
    position = get(position_key, dims)
    position = position.reshape(-1, *position.shape[-2:])
    rotation = get(rotation_key, dims).reshape(*position.shape[:2], 4) if rotation_key in content.arrays else None
    names = _own_names(content.arrays, (names_key,), "body")
    if names and len(names) != position.shape[1]:
        raise Rejected(f"names {len(names)} bodies and holds {position.shape[1]}")
    return Bodies(names, position, rotation, content.layout == TWIST)


def _load_csv(path: Path, robot: Robot) -> Mapping[str, np.ndarray]:
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise Rejected(f"is no table of numbers: {first_line(error)}") from None
    if not robot_of_size(table.shape[1] - 7, robot).has_mjcf:
        joints = robot.num_joints
        raise Rejected(
            f"has {table.shape[1]} columns; root position, root quaternion and {joints} joints are {7 + joints}"
        )
    return {"root_pos": table[:, :3], "root_rot": table[:, 3:7], "dof_pos": table[:, 7:]}


def _load_pickle(path: Path) -> Mapping[str, Any]:
    try:
        content = safe_pickle.load(path.read_bytes())
    except safe_pickle.PickleError as error:
        raise Rejected(str(error)) from None
    if not isinstance(content, dict):
        raise Rejected(f"holds a {type(content).__name__}, no dictionary")
    return content


def _load_npz(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except OSError:
        raise
    except (*ZIP_ERRORS, TypeError) as error:
        raise Rejected(f"is damaged or holds objects: {first_line(error)}") from None


def _csv(content: Content) -> Clip:
    root_pos, root_rot, joint_pos = (content.arrays[key] for key in ("root_pos", "root_rot", "dof_pos"))
    robot = robot_of_size(joint_pos.shape[1], content.robot)
    return Clip(content.name, content.csv_fps, robot, joint_pos, None, root_pos, root_rot[:, [3, 0, 1, 2]])


def _twist(content: Content) -> Clip:
    get = _getter(content.arrays)
    joint_pos = get("dof_pos", 2)
    return Clip(
        content.name,
        _number(content.arrays, "fps"),
        robot_of_size(joint_pos.shape[1], content.robot),
        joint_pos,
        None,
        get("root_pos", 2),
        get("root_rot", 2)[:, [3, 0, 1, 2]],
    )


def _tracking(content: Content) -> Clip:
    get = _getter(content.arrays)
    joint_pos = get("joint_pos", 2)
    velocity = get("joint_vel", 2) if "joint_vel" in content.arrays else None
    robot = _robot(content, joint_pos.shape[1])
    root_pos, root_quat = (get(key, 3)[:, 0] for key in ("body_pos_w", "body_quat_w"))
    return Clip(content.name, _number(content.arrays, "fps"), robot, joint_pos, velocity, root_pos, root_quat)


def _rollouts(content: Content) -> list[Clip]:
    arrays = content.arrays
    get = _getter(arrays)
    key = "joint_pos" if "joint_pos" in arrays else "dof_positions"
    episodes = arrays[key].ndim == 3 if key in arrays else True
    dims = 3 if episodes else 2
    joint_pos, root_pos, root_quat = get(key, dims), get("root_pos", dims), get("root_quat_wxyz", dims)
    velocity_key = "joint_vel" if key == "joint_pos" else "dof_velocities"
    joint_vel = get(velocity_key, dims) if velocity_key in arrays else None
    command_key = next((key for key in ("command", "commands") if key in arrays), None)
    command = get(command_key, dims) if command_key else None
    if not episodes:
        joint_pos, root_pos, root_quat = joint_pos[None], root_pos[None], root_quat[None]
        joint_vel, command = (None if array is None else array[None] for array in (joint_vel, command))
    if command is not None and command.shape[1] == joint_pos.shape[1] - 1:  # ours: T commands lead to T+1 frames
        command = np.concatenate([command, command[:, -1:]], axis=1)
    robot = _robot(content, joint_pos.shape[-1])
    return [
        Clip(
            f"{content.name}[{index}]",
            _number(arrays, "fps"),
            robot,
            joint_pos[index],
            None if joint_vel is None else joint_vel[index],
            root_pos[index],
            root_quat[index],
            None if command is None else command[index],
        )
        for index in range(len(joint_pos))
    ]


def _original(content: Content) -> Clip:
    arrays = content.arrays
    get = _getter(arrays)
    joint_pos, rotations = get("dof_positions", 2), get("body_rotations", 3)
    bodies = [str(name) for name in arrays.get("body_names", [])]
    root = root_index(bodies, content.robot)
    fps = _number(arrays, "fps")
    if "body_positions" in arrays:
        root_pos = get("body_positions", 3)[:, root]
    else:
        root_pos = np.cumsum(get("body_linear_velocities", 3)[:, root], axis=0) / fps
    velocity = get("dof_velocities", 2) if "dof_velocities" in arrays else None
    robot = _robot(content, joint_pos.shape[1])
    return Clip(content.name, fps, robot, joint_pos, velocity, root_pos, rotations[:, root])


def root_index(bodies: Sequence[str], robot: Robot) -> int:
    """Which of the bodies of a file is the robot's root: the first, where it does not name it."""
    root = robot.body_names[0] if robot.has_mjcf else ""
    return list(bodies).index(root) if root in bodies else 0


def joint_names(content: Content) -> tuple[str, ...] | None:
    """The file's own names of its joints; None where it has none, or only numbers them."""
    return _own_names(content.arrays, ("dof_names", "joint_names"), "joint")


def _robot(content: Content, joints: int) -> Robot:
    """The robot of the file's own names, or of the number of its joints."""
    names = joint_names(content)
    if names and len(names) != joints:
        raise Rejected(f"names {len(names)} joints and holds {joints}")
    return robot_of(names, content.robot) if names else robot_of_size(joints, content.robot)


def _own_names(content: Mapping[str, Any], keys: Sequence[str], kind: str) -> tuple[str, ...] | None:
    names = tuple(str(name) for name in np.ravel(next((content[key] for key in keys if key in content), ())))
    return None if names == tuple(f"{kind}_{index}" for index in range(len(names))) else names


def _number(content: Mapping[str, Any], key: str) -> float:
    if key not in content:
        raise Rejected(f"has no {key}")
    try:
        return float(np.asarray(content[key], np.float64).reshape(()))
    except (TypeError, ValueError):
        raise Rejected(f"{key} is not a number") from None


def _getter(content: Mapping[str, Any]) -> Callable[[str, int], np.ndarray]:
    def get(key: str, dims: int) -> np.ndarray:
        if key not in content:
            raise Rejected(f"has no {key}")
        try:
            array = np.asarray(content[key], np.float64)
        except (TypeError, ValueError):
            raise Rejected(f"{key} is no array of numbers") from None
        if array.ndim != dims:
            raise Rejected(f"{key} has {array.ndim} axes; {dims} are expected")
        return array

    return get
