"""The settings of `G1Tracking`, and robots that differ between environments."""

from typing import Any

import jax
from ml_collections import config_dict
from mujoco import mjx

from cmg_jax.rl import _g1_model
from cmg_jax.robot import G1


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
        engine="mjx",  # or "mujoco", C MuJoCo: faster on a CPU
        floating=False,
        solver=(3, 5),  # iterations, and those of the line search
        friction=1.0,  # sliding, of the soles and the floor
        natural_frequency=_g1_model.NATURAL_FREQUENCY,  # Hz; the gains of the motors follow from it
        damping_ratio=_g1_model.DAMPING_RATIO,
        reference=True,  # False: the policy sees the command only, and begins standing
        residual=True,  # False: the PD target is the standing pose plus the action's
        action_scale=1.0,  # rad
        lookahead=(1, 4, 10),  # frames
        reset_noise=0.05,  # rad, of the joints at the start of an episode
        push=config_dict.create(
            interval=0,  # control steps between pushes of a floating base; 0 for none
            velocity=0.5,  # m/s, the largest change of each horizontal component
        ),
        rewards=config_dict.create(  # a term of weight 0 is not computed
            joint_pos=2.0,
            joint_vel=0.5,
            key_bodies=1.0,
            root_height=0.5,  # floating only, down to contacts
            tilt=0.5,
            linear_velocity=1.0,
            angular_velocity=0.5,
            contacts=0.25,
            action_rate=-0.05,
            effort=-0.2,
            limits=-1.0,
            termination=-5.0,
            command_velocity=0.0,  # those of a task without reference, down to pose
            command_yaw_rate=0.0,
            lean=0.0,
            sway=0.0,
            feet_air_time=0.0,
            stand_still=0.0,
            pose=0.0,
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
            joint_error=1.0,  # rad, root mean square, from the reference
            height=0.3,  # m between the pelvis and its reference; floating only, as all below
            tilt=1.0,  # rad between them
            lowest=0.45,  # m, of the pelvis above the floor
            lean=1.0,  # rad, of the pelvis from upright
        ),
    )


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
