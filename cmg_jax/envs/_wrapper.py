"""Reference motion around a vectorised environment: outside Brax's and Playground's auto-reset.

`train(wrap_env_fn=wrap_env_fn(model, generator, ...))` gives the trainer Vmap -> Episode -> AutoReset ->
ReferenceMotionWrapper -> Eval. There all rows are at hand, so the generator decides once for the batch
whether the network runs, and every row that auto-reset has just restored gets the reference of its new
episode, in `info["reference"]` and in its observation.

An environment must provide two things:

    info["reference"] = empty_reference(lookahead=...)   in reset: the slot, which its step may read
    write_reference(self, obs, reference) -> obs         the observation with the reference's part written

In its step, `info["reference"]` holds the frame that the robot should have reached when the step ends, and the
command which that frame obeys; the frames to come are those that its policy saw. The state that leaves the wrapper
shows the same frame, the frames to follow it, and the command which those obey.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from brax.envs.base import Wrapper
from brax.envs.wrappers import training as brax_training

from cmg_jax._errors import InputError
from cmg_jax.commands import _sampler
from cmg_jax.commands._sampler import HeldCommand
from cmg_jax.commands._smoother import Smoother, SmootherState, ramp
from cmg_jax.envs._reference import KeyBodies, Reference
from cmg_jax.generators._base import Generator
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import Robot, _root_pose
from cmg_jax.robot._kinematics import Kinematics, kinematics
from cmg_jax.robot._root_pose import RootPose

SLOT = "reference"
STATE = "reference_state"

KEY_TAG = 0x52454621
"""Folded into a key of the rows for our own draws: far from the small numbers that a split folds in."""

CommandSampler = Callable[[jax.Array, int], jax.Array]
"""(key, B) -> commands [B, C], physical."""


class ReferenceState(NamedTuple):
    """What the wrapper keeps under `info["reference_state"]`.

    It holds leaves without the axis B (weights, clocks, key), so it never enters the environment inside.
    The weights are part of it so that they are an argument of every compiled step, not a constant.
    """

    model: CMGModel
    generator: Any
    held: HeldCommand
    smoother: SmootherState
    root: RootPose
    key: jax.Array  # [2] uint32, raw: trainers cast the leaves of a state, and typed keys cannot be cast


def wrap_env_fn(
    model: CMGModel,
    generator: Generator,
    command_sampler: CommandSampler | None,
    smoother: Smoother | None = None,
    *,
    hold_interval: tuple[int, int] = (150, 300),
    lookahead: Sequence[int] = (1,),
    key_bodies: Sequence[str] = (),
    robot: Robot | None = None,
    full_reset: bool = False,
) -> Callable[..., "ReferenceMotionWrapper"]:
    """What `brax.training.agents.*.train` takes as `wrap_env_fn`, for Brax and Playground environments alike.

    Args:
      model: the model.
      generator: any mode; `on_tick` and a bank make changes of command and resets cheap.
      command_sampler: (key, B) -> commands [B, C], as `lambda key, n: sampler.uniform(key, range, n)`. None:
        the model's bank draws them, and they are held for the episode.
      smoother: from requested to smoothed commands, a step per control step; `smoother.ramp()` by default.
      hold_interval: control steps that a command is held, drawn for each one; both ends included.
      lookahead: offsets [L] in frames of the frames to come, up to the generator's horizon.
      key_bodies: names of bodies whose poses and velocities are wanted; by MJX.
      robot: the robot of `key_bodies`; the model's by default.
      full_reset: Playground's option of that name.

    Returns:
      (env, episode_length=1000, action_repeat=1, randomization_fn=None) -> the environment, vectorised with
      auto-reset and with our wrapper outermost.

    Raises:
      InputError: an offset beyond the generator's horizon, an impossible interval, or a body that the robot lacks; and
        what it returns raises it as `ReferenceMotionWrapper` does.
    """
    _check_options(generator, hold_interval, lookahead)
    bodies = kinematics(robot or model.config.robot, bodies=key_bodies) if key_bodies else None

    def wrap(
        env: Any, episode_length: int = 1000, action_repeat: int = 1, randomization_fn: Any = None
    ) -> ReferenceMotionWrapper:
        if _is_playground(env):
            from mujoco_playground import wrapper as playground

            inner: Any = playground.wrap_for_brax_training(
                env, episode_length, action_repeat, randomization_fn, full_reset
            )
        elif full_reset:
            raise InputError(f"{type(env.unwrapped).__name__} is a Brax environment; only Playground has full_reset")
        else:
            inner = brax_training.wrap(env, episode_length, action_repeat, randomization_fn)
        return ReferenceMotionWrapper(
            inner,
            model,
            generator,
            command_sampler,
            smoother,
            hold_interval=hold_interval,
            lookahead=lookahead,
            robot=bodies,
            action_repeat=action_repeat,
        )

    return wrap


class ReferenceMotionWrapper(Wrapper):
    """Serves every row of a vectorised, auto-resetting environment its own reference motion.

    A step advances the motion, steps the environment with the new frame in `info["reference"]`, and then deals
    with what happened: rows that are done begin a new episode (first frame, command, root at the origin), rows whose
    command is over draw the next one, and every row's smoothed command moves on. A new command acts on the frames
    behind the present one, under `on_tick` from its tick on. What is shown as the command, and what the root walks
    by, is always the one that the frames obey.
    """

    def __init__(
        self,
        env: Any,
        model: CMGModel,
        generator: Generator,
        command_sampler: CommandSampler | None,
        smoother: Smoother | None = None,
        *,
        hold_interval: tuple[int, int] = (150, 300),
        lookahead: Sequence[int] = (1,),
        robot: Kinematics | None = None,
        action_repeat: int = 1,
    ):
        """See `wrap_env_fn`, which also wraps the environment.

        Raises:
          InputError: the environment has no `write_reference`, its control step is not a whole number of frames, an
            offset lies beyond the generator's horizon, or an impossible interval; at reset, it has no slot, or one
            of another size.
        """
        super().__init__(env)
        _check_options(generator, hold_interval, lookahead)
        name = type(self.unwrapped).__name__
        self._write_reference: Any = getattr(self.unwrapped, "write_reference", None)
        if self._write_reference is None:
            raise InputError(
                f"{name} has no method write_reference(self, obs, reference): add one that returns obs with the "
                "reference's part written (or obs as it is, where the policy does not see the reference)"
            )
        self._model, self._generator, self._command_sampler = model, generator, command_sampler
        self._smoother = smoother or ramp()
        self._hold_interval = hold_interval
        self._offsets = np.array([0, *lookahead], np.int32)
        self._robot = robot
        self._frames = _frames_per_step(env, action_repeat, model.config.fps)

    def reset(self, rng: jax.Array) -> Any:
        """rng: raw keys [B, 2] uint32, as trainers give them and Brax's wrappers need them."""
        state = self.env.reset(rng)
        batch = len(rng)
        key, command_key, motion_key, hold_key = jax.random.split(jax.random.fold_in(rng[0], KEY_TAG), 4)
        # A copy: the state may be donated, the caller's model not.
        model = jax.tree.map(jnp.copy, self._model)
        drawn = None if self._command_sampler is None else self._command_sampler(command_key, batch)
        generated = self._generator.init(model, motion_key, drawn, num_envs=batch)
        command = generated.command  # a bank may have put a motion's own in place of the drawn one
        held = _sampler.hold(hold_key, command, self._hold_interval)
        own = ReferenceState(model, generated, held, self._smoother.init(command), _root_pose.init_root(batch), key)
        reference = self._reference(own)
        self._check_slot(state, reference)
        return self._show(state, own, reference)

    def step(self, state: Any, action: jax.Array) -> Any:
        info = dict(state.info)
        own = self._advance(info.pop(STATE))
        info[SLOT] = self._arriving(own, info[SLOT])
        state = self.env.step(state.replace(info=info), action)
        own = self._events(own, state.done)
        return self._show(state, own, self._reference(own))

    def set_command(self, state: Any, command: Any) -> Any:
        """Ask all rows for `command` [B, C] from the next step on, until their interval is over."""
        own = state.info[STATE]
        smoother = self._smoother.request(own.smoother, command)
        held = own.held._replace(requested=jnp.array(command, jnp.float32))  # a copy, as the state may be donated
        own = own._replace(held=held, smoother=smoother)
        return state.replace(info=state.info | {STATE: own})

    def _advance(self, own: ReferenceState) -> ReferenceState:
        """The motion and the root, as many frames further as a control step lasts."""

        def frame(_: Any, moving: tuple[Any, RootPose]) -> tuple[Any, RootPose]:
            generated, root = moving
            generated, _ = self._generator.step(own.model, generated)
            # By the command of the frame that was made: a step may put a waiting command in force.
            return generated, _root_pose.step_root(root, generated.command[:, :3], own.model.config.fps)

        moving = own.generator, own.root
        moving = frame(0, moving) if self._frames == 1 else jax.lax.fori_loop(0, self._frames, frame, moving)
        return own._replace(generator=moving[0], root=moving[1])

    def _events(self, own: ReferenceState, done: jax.Array) -> ReferenceState:
        """Resets where `done` [B], changes of command elsewhere."""
        done = done.astype(bool)
        key, command_key, motion_key, hold_key = jax.random.split(own.key, 4)
        old, model = own.held, own.model
        if self._command_sampler is None:
            drawn, given = old.requested, None
        else:
            drawn = given = self._command_sampler(command_key, len(done))
        held, changed = _sampler.next_held(old, hold_key, drawn, self._hold_interval, done)
        smoother = self._smoother.step(self._smoother.request(own.smoother, held.requested, changed & ~done))
        moved = (smoother.smoothed != own.smoother.smoothed).any(axis=-1) & ~done

        generated = self._generator.reset(model, own.generator, done, motion_key, given)
        held = held._replace(requested=jnp.where(done[:, None], generated.command, held.requested))
        smoother = self._smoother.reset(smoother, done, held.requested)
        generated = self._generator.set_command(model, generated, smoother.smoothed, moved)
        return ReferenceState(model, generated, held, smoother, _root_pose.reset_root(own.root, done), key)

    def _arriving(self, own: ReferenceState, shown: Reference) -> Reference:
        """What was `shown`, with the frame of `own`, its command and its root in the place of the last ones."""
        frame = jax.tree.map(lambda leaf: leaf[:, 0], self._generator.lookahead(own.model, own.generator, (0,)))
        command = own.generator.command
        velocity = _root_pose.commanded_velocity(own.root, command)
        bodies = None if self._robot is None else KeyBodies(*self._robot.body_velocities(*frame))
        return shown._replace(**frame._asdict(), root=own.root, root_velocity=velocity, command=command, bodies=bodies)

    def _reference(self, own: ReferenceState) -> Reference:
        frames = self._generator.lookahead(own.model, own.generator, self._offsets)
        bodies = None if self._robot is None else KeyBodies(*self._robot.body_velocities(*frames))
        command = own.generator.command
        (now, bodies_now), (ahead, bodies_ahead) = (
            jax.tree.map(lambda leaf, part=part: leaf[:, part], (frames, bodies)) for part in (0, slice(1, None))
        )
        velocity = _root_pose.commanded_velocity(own.root, command)
        return Reference(
            joint_pos=now.joint_pos,
            joint_vel=now.joint_vel,
            ahead=ahead,
            root=own.root,
            root_velocity=velocity,
            command=command,
            smoothed=own.smoother.smoothed,
            requested=own.held.requested,
            bodies=bodies_now,
            ahead_bodies=bodies_ahead,
        )

    def _show(self, state: Any, own: ReferenceState, reference: Reference) -> Any:
        obs = jax.vmap(self._write_reference)(state.obs, reference)
        _check_obs(type(self.unwrapped).__name__, state.obs, obs)
        return state.replace(obs=obs, info=state.info | {SLOT: reference, STATE: own})

    def _check_slot(self, state: Any, reference: Reference) -> None:
        name, config = type(self.unwrapped).__name__, self._model.config
        remedy = (
            f'info["{SLOT}"] = empty_reference(num_joints={config.num_joints}, lookahead={len(self._offsets) - 1}, '
            f"key_bodies={len(self._robot.bodies) if self._robot else 0}, command_dim={config.command_dim})"
        )
        where = f"to the info of {name}.reset (from cmg_jax.envs.reference import empty_reference)"
        if SLOT not in state.info:
            raise InputError(f'{name} declares no info["{SLOT}"]: add {remedy} {where}')
        if _shapes(state.info[SLOT]) != _shapes(reference):
            raise InputError(f'info["{SLOT}"] of {name} is not what the wrapper writes: add {remedy} {where}')


def _check_options(generator: Generator, hold_interval: tuple[int, int], lookahead: Sequence[int]) -> None:
    if min(lookahead, default=0) < 0:
        raise InputError(f"lookahead {tuple(lookahead)}: offsets count frames ahead and are not negative")
    if (farthest := max(lookahead, default=0)) > generator.horizon:
        raise InputError(
            f"lookahead {tuple(lookahead)}: offset {farthest} lies beyond the {generator.horizon:g} frames that the "
            "generator knows ahead; make one that knows more, streaming(lookahead_frames=...) for instance, or give "
            "smaller offsets"
        )
    if not 1 <= hold_interval[0] <= hold_interval[1]:
        raise InputError(f"hold_interval {hold_interval}: at least 1 step, the shorter one first")


def _frames_per_step(env: Any, action_repeat: int, fps: float) -> int:
    """Frames of the motion in one control step; one for each repeat where the environment has no `dt`."""
    seconds = getattr(env, "dt", None)
    if seconds is None:
        return action_repeat
    seconds = float(seconds) * action_repeat
    frames = seconds * fps
    if round(frames) < 1 or abs(frames - round(frames)) > 1e-3:
        raise InputError(
            f"a control step of {seconds:g} s is {frames:g} frames of a motion at {fps:g} frames per second; "
            "choose a dt or action_repeat that makes it a whole number"
        )
    return round(frames)


def _is_playground(env: Any) -> bool:
    """Whether it is an MjxEnv; without an import of Playground, which an environment of Brax does not need."""
    return any(base.__module__.startswith("mujoco_playground") for base in type(env.unwrapped).__mro__)


def _shapes(tree: Any) -> tuple[Any, list[tuple[Any, ...]]]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _check_obs(name: str, before: Any, after: Any) -> None:
    if _shapes(before) != _shapes(after):
        raise InputError(f"{name}.write_reference returns an observation of another shape than it was given")
