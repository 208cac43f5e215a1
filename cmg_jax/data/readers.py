"""Motion files of several origins, read into clips. Nothing in a file is ever executed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import safe_pickle
from cmg_jax.data.clips import Clip, Rejected
from cmg_jax.files import ZIP_ERRORS, first_line
from cmg_jax.robot.joints import names_for

LAFAN1_FPS = 30.0
"""LAFAN1-style CSV files do not state their rate."""

SUFFIXES = (".npz", ".csv", ".pkl")


def read(path: Path, csv_fps: float = LAFAN1_FPS) -> list[Clip]:
    """The clips of a file, by its suffix.

    - `.npz`: the original's motion files (`dof_positions`, `dof_velocities`, `body_rotations` wxyz, `fps`, names), with
      the root's path in `body_positions`, `body_linear_velocities` or `root_pos`; or rollouts of many
      episodes (`joint_pos` [episodes, T, J], `root_pos`, `root_quat_wxyz`, `command`).
    - `.csv`: LAFAN1-style, no header, 36 columns: root x y z, root quaternion x y z w, 29 joints.
    - `.pkl`: TWIST-style: `fps`, `root_pos`, `root_rot` xyzw, `dof_pos`.

    Raises:
      Rejected: not one of these, damaged, or without something needed.
      OSError: the file cannot be opened.
    """
    if path.suffix not in SUFFIXES:
        raise Rejected(f"unknown format {path.suffix!r}; known are {', '.join(SUFFIXES)}")
    if path.suffix == ".csv":
        return [_read_csv(path, csv_fps)]
    if path.suffix == ".pkl":
        return [_read_twist(path)]
    return _read_npz(path)


def _read_csv(path: Path, fps: float) -> Clip:
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise Rejected(f"is no table of numbers: {first_line(error)}") from None
    joints = table.shape[1] - 7
    if joints not in (29, 23):
        raise Rejected(f"has {table.shape[1]} columns; root position, root quaternion and 29 joints are 36")
    return Clip(path.stem, fps, names_for(joints), table[:, 7:], None, table[:, :3], table[:, [6, 3, 4, 5]])


def _read_twist(path: Path) -> Clip:
    try:
        content = safe_pickle.load(path.read_bytes())
    except safe_pickle.PickleError as error:
        raise Rejected(str(error)) from None
    if not isinstance(content, dict):
        raise Rejected(f"holds a {type(content).__name__}, no dictionary")
    get = _getter(content)
    joint_pos = get("dof_pos", 2)
    return Clip(
        path.stem,
        _number(content, "fps"),
        names_for(joint_pos.shape[1]),
        joint_pos,
        None,
        get("root_pos", 2),
        get("root_rot", 2)[:, [3, 0, 1, 2]],
    )


def _read_npz(path: Path) -> list[Clip]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = dict(arrays)
    except OSError:
        raise
    except (*ZIP_ERRORS, TypeError) as error:
        raise Rejected(f"is damaged or holds objects: {first_line(error)}") from None
    return _read_rollouts(path, content) if "root_quat_wxyz" in content else [_read_original(path, content)]


def _read_rollouts(path: Path, content: Mapping[str, np.ndarray]) -> list[Clip]:
    get = _getter(content)
    key = "joint_pos" if "joint_pos" in content else "dof_positions"
    episodes = content[key].ndim == 3 if key in content else True
    dims = 3 if episodes else 2
    joint_pos, root_pos, root_quat = get(key, dims), get("root_pos", dims), get("root_quat_wxyz", dims)
    velocity_key = "joint_vel" if key == "joint_pos" else "dof_velocities"
    joint_vel = get(velocity_key, dims) if velocity_key in content else None
    command_key = next((name for name in ("command", "commands") if name in content), None)
    command = get(command_key, dims) if command_key else None
    if not episodes:
        joint_pos, root_pos, root_quat = joint_pos[None], root_pos[None], root_quat[None]
        joint_vel, command = (None if array is None else array[None] for array in (joint_vel, command))
    if command is not None and command.shape[1] == joint_pos.shape[1] - 1:  # ours: T commands lead to T+1 frames
        command = np.concatenate([command, command[:, -1:]], axis=1)
    names = _joint_names(content, joint_pos.shape[-1])
    return [
        Clip(
            f"{path.stem}[{index}]",
            _number(content, "fps"),
            names,
            joint_pos[index],
            None if joint_vel is None else joint_vel[index],
            root_pos[index],
            root_quat[index],
            None if command is None else command[index],
        )
        for index in range(len(joint_pos))
    ]


def _read_original(path: Path, content: Mapping[str, np.ndarray]) -> Clip:
    get = _getter(content)
    joint_pos, rotations = get("dof_positions", 2), get("body_rotations", 3)
    bodies = [str(name) for name in content.get("body_names", [])]
    root = bodies.index("pelvis") if "pelvis" in bodies else 0
    fps = _number(content, "fps")
    if "body_positions" in content:
        root_pos = get("body_positions", 3)[:, root]
    else:
        root_pos = np.cumsum(get("body_linear_velocities", 3)[:, root], axis=0) / fps
    velocity = get("dof_velocities", 2) if "dof_velocities" in content else None
    names = _joint_names(content, joint_pos.shape[1])
    return Clip(path.stem, fps, names, joint_pos, velocity, root_pos, rotations[:, root])


def _joint_names(content: Mapping[str, np.ndarray], joints: int) -> tuple[str, ...]:
    """The file's own names; the G1's where it has none, or only numbers its joints."""
    names = next((content[key] for key in ("dof_names", "joint_names") if key in content), None)
    if names is None or all(str(name) == f"joint_{index}" for index, name in enumerate(names)):
        return names_for(joints)
    if len(names) != joints:
        raise Rejected(f"names {len(names)} joints and holds {joints}")
    return tuple(str(name) for name in names)


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
