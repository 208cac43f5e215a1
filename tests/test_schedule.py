import numpy as np
import pytest

from cmg_jax import InputError
from cmg_jax.commands import _schedule


def test_one_command_is_held():
    commands = _schedule.hold_each([[0.5, -0.1, 0.2]], seconds=2, fps=50)
    assert commands.shape == (100, 3)
    assert commands.dtype == np.float32
    np.testing.assert_allclose(commands, np.tile([0.5, -0.1, 0.2], (100, 1)), atol=1e-7)


def test_several_commands_share_the_time_and_change_over_half_a_second():
    commands = _schedule.hold_each([[0.0, 0, 0], [1.0, 0, 0], [1.0, 0, -1.0]], seconds=6, fps=50)
    assert commands.shape == (300, 3)
    np.testing.assert_allclose(commands[:101, 0], 0, atol=1e-6)
    np.testing.assert_allclose(commands[100:126, 0], np.linspace(0, 1, 26), atol=1e-6)
    np.testing.assert_allclose(commands[125:, 0], 1, atol=1e-6)
    np.testing.assert_allclose(commands[200:226, 2], np.linspace(0, -1, 26), atol=1e-6)
    assert np.abs(np.diff(commands, axis=0)).max() <= 1 / 25 + 1e-6


def test_a_ramp_is_never_longer_than_its_command():
    commands = _schedule.hold_each([[0.0, 0, 0], [1.0, 0, 0], [0.0, 0, 0]], seconds=0.3, fps=50)
    np.testing.assert_allclose(commands[:, 0], [0] * 6 + [0.2, 0.4, 0.6, 0.8] + [1, 0.8, 0.6, 0.4, 0.2], atol=1e-6)


def test_a_file_is_joined_by_straight_lines(tmp_path):
    path = tmp_path / "drive.csv"
    path.write_text("time,vx,vy,yaw\n# a comment\n1, 0.5, 0, 0\n\n2, 1.0, 0.2, -0.4\n")
    times, values = _schedule.read_schedule(path)
    commands = _schedule.interpolate(times, values, seconds=3, fps=10)
    np.testing.assert_allclose(commands[:11, 0], 0.5, atol=1e-6)
    np.testing.assert_allclose(commands[15], [0.75, 0.1, -0.2], atol=1e-6)
    np.testing.assert_allclose(commands[20:], np.tile([1.0, 0.2, -0.4], (10, 1)), atol=1e-6)


@pytest.mark.parametrize("head", ["\ufeff", "# drive 7\ntime,vx,vy,yaw\n", "\ufefftime,vx,vy,yaw\n"])
def test_no_line_is_lost_after_a_byte_order_mark_or_a_header(tmp_path, head):
    path = tmp_path / "drive.csv"
    path.write_text(head + "0,0.5,0,0\n1,1,0,0\n", encoding="utf-8")
    times, values = _schedule.read_schedule(path)
    np.testing.assert_array_equal(times, [0, 1])
    np.testing.assert_array_equal(values[:, 0], [0.5, 1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no lines"),
        ("time,vx,vy,yaw\n", "holds no lines"),
        ("0,O.5,0,0\n1,1,0,0\n", ":1: '0,O.5,0,0'"),
        ("0,1,2\n", ":1: 3 numbers, not 4"),
        ("0,1,2,3\n1,x,0,0\n", ":2: '1,x,0,0'"),
        ("0,1,2,3\n1,nan,0,0\n", ":2: '1,nan,0,0' is not finite"),
        ("0,1,2,3\n2,1,2,3\n1,1,2,3\n", ":3: time 1 does not come after 2"),
        ("a,b,c,d\ne,f,g,h\n", ":2: 'e,f,g,h'"),
    ],
)
def test_a_bad_file_names_its_line(tmp_path, text, words):
    path = tmp_path / "drive.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        _schedule.read_schedule(path)


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "drive.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        _schedule.read_schedule(path)
