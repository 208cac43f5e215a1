"""Motion matching: recorded clips, played so that they obey a command, without a network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cmg_jax._errors import InputError
from cmg_jax.generators import _base, _follow, _motion_bank
from cmg_jax.generators._base import Generator, MotionFrame
from cmg_jax.generators._follow import Follow, Options
from cmg_jax.generators._rows import draw_rows, update_rows
from cmg_jax.model._library import MotionLibrary
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import split_frame

STARTS = ("library", "standing")


class MatchingState(NamedTuple):
    """A ring of planned frames, all rows under one clock, and how far each row is planned."""

    frames: Float[Array, "S B D"]  # physical
    follow: Follow  # leaves [S, B, ...], what a plan from each frame continues with
    command: Float[Array, "B C"]  # physical
    planned: Int[Array, "B"]  # absolute index of the last frame known; there the row searches next
    clock: Int[Array, ""]  # absolute index of the frame last served


def matching(
    *,
    search_every: int = 8,
    lookahead_frames: int | None = None,
    half_life: float = 0.1,
    command_half_life: float = 0.2,
    start: str = "library",
    stay: float = 2.0,
    rate_limit: float = 0.15,
    turn_limit: float = 0.3,
    side_limit: float = 0.15,
    lock: float = 1.0,
) -> Generator[MatchingState]:
    """A generator that plays clips of `model.library` and jumps between them to obey the command.

    A row searches the library when its command changes, at a clip's end, and every `search_every` frames, for the frame
    that fits its pose and leads where the command does: each step a different part of the rows, so that no step takes
    longer than another. It stays in its clip where no candidate is better. Offsets at a jump, of joints and root, decay
    as critically damped springs do. Searches run `lookahead_frames` ahead of what is served: look-ahead is what will be
    served unless the command changes.

    Playback speeds up or slows down, and the path bends and leads to a side, within limits, towards the command; the
    root moves so that feet that stand in the clip stand. From standing, every start lifts the right foot first, or the
    left one where vy is above 0.15 m/s: a network that learns from such motion has one answer to learn.

    `init` and `reset` without `motion` begin at a random frame of the library, or standing. With `motion` they continue
    it by the frame that fits it best.

    After S. Clavet, "Motion Matching and The Road to Next-Gen Animation", GDC 2016, and D. Holden et al., "Learned
    Motion Matching", SIGGRAPH 2020.

    Args:
      search_every: K, frames from one search of a row to the next.
      lookahead_frames: L, the horizon; by default K. A reset or a change of command makes 1 + (L + K - 2) // K
        searches in sequence for its rows. The state holds B x (L + K + 1) x (D + 27) numbers.
      half_life: seconds in which about half of an offset disappears. Shorter is jerkier, longer blurs steps.
      command_half_life: the same, of the difference between the desired velocity and the command.
      start: "library" or "standing".
      stay: what a candidate has to be better by for a jump, as a squared distance of normalized features. If it is
        small, turns on the spot are interrupted before their steps; if it is large, rows answer late.
      rate_limit: share by which playback may be faster or slower.
      turn_limit: rad/s that may be added to the yaw rate. While one foot stands, the robot turns about it.
      side_limit: rad by which both legs may be turned at the hips about the vertical, so that a clip leads to the side
        of the robot's heading: at 3 m/s, 0.15 rad are 0.45 m/s sideways.
      lock: share of a standing foot's slip that the root takes away, from 0 to 1.

    Raises:
      InputError: a number out of its range. The functions raise it for a model without a library.

    Examples:
      >>> library = cmg_jax.build_library(cmg_jax.data.load(Path("walks.npz")))
      >>> model, generator = cmg_jax.model_of_library(library), cmg_jax.matching()
      >>> state = jax.jit(generator.init)(model, jax.random.key(0), jnp.zeros((4, 3)))
      >>> state, frame = jax.jit(generator.step)(model, state)
      >>> frame.joint_pos.shape
      (4, 29)
    """
    horizon = search_every if lookahead_frames is None else lookahead_frames
    options = Options(search_every, half_life, command_half_life, stay, rate_limit, turn_limit, side_limit, lock)
    _check(options, horizon, start)
    slots = horizon + search_every + 1
    plans = max(-(-(horizon + search_every - 1) // search_every), 1)

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> MatchingState:
        library = _library_of(model)
        phase_key, key = jax.random.split(key)
        frames = jnp.zeros((slots, num_envs, model.config.motion_dim), jnp.float32)
        one = jax.eval_shape(_follow.start_at, library, jnp.zeros(1, jnp.int32), jnp.zeros((1, 3), jnp.float32))
        follow = jax.tree.map(lambda leaf: jnp.zeros((slots, num_envs, *leaf.shape[1:]), leaf.dtype), one)
        # Rows search at different times.
        phase = draw_rows(
            lambda key, shape: jax.random.randint(key, shape, 0, search_every, jnp.int32), phase_key, num_envs
        )
        state = MatchingState(
            frames, follow, jnp.zeros((num_envs, model.config.command_dim), jnp.float32), horizon + phase, jnp.int32(0)
        )
        return reset(model, state, jnp.ones(num_envs, bool), key, command, motion)

    def step(model: CMGModel, state: MatchingState) -> tuple[MatchingState, MotionFrame]:
        state = state._replace(clock=state.clock + 1)
        due = state.planned - state.clock < horizon
        state = extend(model, state, due, state.planned, state.planned + search_every, 1)
        state = state._replace(planned=jnp.where(due, state.planned + search_every, state.planned))
        return state, split_frame(state.frames[state.clock % slots], model.config.num_joints)

    def reset(
        model: CMGModel,
        state: MatchingState,
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> MatchingState:
        library, slot = _library_of(model), state.clock % slots
        key, command = _motion_bank.passed_or_drawn(model, key, command, len(done))
        if start == "standing":
            place = jnp.broadcast_to(library.standing_index, done.shape)
        else:
            count = len(library.candidate_index)
            drawn = draw_rows(lambda key, shape: jax.random.randint(key, shape, 0, count, jnp.int32), key, len(done))
            place = library.candidate_index[drawn]

        def update(rings: tuple[jax.Array, Follow], rows: jax.Array) -> tuple[jax.Array, Follow]:
            frames, follow = rings
            row_place, row_command = (array.at[rows].get(mode="clip") for array in (place, command))
            if motion is None:
                first = library.frames[row_place]
                begun = _follow.start_at(library, row_place, library.command[row_place])
            else:
                first = motion.at[rows].get(mode="clip")
                begun = _follow.start_from(library, first, row_command, options)
            follow = jax.tree.map(lambda ring, new: ring.at[slot, rows].set(new, mode="drop"), follow, begun)
            return frames.at[slot, rows].set(first, mode="drop"), follow

        frames, follow = update_rows(done, (state.frames, state.follow), update)
        return replan(model, state._replace(frames=frames, follow=follow), done, command)

    def set_command(
        model: CMGModel, state: MatchingState, command: jax.Array, changed: jax.Array | None
    ) -> MatchingState:
        return replan(model, state, _base.changed_rows(state.command, command, changed), command)

    def replan(model: CMGModel, state: MatchingState, mask: jax.Array, command: jax.Array) -> MatchingState:
        state = state._replace(command=jnp.where(mask[:, None], command, state.command))
        now = jnp.broadcast_to(state.clock, mask.shape)
        return extend(model, state, mask, now, state.planned, plans)

    def extend(
        model: CMGModel, state: MatchingState, mask: jax.Array, after: jax.Array, until: jax.Array, plans: int
    ) -> MatchingState:
        """Plan the frames after `after` [B] until `until` [B] where `mask` [B], by so many searches in sequence."""
        library = _library_of(model)

        def update(rings: tuple[jax.Array, Follow], rows: jax.Array) -> tuple[jax.Array, Follow]:
            begin, end, command = (array.at[rows].get(mode="clip") for array in (after, until, state.command))

            def one(turn: jax.Array, rings: tuple[jax.Array, Follow]) -> tuple[jax.Array, Follow]:
                begun = begin + turn * search_every
                motion, last = jax.tree.map(lambda ring: ring.at[begun % slots, rows].get(mode="clip"), rings)
                made = _follow.plan(library, motion, last, command, options)
                index = begun[:, None] + 1 + jnp.arange(search_every, dtype=jnp.int32)[None]
                place = jnp.where(index <= end[:, None], rows[:, None], len(mask))
                return jax.tree.map(lambda ring, new: ring.at[index % slots, place].set(new, mode="drop"), rings, made)

            return jax.lax.fori_loop(0, plans, one, rings) if plans > 1 else one(jnp.int32(0), rings)

        frames, follow = update_rows(mask, (state.frames, state.follow), update)
        return state._replace(frames=frames, follow=follow)

    def lookahead(model: CMGModel, state: MatchingState, offsets: jax.Array | np.ndarray) -> MotionFrame:
        frames = state.frames[(state.clock + offsets) % slots].swapaxes(0, 1)
        return split_frame(frames, model.config.num_joints)

    return _base.checked(
        init=init, step=step, reset=reset, set_command=set_command, lookahead=lookahead, horizon=horizon
    )


def _check(options: Options, horizon: int, start: str) -> None:
    if options.search_every < 1 or horizon < 1:
        raise InputError(f"search_every {options.search_every}, lookahead_frames {horizon}: must be at least 1")
    if start not in STARTS:
        raise InputError(f"start is {start!r}; it must be {' or '.join(map(repr, STARTS))}")
    for name in ("half_life", "command_half_life"):
        if not getattr(options, name) > 0:
            raise InputError(f"{name} {getattr(options, name)}: must be a positive number of seconds")
    limits = options.turn_limit, options.side_limit
    if not (0 <= options.rate_limit < 1 and min(limits) >= 0 and 0 <= options.lock <= 1):
        raise InputError(
            f"rate_limit {options.rate_limit}, turn_limit {limits[0]}, side_limit {limits[1]}, lock {options.lock}: "
            "must be from 0 to below 1, at least 0, at least 0, and from 0 to 1"
        )


def _library_of(model: CMGModel) -> MotionLibrary:
    if model.library is None:
        raise InputError(
            "matching plays a library and the model has none; pass model_of_library(build_library(dataset)), or "
            "with_library(model, library)"
        )
    return model.library
