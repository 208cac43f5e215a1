"""Body poses and velocities inside jit: MJX kinematics of any MJCF, ours by default. Needs the extra `mjx`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.errors import InputError
from cmg_jax.files import first_line
from cmg_jax.robot import g1
from cmg_jax.robot.joints import G1_29_JOINTS, indices


class BodyPoses(NamedTuple):
    """Poses in the world."""

    position: jax.Array  # [..., N, 3] m
    rotation: jax.Array  # [..., N, 4] wxyz


class BodyVelocities(NamedTuple):
    """Velocities of the bodies' origins, along the axes of the world."""

    linear: jax.Array  # [..., N, 3] m/s
    angular: jax.Array  # [..., N, 3] rad/s


class Kinematics(NamedTuple):
    """Forward kinematics of one robot."""

    bodies: tuple[str, ...]
    """Names of the N bodies."""

    body_poses: Callable[..., BodyPoses]
    """body_poses(joint_pos, root_pos=None, root_quat=None) -> poses with leaves [..., N, 3] and [..., N, 4]

    joint_pos: [..., J] rad. root_pos: [..., 3] m, the origin by default. root_quat: [..., 4] wxyz, upright
    by default. Pure; jit it."""

    body_velocities: Callable[..., tuple[BodyPoses, BodyVelocities]]
    """body_velocities(joint_pos, joint_vel, root_pos=None, root_quat=None, root_velocity=None,
    root_angular_velocity=None) -> the poses, and velocities with leaves [..., N, 3]

    joint_vel: [..., J] rad/s. The root's [..., 3], in m/s and rad/s along the axes of the world, are zero by
    default."""


def kinematics(
    mjcf: Path | str | None = None,
    *,
    joint_names: Sequence[str] = G1_29_JOINTS,
    bodies: Sequence[str] | None = None,
) -> Kinematics:
    """Kinematics of a robot from its MJCF.

    Args:
      mjcf: a MuJoCo XML file; our G1 by default.
      joint_names: the joints that `joint_pos` holds, in its order. Others stay where the file has them.
      bodies: names of the bodies wanted; all but the world by default.

    Raises:
      InputError: a file that cannot be read, a joint or a body that it lacks, or no MJX.
    """
    try:
        from mujoco import mjx
    except ImportError:
        raise InputError("body poses inside jit need MJX: pip install 'cmg_jax[mjx]'") from None
    robot = _skeleton(g1.MJCF_PATH if mjcf is None else Path(mjcf))
    all_bodies = [robot.body(index).name for index in range(robot.nbody)]
    wanted = tuple(all_bodies[1:] if bodies is None else bodies)
    joint_at = {robot.joint(index).name: index for index in range(robot.njnt)}
    for kind, names, known in (("body", wanted, all_bodies), ("joint", joint_names, joint_at)):
        if missing := [name for name in names if name not in known]:
            raise InputError(f"{mjcf or g1.MJCF_PATH.name} has no {kind} {', '.join(missing)}")
    qpos_index = robot.jnt_qposadr[[joint_at[name] for name in joint_names]]
    body_index = indices(wanted, all_bodies)
    root = _root_address(robot, joint_at[joint_names[0]]) if joint_names else None
    home = jnp.asarray(robot.qpos0, jnp.float32)
    joint_index = np.array([joint_at[name] for name in joint_names], np.int32)
    hinge = (robot.jnt_type[joint_index] == 3).astype(np.float32)[:, None]
    above = [_bodies_above(robot, body) for body in body_index]
    carries = jnp.array([[robot.jnt_bodyid[joint] in bodies for joint in joint_index] for bodies in above], jnp.float32)
    root_body = None if root is None else robot.jnt_bodyid[list(robot.jnt_qposadr).index(root)]
    on_root = np.array([[root_body in bodies] for bodies in above], np.float32)
    mjx_model = mjx.put_model(robot, impl="jax")

    def one(positions: jax.Array) -> tuple[BodyPoses, jax.Array, jax.Array]:
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
            raise InputError("the robot has no free joint, so its root cannot be placed")
        return positions

    def forward(positions: jax.Array) -> tuple[BodyPoses, jax.Array, jax.Array]:
        """`one` of positions [..., nq]."""
        shape = positions.shape[:-1]
        # MJX itself does not hold to the strict rules that a caller may have set.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            out = jax.vmap(one)(positions.reshape(-1, len(home)))
        # MJX computes in the precision that jax has by default; what leaves is float32 in either.
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]).astype(jnp.float32), out)

    def body_poses(joint_pos: Any, root_pos: Any = None, root_quat: Any = None) -> BodyPoses:
        return forward(positions_at(joint_pos, root_pos, root_quat))[0]

    def body_velocities(
        joint_pos: Any,
        joint_vel: Any,
        root_pos: Any = None,
        root_quat: Any = None,
        root_velocity: Any = None,
        root_angular_velocity: Any = None,
    ) -> tuple[BodyPoses, BodyVelocities]:
        positions = positions_at(joint_pos, root_pos, root_quat)
        moving = root_velocity, root_angular_velocity
        if root is None and any(value is not None for value in moving):
            raise InputError("the robot has no free joint, so its root cannot move")
        poses, anchor, axis = forward(positions)
        axis, anchor = axis[..., joint_index, :], anchor[..., joint_index, :]
        rate = jnp.asarray(joint_vel, jnp.float32)[..., None]
        zero = jnp.zeros(3, jnp.float32)
        of_root = [zero if value is None else jnp.asarray(value, jnp.float32)[..., None, :] for value in moving]
        with jax.numpy_rank_promotion("allow"):  # rows of any rank meet constants of bodies and joints
            # Places from the root's on: far from the origin, these differences would lose digits.
            origin = zero if root is None else positions[..., None, root : root + 3]
            turning, sliding = rate * axis * hinge, rate * axis * (1 - hinge)
            angular = _sum(carries, turning) + on_root * of_root[1]
            linear = _sum(carries, sliding - jnp.cross(turning, anchor - origin)) + on_root * of_root[0]
            linear = linear + jnp.cross(angular, poses.position - origin)
        return poses, BodyVelocities(linear, angular)

    return Kinematics(wanted, body_poses, body_velocities)


def _sum(carries: jax.Array, joints: jax.Array) -> jax.Array:
    """Sums [..., N, 3] over those joints [..., J, 3] that carry a body, as `carries` [N, J] says."""
    return jnp.einsum("nj,...jk->...nk", carries, joints, precision="highest")


def _skeleton(path: Path) -> Any:
    """The bodies and joints of an MJCF; MJX would refuse some of the rest, which kinematics does not need."""
    import mujoco

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        spec = mujoco.MjSpec.from_file(str(path))  # pyright: ignore[reportAttributeAccessIssue]
        parts = (spec.sensors, spec.actuators, spec.tendons, spec.equalities, spec.pairs, spec.excludes)
        for part in (*parts, spec.keys, spec.skins, spec.geoms):
            for element in list(part):
                spec.delete(element)
        spec.compiler.boundmass = spec.compiler.boundinertia = 1e-3  # bodies had theirs from their geoms
        robot = spec.compile()
    except ValueError as error:
        raise InputError(f"{path}: MuJoCo cannot read it: {first_line(error)}") from None
    robot.opt.integrator, robot.opt.solver, robot.opt.cone = 0, 2, 0  # Euler, Newton, pyramidal: what MJX knows
    return robot


def _bodies_above(robot: Any, body: int) -> set[int]:
    """The body and all that carry it."""
    chain = {int(body)}
    while body:
        body = robot.body_parentid[body]
        chain.add(int(body))
    return chain


def _root_address(robot: Any, joint: int) -> int | None:
    """Where in qpos the free joint is that carries a joint's robot; None where it stands fast."""
    root_body = robot.body_rootid[robot.jnt_bodyid[joint]]
    free = [j for j in range(robot.njnt) if robot.jnt_type[j] == 0 and robot.jnt_bodyid[j] == root_body]
    return int(robot.jnt_qposadr[free[0]]) if free else None
