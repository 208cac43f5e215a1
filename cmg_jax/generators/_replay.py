"""Replay: every row plays motions of a shared pool; the rollout never runs the network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cmg_jax._errors import InputError
from cmg_jax.generators import _base, _motion_bank
from cmg_jax.generators._base import Generator, MotionFrame
from cmg_jax.generators._rows import draw_rows
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel, MotionBank


class ReplayState(NamedTuple):
    """Which frame of which motion of the bank each row plays."""

    motion_index: Int[Array, "B"]
    frame_index: Int[Array, "B"]  # of the frame last served
    command: Float[Array, "B C"]  # physical: the command that each row's motion was made under


def replay(*, lookahead_frames: int = 0) -> Generator[ReplayState]:
    """A generator that plays the motions of `model.bank`, which `model.replace(bank=build_bank(...))` sets.

    A row plays one motion, from a random frame that is at least `lookahead_frames` before its end. At the end it
    begins the motion again: motions are fixed, so the reference jumps there. A row plays the motion whose command is
    nearest to the command that the caller passes (in units of the trained range), or, if commands are None, one
    drawn from the bank's range. With a first frame, `motion`, it plays from the frame that is nearest to that.
    `set_command` jumps to the nearest motion too. The state's `command` is always the one that the motion obeys.
    `lookahead` shows the rest of the motion even if the row will restart it earlier.

    Args:
      lookahead_frames: frames that a row leaves before the end of its motion, and the horizon.

    Raises:
      InputError: a negative number. The functions raise it if motions are too short for it.

    Examples:
      >>> from cmg_jax import commands
      >>> draw = lambda key, num_envs: commands.uniform(key, commands.trained_range(model), num_envs)
      >>> bank = cmg_jax.build_bank(model, jax.random.key(0), num_motions=6, num_frames=10, sampler=draw)
      >>> model = model.replace(bank=bank)
      >>> generator = cmg_jax.replay(lookahead_frames=5)
      >>> state = generator.init(model, jax.random.key(1), None, num_envs=4)  # the bank draws the commands
      >>> state, frame = generator.step(model, state)
      >>> frame.joint_pos.shape
      (4, 29)
    """
    if lookahead_frames < 0:
        raise InputError(f"lookahead_frames {lookahead_frames} is negative")

    def bank_and_last(model: CMGModel) -> tuple[MotionBank, int]:
        """The bank, and the index of the last frame of a motion that is served."""
        motions = _motion_bank.bank_of(model, lookahead_frames + 1)
        return motions, motions.frames.shape[0] - 1 - lookahead_frames

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> ReplayState:
        zero = jnp.zeros(num_envs, jnp.int32)
        state = ReplayState(zero, zero, jnp.zeros((num_envs, model.config.command_dim), jnp.float32))
        return reset(model, state, jnp.ones(num_envs, bool), key, command, motion)

    def step(model: CMGModel, state: ReplayState) -> tuple[ReplayState, MotionFrame]:
        motions, last = bank_and_last(model)
        following = state.frame_index + 1
        state = state._replace(frame_index=jnp.where(following > last, 0, following))
        return state, _base.to_frame(model, motions.frames[state.frame_index, state.motion_index])

    def reset(
        model: CMGModel,
        state: ReplayState,
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> ReplayState:
        motions, last = bank_and_last(model)
        motion_key, frame_key = jax.random.split(key)
        motion_index = _motion_bank.choose(model, motions, done, motion_key, command, state.motion_index)
        if motion is None:
            drawn = draw_rows(
                lambda key, shape: jax.random.randint(key, shape, 0, last + 1, jnp.int32), frame_key, len(done)
            )
            frame_index = jnp.where(done, drawn, state.frame_index)
        else:
            frame = _normalization.normalize_motion(model.stats, motion)
            frame_index = _motion_bank.nearest_frame(
                motions, done, motion_index, frame, max(last, 1), state.frame_index
            )
        return ReplayState(motion_index, frame_index, _commands_of(motions, motion_index, done, state.command))

    def set_command(model: CMGModel, state: ReplayState, command: jax.Array, changed: jax.Array | None) -> ReplayState:
        motions, _ = bank_and_last(model)
        mask = _base.changed_rows(state.command, command, changed)
        chosen = _motion_bank.nearest_motion(model, motions, mask, command, state.motion_index)
        # Of motions that are equally near, keep the one that is playing.
        mask = mask & (motions.command[chosen] != state.command).any(axis=-1)
        motion_index = jnp.where(mask, chosen, state.motion_index)
        return state._replace(
            motion_index=motion_index, command=_commands_of(motions, motion_index, mask, state.command)
        )

    def lookahead(model: CMGModel, state: ReplayState, offsets: jax.Array | np.ndarray) -> MotionFrame:
        index = state.frame_index[:, None] + offsets[None, :]
        return _base.to_frame(model, bank_and_last(model)[0].frames[index, state.motion_index[:, None]])

    return _base.checked(
        init=init,
        step=step,
        reset=reset,
        set_command=set_command,
        lookahead=lookahead,
        horizon=lookahead_frames,
    )


def _commands_of(motions: MotionBank, motion_index: jax.Array, mask: jax.Array, command: jax.Array) -> jax.Array:
    """`command` [B, C] with the commands of the motions in the rows where `mask` [B]."""
    return jnp.where(mask[:, None], motions.command[motion_index], command)
