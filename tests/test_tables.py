# pyright: reportArgumentType=false, reportCallIssue=false
"""Motion as text tables, with any separator, column names and leading lines."""

import numpy as np
import pytest

from cmg_jax import motion_files
from cmg_jax.motion_files import Assume, MotionFileError
from cmg_jax.robot import _rotation
from cmg_jax.robot._g1 import G1_29_JOINTS
from tests.data_tools import strides

ROOT = ["root_x", "root_y", "root_z", "root_qx", "root_qy", "root_qz", "root_qw"]
HEADER = [*ROOT, *G1_29_JOINTS]
TIME = np.arange(150)[:, None] / 50


@pytest.fixture(scope="module")
def clip():
    return strides()


@pytest.fixture(scope="module")
def table(clip):
    return np.hstack([clip.root_pos, clip.root_quat[:, [1, 2, 3, 0]], clip.joint_pos])


def text(table, header=None, separator=",", end="\n", tail="", decimal="."):
    rows = [separator.join(f"{value:.7g}".replace(".", decimal) for value in row) + tail for row in table]
    return end.join([*([separator.join(header) + tail] if header else []), *rows]) + end


def read(path, content, **assume):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return motion_files.read(path, Assume(**assume))


def assert_same(found, clip):
    assert found.joint_names == clip.joint_names
    for field in ("joint_pos", "root_pos"):
        np.testing.assert_allclose(getattr(found, field), getattr(clip, field), atol=2e-6)
    np.testing.assert_allclose(np.abs((found.root_quat * clip.root_quat).sum(axis=-1)), 1, atol=1e-6)


WRITTEN = {
    "plain": lambda table: text(table),
    "a separator at the end": lambda table: text(table, tail=","),
    "a header": lambda table: text(table, HEADER),
    "a byte-order mark": lambda table: text(table, HEADER).encode("utf-8-sig"),
    "UTF-16": lambda table: text(table, HEADER).encode("utf-16"),
    "a header in a comment": lambda table: "# " + text(table, HEADER),
    "quoted names, lines of Windows": lambda table: text(table, [f'"{name}"' for name in HEADER], end="\r\n"),
    "semicolons and decimal commas": lambda table: text(table, separator=";", decimal=","),
    "tabs": lambda table: text(table, separator="\t"),
    "spaces": lambda table: text(table, separator="  "),
    "frame numbers": lambda table: text(np.hstack([np.arange(150)[:, None], table])),
    "names of another style": lambda table: text(
        table,
        ["baseX", "baseY", "baseZ", "quatX", "quatY", "quatZ", "quatW"]
        + [name.removesuffix("_joint").title().replace("_", "") for name in G1_29_JOINTS],
    ),
    "numbers for names": lambda table: text(table, [*ROOT, *(f"joint_{index}" for index in range(29))]),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_table_is_read_in_any_dialect(how, clip, table, tmp_path):
    reading = read(tmp_path / "walk.CSV", WRITTEN[how](table))
    assert_same(reading.clips[0], clip)
    assert reading.clips[0].fps == 30
    words = "read at 30 frames per second, because the file does not state a rate"
    assert any(note.text.startswith(words) for note in reading.notes)


TIMES = {
    "seconds": lambda table: text(np.hstack([TIME, table])),
    "frames and seconds": lambda table: text(np.hstack([50 * TIME, TIME, table])),
    "milliseconds": lambda table: text(np.hstack([1000 * TIME, table]), ["time_ms", *HEADER]),
    "nanoseconds": lambda table: text(np.hstack([2e7 * np.arange(150)[:, None], table]), ["timestamp", *HEADER]),
}


@pytest.mark.parametrize("unit", TIMES)
def test_times_determine_the_rate(unit, clip, table, tmp_path):
    reading = read(tmp_path / "walk.csv", TIMES[unit](table))
    assert_same(reading.clips[0], clip)
    assert reading.clips[0].fps == 50
    assert not reading.notes


def test_names_take_precedence_over_positions(clip, table, tmp_path):
    order = np.random.default_rng(0).permutation(36)
    names = [HEADER[index] for index in order]
    (found,) = read(tmp_path / "walk.csv", text(table[:, order], names)).clips
    np.testing.assert_allclose(
        found.joint_pos, clip.joint_pos[:, [G1_29_JOINTS.index(name) for name in found.joint_names]], atol=1e-6
    )
    wxyz = np.hstack([table[:, :3], table[:, [6, 3, 4, 5]], table[:, 7:]])
    header = ["root_pos_x", "root_pos_y", "root_pos_z", "root_rot_w", "root_rot_x", "root_rot_y", "root_rot_z"]
    reading = read(tmp_path / "walk.csv", text(wxyz, [*header, *G1_29_JOINTS]))
    assert_same(reading.clips[0], clip)
    assert [note.check for note in reading.notes] == ["fps"], "nothing may be corrected"


def test_columns_that_are_not_joints_are_left_out_and_reported(clip, table, tmp_path):
    contacts = np.zeros((150, 2))
    header = [*HEADER, "left_contact", "right_contact"]
    reading = read(tmp_path / "walk.csv", text(np.hstack([table, contacts]), header))
    assert_same(reading.clips[0], clip)
    assert "columns that are not read: left_contact, right_contact" in [note.text for note in reading.notes]


def test_an_unnamed_index_of_fractions_is_a_time(clip, table, tmp_path):
    (found,) = read(tmp_path / "walk.csv", text(np.hstack([TIME, table]), ["", *HEADER])).clips
    assert_same(found, clip)
    assert found.fps == 50


def test_velocities_are_read_beside_their_joints(clip, table, tmp_path):
    velocity = np.gradient(clip.joint_pos, 1 / 50, axis=0)
    names = ["t", *HEADER, *(name.replace("_joint", "_vel") for name in G1_29_JOINTS)]
    (found,) = read(tmp_path / "walk.csv", text(np.hstack([TIME, table, velocity]), names)).clips
    np.testing.assert_allclose(found.joint_vel, velocity, atol=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("cm", 100), ("mm", 1000)])
def test_units_are_corrected_and_reported(unit, factor, clip, table, tmp_path):
    scaled = table * np.array([factor] * 3 + [1] * 4 + [np.degrees(1)] * 29)
    reading = read(tmp_path / "walk.csv", text(scaled))
    assert_same(reading.clips[0], clip)
    assert {note.text for note in reading.notes if note.wrong} == {
        "joint angles in degrees, converted to radians",
        f"positions in {unit}, converted to metres",
    }
    only_far = table * np.array([factor] * 3 + [1] * 33)
    (kept,) = read(tmp_path / "walk.csv", text(only_far), lengths="m", csv_fps=50.0).clips
    np.testing.assert_allclose(kept.root_pos, clip.root_pos * factor, rtol=1e-5, atol=1e-4)


def test_a_root_in_angles(clip, table, tmp_path):
    """Like the G1 motions of BONES-SEED: centimetres, degrees, and rotations about fixed axes."""
    angles = np.array([[0.05, -0.1, 0.4]]) * np.sin(TIME)
    half = angles / 2
    zero = np.zeros(len(half))
    x = np.stack([np.cos(half[:, 0]), np.sin(half[:, 0]), zero, zero], axis=-1)
    y = np.stack([np.cos(half[:, 1]), zero, np.sin(half[:, 1]), zero], axis=-1)
    z = np.stack([np.cos(half[:, 2]), zero, zero, np.sin(half[:, 2])], axis=-1)
    names = ["Frame", *(f"root_{what}{axis}" for what in ("translate", "rotate") for axis in "XYZ")]
    rows = np.hstack([50 * TIME, clip.root_pos * 100, np.degrees(angles), np.degrees(clip.joint_pos)])
    (found,) = read(tmp_path / "walk.csv", text(rows, names + [f"{name}_dof" for name in G1_29_JOINTS])).clips
    assert_same(found, clip._replace(root_quat=_rotation.multiply(z, _rotation.multiply(y, x))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [*lines[:3], lines[3] + ",1", *lines[4:]], "line 4 has 37 columns, line 1 36"),
        (lambda lines: [lines[0], "x" + lines[1], *lines[2:]], "line 2 holds 'x"),
        (
            lambda lines: [line.rsplit(",", 3)[0] for line in lines],
            "26 joints without names; name them with --joint-names",
        ),
        (lambda lines: [",".join(HEADER[:30]), *lines], "its header has 30 names, its rows 36 columns"),
        (lambda lines: [",".join(["a"] * 36), *lines], "names column 'a' twice"),
        (lambda lines: [",".join(["time", *HEADER]), *(f"{n**2}," + line for n, line in enumerate(lines))], "not even"),
        (lambda _: ["name,value", "x,y"], "not a table of numbers"),
    ],
)
def test_the_error_of_a_table_names_the_line(change, words, table, tmp_path):
    with pytest.raises(MotionFileError, match=words):
        read(tmp_path / "walk.csv", "\n".join(change(text(table).splitlines())))


def test_numbered_columns_are_read_by_their_numbers(clip, table, tmp_path):
    order = sorted(range(29), key=str)  # as programs sort names: 0, 1, 10, 11, ...
    names = [*ROOT, *(f"dof_{index}" for index in order)]
    (found,) = read(tmp_path / "walk.csv", text(table[:, [*range(7), *(7 + index for index in order)]], names)).clips
    assert_same(found, clip)


OTHER_BODIES = {
    "base_x base_y base_z": lambda table: table[:, :3] * 0,
    "torso_pos_x torso_pos_y torso_pos_z": lambda table: table[:, :3] + 0.3,
    "torso_qx torso_qy torso_qz torso_qw": lambda table: table[::-1, 3:7],
    "root_roll root_pitch root_yaw": lambda table: table[:, 3:6],
}


@pytest.mark.parametrize("names", OTHER_BODIES)
@pytest.mark.parametrize("first", [True, False])
def test_a_second_position_or_rotation_is_not_the_root(names, first, clip, table, tmp_path):
    blocks = [(HEADER, table), (names.split(), OTHER_BODIES[names](table))][:: -1 if first else 1]
    header = [name for block, _ in blocks for name in block]
    reading = read(tmp_path / "walk.csv", text(np.hstack([rows for _, rows in blocks]), header))
    assert_same(reading.clips[0], clip)
    assert f"columns that are not read: {', '.join(names.split())}" in [note.text for note in reading.notes]


def test_two_positions_of_the_root_are_refused(table, tmp_path):
    header = [*HEADER, "root_pos_x", "root_pos_y", "root_pos_z"]
    with pytest.raises(MotionFileError, match="names two positions of the root: those of root_x and of root_pos_x"):
        read(tmp_path / "walk.csv", text(np.hstack([table, table[:, :3]]), header))


@pytest.mark.parametrize("header", [None, HEADER])
def test_comments_are_skipped_in_any_place(header, clip, table, tmp_path):
    lines = text(table, header).splitlines()
    row = "# " + ",".join(["0.5"] * 36)
    comments = ["# 50", "# a walk, 50 fps", row]
    lines = [*comments, *lines[:60], *comments, *lines[60:], *comments]
    assert_same(read(tmp_path / "walk.csv", "\n".join(lines)).clips[0], clip)
    latin = "\n".join(["# Bewegung für G1", *lines]).encode("latin-1")
    assert_same(read(tmp_path / "walk.csv", latin).clips[0], clip)


def test_a_table_of_bytes_is_not_text(tmp_path):
    with pytest.raises(MotionFileError, match="it is not text"):
        read(tmp_path / "walk.csv", bytes([2, 80]) + bytes(510))


@pytest.mark.parametrize("joints", ["", "_deg"])
@pytest.mark.parametrize("names", [["roll", "pitch", "yaw"], ["root_rx", "root_ry", "root_rz"]])
def test_a_unit_in_the_name_of_a_column_is_used(names, joints, clip, table, tmp_path):
    """Angles of a few degrees, which do not exceed 2 pi and could be radians."""
    angles = np.array([[0.01, -0.02, 0.05]]) * np.sin(TIME)
    rows = np.hstack([table[:, :3] * 100, np.degrees(angles), table[:, 7:] * (np.degrees(1) if joints else 1)])
    header = ["root_x_cm", "root_y_cm", "root_z_cm", *(f"{name}_deg" for name in names)]
    (found,) = read(tmp_path / "walk.csv", text(rows, [*header, *(name + joints for name in G1_29_JOINTS)])).clips
    np.testing.assert_allclose(2 * found.root_quat[:, 3], angles[:, 2], atol=1e-3)
    assert_same(found, clip._replace(root_quat=found.root_quat))
