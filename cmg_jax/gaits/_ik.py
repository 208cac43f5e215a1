"""Joint positions of legs from where their soles are: damped Gauss-Newton, frame by frame."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cmg_jax.robot import Robot, _feet

ITERATIONS = 8
DAMPING = 3e-4
"""m^2/rad^2 of the least-squares problem: little against the 0.1 that a joint has over the points of a sole."""

LARGEST_STEP = 0.4  # rad
BATCH = 4096


def solve_legs(
    joint_pos: Float[np.ndarray, "T J"],
    soles: Float[np.ndarray, "T 2 P 3"],
    robot: Robot,
    limits: Float[np.ndarray, "J 2"],
) -> Float[np.ndarray, "T J"]:
    """The joint positions whose soles are nearest to `soles`; only joints of the legs change.

    Args:
      joint_pos: [T, J] rad, where the search begins.
      soles: centres of the balls under the feet, in the frame of the root, [T, 2, P, 3] m; `_feet.sole_balls`.
      robot: the robot.
      limits: least and greatest joint positions, rad.
    """
    frames, padded = len(joint_pos), -(-len(joint_pos) // BATCH) * BATCH
    pad = [np.concatenate([array, np.repeat(array[-1:], padded - frames, axis=0)]) for array in (joint_pos, soles)]
    start, wanted = (np.asarray(array, np.float32) for array in pad)
    parts = [
        np.asarray(_solve(start[at : at + BATCH], wanted[at : at + BATCH], np.asarray(limits, np.float32), robot))
        for at in range(0, padded, BATCH)
    ]
    out = np.array(joint_pos, np.float64)
    solved = np.concatenate(parts)[:frames].astype(np.float64)
    joints = np.unique(_feet.leg_joints(robot))
    joints = joints[joints >= 0]
    out[:, joints] = solved[:, joints]
    return out


@partial(jax.jit, static_argnums=3)
def _solve(joint_pos: jax.Array, soles: jax.Array, limits: jax.Array, robot: Robot) -> Float[Array, "T J"]:
    joints = _feet.leg_joints(robot)  # [2, L]
    moving = joints >= 0
    low, high = (jnp.where(moving, limits[joints, side], 0.0) for side in range(2))
    count = joints.shape[1]
    units = jnp.eye(count, dtype=jnp.float32)

    def points(angle: jax.Array) -> jax.Array:
        with jax.numpy_rank_promotion("allow"):
            return _feet.sole_balls(angle, robot).reshape(2, -1)

    def one(angle: jax.Array, wanted: jax.Array) -> jax.Array:
        def columns(unit: jax.Array) -> jax.Array:
            return jax.jvp(points, (angle,), (jnp.stack([unit, unit]),))[1]

        jacobian = jnp.moveaxis(jax.vmap(columns)(units), 0, -1)  # [2, 3 P, L]
        residual = points(angle) - wanted.reshape(2, -1)
        step = newton(jacobian, residual)
        # A joint that its limit stops takes no part: the others then move as is best for them alone.
        stopped = ((angle <= low) & (step < 0)) | ((angle >= high) & (step > 0))
        step = newton(jnp.where(stopped[:, None], 0.0, jacobian), residual)
        angle = angle + jnp.clip(step, -LARGEST_STEP, LARGEST_STEP)
        return jnp.clip(angle, low, high)

    def newton(jacobian: jax.Array, residual: jax.Array) -> jax.Array:
        normal = jnp.einsum("fil,fim->flm", jacobian, jacobian, precision="highest")
        normal = normal + DAMPING * jnp.eye(count, dtype=jnp.float32)[None]
        gradient = jnp.einsum("fil,fi->fl", jacobian, residual, precision="highest")
        return -jnp.linalg.solve(normal, gradient[..., None])[..., 0]

    angle = jnp.where(moving[None], joint_pos[:, joints], 0.0)
    angle = jax.lax.fori_loop(0, ITERATIONS, lambda _, a: jax.vmap(one)(a, soles), angle)
    out = joint_pos
    for foot, link in zip(*np.nonzero(moving), strict=True):
        out = out.at[:, joints[foot, link]].set(angle[:, foot, link])
    return out
