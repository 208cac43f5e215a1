"""A PPO run of the G1 in a directory, and the motion of its policy.

DIR/config.yaml    the configuration
DIR/metrics.csv    a row for each evaluation
DIR/curve.png      reward and joint error over steps
DIR/checkpoints/   the policy at each evaluation, with a digest of its arrays
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from brax.training.acme import running_statistics, specs
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo

import cmg_jax
from cmg_jax import _array_files, _digests
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, clear_write_errors, first_line
from cmg_jax.commands import CommandRange, clip, hold_each, ramp, trained_range, uniform
from cmg_jax.envs import ReferenceSource, WrapEnvFn, make_wrap_env_fn
from cmg_jax.motion_files import Motion
from cmg_jax.rl._config import RunConfig, config_text, read_config
from cmg_jax.rl._g1_tracking import G1Tracking, domain_randomize
from cmg_jax.robot import G1, indices
from cmg_jax.training._metrics import MetricsLog

PICTURE_HEIGHT = 0.85
"""Height in m of the pelvis of a fixed base in pictures: the feet are just above the floor."""

DIGEST = "sha256"
"""Name of the array of a checkpoint that holds the digest of the others; older checkpoints lack it."""


class RunSetup(NamedTuple):
    """The objects that a configuration describes."""

    env: G1Tracking
    wrap_env_fn: WrapEnvFn
    model: cmg_jax.CMGModel
    network_factory: Callable[..., networks.PPONetworks]
    commands: CommandRange
    """The range of commands in training: the configured one, clipped to the trained range of the model."""


def set_up(config: RunConfig, *, command: np.ndarray | None = None) -> RunSetup:
    """Environment, wrapper and networks of a run.

    The commands of a run are clipped to the model's trained range, beyond which its motion need not follow them.

    Args:
      config: the run.
      command: [C], held by all episodes. By default commands are drawn.

    Raises:
      InputError: a setting that does not exist, one whose value is impossible, or no model.

    Examples:
      >>> from cmg_jax import rl
      >>> config = rl.RunConfig(randomize=True)
      >>> setup = rl.set_up(config)
      >>> setup.env.action_size, setup.commands.high
      (29, Array([1.2, 0.3, 0.6], dtype=float32))
    """
    model = cmg_jax.load(config.model) if config.model else cmg_jax.default_model()
    model.config.check_robot(G1, "a run")
    env = G1Tracking(config_overrides=_flat(config.env), joint_names=model.config.joint_names)
    if (farthest := max(env.wrapping["lookahead"], default=0)) > config.lookahead_frames:
        raise InputError(
            f"env.lookahead reaches {farthest} frames ahead, lookahead_frames only {config.lookahead_frames}"
        )
    commands, hold_interval = clip(config.commands.range, trained_range(model)), config.commands.hold
    if command is not None:
        commands, hold_interval = CommandRange(command, command), (2**30, 2**30)
    source = ReferenceSource(
        model,
        cmg_jax.on_tick(cmg_jax.streaming(config.lookahead_frames), config.tick),
        lambda key, num_envs: uniform(key, commands, num_envs),
        ramp(config.commands.ramp),
        hold_interval=hold_interval,
        standing_fraction=config.standing_fraction,
        **env.wrapping,
    )
    factory = functools.partial(
        networks.make_ppo_networks,
        policy_hidden_layer_sizes=config.hidden_layers,
        value_hidden_layer_sizes=config.hidden_layers,
        distribution_type="normal",
        noise_std_type="log",
        init_noise_std=config.noise_std,
        mean_kernel_init_fn=lambda: jax.nn.initializers.zeros,
    )
    return RunSetup(env, make_wrap_env_fn(source), model, factory, commands)


def train(
    config: RunConfig, setup: RunSetup, directory: Path, progress: Callable[[dict[str, Any]], object]
) -> list[dict[str, Any]]:
    """Train, and write the run into `directory`. The first evaluation is that of zero actions.

    Args:
      config: the run.
      setup: the result of `set_up` for it.
      directory: does not exist yet, its parent does.
      progress: called with the figures of every evaluation.

    Returns:
      the figures of all evaluations.

    Raises:
      InputError: a setting whose value is impossible, a reward that is not finite, or a full disk.

    Examples:
      >>> from cmg_jax import rl
      >>> config = rl.RunConfig(randomize=True)
      >>> rows = rl.train(config, rl.set_up(config), Path("run"), print)
    """
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    with clear_write_errors(directory):
        with atomic_directory(directory) as partial:
            partial.mkdir()
            (partial / "checkpoints").mkdir()
            (partial / "config.yaml").write_text(config_text(config))
        log = MetricsLog(directory, 0)

        def report(step: int, metrics: Any) -> None:
            row = _figures(step, time.perf_counter() - start, metrics)
            if not np.isfinite(row["reward"]):
                raise InputError(f"the reward is {row['reward']} at step {step}; lower ppo.learning_rate")
            rows.append(row)
            log.write(row)
            progress(row)

        def save_policy(step: int, _: Any, params: Any) -> None:
            _save_policy(directory, step, params)

        try:
            ppo.train(
                setup.env,  # pyright: ignore
                **dataclasses.asdict(config.ppo),
                seed=config.seed,
                wrap_env_fn=setup.wrap_env_fn,
                randomization_fn=domain_randomize if config.randomize else None,
                network_factory=setup.network_factory,
                normalize_observations=True,
                deterministic_eval=True,
                progress_fn=report,
                policy_params_fn=save_policy,
            )
        finally:
            log.close()
    return rows


def _figures(step: int, seconds: float, metrics: dict[str, Any]) -> dict[str, Any]:
    """A row of figures: Brax's sums over an episode, but the joint error as a mean."""
    length = float(metrics["eval/avg_episode_length"])
    row = {
        "step": step,
        "reward": float(metrics["eval/episode_reward"]),
        "reward_std": float(metrics["eval/episode_reward_std"]),
        "episode_length": length,
        "joint_error": float(metrics["eval/episode_joint_error"]) / length,
        "steps_per_second": round(float(metrics.get("training/sps", 0.0))),
        "seconds": round(seconds, 1),
    }
    prefix = "eval/episode_reward/"
    terms = sorted(name for name in metrics if name.startswith(prefix) and not name.endswith("_std"))
    return row | {name.removeprefix(prefix): float(metrics[name]) for name in terms}


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


def play(directory: Path, commands: Sequence[Sequence[float]], seconds: float) -> PlayResult:
    """Run the newest policy of a run from standing; each command is held for an equal share of the time.

    Args:
      directory: of the run.
      commands: vx, vy [m/s] and yaw rate [rad/s] of each.
      seconds: in total.

    Raises:
      InputError: no run, or one that is damaged.

    Examples:
      >>> from cmg_jax import rl, viz
      >>> result = rl.play(Path("run"), [(0.3, 0.0, 0.0), (0.9, 0.0, 0.4)], seconds=6.0)
      >>> viz.render_motion(Path("play.gif"), result.policy, beside=result.reference)
    """
    config = read_config(directory / "config.yaml") if directory.is_dir() else None
    if config is None:
        raise InputError(f"{directory}: no such directory; see cmg-jax rl train")
    config = dataclasses.replace(config, standing_fraction=1.0)
    setup, repeat = set_up(config, command=np.asarray(commands[0], np.float32)), config.ppo.action_repeat
    fps = 1 / (setup.env.dt * repeat)  # control steps a second
    held = hold_each(commands, seconds, fps)
    env = setup.wrap_env_fn(setup.env, episode_length=(len(held) + 1) * repeat, action_repeat=repeat)
    state = jax.jit(env.reset)(jax.random.PRNGKey(config.seed)[None])
    size = setup.env.observation_size
    network = setup.network_factory(
        (size,), setup.env.action_size, preprocess_observations_fn=running_statistics.normalize
    )
    policy = networks.make_inference_fn(network)(_restore(directory, network, size), deterministic=True)

    def step(state: Any, command: jax.Array) -> tuple[Any, Any]:
        action, _ = policy(state.obs, jax.random.PRNGKey(0))
        state = env.step(env.set_command(state, command[None]), action)
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


def _save_policy(directory: Path, step: int, params: Any) -> None:
    arrays = _numbered(params)
    digest = np.frombuffer(bytes.fromhex(_digests.of_arrays(arrays)), np.uint8)
    with atomic_directory(directory / "checkpoints" / f"{step:012d}") as partial:
        _array_files.save(partial, arrays | {DIGEST: digest})


def _restore(directory: Path, network: networks.PPONetworks, size: Any) -> Any:
    found = sorted(path for path in (directory / "checkpoints").glob("*") if path.name.isdigit())
    if not found:
        raise InputError(f"{directory}: holds no checkpoint")
    like = jax.eval_shape(
        lambda: (
            running_statistics.init_state(specs.Array((size,), jnp.dtype("float32"))),
            network.policy_network.init(jax.random.PRNGKey(0)),
            network.value_network.init(jax.random.PRNGKey(0)),
        )
    )
    shapes = [leaf.shape for leaf in jax.tree.leaves(like)]
    try:
        arrays = _array_files.load(found[-1])
        digest = arrays.pop(DIGEST, None)
        if digest is not None and bytes(np.asarray(digest)).hex() != _digests.of_arrays(arrays):
            raise ValueError("damaged")
        leaves = [jnp.asarray(arrays[_name(index)]) for index in range(len(shapes))]
        if [leaf.shape for leaf in leaves] != shapes:
            raise ValueError("its arrays belong to another network")
    except Exception as error:  # orbax and tensorstore raise many kinds
        raise InputError(f"{found[-1]}: cannot be read ({first_line(error)})") from error
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _numbered(params: Any) -> dict[str, np.ndarray]:
    return {_name(index): np.asarray(leaf) for index, leaf in enumerate(jax.tree.leaves(params))}


def _name(index: int) -> str:
    return f"{index:03d}"


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}, and lists as tuples."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return out
