"""Where the soles are, inside jit: forward kinematics of the G1's legs, differentiable in the joint positions."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cmg_jax.robot import g1

FEET = ("left", "right")


class _Legs(NamedTuple):
    """Both legs from the pelvis down, a hinge a link."""

    joints: tuple[tuple[str, ...], ...]  # names, [2][6]
    offset: np.ndarray  # [2, 6, 3] m, of a link in its parent
    rotation: np.ndarray  # [2, 6, 3, 3], of a link in its parent with its joint at zero
    axis: np.ndarray  # [2, 6, 3]
    soles: np.ndarray  # [2, 4, 3] m, centres of the balls under a foot, in its frame
    radius: float  # m, of the balls


def sole_points(joint_pos: ArrayLike, joint_names: Sequence[str]) -> jax.Array:
    """Lowest points of the four balls under each foot, left foot first, in the frame of an upright pelvis.

    Args:
      joint_pos: [..., J] rad.
      joint_names: names of the J joints; others stay at zero.

    Returns:
      [..., 2, 4, 3] m.
    """
    with jax.numpy_rank_promotion("allow"):  # poses of any rank meet constants of links
        return _sole_points(jnp.asarray(joint_pos, jnp.float32), tuple(joint_names))


@partial(jax.jit, static_argnums=1)
def _sole_points(joint_pos: jax.Array, names: tuple[str, ...]) -> jax.Array:
    legs = _legs()
    index = np.array([[names.index(joint) if joint in names else -1 for joint in leg] for leg in legs.joints])
    angle = jnp.where(index < 0, 0.0, joint_pos[..., index])  # [..., 2, 6]
    position, rotation = jnp.zeros(3), jnp.eye(3)
    for link in range(angle.shape[-1]):
        position = position + _apply(rotation, jnp.asarray(legs.offset[:, link], jnp.float32))
        turned = _hinge(legs.axis[:, link], angle[..., link])
        rotation = _times(_times(rotation, jnp.asarray(legs.rotation[:, link], jnp.float32)), turned)
    points = position[..., None, :] + _apply(rotation[..., None, :, :], jnp.asarray(legs.soles, jnp.float32))
    return points - jnp.array([0.0, 0.0, legs.radius])


def ground_height(joint_pos: ArrayLike, joint_names: Sequence[str]) -> jax.Array:
    """Height [N] m of the lowest point under the feet of poses [N, J], the pelvis at zero; in bounded memory."""
    joint_pos = jnp.asarray(joint_pos, jnp.float32)
    return jax.lax.map(lambda pose: sole_points(pose, joint_names)[..., 2].min(), joint_pos, batch_size=8192)


def _hinge(axis: np.ndarray, angle: jax.Array) -> jax.Array:
    """Rotations [..., 2, 3, 3] by `angle` [..., 2] around unit axes [2, 3] (Rodrigues)."""
    cross = np.cross(np.eye(3), axis[:, None])  # cross @ v = axis x v
    sin, cos = jnp.sin(angle)[..., None, None], jnp.cos(angle)[..., None, None]
    return jnp.eye(3) + sin * jnp.asarray(cross, jnp.float32) + (1 - cos) * jnp.asarray(cross @ cross, jnp.float32)


# Written out, these fuse into one loop; as matrix products XLA would call a routine for each 3 x 3 matrix.
def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    return (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2)


def _apply(rotation: jax.Array, vector: jax.Array) -> jax.Array:
    return (rotation * vector[..., None, :]).sum(axis=-1)


@cache
def _legs() -> _Legs:
    model: Any = g1.mj_model()
    joints, links = [], []
    for foot in FEET:
        body, chain = model.body(f"{foot}_ankle_roll_link"), []
        while body.name != "pelvis":
            chain.insert(0, body)
            body = model.body(body.parentid[0])
        links.append(chain)
        joints.append(tuple(model.joint(link.jntadr[0]).name for link in chain))
    index = np.array([[link.id for link in chain] for chain in links])
    joint = model.body_jntadr[index]
    assert not model.jnt_pos[joint].any(), "a hinge goes through its link's origin"
    geoms = [
        [g for g in range(model.ngeom) if model.geom_bodyid[g] == chain[-1].id and "_sole" in model.geom(g).name]
        for chain in links
    ]
    return _Legs(
        tuple(joints),
        model.body_pos[index],
        _matrices(model.body_quat[index]),
        model.jnt_axis[joint],
        model.geom_pos[geoms],
        float(model.geom_size[geoms[0][0], 0]),
    )


def _matrices(quat: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] wxyz."""
    import mujoco

    out = np.empty((quat.size // 4, 9))
    for row, q in zip(out, quat.reshape(-1, 4), strict=True):
        mujoco.mju_quat2Mat(row, q)  # pyright: ignore[reportAttributeAccessIssue]
    return out.reshape(*quat.shape[:-1], 3, 3)
