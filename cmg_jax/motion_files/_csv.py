"""CSV and other tables of numbers as text: which column is what, by its name before its place.

Written as LAFAN1 was retargeted to the G1: no header, a frame a line, at a rate that the file does not state.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._format import Format, Table, Writer, rate
from cmg_jax.motion_files._motion import Motion
from cmg_jax.motion_files._units import in_degrees
from cmg_jax.robot import G1, Robot, _rotation
from cmg_jax.robot._bodies import Progress
from cmg_jax.robot._g1 import g1_spelling, variants

ROOT_COLUMNS = 7
"""Root x y z and a quaternion, before the joints, in a table without a header."""

_ROOT = re.compile(r"^(root|base|pelvis|floating_base|free|torso|body)?_?(joint)?_?")
_POSITION = re.compile(r"^(pos|position|trans|translation|translate|t|p|loc|location)?_?([xyz])(_(m|cm|mm|w|world))?$")
_ROTATION = re.compile(
    r"^(rot|rotation|rotate|quat|quaternion|orientation|ori|orient|q|r|euler)_?([wxyz])(_deg|_rad)?$"
)
_EULER = {"roll": "x", "pitch": "y", "yaw": "z"}
_FRAME = ("", "frame", "frames", "index", "idx", "frame_index", "frame_idx", "frame_id", "frame_number", "step")
_NUMBERED = re.compile(r"^(joint|dof|j|q|dof_pos|joint_pos|qpos)_?\d+(_joint|_dof|_pos)?$")


def read(path: Path, robot: Robot = G1) -> Table:
    """The arrays of a table: root_pos, root_rot or (named, wxyz) root_quat, dof_pos, and dof_names, dof_vel and fps
    where it has them.

    Args:
      path: the file.
      robot: whose joints they are where the columns have no names.

    Raises:
      MotionFileError: it is no table of numbers, or the meaning of its columns is unknown.
    """
    header, table = _parse(_text(path))
    columns = _by_place(table, robot) if header is None else _by_name(header, table, robot)
    if (time := columns.pop("time", None)) is not None:
        columns["fps"] = rate(time)
    return Table(columns)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        raise MotionFileError("is no table of numbers: it is not text") from None


def _parse(text: str) -> tuple[list[str] | None, np.ndarray]:
    """The names in the header, None where there is none, and the numbers [rows, columns]."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line.strip("#,;\t ")]
    if not lines:
        raise MotionFileError("is no table of numbers: it holds no line with any")
    last = lines[-1][1]
    separator = next((mark for mark in (";", "\t", ",") if mark in last), None)
    rows = [(number, _cells(line, separator)) for number, line in lines]
    start = next((at for at, (_, cells) in enumerate(rows) if _number(cells[-1]) and _number(cells[0])), None)
    if start is None:
        raise MotionFileError(f"is no table of numbers: line {rows[0][0]} begins with {rows[0][1][0]!r}")
    header, body = [cells for _, cells in rows[:start]], [row for row in rows[start:] if not row[1][0].startswith("#")]
    width = len(body[0][1])
    for number, cells in body:
        if len(cells) != width:
            raise MotionFileError(
                f"is no table of numbers: line {number} has {len(cells)} columns, line {body[0][0]} {width}"
            )
    try:
        table = np.array([cells for _, cells in body], np.float64)
    except ValueError:
        number, cell = next((number, cell) for number, cells in body for cell in cells if not _number(cell))
        raise MotionFileError(f"is no table of numbers: line {number} holds {cell!r}") from None
    names = next((cells for cells in header[::-1] if len(cells) == width), None)
    if header and names is None:
        raise MotionFileError(f"its header has {len(header[-1])} names, its rows {width} columns")
    return names, table


def _cells(line: str, separator: str | None) -> list[str]:
    cells = [cell.strip().strip("\"'").strip() for cell in line.lstrip("# ").split(separator)]
    if separator is not None and len(cells) > 1 and cells[-1] == "":
        cells.pop()  # a separator at the end of the line
    if separator == ";" and "," in line:  # then the comma is the decimal mark
        cells = [cell.replace(",", ".") for cell in cells]
    return cells


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _by_place(table: np.ndarray, robot: Robot) -> dict[str, Any]:
    """The arrays of a table without a header: root position, root quaternion, joints; frame numbers or times may stand
    before them."""
    width, out = table.shape[1], {}
    known = {robot.num_joints, *map(len, variants(robot).values())}
    fits = [count for count in (0, 1, 2) if _is_rotation(table[:, count + 3 : count + 7]) and width > count + 7]
    fits += [count for count in (0, 1, 2) if width - ROOT_COLUMNS - count in known]
    leading = next((count for count in fits if (np.diff(table[:, :count], axis=0) > 0).all()), None)
    if leading is None:
        raise MotionFileError(
            f"has {width} columns; root position, root quaternion and {robot.num_joints} joints are "
            f"{ROOT_COLUMNS + robot.num_joints}; a header may name others"
        )
    for column in table.T[:leading]:
        if not _whole(column):
            out["time"] = column
    table = table[:, leading:]
    return out | {"root_pos": table[:, :3], "root_rot": table[:, 3:7], "dof_pos": table[:, 7:]}


def _whole(column: np.ndarray) -> bool:
    return bool((column == np.round(column)).all())


def _is_rotation(columns: np.ndarray) -> bool:
    return columns.shape[1] == 4 and bool((np.abs(np.linalg.norm(columns, axis=-1) - 1) < 0.1).all())


def _by_name(header: Sequence[str], table: np.ndarray, robot: Robot) -> dict[str, Any]:
    """The arrays of a table with a header."""
    if doubled := [name for at, name in enumerate(header) if name in header[:at]]:
        raise MotionFileError(f"names column {doubled[0]!r} twice")
    found: dict[str, dict[str, int]] = {"position": {}, "rotation": {}, "joint": {}, "velocity": {}, "other": {}}
    out: dict[str, Any] = {}
    for at, name in enumerate(header):
        kind, key = _meaning(name, robot)
        if kind == "time":
            out["time"] = table[:, at] * (1e-3 if key == "ms" else 1)
        elif kind != "frame":
            found[kind][key] = at
        elif not _whole(table[:, at]):
            out.setdefault("time", table[:, at])  # an index of times
    if set(found["position"]) != set("xyz"):
        raise MotionFileError(f"its header names no root position x y z ({', '.join(header[:8])} ...)")
    out["root_pos"] = table[:, [found["position"][axis] for axis in "xyz"]]
    axes = found["rotation"]
    if set(axes) == set("wxyz"):
        out["root_quat"] = table[:, [axes[axis] for axis in "wxyz"]]
    elif set(axes) == set("xyz"):
        out["root_euler"] = table[:, [axes[axis] for axis in "xyz"]]
    else:
        raise MotionFileError(
            f"its header names no root rotation w x y z, nor x y z of angles ({', '.join(header[:8])} ...)"
        )
    joints = found["joint"] or found["other"]
    if not joints:
        raise MotionFileError("its header names no joints")
    out["dof_pos"] = table[:, list(joints.values())]
    if not all(_NUMBERED.match(_plain(name)) for name in joints):
        out["dof_names"] = list(joints)
    if set(found["velocity"]) >= set(joints):
        out["dof_vel"] = table[:, [found["velocity"][name] for name in joints]]
    if found["joint"] and found["other"]:
        out["not_read"] = list(found["other"])
    if "root_euler" in out:
        out["root_quat"] = _from_euler(out.pop("root_euler"), out["dof_pos"])
    return out


def _meaning(name: str, robot: Robot) -> tuple[str, str]:
    """What kind of quantity a column of this name holds, and of which joint or axis."""
    plain = _plain(name)
    if plain in _FRAME or plain.startswith("unnamed"):
        return "frame", ""
    if plain == "t" or plain.startswith(("time", "sec")):
        return "time", "ms" if plain.endswith(("ms", "msec", "milliseconds")) else ""
    (joint,) = g1_spelling([re.sub(r"_(vel|velocity|speed)$|^(dof|joint)_?vel_", "", plain)])
    if joint in robot.joint_names:
        return ("velocity" if re.search(r"vel|speed", plain) else "joint"), joint
    rest = _ROOT.sub("", plain)
    if match := _POSITION.match(rest):
        return "position", match[2]
    if match := _ROTATION.match(rest):
        return "rotation", match[2]
    if rest in _EULER:
        return "rotation", _EULER[rest]
    return "other", name


def _plain(name: str) -> str:
    """root_translateX -> root_translate_x"""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _from_euler(angles: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
    """Quaternions wxyz of rotations about the fixed axes x, then y, then z, by angles in the unit of the joints."""
    if in_degrees(joint_pos) or np.abs(angles).max() > 2 * np.pi:
        angles = np.radians(angles)
    half = angles / 2
    zero = np.zeros(len(half))
    x, y, z = (
        np.stack([np.cos(half[:, axis]), *(np.sin(half[:, axis]) if axis == other else zero for other in range(3))], -1)
        for axis in range(3)
    )
    return _rotation.multiply(z, _rotation.multiply(y, x))


def write(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """Write root x y z [m], root quaternion x y z w and the joints [rad], for 29 joints 36 columns."""
    rows = np.concatenate([motion.root_pos, motion.root_quat[:, [1, 2, 3, 0]], motion.joint_pos], axis=-1)
    with atomic_path(path) as partial:
        np.savetxt(partial, rows, fmt="%.7g", delimiter=",")


CSV_NAMED = Format(
    "LAFAN1-style CSV",
    ("dof_pos",),
    ("root_pos",),
    ("root_quat",),
    joint_vel=("dof_vel",),
    is_table=True,
    quaternion_by="names",
)
CSV = dataclasses.replace(
    CSV_NAMED,
    root_quat=("root_rot",),
    quaternion_order="xyzw",
    quaternion_by="format",
    writers={"csv": Writer(".csv", write)},
)
