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
from mujoco_playground import step as physics_steps

from cmg_jax._errors import InputError
from cmg_jax.envs import Reference, empty_reference
from cmg_jax.rl import _g1_model, _rewards
from cmg_jax.robot import G1, G1_29_JOINTS, RootState, indices
from cmg_jax.robot._g1 import MJCF_PATH
from cmg_jax.robot._root import gravity_of, turn
from cmg_jax.robot._rotation import inverse, rotate, yaw_of

# Jitted, each is traced once for all the programs of a training.
_physics_steps = jax.jit(physics_steps, static_argnums=3)
_kinematics = jax.jit(mjx.kinematics)

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

ROOT_TERMS = ("root_height", "tilt", "linear_velocity", "angular_velocity", "contacts")
"""Terms of the reward that only a floating base has."""

LAST_ACTION = "last_action"

TOUCHING = 0.005
"""m above the floor, up to which a sole touches it."""

VELOCITY_SCALE = 0.1
"""Factor of joint velocities in observations: in a walk they [rad/s] are about ten times the angles [rad]."""


def default_config() -> config_dict.ConfigDict:
    """All settings of the environment; `config_overrides` of `G1Tracking` changes them.

    Examples:
      >>> from cmg_jax.rl import default_config
      >>> default_config().ctrl_dt
      0.02
    """
    return config_dict.create(
        ctrl_dt=0.02,
        sim_dt=0.005,
        floating=False,
        residual=True,  # False: the PD target is the standing pose plus the action's
        action_scale=1.0,  # rad
        lookahead=(1, 4, 10),  # frames
        reset_noise=0.05,  # rad, of the joints at the start of an episode
        rewards=config_dict.create(
            joint_pos=2.0,
            joint_vel=0.5,
            key_bodies=1.0,  # at 0 their poses are not computed
            root_height=0.5,  # floating only, down to contacts
            tilt=0.5,
            linear_velocity=1.0,
            angular_velocity=0.5,
            contacts=0.25,
            action_rate=-0.05,
            effort=-0.2,
            limits=-1.0,
            termination=-5.0,
        ),
        widths=config_dict.create(
            joint_pos=0.1,  # rad
            joint_vel=1.5,  # rad/s
            key_bodies=0.05,  # m
            root_height=0.1,  # m
            tilt=0.3,  # of the unit vector down
            linear_velocity=0.4,  # m/s
            angular_velocity=1.5,  # rad/s
        ),
        termination=config_dict.create(
            joint_error=1.0,  # rad, root mean square
            height=0.3,  # m between the pelvis and its reference; floating only, as is the tilt
            tilt=1.0,  # rad between them
        ),
    )


class G1Tracking(MjxEnv):
    """Follow `info["reference"]` with a G1.

    Observation: for a floating base the angular velocity and the direction of gravity in the pelvis; joint positions
    (relative to standing), joint velocities, the last action; then the reference: its joint positions and velocities,
    the joint positions to come, the command, and for a floating base the height, the lean, the velocities (in the
    heading frame) and the contacts. The environment never reads its observation back, so a wrapper may change it.

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
        self._mj_model = _g1_model.build(floating=settings.floating, sim_dt=settings.sim_dt)
        self._mjx_model = mjx.put_model(self._mj_model, impl="jax")
        self._joint_names = tuple(joint_names)
        self._driven = indices(joint_names, G1.joint_names)
        self._standing = jnp.asarray(G1.standing_joint_pos, jnp.float32)
        self._limits = jnp.asarray(G1.joint_limits, jnp.float32)
        self._torque_limits = jnp.asarray(G1.torque_limits, jnp.float32)
        self._key_bodies = KEY_BODIES if settings.rewards.key_bodies else ()
        self._bodies = np.array([self._mj_model.body(name).id for name in self._key_bodies], np.int32)
        self._soles = np.array([_soles(self._mj_model, name) for name in G1.feet], np.int32)
        self._root = 7 if settings.floating else 0  # numbers of qpos before the joints'

    @property
    def wrapping(self) -> dict[str, Any]:
        """Options of `ReferenceSource` that this environment needs: `lookahead` and `key_bodies`."""
        return {"lookahead": tuple(self._config.lookahead), "key_bodies": self._key_bodies}

    def reset(self, rng: jax.Array) -> State:
        noise = self._config.reset_noise * jax.random.uniform(rng, self._standing.shape, jnp.float32, -1.0, 1.0)
        joint_pos = jnp.clip(self._standing + noise, self._limits[:, 0], self._limits[:, 1])
        data: Any = mjx.make_data(self._mj_model, impl="jax")
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
        metrics = {f"reward/{name}": zero for name in self._config.rewards} | {"joint_error": zero}
        return State(data, obs, zero, zero, metrics, {"reference": reference, LAST_ACTION: last_action})

    def begin_on_reference(self, state: State, reference: Reference) -> State:
        """The state in the pose and with the velocity of the reference, and with the noise of `reset` on the joints."""
        data = state.data
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
        data = _kinematics(self._mjx_model, data)
        obs = self._observe(data, jnp.zeros(self.action_size, jnp.float32), reference)
        return state.replace(data=data, obs=obs)  # pyright: ignore

    def step(self, state: State, action: jax.Array) -> State:
        reference: Reference = state.info["reference"]
        # Auto-reset restores the data of an episode's start but not the info, so only the time shows a first step.
        last_action: Any = jnp.where(state.data.time > 0, state.info[LAST_ACTION], 0.0)
        target = self.target(reference, action).astype(state.data.ctrl.dtype)
        data = _physics_steps(self._mjx_model, state.data, target, self.n_substeps)
        terms = self._terms(data, reference, action, last_action)
        error = self._joint_pos(data) - reference.joint_pos
        rms = jnp.sqrt(jnp.mean(jnp.square(error)))
        finite = jnp.isfinite(data.qpos).all() & jnp.isfinite(data.qvel).all()
        failed = ~finite | (rms > self._config.termination.joint_error) | self._fallen(data, reference)
        terms = {name: jnp.where(finite, term, 0.0).astype(float) for name, term in terms.items()}
        terms["termination"] = failed.astype(float)
        terms = {name: self._config.rewards[name] * term for name, term in terms.items()}
        metrics = {f"reward/{name}": term for name, term in terms.items()}
        metrics["joint_error"] = jnp.where(finite, rms, 0.0).astype(float)
        return state.replace(  # pyright: ignore
            data=data,
            obs=self._observe(data, action, reference),
            reward=jnp.stack(list(terms.values())).sum() * self.dt,
            done=failed.astype(float),
            metrics=state.metrics | metrics,
            info=state.info | {LAST_ACTION: action.astype(last_action.dtype)},
        )

    def target(self, reference: Reference, action: jax.Array) -> jax.Array:
        """PD targets [29] rad, clipped to the joints' limits."""
        base = reference.joint_pos if self._config.residual else self._standing[self._driven]
        target = self._standing.at[self._driven].set(base + self._config.action_scale * action)
        return jnp.clip(target, self._limits[:, 0], self._limits[:, 1])

    def write_reference(self, obs: jax.Array, reference: Reference) -> jax.Array:
        part = self._reference_part(reference)
        return obs.at[obs.shape[-1] - len(part) :].set(part)

    def _observe(self, data: mjx.Data, action: jax.Array, reference: Reference) -> jax.Array:
        parts = [data.qvel[3:6], _down(data.qpos[3:7])] if self._config.floating else []
        parts += [self._joint_pos(data) - self._standing[self._driven], self._joint_vel(data) * VELOCITY_SCALE, action]
        return jnp.concatenate([part.astype(jnp.float32) for part in (*parts, self._reference_part(reference))])

    def _reference_part(self, reference: Reference) -> jax.Array:
        standing = self._standing[self._driven]
        ahead = (reference.ahead.joint_pos - standing[None]).reshape(-1)
        velocity = reference.joint_vel * VELOCITY_SCALE
        parts = [reference.joint_pos - standing, velocity, ahead, reference.command]
        if self._config.floating:
            root = reference.root
            parts += [root.position[2:], gravity_of(root.rotation), *root.in_heading()]
            parts.append(jnp.asarray(reference.contacts, jnp.float32))
        return jnp.concatenate(parts)

    def _joint_pos(self, data: mjx.Data) -> jax.Array:
        return data.qpos[self._root :][self._driven]

    def _joint_vel(self, data: mjx.Data) -> jax.Array:
        return data.qvel[max(self._root - 1, 0) :][self._driven]

    def _fallen(self, data: mjx.Data, reference: Reference) -> jax.Array:
        """Whether the root is far from the reference's."""
        if not self._config.floating:
            return jnp.zeros((), bool)
        limits, root = self._config.termination, reference.root
        cosine = jnp.dot(_down(data.qpos[3:7]), _down(root.rotation))
        return (jnp.abs(data.qpos[2] - root.position[2]) > limits.height) | (cosine < np.cos(limits.tilt))

    def _terms(
        self, data: mjx.Data, reference: Reference, action: jax.Array, last_action: jax.Array
    ) -> dict[str, jax.Array]:
        widths, tracked = self._config.widths, _rewards.tracking_reward
        torque = data.actuator_force
        return self._root_terms(data, reference) | {
            "joint_pos": tracked(self._joint_pos(data) - reference.joint_pos, widths.joint_pos),
            "joint_vel": tracked(self._joint_vel(data) - reference.joint_vel, widths.joint_vel),
            "key_bodies": self._key_body_term(data, reference),
            "action_rate": _rewards.action_rate(action, last_action),
            "effort": _rewards.effort(torque, self._torque_limits),
            "limits": _rewards.beyond_limits(data.qpos[self._root :], self._limits),
        }

    def _root_terms(self, data: mjx.Data, reference: Reference) -> dict[str, jax.Array]:
        """Of a floating base; zero for a fixed one."""
        if not self._config.floating:
            return dict.fromkeys(ROOT_TERMS, jnp.zeros((), jnp.float32))
        widths, tracked, root = self._config.widths, _rewards.tracking_reward, reference.root
        rotation, sole_radius = data.qpos[3:7], self._mj_model.geom_size[self._soles, 0]
        moving = RootState(data.qpos[:3], rotation, data.qvel[:3], rotate(rotation, data.qvel[3:6]))
        linear, angular = (one - other for one, other in zip(moving.in_heading(), root.in_heading(), strict=True))
        touching = (data.geom_xpos[self._soles, 2] - sole_radius < TOUCHING).any(axis=-1)
        terms = (
            tracked(data.qpos[2:3] - root.position[2:], widths.root_height),
            tracked(_down(rotation) - _down(root.rotation), widths.tilt),
            tracked(linear, widths.linear_velocity),
            tracked(angular, widths.angular_velocity),
            jnp.mean(touching == reference.contacts),
        )
        return dict(zip(ROOT_TERMS, terms, strict=True))

    def _key_body_term(self, data: mjx.Data, reference: Reference) -> jax.Array:
        """Of a floating base, key bodies in the world, each seen from where its root is on the floor and faces."""
        if reference.bodies is None:
            return jnp.zeros((), jnp.float32)
        position, expected = data.xpos[self._bodies], reference.bodies.poses.position
        if self._config.floating:
            position = _from_heading(position, data.qpos[:3], data.qpos[3:7])
            in_world: Any = reference.bodies_in_world
            expected = _from_heading(in_world.poses.position, reference.root.position, reference.root.rotation)
        else:
            position = position - np.array([0.0, 0.0, _g1_model.HANGING_HEIGHT], np.float32)
        return _rewards.tracking_reward(position - expected, self._config.widths.key_bodies)

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


def _down(rotation: jax.Array) -> jax.Array:
    """The unit vector down [3] in the frame of a rotation [4]."""
    return rotate(inverse(rotation), jnp.array([0.0, 0.0, -1.0], rotation.dtype))


def _from_heading(position: jax.Array, root: jax.Array, rotation: jax.Array) -> jax.Array:
    """Positions [N, 3] m in the world, seen from the place on the floor of a root [3] and its heading."""
    origin = root.at[2].set(0.0)
    return turn(position - origin[None], -jnp.broadcast_to(yaw_of(rotation), position.shape[:1]))


def _soles(model: Any, foot: str) -> list[int]:
    """Ids of the spheres under a foot."""
    body = model.body(foot)
    geoms = range(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
    return [geom for geom in geoms if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE]  # pyright: ignore


def domain_randomize(model: mjx.Model, rng: jax.Array) -> tuple[Any, Any]:
    """A different robot in every environment: friction, masses, gains, armature and a load on the torso.

    Args:
      model: of the environment.
      rng: raw keys [num_envs, 2].

    Returns:
      the model whose randomized leaves have the axis num_envs, and the axes for `vmap`.

    Examples:
      >>> from cmg_jax.rl import G1Tracking, domain_randomize
      >>> models, axes = domain_randomize(G1Tracking().mjx_model, jax.random.split(jax.random.PRNGKey(0), 8))
      >>> models.body_mass.shape
      (8, 31)
    """
    torso = G1.body_names.index("torso_link") + 1

    @jax.vmap
    def draw(key: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(key, 6)

        def around_one(key: jax.Array, width: float, shape: tuple[int, ...] = ()) -> jax.Array:
            return jax.random.uniform(key, shape, minval=1 - width, maxval=1 + width)

        gain = around_one(keys[0], 0.1, (model.nu, 1))
        load = jax.random.uniform(keys[1], minval=-1.0, maxval=1.0)  # kg
        return {
            "geom_friction": model.geom_friction * around_one(keys[2], 0.5),
            "body_mass": (model.body_mass * around_one(keys[3], 0.1, (model.nbody,))).at[torso].add(load),
            "actuator_gainprm": model.actuator_gainprm * gain,
            "actuator_biasprm": model.actuator_biasprm * gain,
            "dof_armature": model.dof_armature * around_one(keys[4], 0.1, (model.nv,)),
        }

    drawn: dict[str, Any] = draw(rng)
    axes = jax.tree.map(lambda _: None, model)
    return model.tree_replace(drawn), axes.tree_replace(dict.fromkeys(drawn, 0))
