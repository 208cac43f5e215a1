"""Training steps as pure functions: windows are drawn, mirrored and predicted on the device, many steps a call."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import Dataset
from cmg_jax.data._windows import ALWAYS, MAYBE, Windows
from cmg_jax.generators import _sharded
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGConfig
from cmg_jax.model._normalization import MotionStats
from cmg_jax.robot import _frame, _joints, split_frame
from cmg_jax.training._loss import ROOT_WEIGHT, SLIDE, disagreement, feet_losses, frame_loss, predict, root_losses


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The recipe of a training run: everything that its result depends on besides the data and the first weights.

    Examples:
      >>> from cmg_jax import training
      >>> training.TrainConfig(steps=3000, batch_size=64, learning_rate=5e-4).window
      30
    """

    steps: int = 6000
    """Optimizer steps."""
    batch_size: int = 128
    """Windows in a step."""
    window: int = 30
    """Frames predicted in a window."""
    learning_rate: float = 1e-3
    """Of Adam, after the warm-up."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from 0."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """Learning rate after the warm-up: "cosine" falls to `final_learning_rate` along a cosine; "plateau" halves it
    whenever the loss has not fallen for ten times `plateau_steps`; "constant" keeps it."""
    final_learning_rate: float = 1e-5
    """At the end of a cosine."""
    plateau_steps: int = 100
    """Steps over which the loss is averaged before "plateau" compares it."""
    weight_decay: float = 0.0
    """Added to the gradient, as Adam of torch does."""
    clip_norm: float = 1.0
    """Largest norm of a gradient; longer ones are scaled down."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is validated and kept."""
    teacher_start: float = 1.0
    """Probability of predicting a frame from the data's frame, in the first step."""
    teacher_end: float = 0.0
    """The same probability after `teacher_steps`."""
    teacher_steps: int = 300
    """Steps over which the probability goes from `teacher_start` to `teacher_end`."""
    through_predictions: bool = True
    """Let gradients flow through the network's predictions."""
    feet_weight: float = 0.2
    """Weight, beside the error of the frames, of the squared distance of the feet from their targets, in (5 cm)2, and
    with a root channel of the squared error of their velocity on the floor, in (0.7 m/s)2."""
    walk_weight: float = 0.05
    """Weight of the squared error of a window's mean velocity, in units of (0.1 m/s)2 or (0.1 rad/s)2: of the stance
    feet, or of the root channel where there is one."""
    agreement_weight: float = 1.0
    """Weight of the squared difference between joint velocities and position differences, in (rad/s)2."""
    noise: float = 0.1
    """Standard deviation of the noise that is added to a window's first, normalized frame."""
    mirror: float = 0.5
    """Probability of mirroring a window that may be mirrored."""
    stride: int = 5
    """Frames from one window to the next."""
    start_weight: float = 6.0
    """How much more often a window with a start from standing is drawn than another one."""
    balance: float = 0.5
    """From 0, where all windows are equally likely, to 1, where all walking speeds are."""
    seed: int = 0
    """Draws first weights, windows, mirroring, noise and scheduled sampling."""

    def __post_init__(self):
        ones = ("steps", "batch_size", "window", "teacher_steps", "plateau_steps", "stride")
        zeros = ("warmup_steps", "seed", "weight_decay", "feet_weight", "walk_weight", "agreement_weight", "noise")
        for name in (*ones, *zeros):
            if not (name in ones) <= getattr(self, name) < 2**32:  # and no NaN
                raise InputError(f"{name} {getattr(self, name)} is not from {int(name in ones)} to 2^32")
        for name in ("learning_rate", "final_learning_rate", "clip_norm", "start_weight"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)} is not a positive number")
        shortest = 3 if self.agreement_weight else 2 if self.feet_weight or self.walk_weight else 1
        if self.window < shortest:
            raise InputError(f"window {self.window} is less than {shortest}, which the weighted losses need")
        for name in ("ema", "teacher_start", "teacher_end", "mirror"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)} is not between 0 and 1")


class Frames(NamedTuple):
    """A data set on the device."""

    motion: jax.Array  # [N, D] physical
    command: jax.Array  # [N, C] physical


def to_device(dataset: Dataset) -> Frames:
    """The frames of a data set on the default device."""
    return Frames(jnp.asarray(dataset.motion), jnp.asarray(dataset.command))


class TrainState(NamedTuple):
    """Everything that the next step depends on."""

    params: Any
    ema_params: Any
    opt_state: Any
    step: jax.Array  # [] int32, number of steps done
    key: jax.Array  # of the run; step i uses fold_in(key, i)


class Trainer(NamedTuple):
    """The functions of a training."""

    init: Callable[[Any], TrainState]
    """init(params) -> state. `params` are copied."""

    run: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    """run(state, data, windows, length=...) -> state, metrics [length]. Jitted; `state` is donated."""


def make_trainer(config: TrainConfig, model_config: CMGConfig, stats: MotionStats, mesh: Mesh | None = None) -> Trainer:
    """Make the functions that train a network of `model_config` on windows of a data set.

    Args:
      config: the recipe.
      model_config: the network.
      stats: the normalization.
      mesh: devices along one axis, `BATCH_AXIS`, that divide every batch; everything else is copied to all of them.
    """
    optimizer = make_optimizer(config)
    frame_weight = _frame_weight(model_config)

    def init(params: Any) -> TrainState:
        params, ema_params = jax.tree.map(jnp.copy, params), jax.tree.map(jnp.copy, params)
        state = TrainState(params, ema_params, optimizer.init(params), jnp.int32(0), jax.random.key(config.seed))
        return replicate(state, mesh)

    def share(batch: jax.Array) -> jax.Array:
        """Divide the rows of a batch [t, b, n] among the devices."""
        if mesh is None:
            return batch
        return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, P(None, BATCH_AXIS, None)))

    def draw(data: Frames, windows: Windows, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Draw one batch: normalized frames [n+1, b, D] and commands [n, b, C]."""
        window_key, mirror_key, noise_key = jax.random.split(key, 3)
        chosen = jnp.searchsorted(windows.cumulative, jax.random.uniform(window_key, (config.batch_size,), jnp.float32))
        chosen = jnp.minimum(chosen, len(windows.start) - 1)
        index = windows.start[chosen][None] + jnp.arange(config.window + 1, dtype=windows.start.dtype)[:, None]
        motion, command = data.motion[index], data.command[index[:-1]]
        mirror = jax.random.uniform(mirror_key, (config.batch_size,), jnp.float32) < config.mirror
        rule = windows.mirror[chosen]
        mirror = ((rule == ALWAYS) | ((rule == MAYBE) & mirror))[None, :, None]
        motion = jnp.where(mirror, _frame.mirror_motion(motion, model_config.robot), motion)
        command = jnp.where(mirror, _joints.mirror_command(command), command)
        motion = _normalization.normalize_motion(stats, motion)
        noise = config.noise * jax.random.normal(noise_key, motion.shape[1:], motion.dtype)
        return share(motion.at[0].add(noise)), share(_normalization.normalize_command(stats, command))

    def loss_of(
        params: Any, motion: jax.Array, command: jax.Array, teacher: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        through = config.through_predictions
        predicted = predict(params, model_config, motion, command, teacher, through_predictions=through)
        loss = frame_loss(predicted, motion[1:], frame_weight)
        metrics = {"frame_loss": loss}
        robot, fps = model_config.robot, model_config.fps
        frames, target = (
            split_frame(_normalization.denormalize_motion(stats, values), robot.num_joints)
            for values in (predicted, motion[1:])
        )
        if config.feet_weight or config.walk_weight:
            if model_config.has_root:
                place, slide, velocity = root_losses(frames, target, robot, fps)
                metrics |= {"slide_m_s": jnp.sqrt(slide)}
                loss += config.feet_weight * slide / SLIDE**2
            else:
                place, velocity = feet_losses(frames.joint_pos, target.joint_pos, robot, fps)
            metrics |= {"feet_m": jnp.sqrt(place), "walk_error": jnp.sqrt(velocity)}
            loss += config.feet_weight * place / 0.05**2 + config.walk_weight * velocity / 0.1**2
        if config.agreement_weight:
            difference = disagreement(frames.joint_pos, frames.joint_vel, fps)
            metrics |= {"disagreement_rad_s": jnp.sqrt(difference)}
            loss += config.agreement_weight * difference
        return loss, metrics

    def step(state: TrainState, data: Frames, windows: Windows) -> tuple[TrainState, dict[str, jax.Array]]:
        draw_key, teacher_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        motion, command = draw(data, windows, draw_key)
        probability = teacher_probability(config, state.step)
        teacher = jax.random.uniform(teacher_key, (config.window, config.batch_size), jnp.float32) < probability
        (loss, metrics), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params, motion, command, teacher)
        # optax itself does not follow the strict promotion rules that a caller may have set.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
        # In the beginning the average is over the few steps done so far.
        decay = jnp.minimum(config.ema, (state.step + 1).astype(jnp.float32) / (state.step + 10).astype(jnp.float32))
        ema_params = jax.tree.map(lambda ema, new: decay * ema + (1 - decay) * new, state.ema_params, params)
        metrics = {"loss": loss, **metrics, "gradient_norm": optax.tree.norm(gradient), "teacher": probability}
        return TrainState(params, ema_params, opt_state, state.step + 1, state.key), metrics

    @jax.jit(static_argnames="length", donate_argnums=0)
    def run(
        state: TrainState, data: Frames, windows: Windows, *, length: int
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        return jax.lax.scan(lambda state, _: step(state, data, windows), state, None, length=length)

    return Trainer(init, run)


def _frame_weight(config: CMGConfig) -> jax.Array | None:
    """The weight [D] of a frame's numbers in its error, for a model with a root channel."""
    if not config.has_root:
        return None
    joints = _frame.frame_size(config.num_joints, root=False)
    return jnp.where(jnp.arange(config.motion_dim) < joints, 1.0, ROOT_WEIGHT)


BATCH_AXIS = "batch"
"""Name of the mesh axis along which devices divide a batch."""


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Copy `tree` to every device of the mesh, if there is one."""
    return tree if mesh is None else _sharded.replicate(tree, mesh)


def make_optimizer(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    """Clipping, then Adam as in torch: weight decay is part of the gradient."""
    chain = [
        optax.clip_by_global_norm(config.clip_norm),
        optax.add_decayed_weights(config.weight_decay),
        optax.adam(learning_rate(config)),
    ]
    if config.schedule == "plateau":
        chain.append(optax.contrib.reduce_on_plateau(factor=0.5, patience=10, accumulation_size=config.plateau_steps))
    return optax.with_extra_args_support(optax.chain(*chain))


def learning_rate(config: TrainConfig) -> optax.Schedule:
    """The learning rate of each step, before a plateau reduces it."""
    warm = optax.linear_schedule(0.0, config.learning_rate, max(config.warmup_steps, 1))
    rest = (
        optax.cosine_decay_schedule(
            config.learning_rate,
            max(config.steps - config.warmup_steps, 1),
            config.final_learning_rate / config.learning_rate,
        )
        if config.schedule == "cosine"
        else optax.constant_schedule(config.learning_rate)
    )
    return optax.join_schedules([warm, rest], [config.warmup_steps])


def teacher_probability(config: TrainConfig, step: jax.Array) -> jax.Array:
    """Probability, at a step, of predicting a frame from the data's frame."""
    done = jnp.minimum(step.astype(jnp.float32) / config.teacher_steps, 1.0)
    return config.teacher_start + (config.teacher_end - config.teacher_start) * done


def initial_params(model_config: CMGConfig, key: jax.Array) -> Any:
    """Random weights of a network."""
    inputs = (jnp.zeros((1, size), jnp.float32) for size in (model_config.motion_dim, model_config.command_dim))
    return model_config.network.init(key, *inputs)["params"]
