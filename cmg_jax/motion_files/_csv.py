"""CSV and other text tables. A column is identified by its name, or by its position if it has none.

Files are written like LAFAN1 retargeted to the G1: no header, one frame per line, and no frame rate.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
_ROOT_BODIES = ("root", "pelvis", "floating", "base", "free", "", "body", "torso")
"""Bodies whose columns may be the root's, the most likely first; the empty name is for columns without one."""
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_POSITION = re.compile(r"^(pos|position|trans|translation|translate|t|p|loc|location)?_?([xyz])(_(m|cm|mm|w|world))?$")
_ROTATION = re.compile(
    r"^(rot|rotation|rotate|quat|quaternion|orientation|ori|orient|q|r|euler)_?([wxyz])(_deg|_degrees|_rad)?$"
)
_EULER = {"roll": "x", "pitch": "y", "yaw": "z"}
_FRAME = ("", "frame", "frames", "index", "idx", "frame_index", "frame_idx", "frame_id", "frame_number", "step")
_NUMBERED = re.compile(r"^(joint|dof|j|q|dof_pos|joint_pos|qpos)_?\d+(_joint|_dof|_pos)?$")


def read(path: Path, robot: Robot = G1) -> Table:
    """The arrays of a table: root_pos, root_rot or (named, wxyz) root_quat, dof_pos, and dof_names, dof_vel and fps
    if the table has them.

    Args:
      path: the file.
      robot: the robot of the joints if the columns have no names.

    Raises:
      MotionFileError: it is not a table of numbers, or the meaning of its columns is unknown.
    """
    header, table = _parse(_text(path))
    columns = _by_place(table, robot) if header is None else _by_name(header, table, robot)
    if (time := columns.pop("time", None)) is not None:
        columns["fps"] = rate(time)
    return Table(columns)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    is_wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        if is_wide or not _CONTROL.search(raw):
            return raw.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        if not is_wide:
            return raw.decode("cp1252", errors="replace")  # as older programs write it
    raise MotionFileError("is not a table of numbers: it is not text")


def _parse(text: str) -> tuple[list[str] | None, np.ndarray]:
    """The names in the header, None without one, and the numbers [rows, columns].

    Lines that begin with # are comments; one before the numbers may hold the column names.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line.strip("#,;\t ")]
    written = [line for _, line in lines if not line.startswith("#")]
    if not written:
        raise MotionFileError("is not a table of numbers: it holds no numbers")
    separator = next((mark for mark in (";", "\t", ",") if mark in written[-1]), None)
    rows = [(number, line.startswith("#"), _cells(line, separator)) for number, line in lines]
    numbers = (at for at, (_, comment, cells) in enumerate(rows) if not comment and _number(cells[-1]))
    start = next((at for at in numbers if _number(rows[at][2][0])), None)
    if start is None:
        number, cells = next((number, cells) for number, comment, cells in rows if not comment)
        raise MotionFileError(f"is not a table of numbers: line {number} begins with {cells[0]!r}")
    body = [(number, cells) for number, comment, cells in rows[start:] if not comment]
    width = len(body[0][1])
    for number, cells in body:
        if len(cells) != width:
            raise MotionFileError(
                f"is not a table of numbers: line {number} has {len(cells)} columns, line {body[0][0]} {width}"
            )
    try:
        table = np.array([cells for _, cells in body], np.float64)
    except ValueError:
        number, cell = next((number, cell) for number, cells in body for cell in cells if not _number(cell))
        raise MotionFileError(f"is not a table of numbers: line {number} holds {cell!r}") from None
    names = [cells for _, _, cells in rows[:start] if len(cells) == width and not all(map(_number, cells))]
    header = [cells for _, comment, cells in rows[:start] if not comment]
    if header and not names:
        raise MotionFileError(f"its header has {len(header[-1])} names, its rows {width} columns")
    return names[-1] if names else None, table


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
    """The arrays of a table without a header: root position, root quaternion, joints; frame numbers or times may come
    first."""
    width, out = table.shape[1], {}
    known = {robot.num_joints, *map(len, variants(robot).values())}
    fits = [count for count in (0, 1, 2) if _is_rotation(table[:, count + 3 : count + 7]) and width > count + 7]
    fits += [count for count in (0, 1, 2) if width - ROOT_COLUMNS - count in known]
    leading = next((count for count in fits if (np.diff(table[:, :count], axis=0) > 0).all()), None)
    if leading is None:
        raise MotionFileError(
            f"has {width} columns; root position, root quaternion and {robot.num_joints} joints are "
            f"{ROOT_COLUMNS + robot.num_joints}; other columns need a header"
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
    table = table * [_unit(name) for name in header]
    joints: dict[str, dict[str, int]] = {"joint": {}, "velocity": {}, "other": {}}
    roots: list[_Root] = []
    out: dict[str, Any] = {}
    for at, name in enumerate(header):
        kind, key = _meaning(name, robot)
        if kind == "time":
            out["time"] = table[:, at] * (1e-3 if key == "ms" else 1)
        elif kind in ("position", "rotation"):
            roots.append(_Root(kind, key, _plain(name), at))
        elif kind != "frame":
            joints[kind][key] = at
        elif not _whole(table[:, at]):
            out.setdefault("time", table[:, at])  # an index of times
    unread: list[int] = []
    position = _root_columns(roots, "position", ("xyz",), header, unread)
    if position is None:
        raise MotionFileError(f"its header names no root position x y z ({', '.join(header[:8])} ...)")
    out["root_pos"] = table[:, position]
    rotation = _root_columns(roots, "rotation", ("wxyz", "xyz"), header, unread)
    if rotation is None:
        raise MotionFileError(
            f"its header names no root rotation w x y z, nor x y z of angles ({', '.join(header[:8])} ...)"
        )
    columns = joints["joint"] or _by_number(joints["other"])
    if not columns:
        raise MotionFileError("its header names no joints")
    out["dof_pos"] = table[:, list(columns.values())]
    if not all(_NUMBERED.match(_plain(name)) for name in columns):
        out["dof_names"] = list(columns)
    if set(joints["velocity"]) >= set(columns):
        out["dof_vel"] = table[:, [joints["velocity"][name] for name in columns]]
    if joints["joint"]:
        unread += joints["other"].values()
    if unread:
        out["not_read"] = [header[at] for at in unread]
    if len(rotation) == 4:
        out["root_quat"] = table[:, rotation]
    else:
        stated = all(re.search("_(deg|degrees|rad)$", _plain(header[at])) for at in rotation)
        out["root_quat"] = _from_euler(table[:, rotation], out["dof_pos"], stated)
    return out


class _Root(NamedTuple):
    """A column of the position or rotation of a body."""

    kind: str
    axis: str
    plain: str
    at: int

    @property
    def of(self) -> str:
        """The part of the name that all columns of one position or rotation share."""
        stem = re.sub("_(m|cm|mm|w|world|deg|degrees|rad)$", "", self.plain)
        return re.sub("_?(roll|pitch|yaw)$", "_angles", stem) if stem.endswith(tuple(_EULER)) else stem[:-1]

    @property
    def rank(self) -> int:
        """Rank of the column's body: those of the root come first."""
        words = self.plain.split("_")
        return next((at for at, word in enumerate(_ROOT_BODIES) if word == words[0]), len(_ROOT_BODIES) - 2)


def _root_columns(
    roots: Sequence[_Root], kind: str, axes: Sequence[str], header: Sequence[str], unread: list[int]
) -> list[int] | None:
    """The columns of the position or rotation of the root, in the order of the axes; None if they are incomplete.

    Those of other bodies are added to `unread`.

    Raises:
      MotionFileError: several could be those of the root.
    """
    groups: dict[str, list[_Root]] = {}
    for column in roots:
        if column.kind == kind:
            groups.setdefault(column.of, []).append(column)
    complete: list[tuple[int, int, list[_Root]]] = []
    for columns in [*groups.values(), [column for group in groups.values() for column in group]]:
        letters = sorted(column.axis for column in columns)
        order = next((each for each in axes if sorted(each) == letters), None)
        if order is not None and not any(set(columns) <= set(found) for *_, found in complete):
            by_axis = {column.axis: column for column in columns}
            complete.append((columns[0].rank, axes.index(order), [by_axis[axis] for axis in order]))
    if not complete:
        return None
    complete.sort(key=lambda each: each[:2])
    best = complete[0]
    if len(complete) > 1 and complete[1][:2] == best[:2]:
        first, second = (header[found[0].at] for *_, found in complete[:2])
        raise MotionFileError(f"names two {kind}s of the root: those of {first} and of {second}")
    unread += [column.at for column in roots if column.kind == kind and column not in best[2]]
    return [column.at for column in best[2]]


def _by_number(columns: dict[str, int]) -> dict[str, int]:
    """Columns in the order of the numbers in their names, if all have one."""
    numbered = {name: _NUMBERED.match(_plain(name)) for name in columns}
    if not all(numbered.values()):
        return columns
    return dict(sorted(columns.items(), key=lambda each: int(re.sub(r"\D", "", _plain(each[0])))))


def _unit(name: str) -> float:
    """Factor to radians or metres of the unit at the end of a column's name."""
    plain = _plain(name)
    units = {"_deg": np.radians(1.0), "_degrees": np.radians(1.0), "_cm": 0.01, "_mm": 0.001}
    return next((factor for end, factor in units.items() if plain.endswith(end)), 1.0)


def _meaning(name: str, robot: Robot) -> tuple[str, str]:
    """The quantity that a column with this name holds, and its joint or axis."""
    plain = _plain(name)
    if plain in _FRAME or plain.startswith("unnamed"):
        return "frame", ""
    if plain == "t" or plain.startswith(("time", "sec")):
        return "time", "ms" if plain.endswith(("ms", "msec", "milliseconds")) else ""
    (joint,) = g1_spelling(
        [re.sub(r"_(vel|velocity|speed)$|^(dof|joint)_?vel_", "", re.sub("_(deg|degrees|rad)$", "", plain))]
    )
    if joint in robot.joint_names:
        return ("velocity" if re.search(r"vel|speed", plain) else "joint"), joint
    rest = _ROOT.sub("", plain)
    if match := _POSITION.match(rest):
        return "position", match[2]
    if match := _ROTATION.match(rest):
        return "rotation", match[2]
    rest = re.sub("_(deg|degrees|rad)$", "", rest)
    if rest in _EULER:
        return "rotation", _EULER[rest]
    return "other", name


def _plain(name: str) -> str:
    """root_translateX -> root_translate_x"""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _from_euler(angles: np.ndarray, joint_pos: np.ndarray, stated: bool) -> np.ndarray:
    """Quaternions wxyz of rotations about the fixed axes x, then y, then z, in the joints' unit unless `stated`."""
    if not stated and (in_degrees(joint_pos) or np.abs(angles).max() > 2 * np.pi):
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
