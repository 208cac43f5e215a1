"""Guards: count frames that a policy should not see, and replace those that are not finite."""

from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cmg_jax.generators import _base
from cmg_jax.generators._base import Generator, MotionFrame, S
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import split_frame


class GuardCounts(NamedTuple):
    """Numbers of steps since `init`, one for each row; write zeros to count from the start."""

    not_finite: Int[Array, "B"]  # the frame held a NaN or an infinity
    outside_limits: Int[Array, "B"]  # a joint was beyond its range
    outside_command: Int[Array, "B"]  # the command was beyond the trained range


class GuardedState(NamedTuple, Generic[S]):
    """The state of a `guarded` generator around the state of the generator inside."""

    inner: S
    counts: GuardCounts
    good: MotionFrame  # leaves [B, J]: the last finite frame served

    @property
    def command(self) -> Float[Array, "B C"]:
        """The active command [B, C], physical: the one that the frames obey."""
        return self.inner.command


def guarded(generator: Generator[S], *, hold: bool = True, tolerance: float = 0.0) -> Generator[GuardedState[S]]:
    """`generator` with counts, in `state.counts`, of the steps on which a row was

    - not finite (a NaN in a command makes every later frame of its row one),
    - beyond a joint's range (not checked for a robot whose MJCF is not known),
    - under a command outside the range that the model was trained on, or under a NaN. This is about the active
      command: from a bank, the one that the row's motion was made under.

    Args:
      generator: any mode.
      hold: serve the last finite frame in place of one that is not, in `lookahead` too. Such a row
        stays held until it is reset.
      tolerance: rad that a joint may be beyond its range.

    Examples:
      >>> generator = cmg_jax.guarded(cmg_jax.streaming(5))
      >>> state = generator.init(model, jax.random.key(0), jnp.array([[0.5, 0.0, 0.0], [9.0, 0.0, 0.0]]))
      >>> state, frame = generator.step(model, state)
      >>> state.counts.outside_command  # the second row is faster than the model was trained
      Array([0, 1], dtype=int32)
    """

    def outside_limits(model: CMGModel, joint_pos: jax.Array) -> jax.Array:
        robot = model.config.robot
        if not robot.has_mjcf:
            return jnp.zeros(joint_pos.shape[0], bool)
        low, high = jnp.asarray(robot.joint_limits).T[:, None]
        return ((joint_pos < low - tolerance) | (joint_pos > high + tolerance)).any(-1)

    def outside_command(model: CMGModel, command: jax.Array) -> jax.Array:
        low, high = model.stats.command_min[None], model.stats.command_max[None]
        return ~((command >= low) & (command <= high)).all(-1)

    def last_served(model: CMGModel, inner: S) -> MotionFrame:
        """The frame last served, or standing in rows where it is not finite."""
        frame = jax.tree.map(lambda leaf: leaf[:, 0], generator.lookahead(model, inner, (0,)))
        finite = _finite(frame)[:, None]
        standing = split_frame(_base.standing_frame(model)[None], model.config.num_joints)
        return jax.tree.map(lambda leaf, safe: jnp.where(finite, leaf, safe), frame, standing)

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> GuardedState[S]:
        inner = generator.init(model, key, command, motion, num_envs=num_envs)
        counts = GuardCounts(*(jnp.zeros(num_envs, jnp.int32) for _ in GuardCounts._fields))
        return GuardedState(inner, counts, last_served(model, inner))

    def step(model: CMGModel, state: GuardedState[S]) -> tuple[GuardedState[S], MotionFrame]:
        inner, frame = generator.step(model, state.inner)
        finite = _finite(frame)
        seen = GuardCounts(~finite, outside_limits(model, frame.joint_pos), outside_command(model, inner.command))
        counts = jax.tree.map(lambda count, event: count + event.astype(jnp.int32), state.counts, seen)
        good = jax.tree.map(lambda new, old: jnp.where(finite[:, None], new, old), frame, state.good)
        # A copy for the state: the frame that was served must outlive a donated state.
        return GuardedState(inner, counts, jax.tree.map(jnp.copy, good)), good if hold else frame

    def reset(
        model: CMGModel,
        state: GuardedState[S],
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> GuardedState[S]:
        inner = generator.reset(model, state.inner, done, key, command, motion)
        fresh = last_served(model, inner)
        good = jax.tree.map(lambda new, old: jnp.where(done[:, None], new, old), fresh, state.good)
        return state._replace(inner=inner, good=good)

    def set_command(
        model: CMGModel, state: GuardedState[S], command: jax.Array, changed: jax.Array | None
    ) -> GuardedState[S]:
        return state._replace(inner=generator.set_command(model, state.inner, command, changed))

    def lookahead(model: CMGModel, state: GuardedState[S], offsets: jax.Array | np.ndarray) -> MotionFrame:
        ahead = generator.lookahead(model, state.inner, offsets)
        if not hold:
            return ahead
        finite = _finite(ahead)[..., None]
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old[:, None]), ahead, state.good)

    return _base.checked(
        init=init,
        step=step,
        reset=reset,
        set_command=set_command,
        lookahead=lookahead,
        horizon=generator.horizon,
    )


def _finite(frame: MotionFrame) -> jax.Array:
    """Whether all numbers of a frame are finite, [...] for leaves [..., n]."""
    return jnp.stack([jnp.isfinite(leaf).all(-1) for leaf in jax.tree.leaves(frame)]).all(0)
