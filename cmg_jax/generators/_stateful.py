"""The generators as one object with the method names of the PyTorch original, for scripts and for porting code.

Inside a jitted rollout use the pure functions (`cmg_jax.pregenerated`, `cmg_jax.realtime`, ...) instead.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax._errors import InputError
from cmg_jax.generators import _any_mode, _base
from cmg_jax.generators._base import Generator, MotionFrame
from cmg_jax.generators._pregenerated import pregenerated
from cmg_jax.generators._rolling import realtime, streaming
from cmg_jax.model._checkpoint import default_model, load
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import Robot, join_frame
from cmg_jax.robot._kinematics import Kinematics, kinematics

Result = TypeVar("Result")
EnvIds = Sequence[int] | np.ndarray | jax.Array

TIMED_CALLS = 100
"""Calls that `get_performance_stats` looks back on."""


class CMGMotionGenerator:
    """Reference motion for `num_envs` environments, with the state kept inside.

    Differs from the original where the original is wrong: under a new command motion continues from the frame last
    served, `reset` needs no first frames, and `switch_mode` keeps motion and commands. All environments share
    one clock: `get_motion` advances all of them, and `env_ids` only selects the rows that it returns.

    Args:
      model: a model, the path of a model directory, or None for the bundled one.
      num_envs: number of environments, B.
      mode: "pregenerated", "realtime" or "streaming".
      buffer_size: frames of the realtime buffer, or of streaming's look-ahead.
      preload_duration: frames of a pregenerated trajectory.
      robot: the robot that body transforms are computed on; the model's by default.
      seed: draws the first frames.
      timed: measure calls for `get_performance_stats`. Each call that makes or reads motion then waits for its result.

    Raises:
      InputError: an unknown mode, a size out of range, or a model that cannot be read.

    Examples:
      >>> generator = cmg_jax.CMGMotionGenerator(model, num_envs=4, mode="realtime", buffer_size=8)
      >>> generator.reset(commands=jnp.zeros((4, 3)))
      >>> joint_pos, joint_vel = generator.get_motion()
      >>> joint_pos.shape
      (4, 29)
    """

    def __init__(
        self,
        model: CMGModel | Path | str | None = None,
        num_envs: int = 4096,
        mode: str = "pregenerated",
        *,
        buffer_size: int = 100,
        preload_duration: int = 500,
        robot: Robot | None = None,
        seed: int = 0,
        timed: bool = False,
    ):
        if num_envs < 1:
            raise InputError(f"num_envs {num_envs} is less than 1")
        self.model = default_model() if model is None else model if isinstance(model, CMGModel) else load(model)
        self.num_envs = num_envs
        self._modes: dict[str, Callable[[bool], Generator[Any]]] = {
            "pregenerated": lambda serve_first: pregenerated(preload_duration, serve_first=serve_first),
            "realtime": lambda _: realtime(buffer_size),
            "streaming": lambda _: streaming(buffer_size),
        }
        self._timed = timed
        self._robot = robot or self.model.config.robot
        self._kinematics: Kinematics | None = None
        self._key = jax.random.key(seed)
        self._milliseconds: deque[float] = deque(maxlen=TIMED_CALLS)
        self._state: Any = None
        self._use(mode)

    def reset(
        self, env_ids: EnvIds | None = None, init_motion: ArrayLike | None = None, commands: ArrayLike | None = None
    ) -> None:
        """Start environments again.

        Args:
          env_ids: which [N]; all by default.
          init_motion: their first frames [N, D], physical; by default drawn from the model's pool.
          commands: their commands [N, C], physical; by default those that they have, and zeros at first.
        """
        rows = self._rows(env_ids)
        self._key, motion_key, key = jax.random.split(self._key, 3)
        motion = _base.first_frames(self.model, motion_key, self.num_envs)
        if init_motion is not None:
            motion = self._put(motion, rows, "init_motion", init_motion)
        command = self._command() if commands is None else self._put(self._command(), rows, "commands", commands)
        if self._state is None:
            self._state = self._call(self._generator.init, self.model, key, command, motion)
        else:
            done = jnp.zeros(self.num_envs, bool).at[rows].set(True)
            self._state = self._call(self._generator.reset, self.model, self._state, done, key, command, motion)

    def get_motion(self, env_ids: EnvIds | None = None) -> tuple[Float[Array, "n J"], Float[Array, "n J"]]:
        """The next frame: joint positions [N, J] rad and joint velocities [N, J] rad/s. The first call resets."""
        frame = self._next_frame(env_ids)
        return frame.joint_pos, frame.joint_vel

    def get_full_motion_data(self, env_ids: EnvIds | None = None) -> dict[str, jax.Array]:
        """The next frame as `dof_pos` [N, J], `dof_vel` [N, J] and `motion_raw` [N, D]."""
        frame = self._next_frame(env_ids)
        return {"dof_pos": frame.joint_pos, "dof_vel": frame.joint_vel, "motion_raw": join_frame(frame)}

    def _next_frame(self, env_ids: EnvIds | None) -> MotionFrame:
        rows = None if env_ids is None else self._rows(env_ids)
        if self._state is None:
            self.reset()
        self._state, frame = self._call(self._generator.step, self.model, self._state)
        return frame if rows is None else jax.tree.map(lambda leaf: leaf[rows], frame)

    def get_motion_with_body_transforms(
        self, env_ids: EnvIds | None = None, base_pos: ArrayLike | None = None, base_rot: ArrayLike | None = None
    ) -> dict[str, jax.Array]:
        """The next frame and the poses of the bodies, `body_names`, in the world.

        Args:
          env_ids: which [N]; all by default.
          base_pos: [N, 3] m; the origin by default.
          base_rot: [N, 4] wxyz; upright by default.

        Returns:
          `dof_positions` and `dof_velocities` [N, J], `body_positions` [N, bodies, 3] and `body_rotations`
          [N, bodies, 4] wxyz.

        Raises:
          InputError: MJX is not installed, or the robot's MJCF is not known.
        """
        forward = self._forward()
        joint_pos, joint_vel = self.get_motion(env_ids)
        poses = forward.body_poses(joint_pos, base_pos, base_rot)
        return {
            "dof_positions": joint_pos,
            "dof_velocities": joint_vel,
            "body_positions": poses.position,
            "body_rotations": poses.rotation,
        }

    @property
    def body_names(self) -> tuple[str, ...]:
        """Names of the bodies, in the order of `body_positions`."""
        return self._forward().bodies

    def update_commands(self, commands: ArrayLike, env_ids: EnvIds | None = None) -> None:
        """Continue under new commands [N, C], physical, from the frame last served."""
        rows = self._rows(env_ids)
        command = self._put(self._command(), rows, "commands", commands)
        if self._state is None:
            self.reset(commands=command)
        else:
            self._state = self._call(self._generator.set_command, self.model, self._state, command)

    def switch_mode(self, new_mode: str) -> None:
        """Continue in another mode, from the frame last served and under the same commands."""
        if new_mode == self.mode:
            return
        generator, state = self._generator, self._state
        self._use(new_mode)
        if state is not None:
            self._key, key = jax.random.split(self._key)
            # Without it, the frame last served would be served once more.
            to = self._modes[new_mode](False)
            self._state = _any_mode.switch(generator, to._replace(init=jax.jit(to.init)), self.model, state, key)

    def get_performance_stats(self) -> dict[str, float]:
        """`avg_inference_ms`, `max_inference_ms` and `min_inference_ms` of the last 100 calls that made or
        read motion, compilation included; zeros before the first.

        Raises:
          InputError: the object was made without `timed=True`, so that nothing was measured.
        """
        if not self._timed:
            raise InputError("calls are timed only if the generator is made with timed=True")
        times = self._milliseconds or [0.0]
        return {f"{name}_inference_ms": float(of(times)) for name, of in (("avg", np.mean), ("max", max), ("min", min))}

    def _use(self, mode: str) -> None:
        if mode not in self._modes:
            raise InputError(f"mode {mode!r} is not one of {', '.join(self._modes)}")
        generator = self._modes[mode](True)
        donated: dict[str, Any] = {
            name: jax.jit(getattr(generator, name), donate_argnums=1) for name in ("step", "reset", "set_command")
        }
        self.mode, self._generator = mode, generator._replace(init=jax.jit(generator.init), **donated)

    def _command(self) -> jax.Array:
        zero = jnp.zeros((self.num_envs, self.model.config.command_dim), jnp.float32)
        # A copy: the call that takes it donates the state that holds it.
        return zero if self._state is None else jnp.copy(self._state.command)

    def _rows(self, env_ids: EnvIds | None) -> np.ndarray:
        if env_ids is None:
            return np.arange(self.num_envs)
        rows = np.asarray(env_ids, dtype=None if len(env_ids) else int)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise InputError(f"env_ids {rows.dtype}{list(rows.shape)} must be whole numbers [N]")
        if rows.size and not (rows.min() >= 0 and rows.max() < self.num_envs):
            raise InputError(f"env_ids {rows.min()} to {rows.max()}: there are environments 0 to {self.num_envs - 1}")
        return rows

    def _put(self, values: jax.Array, rows: np.ndarray, name: str, new: ArrayLike) -> jax.Array:
        return values.at[rows].set(_base.check_array(name, new, (len(rows), values.shape[-1])))

    def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        start = time.perf_counter()
        out = function(*arguments)
        if self._timed:
            jax.block_until_ready(out)
            self._milliseconds.append((time.perf_counter() - start) * 1e3)
        return out

    def _forward(self) -> Kinematics:
        if self._kinematics is None:
            forward = kinematics(self._robot)
            self._kinematics = forward._replace(body_poses=jax.jit(forward.body_poses))
        return self._kinematics
