"""Numbers in motion files: rates, times and units as programs write them, and invalid ones."""

import pickle

import numpy as np
import pytest

from cmg_jax import motion_files
from cmg_jax.cli.main import main
from cmg_jax.motion_files import MotionFileError, _check, _inspection
from tests.conftest import refused_line
from tests.data_tools import strides

FRAMES = 150


@pytest.fixture(scope="module")
def clip():
    return strides()


@pytest.fixture(scope="module")
def content(clip):
    root = {"root_pos": clip.root_pos, "root_rot": clip.root_quat[:, [1, 2, 3, 0]]}
    return {"fps": 50.0, **root, "dof_pos": clip.joint_pos}


def save(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


RATES = {
    "a number for each frame": np.full(FRAMES, 50.0),
    "a number in an array": np.array([[50]]),
    "a text": "50",
}
TIMES = {
    "seconds since 1970": 1.7e9 + np.arange(FRAMES) / 50,
    "nanoseconds since 1970": 1_700_000_000_000_000_000 + np.arange(FRAMES) * 20_000_000,
}


@pytest.mark.parametrize("rate", [*RATES, *TIMES])
def test_rates_and_times_as_programs_write_them(rate, clip, content, tmp_path):
    stated = {"fps": RATES[rate]} if rate in RATES else {"fps": None, "timestamps": TIMES[rate]}
    arrays = {key: value for key, value in {**content, **stated}.items() if value is not None}
    np.savez(tmp_path / "walk.npz", **arrays)
    (found,) = motion_files.read(tmp_path / "walk.npz").clips
    assert found.fps == 50
    np.testing.assert_allclose(found.joint_pos, clip.joint_pos, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": np.inf}, "fps is inf, which is not a plausible rate; state it with --assume fps=50"),
        ({"fps": np.nan}, "fps is nan, which is not a plausible rate"),
        ({"fps": 10**400}, "fps is not a number"),
        ({"fps": [30.0, 50.0]}, "fps is 30 .. 50, which is not a plausible rate"),
        ({"fps": {"value": 50}}, "fps is not a number"),
        ({"dof_pos": [[10**400] * 29] * FRAMES}, "dof_pos is not an array of numbers"),
        ({"dof_pos": np.zeros((FRAMES, 29), complex)}, "dof_pos holds complex numbers"),
    ],
)
def test_invalid_numbers_are_refused_in_one_line(change, words, content, tmp_path, capsys):
    good, bad = save(tmp_path / "good.pkl", content), tmp_path / "bad.npz"
    if any(isinstance(value, np.ndarray) for value in change.values()):
        np.savez(bad, **{**content, **change})
    else:
        bad = save(tmp_path / "bad.pkl", {**content, **change})
    for command in (["inspect"], ["view", "--motion"]):
        assert words in refused_line(capsys, *command, bad)
    assert main(["data", str(good), str(bad), "--out", str(tmp_path / "set.npz")]) == 0
    assert words in capsys.readouterr().out


def test_motions_and_frames_in_other_containers(clip, content, tmp_path):
    frames = [{key: value[index] for key, value in content.items() if key != "fps"} for index in range(FRAMES)]
    written = {
        "an array of a dictionary": np.array({"walk": content}, object),
        "an array of motions": np.array([content, content], object),
        "a tuple of motions": (content,),
        "frames": [{**frame, "fps": 50} for frame in frames],
        "frames in another motion's place": {"fps": 50, "walk": {key: np.array(content[key]) for key in frames[0]}},
    }
    for name, value in written.items():
        for found in motion_files.read(save(tmp_path / "walk.pkl", value)).clips:
            np.testing.assert_allclose(found.joint_pos, clip.joint_pos, atol=1e-6, err_msg=name)
            assert found.fps == 50
    with pytest.raises(MotionFileError, match=r"holds a int, not a dictionary of arrays: write one such as \{'fps'"):
        motion_files.read(save(tmp_path / "walk.pkl", 3))


def test_a_root_whose_height_is_its_y_is_questioned(clip, content, tmp_path):
    def units(root_pos):
        checks = _inspection.inspect(save(tmp_path / "walk.pkl", {**content, "root_pos": root_pos})).checks
        return next(check for check in checks if check.name == "units")

    assert units(clip.root_pos).verdict == _check.OK
    for turned in (clip.root_pos[:, [0, 2, 1]], clip.root_pos[:, [0, 2, 1]] * [1, -1, 1]):
        assert units(turned).verdict == _check.ASK
        assert "its y seems to be the root's height, where z is expected" in units(turned).reason
    upstairs = units(clip.root_pos + np.array([0, 0, 2]))
    assert upstairs.verdict == _check.OK
    assert "the soles are 2.0" in upstairs.reason


def test_a_file_that_is_named_twice_is_read_once(content, tmp_path, capsys):
    path = save(tmp_path / "walk.pkl", content)
    assert main(["data", str(path), str(tmp_path), "--out", str(tmp_path / "set.npz")]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\nwalk ") == 1
    assert "warning: 1 of the 2 files are named twice, and read once" in captured.err
