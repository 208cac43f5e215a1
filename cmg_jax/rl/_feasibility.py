"""Can the motors follow the reference? PD tracking in C MuJoCo, a fixed base, no policy, no feet on the floor."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.generators._base import standing_frame
from cmg_jax.model._model import CMGModel
from cmg_jax.rl import _g1_model
from cmg_jax.robot import G1, Robot

SIM_DT = 0.005


class Feasibility(NamedTuple):
    """How one command's motion is followed."""

    command: tuple[float, ...]
    error: float
    """rad, root mean square over joints and frames."""
    worst_error: float
    """rad, the largest, and the joint that has it."""
    worst_joint: str
    peak_torque: float
    """The largest torque asked for, as a part of its motor's limit."""
    saturation: float
    """Part of motors and physics steps in which a motor is asked for more than its torque limit."""
    saturated_joint: str
    """The joint of which that is true most often; empty where there is none."""
    reference_inside: float
    """Part of the frames in which every joint of the reference is inside its range."""
    inside: float
    """Part of the frames in which every joint of the robot is inside its range and no motor at its limit."""


def check(
    model: CMGModel, commands: Sequence[Sequence[float]], frames: int, progress: Callable[[int], Any] = lambda _: None
) -> list[Feasibility]:
    """Follow the motion under each command, from standing, for a number of frames.

    Raises:
      InputError: a model of another robot, or fewer than 2 frames.
    """
    robot = model.config.robot
    model.config.check_robot(G1, "feasibility")
    substeps = round(1 / (model.config.fps * SIM_DT))
    if frames < 2 or substeps < 1:
        raise InputError(f"{frames} frames at {model.config.fps:g} fps: at least 2, and at most {1 / SIM_DT:g} fps")
    held = jnp.repeat(jnp.asarray(commands, jnp.float32)[:, None], frames, axis=1)
    motion = jnp.broadcast_to(standing_frame(model), (len(held), model.config.motion_dim))
    trajectories = np.asarray(jax.jit(_rollout.generate)(model, motion, held))[..., : robot.num_joints]
    simulation = _g1_model.build(floating=False, sim_dt=1 / (model.config.fps * substeps))
    out = []
    for command, trajectory in zip(commands, trajectories, strict=True):
        out.append(_follow(simulation, robot, tuple(command), trajectory, substeps))
        progress(1)
    return out


def _follow(simulation: Any, robot: Robot, command: Any, trajectory: np.ndarray, substeps: int) -> Feasibility:
    names, at = robot.joint_names, robot.joint_ids - 1
    limits, torque_limits = robot.joint_limits, robot.torque_limits
    data = mujoco.MjData(simulation)
    targets = np.tile(G1.standing_joint_pos, (len(trajectory), 1))
    targets[:, at] = trajectory
    data.qpos[:] = targets[0]
    followed = np.empty((len(trajectory) - 1, len(names)))
    torque = np.empty((len(trajectory) - 1, substeps, len(names)))  # as parts of the limits
    for frame, target in enumerate(targets[1:]):
        data.ctrl[:] = target
        for substep in range(substeps):
            mujoco.mj_step(simulation, data)
            torque[frame, substep] = np.abs(data.actuator_force[at]) / torque_limits
        followed[frame] = data.qpos[at]
    error = np.abs(followed - trajectory[1:])
    worst = int(error.max(axis=0).argmax())
    beyond = torque > 1
    share = beyond.mean(axis=(0, 1))
    inside = [_inside(values, limits) for values in (trajectory[1:], followed)]
    return Feasibility(
        command,
        float(np.sqrt(np.mean(np.square(error)))),
        float(error.max()),
        names[worst],
        float(torque.max()),
        float(share.mean()),
        names[int(share.argmax())] if share.max() else "",
        float(inside[0].mean()),
        float((inside[1] & ~beyond.any(axis=(1, 2))).mean()),
    )


def _inside(joint_pos: np.ndarray, limits: np.ndarray) -> Any:
    return np.all((joint_pos >= limits[:, 0]) & (joint_pos <= limits[:, 1]), axis=-1)


def table(rows: Sequence[Feasibility]) -> str:
    """How each command's motion is followed, a line each."""
    columns = (
        f"{'error [rad]':<11}  {'largest error':<28}  {'peak torque':<11}  {'beyond torque limit':<27}  inside limits"
    )
    lines = [f"{'vx, vy, yaw':<17}  {columns}"]
    for row in rows:
        command = " ".join(f"{number:+.2f}" for number in row.command)
        largest = f"{row.worst_error:.3f} {row.worst_joint.removesuffix('_joint')}"
        beyond = f"{100 * row.saturation:.2f} % {row.saturated_joint.removesuffix('_joint')}"
        lines.append(
            f"{command}  {row.error:<11.4f}  {largest:<28}  {f'{100 * row.peak_torque:.0f} %':<11}  {beyond:<27}  "
            f"{100 * row.inside:.0f} % (reference {100 * row.reference_inside:.0f} %)"
        )
    return "\n".join(lines)
