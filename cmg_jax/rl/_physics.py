"""Physics of an environment: MJX, which compiles into the program of a rollout, or C MuJoCo, which the program calls.

C MuJoCo runs on the CPU, where it is faster than MJX with the same model, and iterates its solver to
convergence. All environments take a control step in one call. MJX is for accelerators.
"""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

import os
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np
from mujoco import mjx
from mujoco_playground import step as physics_steps

from cmg_jax._errors import InputError
from cmg_jax.rl._config import ENGINES

# Jitted, each is traced once for all the programs of a training.
_physics_steps = jax.jit(physics_steps, static_argnums=3)
_kinematics = jax.jit(mjx.kinematics)

LARGEST = 1e6
"""Of the numbers of a state that can be simulated."""


@flax.struct.dataclass
class MujocoData:
    """State of one environment in C MuJoCo, with the names and shapes that `mjx.Data` has."""

    time: jax.Array
    qpos: jax.Array
    qvel: jax.Array
    ctrl: jax.Array
    actuator_force: jax.Array
    positions: jax.Array
    """m, [P, 3], of the bodies and geoms that the environment asks for."""


class MjxPhysics:
    """Physics by MJX.

    Args:
      model: `mujoco.MjModel`.
      bodies: ids of bodies whose positions are wanted.
      geoms: ids of geoms whose positions are wanted.
    """

    def __init__(self, model: Any, bodies: np.ndarray, geoms: np.ndarray):
        self._mj_model, self._bodies, self._geoms = model, bodies, geoms

    def put_model(self) -> mjx.Model:
        return mjx.put_model(self._mj_model, impl="jax")

    def make_data(self) -> mjx.Data:
        return mjx.make_data(self._mj_model, impl="jax")

    def place(self, model: mjx.Model, data: mjx.Data) -> mjx.Data:
        """The data with positions that belong to its qpos."""
        return _kinematics(model, data)

    def step(self, model: mjx.Model, data: mjx.Data, ctrl: jax.Array, substeps: int) -> mjx.Data:
        return _physics_steps(model, data, ctrl, substeps)

    def body_positions(self, data: mjx.Data) -> jax.Array:
        return data.xpos[self._bodies]

    def geom_positions(self, data: mjx.Data) -> jax.Array:
        return data.geom_xpos[self._geoms]


class MujocoPhysics:
    """Physics by C MuJoCo, with the arguments of `MjxPhysics`. Positions are those at the start of the last substep."""

    def __init__(self, model: Any, bodies: np.ndarray, geoms: np.ndarray):
        self.model = model
        self._num_bodies, self._num_points = len(bodies), len(bodies) + len(geoms)
        self._spec = mujoco.mjtState.mjSTATE_FULLPHYSICS
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._rollout = mujoco.rollout.Rollout(nthread=threads)
        self._data = [mujoco.MjData(model) for _ in range(threads)]

    def put_model(self) -> None:
        """Nothing: programs hold no model."""

    def make_data(self) -> MujocoData:
        model = self.model
        sizes = {"qpos": model.nq, "qvel": model.nv, "ctrl": model.nu, "actuator_force": model.nu}
        zeros = {name: jnp.zeros(size, float) for name, size in sizes.items()}
        return MujocoData(time=jnp.zeros((), float), positions=jnp.zeros((self._num_points, 3), float), **zeros)

    def place(self, _: None, data: MujocoData) -> MujocoData:
        return data

    def step(self, _: None, data: MujocoData, ctrl: jax.Array, substeps: int) -> MujocoData:
        def call(*numbers: Any) -> tuple[np.ndarray, ...]:
            time, qpos, qvel, ctrl = map(np.asarray, numbers)
            return self._call(time, qpos, qvel, ctrl, substeps)

        like = (data.time, data.qpos, data.qvel, data.actuator_force, data.positions)
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
        out = jax.pure_callback(call, shapes, data.time, data.qpos, data.qvel, ctrl, vmap_method="broadcast_all")
        time, qpos, qvel, force, positions = out
        return MujocoData(time=time, qpos=qpos, qvel=qvel, ctrl=ctrl, actuator_force=force, positions=positions)

    def body_positions(self, data: MujocoData) -> jax.Array:
        return data.positions[: self._num_bodies]

    def geom_positions(self, data: MujocoData) -> jax.Array:
        return data.positions[self._num_bodies :]

    def _call(
        self, time: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray, substeps: int
    ) -> tuple[np.ndarray, ...]:
        batch, nq, nu = time.shape, self.model.nq, self.model.nu
        start = np.concatenate([time[..., None], qpos, qvel], axis=-1).reshape(-1, 1 + nq + self.model.nv)
        held = ctrl.reshape(-1, 1, nu).astype(np.float64)
        # MuJoCo would set such rows back to the model's first state, and write a log file about it.
        broken = ~np.isfinite(start).all(axis=-1) | ~np.isfinite(held).all(axis=(1, 2))
        broken |= (np.abs(start) > LARGEST).any(axis=-1)
        start[broken] = np.concatenate([[0.0], self.model.qpos0, np.zeros(self.model.nv)])
        held[broken] = 0.0
        held = np.repeat(held, substeps, axis=1)
        found = self._rollout.rollout(self.model, self._data, start.astype(np.float64), held)
        end, seen = (np.asarray(leaf)[:, -1] for leaf in found)
        # A rollout that becomes unstable ends early.
        broken |= end[:, 0] < start[:, 0] + (substeps - 0.5) * self.model.opt.timestep
        end[broken, 1:] = np.nan
        parts = end[:, 0], end[:, 1 : 1 + nq], end[:, 1 + nq :], seen[:, :nu], seen[:, nu:]
        shapes = (), (nq,), (self.model.nv,), (nu,), (self._num_points, 3)
        return tuple(
            part.reshape((*batch, *shape)).astype(leaf.dtype)
            for part, shape, leaf in zip(parts, shapes, (time, qpos, qvel, ctrl, qpos), strict=True)
        )


def make(engine: str, model: Any, bodies: np.ndarray, geoms: np.ndarray) -> MjxPhysics | MujocoPhysics:
    """The physics of an engine.

    Raises:
      InputError: no such engine.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is not one of {', '.join(ENGINES)}")
    return MjxPhysics(model, bodies, geoms) if engine == "mjx" else MujocoPhysics(model, bodies, geoms)
