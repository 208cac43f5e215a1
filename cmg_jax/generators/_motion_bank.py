"""A bank of motions, made once, that all rows of a batch can play from."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from cmg_jax._blocks import CPU_BLOCK_ROWS, row_blocks
from cmg_jax._errors import InputError
from cmg_jax.commands import CommandSampler
from cmg_jax.generators import _base, _ring
from cmg_jax.generators._rows import draw_rows, update_rows
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel, MotionBank


def build_bank(
    model: CMGModel,
    key: jax.Array,
    num_motions: int,
    num_frames: int,
    sampler: CommandSampler,
    *,
    block_rows: int = CPU_BLOCK_ROWS,
    dtype: DTypeLike = "float32",
    progress: Callable[[int], object] = lambda _: None,
) -> MotionBank:
    """Make a bank of motions. A host loop over blocks of motions: call it outside `jit`, once.

    Args:
      model: the model.
      key: draws first frames and commands; consumed.
      num_motions: M.
      num_frames: F, frames of each motion, the first frame not counted.
      sampler: draws M commands.
      block_rows: the most motions that are made together.
      dtype: of the stored frames: float32, bfloat16 or float16.
      progress: called with the number of motions just finished.

    Returns:
      the bank, whose range of draws holds all of its motions.

    Raises:
      InputError: a number below 1, another dtype, or commands that are not [M, C] and finite.

    Examples:
      >>> from cmg_jax import commands
      >>> draw = lambda key, num_envs: commands.uniform(key, commands.trained_range(model), num_envs)
      >>> bank = cmg_jax.build_bank(model, jax.random.key(0), num_motions=6, num_frames=10, sampler=draw)
      >>> bank.frames.shape  # [F, M, D]
      (10, 6, 64)
    """
    if min(num_motions, num_frames, block_rows) < 1:
        sizes = f"num_motions {num_motions}, num_frames {num_frames}, block_rows {block_rows}"
        raise InputError(f"{sizes}: all must be at least 1")
    store_dtype = _ring.check_store_dtype(dtype)
    command_key, frame_key = jax.random.split(key)
    command_shape = (num_motions, model.config.command_dim)
    command = _base.check_array("the sampler's command", sampler(command_key, num_motions), command_shape)
    motion = _base.first_frames(model, frame_key, num_motions)

    @jax.jit
    def make(model: CMGModel, motion: jax.Array, command: jax.Array) -> jax.Array:
        frames = _ring.create(model, num_frames + 1, motion, 0, store_dtype)
        return _ring.extend(model, frames, command, jnp.int32(0), num_frames)[1:]

    out = np.empty((num_frames, num_motions, model.config.motion_dim), store_dtype)
    for rows, num_new in row_blocks(num_motions, block_rows).slices():
        out[:, rows] = make(model, motion[rows], command[rows])
        progress(num_new)
    return MotionBank(jnp.asarray(out), command, command.min(axis=0), command.max(axis=0))


def bank_of(model: CMGModel, num_frames: int) -> MotionBank:
    """The model's bank.

    Raises:
      InputError: it has none, or its motions are shorter than `num_frames`.
    """
    if model.bank is None:
        raise InputError("this generator plays a bank and the model has none; use model.replace(bank=build_bank(...))")
    if model.bank.frames.shape[0] < num_frames:
        raise InputError(f"the motions have {model.bank.frames.shape[0]} frames each; {num_frames} are needed")
    return model.bank


def passed_or_drawn(
    model: CMGModel, key: jax.Array, command: jax.Array | None, num_envs: int
) -> tuple[jax.Array, jax.Array]:
    """A key, and `command` [B, C], or if it is None, the commands of motions drawn from the bank."""
    if command is not None:
        return key, command
    key, command_key = jax.random.split(key)
    bank = bank_of(model, 0)
    return key, bank.command[_draw(bank, command_key, num_envs)]


def choose(
    model: CMGModel, bank: MotionBank, mask: jax.Array, key: jax.Array, command: jax.Array | None, index: jax.Array
) -> jax.Array:
    """`index` [B] with a new motion in the rows where `mask` [B]: the nearest to their command, or a random one."""
    if command is not None:
        return nearest_motion(model, bank, mask, command, index)
    return jnp.where(mask, _draw(bank, key, len(mask)), index)


def nearest_motion(
    model: CMGModel, bank: MotionBank, mask: jax.Array, command: jax.Array, index: jax.Array
) -> jax.Array:
    """`index` [B] with the motion whose command is nearest to `command` [B, C] in the rows where `mask` [B].

    Distances are in units of the trained range. On a CPU the cost follows the number of rows in `mask`, and is zero for
    none; an accelerator has searched for all rows before the host would know which.
    """
    wanted, available = (_normalization.normalize_command(model.stats, c) for c in (command, bank.command))

    def nearest(wanted: jax.Array) -> jax.Array:
        distance = jnp.square(wanted[:, None] - available[None]).sum(-1)
        return jnp.argmin(distance, axis=-1).astype(jnp.int32)

    def all_rows(index: jax.Array) -> jax.Array:
        return jnp.where(mask, nearest(wanted), index)

    def update(index: jax.Array, rows: jax.Array) -> jax.Array:
        return index.at[rows].set(nearest(wanted.at[rows].get(mode="clip")), mode="drop")

    return lax.platform_dependent(index, cpu=lambda index: update_rows(mask, index, update), default=all_rows)


def nearest_frame(
    bank: MotionBank, mask: jax.Array, motion_index: jax.Array, frame: jax.Array, end: int, index: jax.Array
) -> jax.Array:
    """`index` [B] with the place where a row's motion [B] is nearest to `frame` [B, D] normalized, below `end`, in the
    rows where `mask` [B]."""

    def update(index: jax.Array, rows: jax.Array) -> jax.Array:
        motion, wanted = (array.at[rows].get(mode="clip") for array in (motion_index, frame))

        def compare(best: tuple[jax.Array, jax.Array], place: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            distance = jnp.square(bank.frames[place, motion].astype(jnp.float32) - wanted).sum(-1)
            nearer = distance < best[0]
            return (jnp.where(nearer, distance, best[0]), jnp.where(nearer, place, best[1])), None

        start = (jnp.full(rows.shape, jnp.inf, jnp.float32), jnp.zeros(rows.shape, jnp.int32))
        nearest = lax.scan(compare, start, jnp.arange(end, dtype=jnp.int32))[0][1]
        return index.at[rows].set(nearest, mode="drop")

    return update_rows(mask, index, update)


def _draw(bank: MotionBank, key: jax.Array, num_envs: int) -> jax.Array:
    """Random motions [B] among those whose command lies in the bank's range, or among all if none does."""
    inside = (bank.command >= bank.command_low[None]) & (bank.command <= bank.command_high[None])
    allowed = inside.all(axis=-1)
    count = jnp.cumsum(allowed | ~allowed.any(), dtype=jnp.int32)
    nth = draw_rows(lambda key, shape: jax.random.randint(key, shape, 1, count[-1] + 1, jnp.int32), key, num_envs)
    return jnp.searchsorted(count, nth).astype(jnp.int32)
