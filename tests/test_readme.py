"""The README's Python runs as written."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_blocks_run_one_after_the_other():
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    names: dict = {}
    for block in blocks:
        exec(compile(block, README.name, "exec"), names)
    assert names["trajectory"].shape == (256, 101, 64)
    assert names["frames"].shape == (101, 256, 64)
    assert names["joint_pos"].shape == (100, 256, 29)
    assert names["reference"].joint_pos.shape == (50, 256, 29)
    assert names["bodies"]["body_positions"].shape == (16, 30, 3)
    assert names["ahead"].shape == (50, 256, 3, 29)
    assert names["frames_of"](names["model"], names["motion"], names["commands"]).shape == (256, 101, 64)
    assert len(names["state"].frames.sharding.device_set) == 8
