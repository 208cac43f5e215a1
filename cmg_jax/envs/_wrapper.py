"""Reference motion around a vectorised environment: outside Brax's and Playground's auto-reset.

`train(wrap_env_fn=make_wrap_env_fn(source))` gives the trainer Vmap -> Episode -> AutoReset ->
ReferenceMotionWrapper -> Eval. There it sees all rows, so the generator decides once for the batch
whether the network runs, and every row that auto-reset has just restored gets the reference of its new
episode, in `info["reference"]` and in its observation.

An environment must provide two things:

    info["reference"] = empty_reference(lookahead=...)   in reset: the slot, which its step may read
    write_reference(self, obs, reference) -> obs         the observation with the reference's part written

It may have a third one, in which an episode begins in the pose and with the velocity of its reference:

    begin_on_reference(self, state, reference) -> state  the state, its observation too, at the reference's first frame

In its step, `info["reference"]` holds the frame that the robot should have reached when the step ends, and the
command which that frame obeys; the frames to come are those that its policy saw. The state that leaves the wrapper
holds the same frame, the frames that follow it, and the command which those obey.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from brax.envs.base import Env, Observation, State, Wrapper
from brax.envs.wrappers import training as brax_training
from jax.typing import ArrayLike
from jaxtyping import Array, UInt

from cmg_jax._errors import InputError
from cmg_jax.commands import HeldCommand, SmootherState
from cmg_jax.commands._sampler import hold, next_held
from cmg_jax.envs._beginning import HOOK, BeginOnReference, begin_rows
from cmg_jax.envs._reference import KeyBodies, Reference
from cmg_jax.envs._source import ReferenceSource
from cmg_jax.generators import RootAhead, root_ahead, standing_frame
from cmg_jax.generators._base import GeneratorState, MotionFrame
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import RootPose, init_root, place_root, reset_root, root_motion, step_root
from cmg_jax.robot._root import planar_velocity

SLOT = "reference"
STATE = "reference_state"

KEY_TAG = 0x52454621
"""Folded into a key of the rows for our own draws: far from the small numbers that a split folds in."""

RandomizationFn = Callable[..., tuple[object, object]]
"""The system or model of an environment, and keys -> a batch of them, and their axes for `vmap`."""

EnvState = TypeVar("EnvState")
"""A state of Brax or of Playground, which have the same fields for all that is used here."""


class ReferenceState(NamedTuple):
    """State of the wrapper, kept under `info["reference_state"]`.

    It holds leaves without the axis of environments (weights, clocks, key), so it never enters the environment inside.
    The weights are part of it so that they are an argument of every compiled step, not a constant.
    """

    model: CMGModel
    generator: GeneratorState
    held: HeldCommand
    smoother: SmootherState
    root: RootPose
    key: UInt[Array, "2"]  # raw: trainers cast the leaves of a state, and typed keys cannot be cast


class Environment(Protocol):
    """An environment of Brax or of Playground, for one robot."""

    @property
    def action_size(self) -> int: ...

    @property
    def unwrapped(self) -> "Environment": ...

    def reset(self, rng: jax.Array) -> object: ...


class WrapEnvFn(Protocol):
    """The type of `wrap_env_fn` in `brax.training.agents.*.train`."""

    def __call__(
        self,
        env: Environment,
        episode_length: int = 1000,
        action_repeat: int = 1,
        randomization_fn: RandomizationFn | None = None,
    ) -> "ReferenceMotionWrapper":
        """The environment, vectorised with auto-reset and with our wrapper outermost.

        Raises:
          InputError: `full_reset` for an environment of Brax, and as `ReferenceMotionWrapper` does.
        """
        ...


def make_wrap_env_fn(source: ReferenceSource, *, full_reset: bool = False) -> WrapEnvFn:
    """The `wrap_env_fn` of `brax.training.agents.*.train`, for Brax and Playground environments alike.

    Args:
      source: the reference.
      full_reset: Playground's option of that name.

    Examples:
      >>> from cmg_jax import commands
      >>> from cmg_jax.rl import G1Tracking
      >>> from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
      >>> draw = lambda key, num_envs: commands.uniform(key, commands.trained_range(model), num_envs)
      >>> env = G1Tracking()
      >>> source = ReferenceSource(model, cmg_jax.streaming(10), draw, **env.wrapping)
      >>> wrapped = make_wrap_env_fn(source)(env, episode_length=250)  # or ppo.train(env, wrap_env_fn=...)
      >>> wrapped.observation_size
      235
    """

    def wrap_env_fn(
        env: Environment,
        episode_length: int = 1000,
        action_repeat: int = 1,
        randomization_fn: RandomizationFn | None = None,
    ) -> ReferenceMotionWrapper:
        if _is_playground(env):
            from mujoco_playground import wrapper as playground

            inner = playground.wrap_for_brax_training(
                cast(Any, env), episode_length, action_repeat, cast(Any, randomization_fn), full_reset
            )
        elif full_reset:
            raise InputError(f"{type(env.unwrapped).__name__} is a Brax environment; only Playground has full_reset")
        else:
            inner = brax_training.wrap(cast(Env, env), episode_length, action_repeat, cast(Any, randomization_fn))
        return ReferenceMotionWrapper(cast(Env, inner), source, action_repeat=action_repeat)

    return wrap_env_fn


class ReferenceMotionWrapper(Wrapper):
    """Serves every row of a vectorised, auto-resetting environment its own reference motion.

    A step advances the motion, steps the environment with the new frame in `info["reference"]`, and then handles
    what happened: rows that are done begin a new episode (first frame, command, root at the origin), rows whose
    command is over draw the next one, and every row's smoothed command moves on. A new command acts on the frames
    after the present one, under `on_tick` from its tick on. The `command` of the reference, by which its root walks
    too, is always the one that the frames obey.
    """

    def __init__(self, env: Env, source: ReferenceSource, *, action_repeat: int = 1):
        """Wrap an environment that is vectorised already; `make_wrap_env_fn` does that too.

        Raises:
          InputError: the environment has no `write_reference`, or its control step is not a whole number of frames; at
            reset, it has no slot, or one of another size.
        """
        super().__init__(env)
        name = type(self.unwrapped).__name__
        write_reference = getattr(self.unwrapped, "write_reference", None)
        if write_reference is None:
            raise InputError(
                f"{name} has no method write_reference(self, obs, reference): add one that returns obs with the "
                "reference's part written (or obs unchanged, if the policy does not see the reference)"
            )
        self._write_reference: Callable[[Observation, Reference], Observation] = write_reference
        self._begin_on_reference: BeginOnReference | None = getattr(self.unwrapped, HOOK, None)
        self._source = source
        self._offsets = np.array([0, *source.lookahead], np.int32)
        self._frames_per_step = _frames_per_step(env, action_repeat, source.model.config.fps)

    def reset(self, rng: jax.Array) -> State:
        """The first state, for raw keys [num_envs, 2] uint32, as trainers make them and Brax's wrappers need them.

        Raises:
          InputError: the keys are of another shape, or the environment's slot is missing or of another size.
        """
        if jnp.shape(rng)[1:] != (2,):
            raise InputError(
                f"reset takes one raw key for each environment, [num_envs, 2], not keys of shape {jnp.shape(rng)}: "
                "jax.random.split(jax.random.PRNGKey(0), num_envs)"
            )
        source, num_envs = self._source, len(rng)
        state = self.env.reset(rng)
        key, command_key, motion_key, hold_key = jax.random.split(jax.random.fold_in(rng[0], KEY_TAG), 4)
        # A copy: the state may be donated, but the caller's model may not.
        model = jax.tree.map(jnp.copy, source.model)
        drawn = None if source.command_sampler is None else source.command_sampler(command_key, num_envs)
        generated = source.generator.init(model, motion_key, drawn, num_envs=num_envs)
        everyone = jnp.ones(num_envs, bool)
        if source.standing_fraction:
            generated = self._reset_motion(model, generated, everyone, motion_key, drawn)
        command = generated.command  # a bank may have put a motion's own in place of the drawn one
        held = hold(hold_key, command, source.hold_interval)
        reference_state = ReferenceState(
            model, generated, held, source.smoother.init(command), init_root(num_envs), key
        )
        reference = self._reference(reference_state)
        self._check_slot(state, reference)
        return self._with_reference(state, reference_state, reference, everyone)

    def step(self, state: State, action: jax.Array) -> State:
        info = dict(state.info)
        reference_state = self._advance(info.pop(STATE))
        info[SLOT] = self._arriving(reference_state, info[SLOT])
        state = self.env.step(_replace(state, info=info), action)
        done = state.done.astype(bool)
        reference_state = self._handle_events(reference_state, done)
        return self._with_reference(state, reference_state, self._reference(reference_state), done)

    def set_command(self, state: EnvState, command: ArrayLike) -> EnvState:
        """Request `command` [num_envs, C] in all rows from the next step on, until their interval is over."""
        info = cast(State, state).info
        reference_state: ReferenceState = info[STATE]
        smoother = self._source.smoother.request(reference_state.smoother, command)
        # A copy, as the state may be donated.
        held = reference_state.held._replace(requested=jnp.array(command, jnp.float32))
        return _replace(state, info=info | {STATE: reference_state._replace(held=held, smoother=smoother)})

    def restart_reference(self, state: EnvState, rows: ArrayLike) -> EnvState:
        """Begin the reference again where `rows` [num_envs] bool, under its command; the robots go on as they are."""
        reference_state: ReferenceState = cast(State, state).info[STATE]
        rows, (key, motion_key) = jnp.asarray(rows), jax.random.split(reference_state.key)
        generated = self._reset_motion(
            reference_state.model, reference_state.generator, rows, motion_key, reference_state.smoother.smoothed
        )
        root = reset_root(reference_state.root, rows)
        reference_state = reference_state._replace(generator=generated, root=root, key=key)
        reference = self._reference(reference_state)
        return cast(Any, self._with_reference(cast(State, state), reference_state, reference, jnp.zeros_like(rows)))

    def _advance(self, reference_state: ReferenceState) -> ReferenceState:
        """The motion and the root, as many frames further as a control step lasts."""
        model = reference_state.model

        def frame(_: ArrayLike, moving: tuple[GeneratorState, RootPose]) -> tuple[GeneratorState, RootPose]:
            generated, root = moving
            generated, served = self._source.generator.step(model, generated)
            # By the command of the frame that was made: a step may put a waiting command in force.
            moved = planar_velocity(root_motion(served, generated.command, model.config.robot))
            return generated, step_root(root, moved, model.config.fps)

        moving = reference_state.generator, reference_state.root
        if self._frames_per_step == 1:
            generated, root = frame(0, moving)
        else:
            generated, root = jax.lax.fori_loop(0, self._frames_per_step, frame, moving)
        return reference_state._replace(generator=generated, root=root)

    def _handle_events(self, reference_state: ReferenceState, done: jax.Array) -> ReferenceState:
        """Resets where `done` [num_envs], changes of command elsewhere."""
        source = self._source
        key, command_key, motion_key, hold_key = jax.random.split(reference_state.key, 4)
        old, model = reference_state.held, reference_state.model
        drawn = None if source.command_sampler is None else source.command_sampler(command_key, len(done))
        next_command = old.requested if drawn is None else drawn
        held, changed = next_held(old, hold_key, next_command, source.hold_interval, done)
        smoother = source.smoother.request(reference_state.smoother, held.requested, changed & ~done)
        smoother = source.smoother.step(smoother)
        moved = (smoother.smoothed != reference_state.smoother.smoothed).any(axis=-1) & ~done

        generated = self._reset_motion(model, reference_state.generator, done, motion_key, drawn)
        held = held._replace(requested=jnp.where(done[:, None], generated.command, held.requested))
        smoother = source.smoother.reset(smoother, done, held.requested)
        generated = source.generator.set_command(model, generated, smoother.smoothed, moved)
        return ReferenceState(model, generated, held, smoother, reset_root(reference_state.root, done), key)

    def _reset_motion(
        self, model: CMGModel, generated: GeneratorState, done: jax.Array, key: jax.Array, command: jax.Array | None
    ) -> GeneratorState:
        """New episodes where `done` [num_envs], `standing_fraction` of them standing."""
        reset, fraction = self._source.generator.reset, self._source.standing_fraction
        if fraction == 0:
            return reset(model, generated, done, key, command)
        key, draw_key, standing_key = jax.random.split(key, 3)
        standing = jax.random.uniform(draw_key, done.shape, jnp.float32) < fraction
        motion = jnp.broadcast_to(standing_frame(model), (len(done), model.config.motion_dim))
        generated = reset(model, generated, done & standing, standing_key, command, motion)
        return generated if fraction == 1 else reset(model, generated, done & ~standing, key, command)

    def _ahead(self, reference_state: ReferenceState, offsets: np.ndarray) -> tuple[RootAhead, KeyBodies | None]:
        ahead = root_ahead(self._source.generator, reference_state.model, reference_state.generator, offsets)
        return ahead, self._key_bodies(ahead.frames)

    def _arriving(self, reference_state: ReferenceState, last: Reference) -> Reference:
        """The `last` reference, with the frame that the generator has just served, its command and its root."""
        (frame, root, contacts), bodies = jax.tree.map(
            lambda leaf: leaf[:, 0], self._ahead(reference_state, self._offsets[:1])
        )
        return last._replace(
            joint_pos=frame.joint_pos,
            joint_vel=frame.joint_vel,
            root=place_root(root, reference_state.root),
            contacts=contacts,
            command=reference_state.generator.command,
            bodies=bodies,
        )

    def _reference(self, reference_state: ReferenceState) -> Reference:
        seen = self._ahead(reference_state, self._offsets)
        (now, bodies), (ahead, ahead_bodies) = (
            jax.tree.map(lambda leaf, part=part: leaf[:, part], seen) for part in (0, slice(1, None))
        )
        return Reference(
            joint_pos=now.frames.joint_pos,
            joint_vel=now.frames.joint_vel,
            root=place_root(now.root, reference_state.root),
            contacts=now.contacts,
            ahead=ahead.frames._replace(root=None),
            ahead_root=ahead.root,
            ahead_contacts=ahead.contacts,
            command=reference_state.generator.command,
            smoothed=reference_state.smoother.smoothed,
            requested=reference_state.held.requested,
            bodies=bodies,
            ahead_bodies=ahead_bodies,
        )

    def _key_bodies(self, frames: MotionFrame) -> KeyBodies | None:
        robot = self._source.kinematics
        return None if robot is None else KeyBodies(*robot.body_velocities(frames.joint_pos, frames.joint_vel))

    def _with_reference(
        self, state: State, reference_state: ReferenceState, reference: Reference, begin: jax.Array
    ) -> State:
        """The state that leaves the wrapper; episodes begin in the rows where `begin` [num_envs]."""
        state = _replace(state, info=state.info | {SLOT: reference})
        if self._begin_on_reference is not None:
            state = begin_rows(self._begin_on_reference, state, reference, begin, type(self.unwrapped).__name__)
        obs = jax.vmap(self._write_reference)(state.obs, reference)
        _check_obs(type(self.unwrapped).__name__, state.obs, obs)
        return _replace(state, obs=obs, info=state.info | {STATE: reference_state})

    def _check_slot(self, state: State, reference: Reference) -> None:
        name, config = type(self.unwrapped).__name__, self._source.model.config
        remedy = (
            f'info["{SLOT}"] = empty_reference(num_joints={config.num_joints}, lookahead={len(self._offsets) - 1}, '
            f"key_bodies={len(self._source.key_bodies)}, command_dim={config.command_dim}"
            f"{'' if config.robot.walks else ', contacts=False'})"
        )
        where = f"to the info of {name}.reset (from cmg_jax.envs import empty_reference)"
        if SLOT not in state.info:
            raise InputError(f'{name} declares no info["{SLOT}"]: add {remedy} {where}')
        if _shapes(state.info[SLOT]) != _shapes(reference):
            raise InputError(f'info["{SLOT}"] of {name} is not the slot that the wrapper needs: add {remedy} {where}')


def _replace(state: EnvState, **changes: object) -> EnvState:
    """`state.replace`, which type checkers do not see."""
    return cast(Any, state).replace(**changes)


def _frames_per_step(env: Env, action_repeat: int, fps: float) -> int:
    """Frames of the motion in one control step; one for each repeat if the environment has no `dt`."""
    dt = getattr(env, "dt", None)
    if dt is None:
        return action_repeat
    seconds = float(dt) * action_repeat
    frames = seconds * fps
    if round(frames) < 1 or abs(frames - round(frames)) > 1e-3:
        raise InputError(
            f"a control step of {seconds:g} s is {frames:g} frames of a motion at {fps:g} frames per second; "
            "choose a dt or action_repeat that makes it a whole number"
        )
    return round(frames)


def _is_playground(env: Environment) -> bool:
    """Whether it is an MjxEnv; without an import of Playground, which an environment of Brax does not need."""
    return any(base.__module__.startswith("mujoco_playground") for base in type(env.unwrapped).__mro__)


def _shapes(tree: object) -> tuple[object, list[tuple[object, ...]]]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _check_obs(name: str, before: Observation, after: Observation) -> None:
    if _shapes(before) != _shapes(after):
        raise InputError(f"{name}.write_reference returns an observation of another shape than it was given")
