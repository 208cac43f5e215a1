"""Models that walk under one command, frame by frame; the page shows their poses.

The root moves so that the stance foot stays where it is. A drive is recorded as the commands that the networks
received, so that playing them back from standing gives the same motion bit for bit.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path
from cmg_jax.commands import _sampler, _schedule, _smoother
from cmg_jax.commands._sampler import CommandRange
from cmg_jax.generators._base import standing_frame
from cmg_jax.model._model import CMGModel, apply, expert_coefficients
from cmg_jax.robot import _feet, _odometry, _rotation
from cmg_jax.view._pose import Pose, contacts


class Drive:
    """One robot for each of several models; all start standing at the origin and walk under one command."""

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
        low, high = self.command_range
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

    @property
    def command_range(self) -> CommandRange:
        """The range of commands that all models were trained on."""
        low, high = zip(*map(_sampler.trained_range, self.models), strict=True)
        return CommandRange(np.max(np.array(low), axis=0), np.min(np.array(high), axis=0))

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
        self._motions = [standing_frame(model)[None] for model in self.models]
        self._place = [np.zeros(3) for _ in self.models]  # x, y [m] and yaw [rad]
        poses = []
        for model, motion in zip(self.models, self._motions, strict=True):
            soles = np.asarray(_feet.sole_points(motion[0, : model.config.num_joints], self.robot))
            gate = np.full(model.config.num_experts, np.nan)
            poses.append(self._pose(np.zeros(3), np.asarray(motion[0]), soles, np.zeros(3), np.zeros(3), gate))
        return poses

    def step(self) -> list[Pose]:
        """Advance all robots by one frame; returns their poses."""
        command = self._next_command()
        self.recording.append(command)
        self.frame += 1
        poses = []
        for index, model in enumerate(self.models):
            following = jax.device_get(_advance(model, self._motions[index], jnp.asarray(command)[None]))
            self._motions[index] = following["motion"]
            place, velocity = self._place[index], following["velocity"].astype(np.float64)
            turn = velocity[2] / self.fps
            cos, sin = np.cos(place[2] + turn / 2), np.sin(place[2] + turn / 2)
            vx, vy = velocity[:2] / self.fps
            self._place[index] = place + np.array([vx * cos - vy * sin, vx * sin + vy * cos, turn])
            motion, soles, gate = following["motion"][0], following["soles"], following["gate"][0]
            poses.append(self._pose(self._place[index], motion, soles, command, velocity, gate))
        return poses

    def _next_command(self) -> np.ndarray:
        if self.commands is not None:
            return self.commands[min(self.frame, len(self.commands) - 1)]
        target = jnp.asarray(self.target, jnp.float32)[None]
        if self._smooth is None:
            self._command = _smoother.ramp(1).init(target)
        else:
            self._command = self._smooth(self._command, target)
        return np.asarray(self._command.smoothed[0])

    def _pose(
        self,
        place: np.ndarray,
        motion: np.ndarray,
        soles: np.ndarray,
        command: np.ndarray,
        velocity: np.ndarray,
        gate: np.ndarray,
    ) -> Pose:
        """The pose of a robot at `place` (x, y [m] and yaw [rad]) whose lower foot is on the floor."""
        x, y, yaw = place
        height = -soles[..., 2].min()
        cos, sin = np.cos(yaw), np.sin(yaw)
        world = np.asarray(soles, np.float64) @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + [x, y, height]
        feet, contact = contacts(world, 0.0, _odometry.CONTACT_HEIGHT)
        quat = _rotation.yaw_quaternion(np.asarray(yaw))
        joint_pos = motion[: self.robot.num_joints]
        return Pose(joint_pos, np.array([x, y, height]), quat, feet, contact, np.asarray(command), velocity, gate)

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


@jax.jit
def _advance(model: CMGModel, motion: jax.Array, command: jax.Array) -> dict[str, jax.Array]:
    """The frame after `motion` [1, D] and what a pose shows of it."""
    config = model.config
    following = apply(model, motion, command)
    joint_pos = jnp.concatenate([motion, following])[:, : config.num_joints]
    soles = _feet.sole_points(joint_pos, config.robot)  # [2 frames, 2 feet, P, 3]
    velocity = _odometry.root_velocity(soles, _odometry.stance_foot(soles), config.fps)[0]
    gate = expert_coefficients(model, motion, command)
    return {"motion": following, "soles": soles[1], "velocity": velocity, "gate": gate}
