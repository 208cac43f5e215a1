"""Models walking under one command, a frame at a time: what the page shows, without the page.

The root goes where the stance foot says. A drive is remembered as the commands that the networks were given, so that
playing them back from standing gives the same motion to the bit.
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
    """Robots of several models, which start standing at the origin and walk under one command."""

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
          smoothing: seconds after which a new command is reached; 0 for at once.
          commands: [T, 3], one a frame, to follow instead of `target`.

        Raises:
          InputError: models that cannot walk together.
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
        self.target = np.zeros(3, np.float32)  # what is asked for; another thread may replace it
        self.set_smoothing(smoothing)
        self.reset()
        self.step()  # compiled before anyone waits for it
        self.reset()

    @property
    def finished(self) -> bool:
        return self.commands is not None and self.frame >= len(self.commands)

    @property
    def command_range(self) -> CommandRange:
        """The commands that all models were trained on."""
        low, high = zip(*map(_sampler.trained_range, self.models), strict=True)
        return CommandRange(np.max(np.array(low), axis=0), np.min(np.array(high), axis=0))

    def set_smoothing(self, seconds: float) -> None:
        """Reach a new command after `seconds`; what is on its way goes on from where it is."""
        self._smooth = _compiled_ramp(max(round(seconds * self.fps), 1)) if seconds > 0 else None
        if self._smooth:
            self._smooth(_smoother.ramp(1).init(np.zeros((1, 3))), jnp.zeros((1, 3), jnp.float32))  # compiled here

    def reset(self) -> list[Pose]:
        self.frame = 0
        self.recording: list[np.ndarray] = []
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
        command = self._next_command()
        self.recording.append(command)
        self.frame += 1
        given, poses = jnp.asarray(command)[None], []
        for index, model in enumerate(self.models):
            made = jax.device_get(_advance(model, self._motions[index], given))
            self._motions[index] = made["motion"]
            place, velocity = self._place[index], made["velocity"].astype(np.float64)
            turn = velocity[2] / self.fps
            cos, sin = np.cos(place[2] + turn / 2), np.sin(place[2] + turn / 2)
            vx, vy = velocity[:2] / self.fps
            self._place[index] = place + np.array([vx * cos - vy * sin, vx * sin + vy * cos, turn])
            pose = (self._place[index], made["motion"][0], made["soles"], command, velocity, made["gate"][0])
            poses.append(self._pose(*pose))
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

    def _pose(self, place: Any, motion: Any, soles: Any, command: Any, walked: Any, gate: Any) -> Pose:
        x, y, yaw = place
        height = -soles[..., 2].min()
        turned = np.asarray(soles, np.float64)
        cos, sin = np.cos(yaw), np.sin(yaw)
        world = turned @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + [x, y, height]
        middle, down = contacts(world, 0.0, _odometry.CONTACT_HEIGHT)
        quat = _rotation.yaw_quaternion(np.asarray(yaw))
        joint_pos = motion[: self.robot.num_joints]
        return Pose(joint_pos, np.array([x, y, height]), quat, middle, down, np.asarray(command), walked, gate)

    def record_text(self) -> str:
        """The drive since it last stood, as a schedule: a line of time, vx, vy, yaw for each frame."""
        lines = [
            f"{index / self.fps!r},{','.join(repr(float(v)) for v in row)}" for index, row in enumerate(self.recording)
        ]
        return "\n".join(["time,vx,vy,yaw", *lines]) + "\n"

    def record(self, path: Path) -> None:
        """Write `record_text` to a file."""
        with atomic_path(path) as partial:
            partial.write_text(self.record_text())


def read_schedule(path: Path, fps: float) -> np.ndarray:
    """Commands [T, 3] of a schedule, one a frame, its last line included.

    Raises:
      InputError: see `cmg_jax.commands._schedule.read_schedule`.
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
    """One frame further [1, D], with what is shown of it."""
    config = model.config
    following = apply(model, motion, command)
    joint_pos = jnp.concatenate([motion, following])[:, : config.num_joints]
    soles = _feet.sole_points(joint_pos, config.robot)  # [2 frames, 2 feet, P, 3]
    velocity = _odometry.root_velocity(soles, _odometry.stance_foot(soles), config.fps)[0]
    gate = expert_coefficients(model, motion, command)
    return {"motion": following, "soles": soles[1], "velocity": velocity, "gate": gate}
