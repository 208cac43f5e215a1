"""The G1 that tracks a reference motion: an environment of MuJoCo Playground.

    env = G1Tracking()
    source = ReferenceSource(model, generator, command_sampler, **env.wrapping)
    ppo.train(env, wrap_env_fn=make_wrap_env_fn(source), randomization_fn=domain_randomize, ...)

The action is a residual: the PD target of a joint is its reference angle plus `action_scale` times its action. The
base is fixed (`floating=False`: quick, without contacts) or floating, over a floor.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from ml_collections import config_dict
from mujoco import mjx
from mujoco_playground import MjxEnv, State

from cmg_jax._errors import InputError
from cmg_jax.envs import Reference, empty_reference
from cmg_jax.rl import _g1_model, _physics
from cmg_jax.rl._g1_config import default_config
from cmg_jax.rl._terms import Seen, down, reward_terms
from cmg_jax.robot import G1, G1_29_JOINTS, RootState, indices
from cmg_jax.robot._g1 import MJCF_PATH
from cmg_jax.robot._root import gravity_of, turn
from cmg_jax.robot._rotation import inverse, rotate, yaw_of

KEY_BODIES = (
    "left_knee_link",
    "left_ankle_roll_link",
    "right_knee_link",
    "right_ankle_roll_link",
    "torso_link",
    "left_elbow_link",
    "left_wrist_yaw_link",
    "right_elbow_link",
    "right_wrist_yaw_link",
)

LAST_ACTION, AIR_TIME, KEY = "last_action", "air_time", "push_key"
"""What the environment keeps in its info: the last action, how long each foot is in the air, a key of the pushes."""

TOUCHING = 0.005
"""m above the floor, up to which a sole touches it."""

AHEAD_JOINT_POS = "ahead_joint_pos"
"""The part of an observation that has the joint positions of the frames to come, relative to standing."""

VELOCITY_SCALE = 0.1
"""Factor of joint velocities in observations: in a walk they [rad/s] are about ten times the angles [rad]."""


class G1Tracking(MjxEnv):
    """Follow `info["reference"]` with a G1.

    Observation: for a floating base its linear velocity in the heading frame, and the angular velocity and the
    direction of gravity in the pelvis; joint positions (relative to standing), joint velocities, the last action; then
    the reference: its joint positions and velocities, the joint positions to come, the command, and for a floating base
    the height, the lean, and the velocities in the heading frame. `observation_parts` has their sizes. Without
    `reference` only the command is left of it. The environment never reads its observation back, so a wrapper may
    change it.

    Under our wrapper an episode begins in the pose and with the velocity of its reference. Of a floating base, rewards
    and termination compare the root with the reference's, but for its place on the floor and its heading: drift of the
    path is not counted.

    Examples:
      >>> from cmg_jax.rl import G1Tracking
      >>> env = G1Tracking(config_overrides={"floating": True, "rewards.effort": -0.1})
      >>> env.action_size, env.wrapping["lookahead"]
      (29, (1, 4, 10))
    """

    def __init__(
        self,
        config: config_dict.ConfigDict | None = None,
        config_overrides: dict[str, Any] | None = None,
        *,
        joint_names: Sequence[str] = G1_29_JOINTS,
    ):
        """Make the environment.

        Args:
          config: all settings; `default_config()` by default.
          config_overrides: settings that differ from it, as {"rewards.effort": -0.1}.
          joint_names: the model's; other joints of the G1 hold the standing pose.

        Raises:
          InputError: a setting that does not exist, or whose value is impossible.
        """
        try:
            super().__init__(default_config() if config is None else config, config_overrides)
            self._config: Any
        except (KeyError, TypeError) as error:
            raise InputError(f"G1Tracking has no such setting: {error.args[0]}") from None
        settings = self._config
        substeps = settings.ctrl_dt / settings.sim_dt
        if substeps < 1 or abs(substeps - round(substeps)) > 1e-6:
            raise InputError(f"ctrl_dt {settings.ctrl_dt} is not a multiple of sim_dt {settings.sim_dt}")
        self._weights = {name: weight for name, weight in settings.rewards.items() if weight}
        bodies = KEY_BODIES if "key_bodies" in self._weights else ()
        self._mj_model = _g1_model.build(
            floating=settings.floating,
            sim_dt=settings.sim_dt,
            solver=tuple(settings.solver),
            friction=settings.friction,
            natural_frequency=settings.natural_frequency,
            damping_ratio=settings.damping_ratio,
            sensor_bodies=bodies if settings.engine == "mujoco" else None,
        )
        self._joint_names = tuple(joint_names)
        self._driven = indices(joint_names, G1.joint_names)
        self._standing = jnp.asarray(G1.standing_joint_pos, jnp.float32)
        self._limits = jnp.asarray(G1.joint_limits, jnp.float32)
        self._torque_limits = jnp.asarray(G1.torque_limits, jnp.float32)
        self._key_bodies = bodies
        body_ids = np.array([self._mj_model.body(name).id for name in bodies], np.int32)
        self._soles = np.array([_soles(self._mj_model, name) for name in G1.feet], np.int32)
        self._physics: Any = _physics.make(settings.engine, self._mj_model, body_ids, self._soles.reshape(-1))
        self._mjx_model: Any = self._physics.put_model()
        self._root = 7 if settings.floating else 0  # numbers of qpos before the joints'

    @property
    def wrapping(self) -> dict[str, Any]:
        """Options of `ReferenceSource` that this environment needs: `lookahead` and `key_bodies`."""
        return {"lookahead": tuple(self._config.lookahead), "key_bodies": self._key_bodies}

    def reset(self, rng: jax.Array) -> State:
        noise = self._config.reset_noise * jax.random.uniform(rng, self._standing.shape, jnp.float32, -1.0, 1.0)
        joint_pos = jnp.clip(self._standing + noise, self._limits[:, 0], self._limits[:, 1])
        data: Any = self._physics.make_data()
        # Physics and rewards have jax's default precision, on which Brax's wrappers rely; observations and the
        # reference are float32.
        joint_pos = joint_pos.astype(data.qpos.dtype)
        root = jnp.asarray(G1.standing_qpos[: self._root], data.qpos.dtype)
        data = data.replace(qpos=jnp.concatenate([root, joint_pos]), ctrl=joint_pos)
        reference = empty_reference(
            num_joints=self.action_size, lookahead=len(self._config.lookahead), key_bodies=len(self._key_bodies)
        )
        last_action, zero = jnp.zeros(self.action_size, jnp.float32), jnp.zeros(())
        obs = self._observe(data, last_action, reference)
        metrics = {f"reward/{name}": zero for name in self._weights} | {"joint_error": zero}
        info = {"reference": reference, LAST_ACTION: last_action, AIR_TIME: jnp.zeros(2), KEY: rng}
        return State(data, obs, zero, zero, metrics, info)

    def begin_on_reference(self, state: State, reference: Reference) -> State:
        """The state in the pose and with the velocity of the reference, and with the noise of `reset` on the joints."""
        data = state.data
        if not self._config.reference:
            return state
        noise = data.qpos[self._root :] - self._standing
        joint_pos = self._standing.at[self._driven].set(reference.joint_pos) + noise
        joint_pos = jnp.clip(joint_pos, self._limits[:, 0], self._limits[:, 1])
        qpos, qvel = [joint_pos], [jnp.zeros_like(self._standing).at[self._driven].set(reference.joint_vel)]
        if self._config.floating:
            root = reference.root
            qpos = [root.position, root.rotation, *qpos]
            # MuJoCo has the angular velocity of a free joint in the frame of its body.
            qvel = [root.linear_velocity, rotate(inverse(root.rotation), root.angular_velocity), *qvel]
        dtype = data.qpos.dtype
        qpos, qvel = (jnp.concatenate(parts).astype(dtype) for parts in (qpos, qvel))
        data = data.replace(qpos=qpos, qvel=qvel, ctrl=joint_pos.astype(dtype))
        data = self._physics.place(self._mjx_model, data)
        obs = self._observe(data, jnp.zeros(self.action_size, jnp.float32), reference)
        return state.replace(data=data, obs=obs)  # pyright: ignore

    def step(self, state: State, action: jax.Array) -> State:
        reference: Reference = state.info["reference"]
        # Auto-reset restores the data of an episode's start but not the info, so only the time shows a first step.
        begun = state.data.time > 0
        last_action: Any = jnp.where(begun, state.info[LAST_ACTION], 0.0)
        target = self.target(reference, action).astype(state.data.ctrl.dtype)
        data, key = self._pushed(state)
        data = self._physics.step(self._mjx_model, data, target, self.n_substeps)
        contacts = self._contacts(data)
        in_air: Any = jnp.where(begun, state.info[AIR_TIME], 0.0)
        landed: Any = jnp.where(contacts, in_air, 0.0)
        longer: Any = jnp.where(contacts, 0.0, in_air + self.dt)
        seen = self._seen(data, reference, action, last_action, contacts, landed)
        rms = jnp.sqrt(jnp.mean(jnp.square(seen.joint_pos - reference.joint_pos)))
        finite = jnp.isfinite(data.qpos).all() & jnp.isfinite(data.qvel).all() & jnp.isfinite(action).all()
        failed = ~finite | self._fallen(data, reference)
        if self._config.reference:
            failed |= rms > self._config.termination.joint_error
        terms = reward_terms(seen, self._weights)
        terms = {name: jnp.where(finite, term, 0.0).astype(float) for name, term in terms.items()}
        terms["termination"] = failed.astype(float)
        terms = {name: weight * terms[name] for name, weight in self._weights.items()}
        metrics = {f"reward/{name}": term for name, term in terms.items()}
        metrics["joint_error"] = jnp.where(finite, rms, 0.0).astype(float)
        action_kept, air_kept = action.astype(last_action.dtype), longer.astype(in_air.dtype)
        kept = {LAST_ACTION: action_kept, AIR_TIME: air_kept, KEY: key}
        return state.replace(  # pyright: ignore
            data=data,
            obs=self._observe(data, action, reference),
            reward=jnp.stack(list(terms.values())).sum() * self.dt,
            done=failed.astype(float),
            metrics=state.metrics | metrics,
            info=state.info | kept,
        )

    def target(self, reference: Reference, action: jax.Array) -> jax.Array:
        """PD targets [29] rad, clipped to the joints' limits."""
        base = reference.joint_pos if self._config.residual else self._standing[self._driven]
        target = self._standing.at[self._driven].set(base + self._config.action_scale * action)
        return jnp.clip(target, self._limits[:, 0], self._limits[:, 1])

    def write_reference(self, obs: jax.Array, reference: Reference) -> jax.Array:
        part = _joined(self._reference_parts(reference))
        return obs.at[obs.shape[-1] - len(part) :].set(part)

    def observation_parts(self) -> dict[str, int]:
        """The parts of an observation, in their order, and their sizes."""
        sizes: dict[str, int] = {}

        def measure(state: State) -> None:
            parts = self._parts(state.data, state.info[LAST_ACTION], state.info["reference"])
            sizes.update({name: len(part) for name, part in parts.items()})

        # Noted in passing: a dictionary that is returned would come back sorted.
        jax.eval_shape(measure, jax.eval_shape(self.reset, jax.random.PRNGKey(0)))
        return sizes

    def _parts(self, data: Any, action: jax.Array, reference: Reference) -> dict[str, jax.Array]:
        parts = {}
        if (root := self._root_state(data)) is not None:
            parts["linear_velocity"] = root.in_heading()[0]
            parts["angular_velocity"] = data.qvel[3:6]
            parts["gravity"] = down(root.rotation)
        parts["joint_pos"] = self._joint_pos(data) - self._standing[self._driven]
        parts["joint_vel"] = self._joint_vel(data) * VELOCITY_SCALE
        parts["last_action"] = action
        return parts | self._reference_parts(reference)

    def _reference_parts(self, reference: Reference) -> dict[str, jax.Array]:
        if not self._config.reference:
            return {"command": reference.command}
        standing, root = self._standing[self._driven], reference.root
        parts = {
            "reference_joint_pos": reference.joint_pos - standing,
            "reference_joint_vel": reference.joint_vel * VELOCITY_SCALE,
            AHEAD_JOINT_POS: (reference.ahead.joint_pos - standing[None]).reshape(-1),
            "command": reference.command,
        }
        if self._config.floating:
            linear, angular = root.in_heading()
            parts["reference_height"] = root.position[2:]
            parts["reference_gravity"] = gravity_of(root.rotation)
            parts["reference_linear_velocity"], parts["reference_angular_velocity"] = linear, angular
        return parts

    def _observe(self, data: Any, action: jax.Array, reference: Reference) -> jax.Array:
        return _joined(self._parts(data, action, reference))

    def _joint_pos(self, data: Any) -> jax.Array:
        return data.qpos[self._root :][self._driven]

    def _joint_vel(self, data: Any) -> jax.Array:
        return data.qvel[max(self._root - 1, 0) :][self._driven]

    def _root_state(self, data: Any) -> RootState | None:
        """In the world; None for a fixed base."""
        if not self._config.floating:
            return None
        rotation = data.qpos[3:7]
        return RootState(data.qpos[:3], rotation, data.qvel[:3], rotate(rotation, data.qvel[3:6]))

    @property
    def floating(self) -> bool:
        return self._config.floating

    @property
    def residual(self) -> bool:
        """Whether an action is added to the reference's joint positions, and not to the standing pose."""
        return self._config.residual

    @property
    def action_scale(self) -> float:
        return self._config.action_scale

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Of the joints that the action drives."""
        return self._joint_names

    def base_velocity(self, data: Any) -> jax.Array:
        """m/s, m/s, rad/s of the base forward, to the left, and about the vertical; 0 for a fixed base."""
        if (root := self._root_state(data)) is None:
            return jnp.zeros(3)
        return jnp.concatenate([root.in_heading()[0][:2], root.angular_velocity[2:]])

    def _contacts(self, data: Any) -> jax.Array:
        """Whether each foot touches the floor."""
        if not self._config.floating:
            return jnp.zeros(2, bool)
        height = self._physics.geom_positions(data)[:, 2].reshape(self._soles.shape)
        return (height - self._mj_model.geom_size[self._soles, 0] < TOUCHING).any(axis=-1)

    def _pushed(self, state: State) -> tuple[Any, jax.Array]:
        """The data, whose base is pushed from time to time, and the next key."""
        data, key, push = state.data, state.info[KEY], self._config.push
        if not (self._config.floating and push.interval):
            return data, key
        key, draw_key = jax.random.split(key)
        change = jax.random.uniform(draw_key, (2,), data.qvel.dtype, -push.velocity, push.velocity)
        steps = jnp.round(data.time / self.dt).astype(jnp.int32)
        now = (steps > 0) & (steps % push.interval == 0)
        return data.replace(qvel=data.qvel.at[:2].add(jnp.where(now, change, 0.0))), key

    def _fallen(self, data: Any, reference: Reference) -> jax.Array:
        """Whether the base is down, or far from the reference's."""
        if not self._config.floating:
            return jnp.zeros((), bool)
        limits, lowest_cosine = self._config.termination, np.cos(self._config.termination.tilt)
        direction = down(data.qpos[3:7])
        fallen = (data.qpos[2] < limits.lowest) | (-direction[2] < np.cos(limits.lean))
        if not self._config.reference:
            return fallen
        root = reference.root
        far = jnp.abs(data.qpos[2] - root.position[2]) > limits.height
        return fallen | far | (jnp.dot(direction, down(root.rotation)) < lowest_cosine)

    def _seen(
        self,
        data: Any,
        reference: Reference,
        action: jax.Array,
        last_action: jax.Array,
        contacts: jax.Array,
        air_time: jax.Array,
    ) -> Seen:
        return Seen(
            reference=reference,
            joint_pos=self._joint_pos(data),
            joint_vel=self._joint_vel(data),
            all_joint_pos=data.qpos[self._root :],
            standing=self._standing[self._driven],
            limits=self._limits,
            torque=data.actuator_force,
            torque_limits=self._torque_limits,
            action=action,
            last_action=last_action,
            key_bodies=self._key_body_positions(data, reference),
            root=self._root_state(data),
            contacts=contacts,
            air_time=air_time,
            widths=self._config.widths,
        )

    def _key_body_positions(self, data: Any, reference: Reference) -> tuple[jax.Array, jax.Array] | None:
        """Of a floating base, key bodies in the world, each seen from where its root is on the floor and faces."""
        if reference.bodies is None:
            return None
        position, expected = self._physics.body_positions(data), reference.bodies.poses.position
        if self._config.floating:
            position = _from_heading(position, data.qpos[:3], data.qpos[3:7])
            in_world: Any = reference.bodies_in_world
            expected = _from_heading(in_world.poses.position, reference.root.position, reference.root.rotation)
        else:
            position = position - np.array([0.0, 0.0, _g1_model.HANGING_HEIGHT], np.float32)
        return position, expected

    @property
    def xml_path(self) -> str:
        return str(MJCF_PATH)

    @property
    def action_size(self) -> int:
        return len(self._joint_names)

    @property
    def mj_model(self) -> Any:
        return self._mj_model

    @property
    def mjx_model(self) -> mjx.Model:
        return self._mjx_model


def _joined(parts: dict[str, jax.Array]) -> jax.Array:
    return jnp.concatenate([part.astype(jnp.float32) for part in parts.values()])


def _from_heading(position: jax.Array, root: jax.Array, rotation: jax.Array) -> jax.Array:
    """Positions [N, 3] m in the world, seen from the place on the floor of a root [3] and its heading."""
    origin = root.at[2].set(0.0)
    return turn(position - origin[None], -jnp.broadcast_to(yaw_of(rotation), position.shape[:1]))


def _soles(model: Any, foot: str) -> list[int]:
    """Ids of the spheres under a foot."""
    body = model.body(foot)
    geoms = range(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
    return [geom for geom in geoms if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE]  # pyright: ignore
