"""Body poses and velocities inside jit: MJX kinematics of a robot. Needs the extra `mjx`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cmg_jax._errors import InputError
from cmg_jax.robot._bodies import BodyPoses
from cmg_jax.robot._g1 import G1
from cmg_jax.robot._joints import indices
from cmg_jax.robot._robot import Robot


class BodyVelocities(NamedTuple):
    """Velocities of the origins of bodies, along the axes of the world."""

    linear: Float[Array, "... N 3"]  # m/s
    angular: Float[Array, "... N 3"]  # rad/s


class Kinematics(NamedTuple):
    """Forward kinematics of one robot."""

    bodies: tuple[str, ...]
    """Names of the N bodies."""

    body_poses: Callable[..., BodyPoses[jax.Array]]
    """body_poses(joint_pos, root_pos=None, root_quat=None) -> poses with leaves [..., N, 3] and [..., N, 4]

    joint_pos: [..., J] rad. root_pos: [..., 3] m, by default the origin. root_quat: [..., 4] wxyz, by default
    upright. A pure function; jit it."""

    body_velocities: Callable[..., tuple[BodyPoses[jax.Array], BodyVelocities]]
    """body_velocities(joint_pos, joint_vel, root_pos=None, root_quat=None, root_velocity=None,
    root_angular_velocity=None) -> the poses, and velocities with leaves [..., N, 3]

    joint_vel: [..., J] rad/s. The root's [..., 3], in m/s and rad/s along the axes of the world, are zero by
    default."""


def kinematics(robot: Robot = G1, *, bodies: Sequence[str] | None = None) -> Kinematics:
    """Kinematics of a robot.

    Args:
      robot: the robot. Joints of its MJCF that are not among its `joint_names` stay at rest.
      bodies: names of the bodies wanted; all by default.

    Raises:
      InputError: a body that the robot lacks, a robot whose MJCF is not known, or no MJX.

    Examples:
      >>> from cmg_jax import robot
      >>> joint_pos = jnp.asarray(robot.G1.standing_joint_pos)  # [J] rad
      >>> feet = robot.kinematics(robot.G1, bodies=robot.G1.feet)
      >>> jax.jit(feet.body_poses)(joint_pos).position.shape
      (2, 3)
    """
    try:
        from mujoco import mjx
    except ImportError:
        raise InputError("body poses inside jit need MJX: pip install 'cmg_jax[mjx]'") from None
    model = _skeleton(robot)
    wanted = robot.body_names if bodies is None else tuple(bodies)
    if missing := [name for name in wanted if name not in robot.body_names]:
        raise InputError(f"{robot.name} has no body {', '.join(missing)}")
    qpos_index, joint_index = robot.qpos_index, robot.joint_ids
    body_index = 1 + indices(wanted, robot.body_names)
    root = 0 if robot.is_floating else None
    home = jnp.asarray(model.qpos0, jnp.float32)
    above = [_bodies_above(model, body) for body in body_index]
    carries = jnp.array([[model.jnt_bodyid[joint] in bodies for joint in joint_index] for bodies in above], jnp.float32)
    root_body = None if root is None else model.jnt_bodyid[0]
    on_root = np.array([[root_body in bodies] for bodies in above], np.float32)
    mjx_model = mjx.put_model(model, impl="jax")

    def one(positions: jax.Array) -> tuple[BodyPoses[jax.Array], jax.Array, jax.Array]:
        """The poses, and anchors and axes [njnt, 3] of the joints."""
        data = mjx.kinematics(mjx_model, mjx.make_data(mjx_model).replace(qpos=positions))
        return BodyPoses(data.xpos[body_index], data.xquat[body_index]), data.xanchor, data.xaxis

    def positions_at(joint_pos: Any, root_pos: Any, root_quat: Any) -> jax.Array:
        """qpos [..., nq]."""
        joint_pos = jnp.asarray(joint_pos, jnp.float32)
        shape = joint_pos.shape[:-1]
        positions = jnp.broadcast_to(home, (*shape, len(home))).at[..., qpos_index].set(joint_pos)
        if root is not None:
            place = jnp.zeros(3, jnp.float32) if root_pos is None else jnp.asarray(root_pos, jnp.float32)
            quat = jnp.array([1.0, 0, 0, 0], jnp.float32) if root_quat is None else jnp.asarray(root_quat, jnp.float32)
            positions = positions.at[..., root : root + 3].set(jnp.broadcast_to(place, (*shape, 3)))
            positions = positions.at[..., root + 3 : root + 7].set(jnp.broadcast_to(quat, (*shape, 4)))
        elif root_pos is not None or root_quat is not None:
            raise InputError("the robot has a fixed base, so its root cannot be placed")
        return positions

    def forward(positions: jax.Array) -> tuple[BodyPoses[jax.Array], jax.Array, jax.Array]:
        """`one` of positions [..., nq]."""
        shape = positions.shape[:-1]
        # MJX itself breaks the strict rules of promotion that a caller may have set.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            out = jax.vmap(one)(positions.reshape(-1, len(home)))
        # MJX computes in jax's default precision; the results are float32 whichever that is.
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]).astype(jnp.float32), out)

    def body_poses(joint_pos: Any, root_pos: Any = None, root_quat: Any = None) -> BodyPoses[jax.Array]:
        return forward(positions_at(joint_pos, root_pos, root_quat))[0]

    def body_velocities(
        joint_pos: Any,
        joint_vel: Any,
        root_pos: Any = None,
        root_quat: Any = None,
        root_velocity: Any = None,
        root_angular_velocity: Any = None,
    ) -> tuple[BodyPoses[jax.Array], BodyVelocities]:
        positions = positions_at(joint_pos, root_pos, root_quat)
        moving = root_velocity, root_angular_velocity
        if root is None and any(value is not None for value in moving):
            raise InputError("the robot has a fixed base, so its root cannot move")
        poses, anchor, axis = forward(positions)
        axis, anchor = axis[..., joint_index, :], anchor[..., joint_index, :]
        rate = jnp.asarray(joint_vel, jnp.float32)[..., None]
        zero = jnp.zeros(3, jnp.float32)
        of_root = [zero if value is None else jnp.asarray(value, jnp.float32)[..., None, :] for value in moving]
        with jax.numpy_rank_promotion("allow"):  # rows of any rank meet constants of bodies and joints
            # Places from the root's on: far from the origin, these differences would lose digits.
            origin = zero if root is None else positions[..., None, root : root + 3]
            turning = rate * axis
            angular = _sum(carries, turning) + on_root * of_root[1]
            linear = _sum(carries, -jnp.cross(turning, anchor - origin)) + on_root * of_root[0]
            linear = linear + jnp.cross(angular, poses.position - origin)
        return poses, BodyVelocities(linear, angular)

    return Kinematics(wanted, body_poses, body_velocities)


def _sum(carries: jax.Array, joints: jax.Array) -> jax.Array:
    """Sums [..., N, 3] over those joints [..., J, 3] that carry a body, as `carries` [N, J] says."""
    return jnp.einsum("nj,...jk->...nk", carries, joints, precision="highest")


def _skeleton(robot: Robot) -> Any:
    """The bodies and joints of a robot; MJX would refuse some geoms, which kinematics does not need."""
    import mujoco

    _ = robot.mj_model  # its errors say what is wrong with the text
    spec = mujoco.MjSpec.from_string(robot.mjcf)  # pyright: ignore[reportAttributeAccessIssue]
    for part in (spec.keys, spec.geoms, spec.meshes):
        for element in list(part):
            spec.delete(element)
    spec.compiler.boundmass = spec.compiler.boundinertia = 1e-3  # bodies may have theirs from their geoms
    model = spec.compile()
    model.opt.integrator, model.opt.solver, model.opt.cone = 0, 2, 0  # Euler, Newton, pyramidal: what MJX knows
    return model


def _bodies_above(model: Any, body: int) -> set[int]:
    """The body and all that carry it."""
    chain = {int(body)}
    while body:
        body = model.body_parentid[body]
        chain.add(int(body))
    return chain
