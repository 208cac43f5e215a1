"""The contract that every generator keeps, as types, and the checks that all of them share.

A generator works on a whole batch: it decides once per batch whether the network runs. Under `vmap` that decision
would become a select that runs both branches, so call a generator on the whole batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from cmg_jax._errors import InputError
from cmg_jax.generators._rows import draw_rows
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import MotionFrame, join_frame, root_motion, split_frame


class GeneratorState(Protocol):
    """A pytree of arrays whose structure, shapes and dtypes never change.

    Its arrays may be NumPy's, as a restored checkpoint has them.
    """

    @property
    def command(self) -> Float[Array, "B C"]:
        """The active command, physical: the one that each row's frames obey."""
        ...


S = TypeVar("S", bound=GeneratorState)
S_co = TypeVar("S_co", bound=GeneratorState, covariant=True)
S_contra = TypeVar("S_contra", bound=GeneratorState, contravariant=True)


class InitFn(Protocol[S_co]):
    """The type of `Generator.init`."""

    def __call__(
        self,
        model: CMGModel,
        key: jax.Array,
        command: ArrayLike | None,
        motion: ArrayLike | None = None,
        *,
        num_envs: int | None = None,
    ) -> S_co:
        """The state of B environments. The first step serves the frame that follows `motion`.

        Args:
          model: the model.
          key: consumed; draws the commands and first frames that are None.
          command: [B, C] physical: vx, vy [m/s] and yaw rate [rad/s]. None: each row takes the command of a motion
            of `model.bank`, drawn from the bank's range.
          motion: the frames that count as served last, [B, D] physical: joint positions [rad], then joint
            velocities [rad/s]. None: drawn from the model's pool, or standing if the model has none.
          num_envs: B, needed where `command` is None.

        Raises:
          InputError: arrays of another shape or not finite; neither commands nor a bank to draw them from.
        """
        ...


class StepFn(Protocol[S]):
    """The type of `Generator.step`."""

    def __call__(self, model: CMGModel, state: S) -> tuple[S, MotionFrame]:
        """Advance every row by one frame.

        Returns:
          the state, and the frame with leaves [B, J] in rad and rad/s.
        """
        ...


class ResetFn(Protocol[S]):
    """The type of `Generator.reset`."""

    def __call__(
        self,
        model: CMGModel,
        state: S,
        done: ArrayLike,
        key: jax.Array,
        command: ArrayLike | None,
        motion: ArrayLike | None = None,
    ) -> S:
        """Restart the rows where `done` is set, as `init` starts them. The other rows keep their motion and command.

        Args:
          model: the model.
          state: the generator's state.
          done: [B] bool, or 0 and 1 as Brax has them.
          key: consumed; draws the commands and first frames that are None.
          command: [B, C] physical, or None for commands that `model.bank` draws.
          motion: frames that count as served last, [B, D] physical; by default drawn as in `init`.

        Raises:
          InputError: as for `init`.
        """
        ...


class SetCommandFn(Protocol[S]):
    """The type of `Generator.set_command`."""

    def __call__(self, model: CMGModel, state: S, command: ArrayLike, changed: ArrayLike | None = None) -> S:
        """Change commands. The rows concerned continue from the frame last served, without a jump.

        Their next frame is the network on that frame and the new command.

        Args:
          model: the model.
          state: the generator's state.
          command: [B, C] physical.
          changed: [B] bool, rows that take their command; by default those where it differs from the active one.

        Raises:
          InputError: arrays of another shape, or commands that are not finite.
        """
        ...


class LookaheadFn(Protocol[S_contra]):
    """The type of `Generator.lookahead`."""

    def __call__(self, model: CMGModel, state: S_contra, offsets: Sequence[int] | ArrayLike) -> MotionFrame:
        """Frames at offsets from the frame last served, without a step.

        Args:
          model: the model.
          state: the generator's state.
          offsets: whole numbers [n] from 0 to `Generator.horizon`. 0 is the frame last served, 1 the one that the
            next step serves.

        Returns:
          frames with leaves [B, n, J] in rad and rad/s.

        Raises:
          InputError: an offset outside of that range. The values of traced offsets cannot be checked:
            there, a frame outside of the range is NaN.
        """
        ...


class Generator(NamedTuple, Generic[S]):
    """Pure functions around one state. All arrays have the batch axis B first; `help` shows each one's arguments."""

    init: InitFn[S]
    step: StepFn[S]
    reset: ResetFn[S]
    set_command: SetCommandFn[S]
    lookahead: LookaheadFn[S]
    horizon: float
    """Frames ahead that are known at any time: a whole number, or infinity where motions repeat."""


def checked(
    *,
    init: Callable[[CMGModel, jax.Array, jax.Array | None, jax.Array | None, int], S],
    step: Callable[[CMGModel, S], tuple[S, MotionFrame]],
    reset: Callable[[CMGModel, S, jax.Array, jax.Array, jax.Array | None, jax.Array | None], S],
    set_command: Callable[[CMGModel, S, jax.Array, jax.Array | None], S],
    lookahead: Callable[[CMGModel, S, jax.Array | np.ndarray], MotionFrame],
    horizon: float,
) -> Generator[S]:
    """The generator made of a mode's functions, each behind a check of its arguments.

    Commands and first frames arrive there in float32 [B, ...] or as None, masks as bool [B], offsets as int32 [n]
    between 0 and the horizon, `num_envs` as a number, and states as jax arrays.
    """

    def checked_init(
        model: CMGModel,
        key: jax.Array,
        command: ArrayLike | None,
        motion: ArrayLike | None = None,
        *,
        num_envs: int | None = None,
    ) -> S:
        model = as_arrays(model)
        if command is not None:
            command = _check_command(model, command, num_envs)
            num_envs = len(command)
        elif num_envs is None or num_envs < 1:
            raise InputError("pass the commands, or num_envs for the number of commands that a bank draws")
        return init(
            model, as_arrays(key), _require_source(model, command), _check_motion(model, motion, num_envs), num_envs
        )

    def checked_step(model: CMGModel, state: S) -> tuple[S, MotionFrame]:
        return step(as_arrays(model), as_arrays(state))

    def checked_reset(
        model: CMGModel,
        state: S,
        done: ArrayLike,
        key: jax.Array,
        command: ArrayLike | None,
        motion: ArrayLike | None = None,
    ) -> S:
        model, state = as_arrays((model, state))
        num_envs = len(state.command)
        done = check_mask("done", done, num_envs)
        if command is not None:
            command = _check_command(model, command, num_envs)
        motion = _check_motion(model, motion, num_envs)
        return reset(model, state, done, as_arrays(key), _require_source(model, command), motion)

    def checked_set_command(model: CMGModel, state: S, command: ArrayLike, changed: ArrayLike | None = None) -> S:
        model, state = as_arrays((model, state))
        num_envs = len(state.command)
        command = _check_command(model, command, num_envs)
        return set_command(model, state, command, None if changed is None else check_mask("changed", changed, num_envs))

    def checked_lookahead(model: CMGModel, state: S, offsets: Sequence[int] | ArrayLike) -> MotionFrame:
        offsets, known = check_offsets(offsets, horizon)
        frames = lookahead(as_arrays(model), as_arrays(state), offsets)
        if known is None:
            return frames
        return jax.tree.map(lambda leaf: jnp.where(known[None, :, None], leaf, jnp.nan), frames)

    functions = (checked_init, checked_step, checked_reset, checked_set_command, checked_lookahead)
    for name, function, contract in zip(
        Generator._fields, functions, (InitFn, StepFn, ResetFn, SetCommandFn, LookaheadFn), strict=False
    ):
        function.__name__ = function.__qualname__ = name
        function.__doc__ = contract.__call__.__doc__
    return Generator(*functions, horizon)


def to_frame(model: CMGModel, motion_normalized: Float[Array, "... D"]) -> MotionFrame:
    """The physical frame from normalized motion of any float dtype."""
    motion = _normalization.denormalize_motion(model.stats, motion_normalized.astype(jnp.float32))
    return split_frame(motion, model.config.num_joints)


def first_frames(model: CMGModel, key: jax.Array, num_envs: int) -> Float[Array, "{num_envs} D"]:
    """First frames, physical: drawn from the model's pool, or standing if it has none."""
    if model.initial_motion is None:
        return jnp.broadcast_to(standing_frame(model), (num_envs, model.config.motion_dim))
    pool = model.initial_motion
    return pool[draw_rows(lambda key, shape: jax.random.randint(key, shape, 0, len(pool), jnp.int32), key, num_envs)]


def standing_frame(model: CMGModel) -> Float[Array, "D"]:
    """The frame of standing still, physical; for a robot without MJCF, the mean of the training data.

    A root channel stands upright, the lower foot on the floor.

    Examples:
      >>> cmg_jax.standing_frame(model).shape
      (64,)
    """
    config = model.config
    if not config.robot.has_mjcf:
        return model.stats.motion_mean
    joint_pos = jnp.asarray(config.robot.standing_joint_pos)
    frame = MotionFrame(joint_pos, jnp.zeros_like(joint_pos))
    if config.has_root:
        frame = frame._replace(root=root_motion(frame, jnp.zeros(3, jnp.float32), config.robot))
    return join_frame(frame)


def is_traced(tree: object) -> bool:
    """Whether jax is tracing a value of the tree, whose numbers are then not known yet."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


Tree = TypeVar("Tree")


def as_arrays(tree: Tree) -> Tree:
    """`tree` with NumPy leaves, those of a restored checkpoint for instance, as jax arrays."""
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf), tree)


def check_array(name: str, value: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """A float32 copy of `value`, after a check of its shape and, outside jit, that all numbers are finite.

    A copy, because it may become part of a state, and a state may be donated.

    Raises:
      InputError: another shape, or a number that is not finite.
    """
    if np.shape(value) != shape:
        wanted = ", ".join("B" if size < 0 else str(size) for size in shape)
        raise InputError(f"{name} has shape {np.shape(value)}; it must be [{wanted}]")
    array = jnp.array(value, jnp.float32)
    if not isinstance(array, Tracer) and not bool(jnp.isfinite(array).all()):
        row = int(jnp.argmin(jnp.isfinite(array).all(axis=-1)))
        raise InputError(f"{name} is not finite in row {row}")
    return array


def check_mask(name: str, mask: ArrayLike, num_envs: int) -> Bool[Array, "{num_envs}"]:
    """The mask as bool. It may also hold 0 and 1 as floats, as Brax's `done` does."""
    if np.shape(mask) != (num_envs,):
        raise InputError(f"{name} has shape {np.shape(mask)}; it must be [{num_envs}]")
    return jnp.asarray(mask).astype(bool)


def changed_rows(
    old: Float[Array, "B C"], new: Float[Array, "B C"], changed: Bool[Array, "B"] | None
) -> Bool[Array, "B"]:
    """Rows whose command changes: `changed`, or by default the rows in which it differs."""
    return (old != new).any(axis=-1) if changed is None else changed


def _require_source(model: CMGModel, command: jax.Array | None) -> jax.Array | None:
    """`command`, after a check that a bank can draw it if it is None."""
    if command is None and model.bank is None:
        raise InputError("pass the commands; only a bank draws them, and this model has none (model.replace(bank=...))")
    return command


def _check_command(model: CMGModel, command: ArrayLike, num_envs: int | None) -> jax.Array:
    if num_envs is None:
        num_envs = int(np.shape(command)[0]) if np.ndim(command) == 2 else -1
    return check_array("command", command, (num_envs, model.config.command_dim))


def _check_motion(model: CMGModel, motion: ArrayLike | None, num_envs: int) -> jax.Array | None:
    return None if motion is None else check_array("motion", motion, (num_envs, model.config.motion_dim))


_MAX_OFFSET = 2**30
"""Clocks are int32."""


def check_offsets(
    offsets: Sequence[int] | ArrayLike, horizon: float
) -> tuple[jax.Array | np.ndarray, jax.Array | None]:
    """Offsets [n] int32, and which of them [n] are valid, if that can only be known later."""
    traced, limit = is_traced(offsets), int(min(horizon, _MAX_OFFSET))
    values: Any = jnp.atleast_1d(jnp.asarray(offsets)) if traced else np.atleast_1d(np.asarray(offsets))
    if values.size == 0 and not traced:
        values = values.astype(np.int32)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"offsets {values.dtype}{list(values.shape)} must be whole numbers [n]; see at_time for times")
    if traced:
        values = values.astype(jnp.int32)
        return jnp.clip(values, 0, limit), (values >= 0) & (values <= limit)
    if values.size and values.min() < 0:
        raise InputError(f"offset {values.min()} is negative; frames already served are not kept")
    if values.size and values.max() > limit:
        raise InputError(
            f"offset {values.max()} is beyond the {limit} frames ahead that this generator knows; "
            "ask for fewer, or make it with more frames of look-ahead"
        )
    return values.astype(np.int32), None
