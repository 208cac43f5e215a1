"""Whether the motors can follow the reference: PD tracking in C MuJoCo without a policy, on a fixed base."""
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
    """How well the motors follow the motion of one command."""

    command: tuple[float, ...]
    error: float
    """rad, root mean square over joints and frames."""
    worst_error: float
    """rad, the largest error, that of `worst_joint`."""
    worst_joint: str
    peak_torque: float
    """The largest torque that PD control requests, as a fraction of its motor's limit."""
    saturation: float
    """Fraction of motors and physics steps in which the requested torque exceeds the motor's limit."""
    saturated_joint: str
    """The joint whose torque exceeds its limit most often; empty if none does."""
    reference_inside: float
    """Fraction of the frames in which every joint of the reference is inside its range."""
    inside: float
    """Fraction of the frames in which every joint of the robot is inside its range and no motor exceeds its limit."""


def check_feasibility(
    model: CMGModel,
    commands: Sequence[Sequence[float]],
    num_frames: int,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Feasibility]:
    """Follow the motion of each command from standing, with PD control alone.

    Args:
      model: of the G1.
      commands: vx, vy [m/s] and yaw rate [rad/s] of each.
      num_frames: of each command's motion.
      progress: called with 1 after each command.

    Raises:
      InputError: a model of another robot, or fewer than 2 frames.

    Examples:
      >>> from cmg_jax.rl import check_feasibility
      >>> (found,) = check_feasibility(model, [(0.8, 0.0, 0.0)], num_frames=50)
      >>> found.error < 0.3  # rad
      True
    """
    robot = model.config.robot
    model.config.check_robot(G1, "feasibility")
    substeps = round(1 / (model.config.fps * SIM_DT))
    if num_frames < 2 or substeps < 1:
        raise InputError(f"{num_frames} frames at {model.config.fps:g} fps: at least 2, and at most {1 / SIM_DT:g} fps")
    held = jnp.repeat(jnp.asarray(commands, jnp.float32)[:, None], num_frames, axis=1)
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
    torque = np.empty((len(trajectory) - 1, substeps, len(names)))  # as fractions of the limits
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


def feasibility_table(rows: Sequence[Feasibility]) -> str:
    """A line of text for each command."""
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
