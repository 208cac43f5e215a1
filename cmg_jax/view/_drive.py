"""Models that walk under one command, frame by frame; the page shows their poses.

The root moves as the model's root channel says; of a model without one, so that the stance foot stays where it is,
upright and with its lower foot on the floor. A drive is recorded as the commands that the networks
received, so that playing them back from standing gives the same motion to the bit.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path
from cmg_jax.commands import _sampler, _schedule, _smoother
from cmg_jax.generators import MatchingState, matching, standing_frame
from cmg_jax.model._model import CMGModel, apply, expert_coefficients
from cmg_jax.robot import _feet, _odometry, _root, _root_pose, join_frame, split_frame
from cmg_jax.robot._root_pose import RootPose
from cmg_jax.view._pose import Pose


class Drive:
    """One robot for each of several models; all start standing at the origin and walk under one command.

    Examples:
      >>> from cmg_jax.view import Drive
      >>> drive = Drive([model], ["human"])
      >>> drive.target = np.array([0.8, 0.0, 0.0], np.float32)
      >>> drive.step()[0].joint_pos.shape
      (29,)
    """

    def __init__(
        self,
        models: Sequence[CMGModel],
        labels: Sequence[str],
        *,
        smoothing: float = 0.5,
        commands: np.ndarray | None = None,
    ):
        """Args:
          models: of one robot, at one frame rate.
          labels: a name for each.
          smoothing: seconds over which the command changes to a new one; 0 for at once.
          commands: [T, 3] (vx, vy [m/s], yaw rate [rad/s]), one for each frame, to follow instead of `target`.

        Raises:
          InputError: the models differ in robot, frame rate or range, or the feet of their robot are not known.
        """
        for model, label in zip(models, labels, strict=True):
            model.config.check_walks(f"{label}: showing a model")
        if len({(model.config.fps, model.config.robot) for model in models}) > 1:
            raise InputError("the models differ in their frame rate or robot; show them one at a time")
        self.models, self.labels = list(models), tuple(labels)
        self.command_range = _sampler.common_range([_sampler.trained_range(model) for model in models])
        low, high, _ = self.command_range
        if (low >= high).any():
            raise InputError("the models' trained ranges have no command in common; show them one at a time")
        self.fps, self.robot = models[0].config.fps, models[0].config.robot
        self.commands = commands
        self.target = np.zeros(3, np.float32)  # the requested command; another thread may replace it
        self.set_smoothing(smoothing)
        self.reset()
        self.step()  # compiles, so that the first frame is not late
        self.reset()

    @property
    def finished(self) -> bool:
        """Whether there is no next frame: the end of `commands` is reached."""
        return self.commands is not None and self.frame >= len(self.commands)

    def set_smoothing(self, seconds: float) -> None:
        """Reach a new command after `seconds`. The current command is not changed."""
        self._smooth = _compiled_ramp(max(round(seconds * self.fps), 1)) if seconds > 0 else None
        if self._smooth:
            self._smooth(_smoother.ramp(1).init(np.zeros((1, 3))), jnp.zeros((1, 3), jnp.float32))  # compiles

    def reset(self) -> list[Pose]:
        """Stand at the origin again; returns the poses."""
        self.frame = 0
        self.recording: list[np.ndarray] = []  # [3], the command of each frame
        self._command = _smoother.ramp(1).init(np.zeros((1, 3)))
        self._motions = [_standing(model)[None] for model in self.models]
        self._places = [_root_pose.init_root(1) for _ in self.models]
        poses = []
        for model, motion, place in zip(self.models, self._motions, self._places, strict=True):
            shown = _show(model, jnp.concatenate([motion, motion]), place)
            poses.append(_pose(shown, np.zeros(3), np.full(model.config.num_experts, np.nan)))
        self._states = [
            None if model.library is None else _begin(model, motion)
            for model, motion in zip(self.models, self._motions, strict=True)
        ]
        return poses

    def step(self) -> list[Pose]:
        """Advance all robots by one frame; returns their poses."""
        command = self._next_command()
        self.recording.append(command)
        self.frame += 1
        poses = []
        for index, model in enumerate(self.models):
            motion, place, state = self._motions[index], self._places[index], self._states[index]
            if state is None:
                self._motions[index], shown, gate = _advance(model, motion, place, jnp.asarray(command)[None])
            else:
                self._states[index], self._motions[index], shown = _match(
                    model, state, motion, place, jnp.asarray(command)[None]
                )
                gate = np.full((1, model.config.num_experts), np.nan)
            self._places[index] = shown.place
            poses.append(_pose(shown, command, gate[0]))
        return poses

    def _next_command(self) -> np.ndarray:
        if self.commands is not None:
            return self.commands[min(self.frame, len(self.commands) - 1)]
        target = _sampler.within(self.command_range, self.target)[None]
        if self._smooth is None:
            self._command = _smoother.ramp(1).init(target)
        else:
            self._command = self._smooth(self._command, target)
        return np.asarray(self._command.smoothed[0])

    def schedule_text(self) -> str:
        """The drive since the last reset, as a schedule: a line of time, vx, vy, yaw for each frame."""
        lines = [
            f"{index / self.fps!r},{','.join(repr(float(v)) for v in row)}" for index, row in enumerate(self.recording)
        ]
        return "\n".join(["time,vx,vy,yaw", *lines]) + "\n"

    def write_schedule(self, path: Path) -> None:
        """Write `schedule_text` to a file, which `read_commands` and `cmg-jax view --schedule` read."""
        with atomic_path(path) as partial:
            partial.write_text(self.schedule_text())


def read_commands(path: Path, fps: float) -> np.ndarray:
    """Read the commands [T, 3] of a schedule, one for each frame, including its last line.

    Raises:
      InputError: the file is not a schedule (see `cmg_jax.commands.read_schedule`), its commands are too large for
        float32, or all its times are before zero.

    Examples:
      >>> from cmg_jax.view import read_commands
      >>> _ = Path("schedule.csv").write_text("0, 0, 0, 0\\n2, 1, 0, 0\\n")
      >>> read_commands(Path("schedule.csv"), fps=50.0).shape
      (101, 3)
    """
    times, values = _schedule.read_schedule(path)
    commands = _schedule.interpolate(times, values, times[-1] + 1 / fps, fps)
    if not np.isfinite(commands).all() or not len(commands):
        raise InputError(f"{path}: its commands are too large for float32, or its times are all before zero")
    return commands


@cache
def _compiled_ramp(steps: int) -> Any:
    ramp = _smoother.ramp(steps)
    return jax.jit(lambda state, target: ramp.step(ramp.request(state, target)))


class _Shown(NamedTuple):
    """What a pose shows of a frame, and where the robot is then."""

    joint_pos: jax.Array  # [J] rad
    root_pos: jax.Array  # [3] m
    root_quat: jax.Array  # [4] wxyz
    feet: jax.Array  # [2, 3] m
    contact: jax.Array  # [2]
    velocity: jax.Array  # [3] m/s, m/s, rad/s
    place: RootPose  # leaves [1, 2] and [1]


MATCHING = matching(start="standing", lookahead_frames=1)
"""How libraries are played: a command changes with every frame, and each change searches again."""


def _standing(model: CMGModel) -> jax.Array:
    """The frame [D] that a drive begins with; that of a library is recorded."""
    library = model.library
    return standing_frame(model) if library is None else library.frames[library.standing_index]


@jax.jit
def _begin(model: CMGModel, motion: jax.Array) -> MatchingState:
    """A library that stands in `motion` [1, D]."""
    return MATCHING.init(model, jax.random.key(0), jnp.zeros((len(motion), 3), jnp.float32))


@jax.jit
def _match(
    model: CMGModel, state: MatchingState, motion: jax.Array, place: RootPose, command: jax.Array
) -> tuple[MatchingState, jax.Array, _Shown]:
    """A library's frame after `motion` [1, D], and what is shown of it."""
    state, frame = MATCHING.step(model, MATCHING.set_command(model, state, command))
    following = join_frame(frame)
    return state, following, _show(model, jnp.concatenate([motion, following]), place)


@jax.jit
def _advance(
    model: CMGModel, motion: jax.Array, place: RootPose, command: jax.Array
) -> tuple[jax.Array, _Shown, jax.Array]:
    """The frame after `motion` [1, D], what is shown of it, and the weights of the experts [1, E]."""
    following = apply(model, motion, command)
    shown = _show(model, jnp.concatenate([motion, following]), place)
    return following, shown, expert_coefficients(model, motion, command)


@jax.jit
def _show(model: CMGModel, motion: jax.Array, place: RootPose) -> _Shown:
    """The second of two frames [2, D]; the robot was at `place` in the first one."""
    config = model.config
    frames = split_frame(motion, config.num_joints)
    soles = _feet.sole_points(frames.joint_pos, config.robot)
    measured = _odometry.root_velocity(soles, _odometry.stance_foot(soles), config.fps)
    channel = _root.root_motion(frames, measured, config.robot)
    path = _root.integrate_root(channel, config.fps)
    placed = _root.place_root(jax.tree.map(lambda leaf: leaf[None], path), place)
    root = jax.tree.map(lambda leaf: leaf[0], placed)
    soles = _root.soles_in_world(frames.joint_pos, root, config.robot)[1]
    if config.has_root:
        contact = _root.foot_contacts(frames.joint_pos, root, config.robot, config.fps)[1]
    else:
        contact = soles[..., 2].min(axis=-1) < _odometry.CONTACT_HEIGHT
    velocity = _root.planar_velocity(channel)[1:]
    place = _root_pose.step_root(place, velocity, config.fps)
    root_pos, root_quat = root.position[1], root.rotation[1]
    return _Shown(frames.joint_pos[1], root_pos, root_quat, soles.mean(axis=1), contact, velocity[0], place)


def _pose(shown: _Shown, command: np.ndarray, gate: jax.Array | np.ndarray) -> Pose:
    fields = {name: np.asarray(value) for name, value in shown._asdict().items() if name in Pose._fields}
    return Pose(**fields, command=np.asarray(command), gate=np.asarray(gate))
