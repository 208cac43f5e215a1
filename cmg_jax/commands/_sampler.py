"""Draw velocity commands: pure functions of a key and a range.

A range is a pytree of two arrays, so it may change (a curriculum) without compiling anything again. `trained_range`,
`presets` and `stages` are ranges that a model was trained on; the `ORIGINAL_` figures and those of `curriculum` are
the PyTorch original's, which go up to 3 m/s.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from cmg_jax._errors import InputError, check_shape
from cmg_jax.commands._region import clip_to_region, common_region
from cmg_jax.model._model import CMGModel


class CommandRange(NamedTuple):
    """Lowest and highest command: vx, vy [m/s], yaw rate [rad/s], and what goes together.

    Examples:
      >>> from cmg_jax import commands
      >>> slow = commands.CommandRange(np.array([0.0, -0.2, -0.5]), np.array([0.8, 0.2, 0.5]))
      >>> commands.uniform(jax.random.key(0), slow, 64).shape
      (64, 3)
    """

    low: Any  # [C]
    high: Any  # [C]
    region: Any = None
    """[K, 3]: the largest |vy| and |yaw rate| at ascending vx, with straight lines between; None: those of the box."""


class CommandSampler(Protocol):
    """Draws commands, as `lambda key, num_envs: commands.uniform(key, command_range, num_envs)` does."""

    def __call__(self, key: jax.Array, num_envs: int, /) -> Float[Array, "{num_envs} C"]:
        """Commands, physical: vx, vy [m/s] and yaw rate [rad/s]. It consumes the key."""
        ...


def _range(vx: tuple[float, float], vy: tuple[float, float], yaw: tuple[float, float]) -> CommandRange:
    return CommandRange(*np.array([vx, vy, yaw], np.float32).T)


NONE = (0.0, 0.0)
ORIGINAL_RANGE = _range((-1.5, 3.0), (-0.8, 0.8), (-0.8, 0.8))

ORIGINAL_PRESETS: dict[str, CommandRange] = {
    "forward": _range((0.5, 2.5), NONE, NONE),
    "backward": _range((-1.3, -0.3), NONE, NONE),
    "turn_left": _range(NONE, NONE, (0.2, 0.7)),
    "turn_right": _range(NONE, NONE, (-0.7, -0.2)),
    "strafe_left": _range((0.0, 0.5), (0.3, 0.8), NONE),
    "strafe_right": _range((0.0, 0.5), (-0.8, -0.3), NONE),
    "forward_turn": _range((0.5, 2.0), NONE, (-0.4, 0.4)),
    "mixed": ORIGINAL_RANGE,
}

ORIGINAL_STAGES: dict[str, CommandRange] = {
    "basic": _range((0.3, 2.0), NONE, NONE),
    "turn": _range((0.3, 2.0), NONE, (-0.5, 0.5)),
    "strafe": _range((0.0, 2.0), (-0.5, 0.5), (-0.5, 0.5)),
    "mixed": _range((-1.0, 3.0), (-0.8, 0.8), (-0.8, 0.8)),
}
"""Ranges for four stages of training, one after the other."""


def trained_range(model: CMGModel) -> CommandRange:
    """The commands that a model was trained on. Outside this range its motion may not follow the command.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> trained.low, trained.high  # m/s, m/s, rad/s
      (Array([-0.8 , -0.39, -0.99], dtype=float32), Array([3.2 , 0.39, 0.99], dtype=float32))
    """
    stats = model.stats
    return CommandRange(stats.command_min, stats.command_max, stats.command_region)


def presets(model: CMGModel) -> dict[str, CommandRange]:
    """`ORIGINAL_PRESETS`, clipped to the trained range: forward, backward, turn_left, ..., mixed.

    Raises:
      InputError: the model's commands are not vx, vy and yaw rate.

    Examples:
      >>> from cmg_jax import commands
      >>> list(commands.presets(model))
      ['forward', 'backward', 'turn_left', 'turn_right', 'strafe_left', 'strafe_right', 'forward_turn', 'mixed']
      >>> commands.presets(model)["forward"].low
      Array([0.5, 0. , 0. ], dtype=float32)
    """
    return _clipped(ORIGINAL_PRESETS, model)


def stages(model: CMGModel) -> dict[str, CommandRange]:
    """`ORIGINAL_STAGES`, clipped to the trained range: basic, turn, strafe, mixed.

    Raises:
      InputError: the model's commands are not vx, vy and yaw rate.

    Examples:
      >>> from cmg_jax import commands
      >>> list(commands.stages(model))
      ['basic', 'turn', 'strafe', 'mixed']
    """
    return _clipped(ORIGINAL_STAGES, model)


def clip(command_range: CommandRange, limits: CommandRange) -> CommandRange:
    """`command_range` with every edge outside `limits` moved to the nearest one of `limits`, and with its region.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> wide = commands.CommandRange(np.array([-9.0, 0.0, 0.0]), np.array([9.0, 0.0, 0.0]))
      >>> bool((commands.clip(wide, trained).high <= trained.high).all())
      True
    """
    low, high = _edges(limits)
    return CommandRange(*(jnp.clip(edge, low, high) for edge in _edges(command_range)), region=limits.region)


def common_range(ranges: Sequence[CommandRange]) -> CommandRange:
    """The commands that lie in all of `ranges`, as NumPy arrays."""
    low, high = np.max([one.low for one in ranges], axis=0), np.min([one.high for one in ranges], axis=0)
    return CommandRange(low, high, common_region([one.region for one in ranges if one.region is not None]))


def within(command_range: CommandRange, command: Float[ArrayLike, "*batch C"]) -> Float[Array, "*batch C"]:
    """The command of the range that is nearest to each of `command` at its vx.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> fast = jnp.array([[9.0, 0.0, 0.0]])
      >>> float(commands.within(trained, fast)[0, 0]) == float(trained.high[0])
      True
    """
    command = jnp.asarray(command, jnp.float32)
    low, high = (edge.reshape((1,) * (command.ndim - 1) + edge.shape) for edge in _edges(command_range))
    return clip_to_region(command_range.region, jnp.clip(command, low, high))


def _clipped(ranges: Mapping[str, CommandRange], model: CMGModel) -> dict[str, CommandRange]:
    model.config.check_velocity_commands("a range of presets or stages")
    return {name: clip(command_range, trained_range(model)) for name, command_range in ranges.items()}


def _edges(command_range: CommandRange) -> tuple[jax.Array, jax.Array]:
    """Lowest and highest command, [C] float32."""
    low, high, _ = command_range
    size = np.shape(low)[-1:]
    check_shape("the range's lowest command", low, size or ("C",))
    check_shape("the range's highest command", high, size)
    return jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)


def curriculum(command_range: CommandRange, difficulty: ArrayLike) -> CommandRange:
    """The range at a difficulty from 0 to 1: vx times 0.5 + 0.5 d, vy times d, yaw times 0.3 + 0.7 d.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> easy = commands.curriculum(trained, difficulty=0.0)
      >>> bool((easy.high <= trained.high).all())
      True
    """
    easiest = jnp.array([0.5, 0.0, 0.3], jnp.float32)
    scale = easiest + (1 - easiest) * jnp.asarray(difficulty, jnp.float32)
    low, high = (edge * scale for edge in _edges(command_range))
    return command_range._replace(low=low, high=high)


def forward_only(command_range: CommandRange) -> CommandRange:
    """The same range without walking backward, sideways or turning.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> commands.forward_only(trained).low
      Array([0., 0., 0.], dtype=float32)
    """
    forward = jnp.array([1.0, 0.0, 0.0], jnp.float32)
    low, high = (jnp.maximum(edge * forward, 0.0) for edge in _edges(command_range))
    return command_range._replace(low=low, high=high)


def uniform(key: jax.Array, command_range: CommandRange, num_envs: int) -> Float[Array, "{num_envs} C"]:
    """Commands, uniform over the range: where it has a region, vy and yaw rate are uniform given vx.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> commands.uniform(jax.random.key(0), trained, 4096).shape
      (4096, 3)
    """
    low, high = (edge[None] for edge in _edges(command_range))
    part = jax.random.uniform(key, (num_envs, low.shape[-1]), jnp.float32)
    if command_range.region is not None:
        vx = (low + (high - low) * part)[:, :1]
        low, high = (
            clip_to_region(command_range.region, jnp.concatenate([vx, jnp.broadcast_to(edge[:, 1:], (num_envs, 2))], 1))
            for edge in (low, high)
        )
    return low + (high - low) * part


def normal(
    key: jax.Array,
    command_range: CommandRange,
    num_envs: int,
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
) -> Float[Array, "{num_envs} C"]:
    """Normal commands, not bounded. By default their mean is the middle of the range, `std` a quarter of it.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> commands.normal(jax.random.key(0), trained, 4096, std=jnp.array([0.5, 0.1, 0.3])).shape
      (4096, 3)
    """
    mean, std = _moments(command_range, mean, std)
    return mean[None] + std[None] * jax.random.normal(key, (num_envs, mean.shape[-1]), jnp.float32)


def truncated_normal(
    key: jax.Array,
    command_range: CommandRange,
    num_envs: int,
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
) -> Float[Array, "{num_envs} C"]:
    """Like `normal`, but truncated to the range. The original clips instead, which accumulates draws at the edges.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> drawn = commands.truncated_normal(jax.random.key(0), trained, 4096)
      >>> bool((drawn[:, 0] <= trained.high[0]).all())
      True
    """
    mean, std = _moments(command_range, mean, std)
    low, high = _edges(command_range)
    # A range of width zero has only one value.
    width = jnp.where(std > 0, std, 1.0)
    draw = jax.random.truncated_normal(
        key, ((low - mean) / width)[None], ((high - mean) / width)[None], (num_envs, mean.shape[-1]), jnp.float32
    )
    return within(command_range, mean[None] + std[None] * draw)


def _moments(command_range: CommandRange, mean: ArrayLike | None, std: ArrayLike | None) -> tuple[jax.Array, jax.Array]:
    low, high = _edges(command_range)
    for name, value in (("mean", mean), ("std", std)):
        if value is not None:
            check_shape(name, value, low.shape)
    mean = (low + high) / 2 if mean is None else jnp.asarray(mean, jnp.float32)
    return mean, (high - low) / 4 if std is None else jnp.asarray(std, jnp.float32)


def sequence(
    key: jax.Array, command_range: CommandRange, num_envs: int, num_frames: int, *, change_interval: int = 50
) -> Float[Array, "{num_envs} {num_frames} C"]:
    """Commands that go in straight lines from one draw to the next, `change_interval` frames each.

    Raises:
      InputError: fewer than one frame in all or in an interval.

    Examples:
      >>> from cmg_jax import commands
      >>> trained = commands.trained_range(model)
      >>> commands.sequence(jax.random.key(0), trained, 64, num_frames=200, change_interval=50).shape
      (64, 200, 3)
    """
    if num_frames < 1 or change_interval < 1:
        raise InputError(f"num_frames {num_frames} and change_interval {change_interval} must be at least 1")
    draws = num_frames // change_interval + 2
    points = jax.vmap(lambda key: uniform(key, command_range, num_envs))(jax.random.split(key, draws))
    time = jnp.arange(num_frames, dtype=jnp.int32)
    before = time // change_interval
    weight = ((time % change_interval).astype(jnp.float32) / change_interval)[:, None, None]
    command = (points[before] * (1 - weight) + points[before + 1] * weight).swapaxes(0, 1)
    return clip_to_region(command_range.region, command)


def with_standing(key: jax.Array, command: ArrayLike, fraction: ArrayLike) -> Float[Array, "B C"]:
    """`command` [B, C] with zeros in about `fraction` of its rows, drawn at random.

    Examples:
      >>> from cmg_jax import commands
      >>> drawn = commands.with_standing(jax.random.key(0), jnp.ones((1000, 3)), fraction=0.1)
      >>> int((drawn == 0).all(axis=-1).sum())
      107
    """
    check_shape("command", command, ("B", "C"))
    standing = jax.random.uniform(key, (np.shape(command)[0], 1), jnp.float32) < fraction
    return jnp.where(standing, 0.0, jnp.asarray(command, jnp.float32))


def with_minimum_speed(command: ArrayLike, speed: ArrayLike) -> Float[Array, "B 3"]:
    """`command` [B, 3] with vx and vy set to zero in the rows where together they are slower than `speed` [m/s].

    Examples:
      >>> from cmg_jax import commands
      >>> commands.with_minimum_speed(jnp.array([[0.05, 0.0, 0.3], [0.5, 0.0, 0.3]]), speed=0.1)
      Array([[0. , 0. , 0.3],
             [0.5, 0. , 0.3]], dtype=float32)
    """
    check_shape("command", command, ("B", 3))
    command = jnp.asarray(command, jnp.float32)
    slow = jnp.linalg.norm(command[:, :2], axis=-1, keepdims=True) < speed
    return jnp.where(slow & (np.arange(3) < 2)[None], 0.0, command)


class HeldCommand(NamedTuple):
    """Commands that each row holds for a number of steps before it takes another one."""

    requested: Float[Array, "B C"]
    remaining: Int[Array, "B"]  # steps until the next draw


def hold(key: jax.Array, command: ArrayLike, interval: tuple[int, int]) -> HeldCommand:
    """Hold `command` [B, C] for a number of steps that each row draws from `interval`, both ends included.

    Raises:
      InputError: a command of another shape, or an interval that is empty or begins below 1.

    Examples:
      >>> from cmg_jax import commands
      >>> held = commands.hold(jax.random.key(0), jnp.zeros((4, 3)), interval=(100, 200))
      >>> held.requested.shape
      (4, 3)
    """
    check_shape("command", command, ("B", "C"))
    # A copy: the state that holds it may be donated, but the caller's command may not.
    return HeldCommand(jnp.array(command, jnp.float32), _intervals(key, np.shape(command)[0], interval))


def next_held(
    held: HeldCommand, key: jax.Array, command: ArrayLike, interval: tuple[int, int], done: ArrayLike = False
) -> tuple[HeldCommand, Bool[Array, "B"]]:
    """One step: rows whose interval is over, or that are `done` [B], take their row of `command` [B, C].

    Returns:
      the new state and the rows that changed: what `Generator.set_command` takes.

    Raises:
      InputError: `command` or `done` has another number of rows than `held`.

    Examples:
      >>> from cmg_jax import commands
      >>> held = commands.hold(jax.random.key(0), jnp.zeros((4, 3)), interval=(100, 200))
      >>> done = jnp.array([True, False, False, False])
      >>> held, changed = commands.next_held(held, jax.random.key(1), jnp.ones((4, 3)), (100, 200), done)
      >>> changed
      Array([ True, False, False, False], dtype=bool)
    """
    check_shape("command", command, np.shape(held.requested))
    if np.ndim(done):
        check_shape("done", done, np.shape(held.remaining))
    changed = (jnp.asarray(held.remaining) <= 1) | jnp.asarray(done).astype(bool)
    remaining = jnp.where(changed, _intervals(key, len(changed), interval), held.remaining - 1)
    requested = jnp.where(changed[:, None], jnp.asarray(command, jnp.float32), held.requested)
    return HeldCommand(requested, remaining), changed


def _intervals(key: jax.Array, num_envs: int, interval: tuple[int, int]) -> jax.Array:
    shortest, longest = interval
    if not 1 <= shortest <= longest:
        raise InputError(f"interval {interval}: at least 1 step, the shorter one first")
    return jax.random.randint(key, (num_envs,), shortest, longest + 1, jnp.int32)
