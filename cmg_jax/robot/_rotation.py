"""Quaternions [..., 4] wxyz, in NumPy, for files."""

import numpy as np


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The rotation `second`, then `first`."""
    w, x, y, z = np.moveaxis(first, -1, 0)
    a, b, c, d = np.moveaxis(second, -1, 0)
    return np.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        axis=-1,
    )


def inverse(quat: np.ndarray) -> np.ndarray:
    """The opposite rotation of unit quaternions."""
    return quat * np.array([1, -1, -1, -1], quat.dtype)


def rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] turned by `quat`."""
    axis = quat[..., 1:]
    twice = 2 * np.cross(axis, vector)
    return vector + quat[..., :1] * twice + np.cross(axis, twice)


def rotation_vector(quat: np.ndarray) -> np.ndarray:
    """Axis times angle [..., 3] rad, the shorter way round."""
    quat = np.where(quat[..., :1] < 0, -quat, quat)
    sine = np.linalg.norm(quat[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quat[..., :1])
    return quat[..., 1:] * np.where(sine < 1e-9, 2.0, angle / np.maximum(sine, 1e-9))


def angular_velocity(quat: np.ndarray, fps: float) -> np.ndarray:
    """Of rotations [T, 4] in their own frame, [T, 3] rad/s: central differences, one-sided at the ends."""
    before, after = np.concatenate([quat[:1], quat[:-1]]), np.concatenate([quat[1:], quat[-1:]])
    frames = np.full((len(quat), 1), 2.0)
    frames[[0, -1]] = 1.0
    return rotation_vector(multiply(inverse(before), after)) * fps / frames
