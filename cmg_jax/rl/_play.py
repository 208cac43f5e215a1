"""The motion of a run's policy, beside its reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.commands import CommandRange, hold_each, trained_range
from cmg_jax.motion_files import Motion
from cmg_jax.rl import _policy
from cmg_jax.rl._onnx import chosen_policy
from cmg_jax.rl._setup import RunSetup, evaluation_env, set_up
from cmg_jax.robot import G1, indices

PICTURE_HEIGHT = 0.85
"""Height in m of the pelvis of a fixed base in pictures: the feet are just above the floor."""


class PlayResult(NamedTuple):
    """Motions of the policy and of its reference, and how close they are."""

    policy: Motion
    reference: Motion
    reward: float
    """Of a step, the mean."""
    joint_error: float
    """rad, root mean square over joints and steps."""
    falls: int
    """Number of episodes that ended early."""
    trained: CommandRange
    """The trained range of the reference's model."""


def play(
    directory: Path,
    commands: Sequence[Sequence[float]],
    seconds: float,
    *,
    settings: Mapping[str, Any] | None = None,
    onnx: Path | None = None,
) -> PlayResult:
    """Run the best policy of a run from standing; each command is held for an equal share of the time.

    Args:
      directory: of the run.
      commands: vx, vy [m/s] and yaw rate [rad/s] of each.
      seconds: in total.
      settings: of the environment, which differ from the run's: {"engine": "mujoco", "sim_dt": 0.002}, for instance.
      onnx: file of the policy, in place of the run's.

    Raises:
      InputError: no run, or one that is damaged.

    Examples:
      >>> from cmg_jax import rl, viz
      >>> result = rl.play(Path("run"), [(0.3, 0.0, 0.0), (0.9, 0.0, 0.4)], seconds=6.0)
      >>> viz.render_motion(Path("play.gif"), result.policy, beside=result.reference)
    """
    config = _policy.read_run(directory)
    setup = set_up(config)
    fps = 1 / setup.control_dt  # control steps a second
    held = hold_each(commands, seconds, fps)
    env = evaluation_env(config, len(held) + 1, settings)
    state = jax.jit(env.reset)(jax.random.PRNGKey(config.seed)[None])
    policy, params = chosen_policy(directory, setup, onnx)

    def step(state: Any, command: jax.Array) -> tuple[Any, Any]:
        state = env.step(env.set_command(state, command[None]), policy(params, state.obs))
        reference = state.info["reference"]
        figures = state.reward, state.metrics["joint_error"], state.done, state.data.qpos
        return state, (*figures, reference.joint_pos, reference.joint_vel, reference.command, reference.root)

    _, steps = jax.jit(lambda state, commands: jax.lax.scan(step, state, commands))(state, jnp.asarray(held))
    reward, error, done, qpos, joint_pos, joint_vel, active, root = jax.tree.map(
        lambda leaf: np.asarray(leaf)[:, 0], steps
    )
    return PlayResult(
        *_motions(setup, fps, qpos, joint_pos, joint_vel, active, root),
        float(reward.mean()),
        float(np.sqrt(np.mean(np.square(error)))),
        int(done.sum()),
        trained_range(setup.model),
    )


def _motions(
    setup: RunSetup, fps: float, qpos: np.ndarray, joint_pos: Any, joint_vel: Any, commands: Any, root: Any
) -> tuple[Motion, Motion]:
    robot = setup.model.config.robot
    upright = np.tile(np.array([1.0, 0, 0, 0], np.float32), (len(qpos), 1))
    lifted = np.tile(np.array([0, 0, PICTURE_HEIGHT], np.float32), (len(qpos), 1))
    at = indices(robot.joint_names, G1.joint_names)
    if qpos.shape[-1] == G1.num_joints:  # a fixed base
        policy_root = reference_root = (lifted, upright)
        policy_joints = qpos[:, at]
    else:
        policy_root, policy_joints = (qpos[:, :3], qpos[:, 3:7]), qpos[:, 7:][:, at]
        reference_root = root.position, root.rotation
    velocity = np.gradient(policy_joints, 1 / fps, axis=0)
    policy = Motion(fps, robot, policy_joints, velocity, commands[1:], *policy_root)
    return policy, Motion(fps, robot, joint_pos, joint_vel, commands[1:], *reference_root)
