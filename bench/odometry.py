"""Odometry of the feet in recorded rollouts: how close it is to the true root, and the robot to its commands.

python -m bench.odometry ROLLOUTS.npz
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from cmg_jax import motion_files
from cmg_jax.motion_files import _clips
from cmg_jax.robot import _odometry

STRIDE = 0.6  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rollouts", type=Path)
    rows = []
    for clip in motion_files.read(parser.parse_args().rollouts).clips:
        assert clip.command is not None
        feet = np.asarray(_odometry.stance_velocity(clip.joint_pos, clip.robot, clip.fps))
        root = _clips.yaw_frame_velocity(clip, 1 / clip.fps)[:-1]
        changes = np.flatnonzero((np.diff(clip.command, axis=0) != 0).any(axis=-1)) + 1
        for first, last in pairwise([0, *changes.tolist(), len(feet)]):
            settled = first + round(1.0 * clip.fps)
            if last - settled >= STRIDE * clip.fps and clip.command[first].any():
                rows.append([clip.command[first], feet[settled:last].mean(axis=0), root[settled:last].mean(axis=0)])
    command, feet, root = np.array(rows).swapaxes(0, 1)
    fast = command[:, 0] > 1.4
    print(f"{len(rows)} commands held, from 1 s on; vx, vy [m/s], yaw rate [rad/s]")
    for name, values in (
        ("correlation of feet and root", [np.corrcoef(feet[:, i], root[:, i])[0, 1] for i in range(3)]),
        ("feet against the command (RMSE)", np.sqrt(np.square(feet - command).mean(axis=0))),
        ("root against the command (RMSE)", np.sqrt(np.square(root - command).mean(axis=0))),
        ("feet / command (slope)", [np.polyfit(command[:, i], feet[:, i], 1)[0] for i in range(3)]),
        ("root / feet (slope)", [np.polyfit(feet[:, i], root[:, i], 1)[0] for i in range(3)]),
        ("root - feet above 1.4 m/s (mean)", (root - feet)[fast].mean(axis=0)),
    ):
        print(f"{name:34}" + "".join(f"{value:9.4f}" for value in values))


if __name__ == "__main__":
    main()
