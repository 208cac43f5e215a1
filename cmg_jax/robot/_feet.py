"""Where the soles are, inside jit: forward kinematics of a robot's legs, differentiable in the joint positions."""
# pyright: reportAttributeAccessIssue=false

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax._errors import InputError
from cmg_jax.robot import _mjcf, _rotation
from cmg_jax.robot._robot import Robot

FLAT = 0.015
"""Height in m above the lowest point of a standing foot up to which a point belongs to its sole."""

CORNERS = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])


class _Legs(NamedTuple):
    """Both legs from root to foot, one link for each hinge. The shorter leg begins with links that do not move."""

    joints: np.ndarray  # [2, L] index of the motion's joint that moves a link, -1 for none
    zero: np.ndarray  # [2, L] rad, of a joint at rest
    offset: np.ndarray  # [2, L, 3] m, of a link in its parent
    rotation: np.ndarray  # [2, L, 3, 3], of a link in its parent with its joint at rest
    axis: np.ndarray  # [2, L, 3]
    soles: np.ndarray  # [2, P, 3] m, centres of balls under a foot, in the last link's frame
    radius: np.ndarray  # [2, P] m, of the balls


def sole_points(joint_pos: ArrayLike, robot: Robot) -> Float[Array, "... 2 P 3"]:
    """Lowest points under each foot, left foot first, in the frame of an upright root.

    The points are the bottoms of spheres, or corners, of the geoms under the feet: four for each foot of the G1, up to
    four for other robots.

    Args:
      joint_pos: [..., J] rad.
      robot: the robot; joints that are not among its `joint_names` stay at rest.

    Returns:
      [..., 2, P, 3] m.

    Raises:
      InputError: the robot's feet are not known.

    Examples:
      >>> from cmg_jax import robot
      >>> joint_pos = jnp.asarray(robot.G1.standing_joint_pos)  # [J] rad
      >>> robot.sole_points(joint_pos, robot.G1).shape  # feet, points, xyz [m]
      (2, 4, 3)
    """
    with jax.numpy_rank_promotion("allow"):  # poses of any rank meet constants of links
        return _sole_points(jnp.asarray(joint_pos, jnp.float32), robot)


@partial(jax.jit, static_argnums=1)
def _sole_points(joint_pos: jax.Array, robot: Robot) -> jax.Array:
    legs = _legs(robot)
    angle = jnp.where(legs.joints < 0, 0.0, joint_pos[..., legs.joints])  # [..., 2, L]
    points = sole_balls(angle, robot)
    below = legs.radius[..., None] * [0.0, 0.0, 1.0]
    same = (below == below[0, 0]).all()  # use one vector then: XLA rounds sums of many vectors differently
    return points - jnp.asarray(below[0, 0] if same else below, jnp.float32)


def leg_joints(robot: Robot) -> np.ndarray:
    """Which joint of a motion moves each link of both legs, [2, L] indices; -1 for links that do not move."""
    return _legs(robot).joints


def sole_balls(angle: Float[Array, "*batch 2 L"], robot: Robot) -> Float[Array, "*batch 2 P 3"]:
    """Centres [m] of the balls under each foot, in the frame of the root, from the angles [rad] of `leg_joints`."""
    legs = _legs(robot)
    if legs.zero.any():
        angle = angle - jnp.asarray(legs.zero, jnp.float32)
    position, rotation = jnp.zeros(3, jnp.float32), jnp.eye(3, dtype=jnp.float32)
    for link in range(angle.shape[-1]):
        position = position + _rotation.apply_matrix(rotation, jnp.asarray(legs.offset[:, link], jnp.float32))
        turned = _rotation.about_axis(legs.axis[:, link], angle[..., link])
        at_rest = _rotation.matrix_product(rotation, jnp.asarray(legs.rotation[:, link], jnp.float32))
        rotation = _rotation.matrix_product(at_rest, turned)
    soles = jnp.asarray(legs.soles, jnp.float32)
    return position[..., None, :] + _rotation.apply_matrix(rotation[..., None, :, :], soles)


def ground_height(joint_pos: ArrayLike, robot: Robot) -> Float[Array, "B"]:
    """Height [m] of the lowest point under the feet of poses [B, J], the root at the origin; in bounded memory.

    Examples:
      >>> from cmg_jax import robot
      >>> joint_pos = jnp.asarray(robot.G1.standing_joint_pos)  # [J] rad
      >>> height = robot.ground_height(joint_pos[None], robot.G1)
      >>> print(f"{-height[0]:.2f} m from root to floor")
      0.78 m from root to floor
    """
    joint_pos = jnp.asarray(joint_pos, jnp.float32)
    return jax.lax.map(lambda pose: sole_points(pose, robot)[..., 2].min(), joint_pos, batch_size=8192)


def sole_positions(robot: Robot, positions: Float[np.ndarray, "N nq"]) -> Float[np.ndarray, "N 2 P 3"]:
    """Lowest points under each foot in the world [m] for MuJoCo positions, by C MuJoCo."""
    return _mass_and_soles(robot, positions, with_mass=False)[1]


def mass_and_soles(robot: Robot, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass of the robot [N, 3] m, and its `sole_positions`."""
    return _mass_and_soles(robot, positions, with_mass=True)


def _mass_and_soles(robot: Robot, positions: np.ndarray, with_mass: bool) -> tuple[np.ndarray, np.ndarray]:
    import mujoco

    soles, model = _soles(robot), robot.mj_model
    data = mujoco.MjData(model)
    mass, out = np.zeros((len(positions), 3)), np.empty((len(positions), *soles.points.shape), np.float32)
    for index, position in enumerate(positions):
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        for foot, body in enumerate(soles.bodies):
            out[index, foot] = data.xpos[body] + soles.points[foot] @ data.xmat[body].reshape(3, 3).T
        out[index, ..., 2] -= soles.radius
        if with_mass:
            mujoco.mj_comPos(model, data)
            mass[index] = data.subtree_com[1]
    return mass, out


def check(robot: Robot) -> None:
    """Raise InputError unless the feet of a robot are known and its base is floating."""
    _soles(robot)
    if not robot.is_floating:
        raise InputError(f"the robot {robot.name} has a fixed base; give its first body a <freejoint/>")


class _Soles(NamedTuple):
    bodies: tuple[int, int]
    """The bodies that the soles belong to; a foot that is welded to its ankle is part of the same body."""
    points: np.ndarray  # [2, P, 3] m, centres of balls in the frames of `bodies`
    radius: np.ndarray  # [2, P] m


@lru_cache(maxsize=32)
def _soles(robot: Robot) -> _Soles:
    """The lowest points in the standing pose, of those geoms that collide if there are any."""
    import mujoco

    model = robot.mj_model
    if len(robot.feet) != 2:
        raise InputError(
            f"the feet of the robot {robot.name} are not known; name the bodies: --feet LEFT RIGHT, or "
            "Robot.from_mjcf(..., feet=(...))"
        )
    data = mujoco.MjData(model)
    data.qpos[:] = robot.standing_qpos
    mujoco.mj_kinematics(model, data)
    bodies, feet = [], []
    for name in robot.feet:
        body = int(model.body_weldid[model.body(name).id])
        group = [other for other in range(model.nbody) if model.body_weldid[other] == body]
        foot_bodies = [other for other in group if _is_below(model, other, model.body(name).id)]
        centres, radii = [np.zeros((0, 3))], [np.zeros(0)]
        for geom in _mjcf.colliding(model, foot_bodies):
            points, radius = _mjcf.balls(model, geom)
            position, rotation = _placed(model, int(model.geom_bodyid[geom]), body)
            inside = model.geom_pos[geom] + points @ _rotation.matrix(model.geom_quat[geom]).T
            centres.append(position + inside @ rotation.T)
            radii.append(np.full(len(points), radius))
        centre, radius = np.concatenate(centres), np.concatenate(radii)
        if not len(centre):
            raise InputError(f"{robot.name}: the foot {name} has no geom that could stand on a floor")
        world = data.xpos[body] + centre @ data.xmat[body].reshape(3, 3).T
        chosen = _corners(world[:, :2], world[:, 2] - radius)
        centre, radius = centre[chosen], radius[chosen]
        if len(centre) == 1:  # one point cannot show a rotation of the foot; four around it can
            spread = 0.5 * float(radius[0]) or 0.01
            centre = centre + spread * np.c_[CORNERS, np.zeros(4)] @ data.xmat[body].reshape(3, 3)
            radius = np.repeat(radius, 4)
        bodies.append(body)
        feet.append((centre, radius))
    most = max(len(centre) for centre, _ in feet)
    points, radius = (
        np.stack([np.resize(foot[part], (most, *foot[part].shape[1:])) for foot in feet]) for part in (0, 1)
    )
    return _Soles((bodies[0], bodies[1]), points, radius)


def _corners(place: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Indices of the points [n, 2] that form a sole: the low ones, or the outermost four of many."""
    low = np.flatnonzero(height < height.min() + FLAT)
    if len(low) <= 4:
        return low
    centred = place[low] - place[low].mean(axis=0)
    spread = np.maximum(np.ptp(centred, axis=0), 1e-9)
    return low[np.unique((centred / spread @ CORNERS.T).argmax(axis=0))]


@lru_cache(maxsize=128)
def _legs(robot: Robot) -> _Legs:
    model, soles = robot.mj_model, _soles(robot)
    legs = [_leg(model, body) for body in soles.bodies]
    longest = max(len(links) for links, _, _ in legs)
    still: Any = ("", 0.0, np.zeros(3), np.eye(3), np.array([0.0, 0.0, 1.0]))
    filled: list[Any] = [[still] * (longest - len(links)) + links for links, _, _ in legs]
    points = np.stack([end + points @ turn.T for (_, end, turn), points in zip(legs, soles.points, strict=True)])
    joints, zero, offset, rotation, axis = ([[link[part] for link in leg] for leg in filled] for part in range(5))
    names = list(robot.joint_names)
    return _Legs(
        np.array([[names.index(name) if name in names else -1 for name in leg] for leg in joints], np.int32),
        np.where(np.array([[name in names for name in leg] for leg in joints]), np.array(zero), 0.0),
        np.array(offset),
        np.array(rotation),
        np.array(axis),
        points,
        soles.radius,
    )


def _leg(model: Any, body: int) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Links of a leg, each (joint, angle at rest, offset, rotation, axis), and the place of `body` in the last one."""
    chain = []
    while model.body_parentid[body]:  # down to the root, which carries the frame
        chain.insert(0, body)
        body = int(model.body_parentid[body])
    links, offset, rotation = [], np.zeros(3), np.eye(3)
    for link in chain:
        offset = offset + rotation @ model.body_pos[link]
        rotation = rotation @ _rotation.matrix(model.body_quat[link])
        for joint in range(model.body_jntadr[link], model.body_jntadr[link] + model.body_jntnum[link]):
            if int(model.jnt_type[joint]) != _mjcf.HINGE:
                continue  # it stays at rest, where it moves nothing
            anchor, at_rest = model.jnt_pos[joint], float(model.qpos0[model.jnt_qposadr[joint]])
            name = model.joint(joint).name
            links.append((name, at_rest, offset + rotation @ anchor, rotation, model.jnt_axis[joint]))
            offset, rotation = -anchor, np.eye(3)
    return links, offset, rotation


def _is_below(model: Any, body: int, top: int) -> bool:
    while body > top:
        body = int(model.body_parentid[body])
    return body == top


def _placed(model: Any, body: int, within: int) -> tuple[np.ndarray, np.ndarray]:
    """The frame of a body in the frame of the body that it is welded to."""
    position, rotation = np.zeros(3), np.eye(3)
    while body != within:
        turn = _rotation.matrix(model.body_quat[body])
        position, rotation = model.body_pos[body] + turn @ position, turn @ rotation
        body = int(model.body_parentid[body])
    return position, rotation
