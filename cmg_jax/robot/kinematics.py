"""Body poses inside jit: MJX forward kinematics of any MJCF, ours by default. Needs the extra `mjx`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.errors import InputError
from cmg_jax.robot import g1
from cmg_jax.robot.joints import G1_29_JOINTS, indices


class BodyPoses(NamedTuple):
    """Poses in the world."""

    position: jax.Array  # [..., N, 3] m
    rotation: jax.Array  # [..., N, 4] wxyz


class Kinematics(NamedTuple):
    """Forward kinematics of one robot."""

    bodies: tuple[str, ...]
    """Names of the N bodies."""

    body_poses: Callable[..., BodyPoses]
    """body_poses(joint_pos, root_pos=None, root_quat=None) -> poses with leaves [..., N, 3] and [..., N, 4]

    joint_pos: [..., J] rad. root_pos: [..., 3] m, the origin by default. root_quat: [..., 4] wxyz, upright
    by default. Pure; jit it."""


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
    robot = g1.mj_model() if mjcf is None else _read(Path(mjcf))
    all_bodies = [robot.body(index).name for index in range(robot.nbody)]
    wanted = tuple(all_bodies[1:] if bodies is None else bodies)
    joint_at = {robot.joint(index).name: index for index in range(robot.njnt)}
    for kind, names, known in (("body", wanted, all_bodies), ("joint", joint_names, joint_at)):
        if missing := [name for name in names if name not in known]:
            raise InputError(f"{mjcf or g1.MJCF_PATH.name} has no {kind} {', '.join(missing)}")
    qpos_index = robot.jnt_qposadr[[joint_at[name] for name in joint_names]]
    body_index = indices(wanted, all_bodies)
    free = [robot.jnt_qposadr[index] for index in range(robot.njnt) if robot.jnt_type[index] == 0]
    home = jnp.asarray(robot.qpos0, jnp.float32)
    mjx_model = mjx.put_model(robot, impl="jax")

    def one(positions: jax.Array) -> BodyPoses:
        data = mjx.kinematics(mjx_model, mjx.make_data(mjx_model).replace(qpos=positions))
        return BodyPoses(data.xpos[body_index], data.xquat[body_index])

    def body_poses(joint_pos: Any, root_pos: Any = None, root_quat: Any = None) -> BodyPoses:
        joint_pos = jnp.asarray(joint_pos, jnp.float32)
        shape = joint_pos.shape[:-1]
        positions = jnp.broadcast_to(home, (*shape, len(home))).at[..., qpos_index].set(joint_pos)
        if free:
            root = jnp.zeros(3) if root_pos is None else jnp.asarray(root_pos, jnp.float32)
            quat = jnp.array([1.0, 0, 0, 0]) if root_quat is None else jnp.asarray(root_quat, jnp.float32)
            positions = positions.at[..., free[0] : free[0] + 3].set(jnp.broadcast_to(root, (*shape, 3)))
            positions = positions.at[..., free[0] + 3 : free[0] + 7].set(jnp.broadcast_to(quat, (*shape, 4)))
        # MJX itself does not hold to the strict rules that a caller may have set.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            poses = jax.vmap(one)(positions.reshape(-1, len(home)))
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), poses)

    return Kinematics(wanted, body_poses)


def _read(path: Path) -> Any:
    import mujoco

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return mujoco.MjModel.from_xml_path(str(path))  # pyright: ignore[reportAttributeAccessIssue]
    except ValueError as error:
        raise InputError(f"{path}: MuJoCo cannot read it: {str(error).splitlines()[0]}") from None
