"""Walking and running straight ahead beside the data that a model learnt from: cadence, flight, arms, limits.

    python -m bench.straight_gait --data gaits.npz [--model DIR]

Each speed is held for 10 s from standing after a ramp of half a second, and the last 7 s count. Of the data count the
frames with that command, 1.5 s after it changed. Steps a second are counted from the first to the last step.
`arms`: correlation of a shoulder's pitch with that of the opposite hip.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import cmg_jax
from bench._measure import Section, device
from bench._report import table_text
from cmg_jax import data
from cmg_jax.data import Dataset
from cmg_jax.evaluation import _gait
from cmg_jax.evaluation._measure import generate
from cmg_jax.robot import Robot

SPEEDS = (-0.6, -0.3, 0.3, 0.6, 0.9, 1.2, 1.5, 2.0, 2.5, 3.0)
SECONDS, RAMP, SETTLE, HELD, NEAR = 10.0, 0.5, 3.0, 1.5, 0.06

COLUMNS = {"vx": "vx m/s|.1f"} | {
    f"{key}{of}": f"{heading}{of}|{form}"
    for key, heading, form in (
        ("steps", "steps a second", ".2f"),
        ("flight", "flight", ".2f"),
        ("slip", "slip m/s", ".3f"),
        ("arms", "arms", ".2f"),
    )
    for of in ("", ", data")
}


def figures(
    motion: np.ndarray, found: _gait.Gait, chosen: np.ndarray, robot: Robot, fps: float, of: str
) -> dict[str, Any]:
    """Figures of the frames `chosen` [N] of motions [N, D]."""
    values = _gait.figures(found, chosen, fps)
    angle = dict(zip(robot.joint_names, motion[chosen, : robot.num_joints].T, strict=True))
    pairs = (("left", "right"), ("right", "left"))
    arms = [np.corrcoef(angle[f"{a}_shoulder_pitch_joint"], angle[f"{b}_hip_pitch_joint"])[0, 1] for a, b in pairs]
    picked = (cadence(found.step, chosen, fps), values["flight"], values["slip_m_s"], np.mean(arms))
    return {f"{key}{of}": value for key, value in zip(("steps", "flight", "slip", "arms"), picked, strict=True)}


def cadence(step: np.ndarray, chosen: np.ndarray, fps: float) -> float:
    """Steps a second between the first and the last of the steps [N] in each run of the frames `chosen` [N]."""
    run = np.cumsum(np.diff(chosen, prepend=False))
    times = [np.flatnonzero(step & chosen & (run == part)) for part in np.unique(run[chosen])]
    count = sum(max(len(part) - 1, 0) for part in times)
    return count * fps / max(sum(int(np.ptp(part)) for part in times if len(part)), 1)


def held_frames(dataset: Dataset, speed: float) -> np.ndarray:
    """Frames [N] of a data set that go straight ahead at a speed, and have for a while."""
    command = dataset.command
    new = np.r_[True, (np.abs(np.diff(command, axis=0)).sum(axis=1) > 1e-6) | (np.diff(dataset.clip) != 0)]
    since = np.arange(len(new)) - np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
    straight = (np.abs(command[:, 0] - speed) < NEAR) & (np.abs(command[:, 1:]).max(axis=1) < NEAR)
    return straight & (since > HELD * dataset.fps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="model directory; the bundled one by default")
    arguments = parser.parse_args()
    model = cmg_jax.load(arguments.model) if arguments.model else cmg_jax.default_model()
    dataset, robot, fps = data.load(arguments.data), model.config.robot, model.config.fps
    command = np.zeros((len(SPEEDS), round(SECONDS * fps), 3), np.float32)
    command[..., 0] = np.outer(SPEEDS, np.clip(np.arange(command.shape[1]) / (RAMP * fps), 0, 1))
    trajectory = generate(model, command)
    recorded, rows = _gait.gait(dataset.motion, dataset.clip, robot, fps), []
    for speed, motion in zip(SPEEDS, trajectory[:, round(SETTLE * fps) :], strict=True):
        one = np.zeros(len(motion), int)
        row = {"vx": speed} | figures(motion, _gait.gait(motion, one, robot, fps), one == 0, robot, fps, "")
        held = held_frames(dataset, speed)
        rows.append(row | (figures(dataset.motion, recorded, held, robot, fps, ", data") if held.any() else {}))
    joint_pos = trajectory[..., : robot.num_joints]
    low, high = robot.joint_limits.T
    beyond = np.maximum(joint_pos - high, low - joint_pos)
    print("  ".join(f"{key} {value}" for key, value in device().items()))
    notes = (
        f"largest step of a joint {np.abs(np.diff(joint_pos, axis=1)).max():.3f} rad",
        f"frames beyond a limit {100 * (beyond > 0).any(axis=-1).mean():.2f} %, by {max(beyond.max(), 0):.3f} rad",
    )
    print(table_text(Section("straight ahead", COLUMNS, rows, notes)))


if __name__ == "__main__":
    main()
