"""Rotations: quaternions [..., 4] wxyz, rotation matrices, and turns about the vertical.

Quaternions of NumPy, for files and pictures, or of JAX, for use inside jit; matrices are JAX's.
"""
# pyright: reportAttributeAccessIssue=false

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def multiply(first: Any, second: Any) -> Any:
    """The rotation `second`, then `first`; NumPy's arrays or JAX's."""
    w, x, y, z = (first[..., part] for part in range(4))
    a, b, c, d = (second[..., part] for part in range(4))
    return _namespace(first).stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        axis=-1,
    )


def inverse(quat: Any) -> Any:
    """The opposite rotation of unit quaternions; NumPy's arrays or JAX's."""
    return _namespace(quat).concatenate([quat[..., :1], -quat[..., 1:]], axis=-1)


def rotate(quat: Any, vector: Any) -> Any:
    """Vectors [..., 3] rotated by `quat`; NumPy's arrays or JAX's."""
    cross, axis = _namespace(quat).cross, quat[..., 1:]
    twice = 2 * cross(axis, vector)
    return vector + quat[..., :1] * twice + cross(axis, twice)


def rotation_vector(quat: Any) -> Any:
    """Axis times angle [..., 3] rad, the shorter way round; NumPy's arrays or JAX's."""
    xp = _namespace(quat)
    quat = xp.where(quat[..., :1] < 0, -quat, quat)
    axis = quat[..., 1:]
    # Safe below the root, so that the derivative at the identity is finite.
    sine = xp.sqrt(xp.maximum((axis * axis).sum(axis=-1, keepdims=True), 1e-18))
    angle = 2 * xp.arctan2(sine, quat[..., :1])
    return axis * xp.where(sine < 1e-8, 2.0, angle / sine)


def _namespace(array: Any) -> Any:
    return jnp if isinstance(array, jax.Array) else np


def angular_velocity(quat: np.ndarray, fps: float) -> np.ndarray:
    """Angular velocity [T, 3] rad/s of rotations [T, 4], in their own frame.

    Central differences, one-sided at the ends.
    """
    before, after = np.concatenate([quat[:1], quat[:-1]]), np.concatenate([quat[1:], quat[-1:]])
    frames = np.full((len(quat), 1), 2.0)
    frames[[0, -1]] = 1.0
    return rotation_vector(multiply(inverse(before), after)) * fps / frames


def yaw_quaternion(yaw: np.ndarray) -> np.ndarray:
    """Upright rotation [..., 4] wxyz, float32, for yaw [...] rad."""
    zero = np.zeros_like(yaw)
    return np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=-1).astype(np.float32)


def matrix(quat: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
    """The rotation matrix of a quaternion, as MuJoCo computes it."""
    import mujoco

    out = np.empty(9)
    mujoco.mju_quat2Mat(out, np.asarray(quat, np.float64))
    return out.reshape(3, 3)


def yaw_of(quat: Float[Array, "... 4"]) -> Float[Array, "..."]:
    """Yaw [rad] of rotations."""
    w, x, y, z = (quat[..., part] for part in range(4))
    return jnp.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))


def rotate_planar(vector: Float[Array, "... 2"], angle: Float[Array, "..."]) -> Float[Array, "... 2"]:
    """Vectors rotated by `angle` [rad]."""
    x, y, cos, sin = vector[..., 0], vector[..., 1], jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def about_axis(axis: Float[np.ndarray, "N 3"], angle: Float[Array, "*batch N"]) -> Float[Array, "*batch N 3 3"]:
    """Rotation matrices by `angle` [rad] about unit axes (Rodrigues)."""
    cross = np.cross(np.eye(3), axis[:, None])  # cross @ v = axis x v
    sin, cos = jnp.sin(angle)[..., None, None], jnp.cos(angle)[..., None, None]
    return (
        jnp.eye(3, dtype=jnp.float32)
        + sin * jnp.asarray(cross, jnp.float32)
        + (1 - cos) * jnp.asarray(cross @ cross, jnp.float32)
    )


# Written out, these fuse into one loop; as matrix products XLA would call a routine for each 3 x 3 matrix.
def matrix_product(first: Float[Array, "... 3 3"], second: Float[Array, "... 3 3"]) -> Float[Array, "... 3 3"]:
    """Products of rotation matrices: `second`, then `first`."""
    return (first[..., :, :, None] * second[..., None, :, :]).sum(axis=-2)


def apply_matrix(rotation: Float[Array, "... 3 3"], vector: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
    """Vectors rotated by matrices."""
    return (rotation * vector[..., None, :]).sum(axis=-1)
