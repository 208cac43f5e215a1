"""How many joints the frame of a checkpoint has, and which."""

import pytest

from cmg_jax import InputError
from cmg_jax.robot._g1 import G1_29_JOINTS, ROBOTS
from converters import _joint_names


def test_only_29_joints_are_taken_for_those_of_the_g1_and_that_is_said():
    names, origin = _joint_names.choose(58, None, {})
    assert names == G1_29_JOINTS
    assert "taken as the G1's 29" in origin
    with pytest.raises(InputError, match="--joint-names g1-23-no-wrists or g1-23 or their names"):
        _joint_names.choose(46, None, {})
    with pytest.raises(InputError, match="--joint-names g1-27 or"):
        _joint_names.choose(54, None, {})
    assert _joint_names.choose(46, _joint_names.parse("g1-23"), {})[0] == ROBOTS["g1-23"]
    spelled = [name.removesuffix("_joint") for name in reversed(G1_29_JOINTS)]
    assert _joint_names.choose(58, None, {"a": {"joint_names": spelled}})[0] == G1_29_JOINTS[::-1]


def test_the_number_of_joints_says_whether_a_frame_has_a_root():
    """64 numbers are 29 joints with a root channel, or 32 without."""
    assert _joint_names.choose(64, G1_29_JOINTS)[0] == G1_29_JOINTS
    assert _joint_names.choose(64, None, {"joint_names": list(G1_29_JOINTS)})[0] == G1_29_JOINTS
    names, origin = _joint_names.choose(64, None, {}, stated=29)
    assert names == G1_29_JOINTS
    assert "taken as the G1's 29" in origin
    wheels = tuple(f"wheel_{index}" for index in range(32))
    assert _joint_names.choose(64, wheels)[0] == wheels
    for names, stated, words in (
        (None, None, "of 32 joints, or with a root channel of 29 joints, and nothing names them; .*-names g1-29 or"),
        (None, 32, "of 32 joints, and nothing names them; pass --joint-names their names"),
        (wheels[:30], None, "a frame of 64 numbers does not add up: 30 joint positions"),
    ):
        with pytest.raises(InputError, match=words):
            _joint_names.choose(64, names, {}, stated=stated)
    with pytest.raises(InputError, match="32 joints are named, as the file names them, but its stats state 29"):
        _joint_names.choose(64, None, {"joint_names": wheels}, stated=29)
    assert _joint_names.choose(64, G1_29_JOINTS, {}, stated=32)[0] == G1_29_JOINTS, "the user knows better"
