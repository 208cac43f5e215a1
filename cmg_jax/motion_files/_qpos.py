"""MuJoCo trajectories, read only: a free joint precedes the hinges, and an object's pose may follow them."""

import numpy as np

from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._columns import ROOT, by_keys, joint_names, joints
from cmg_jax.motion_files._format import Columns, Content, Format


def read(content: Content) -> Columns:
    """Root and joints of `qpos`. OmniRetarget has the quaternion before the position."""
    qpos, qvel = joints(content)
    if qpos.shape[1] <= ROOT:
        raise MotionFileError(f"qpos has {qpos.shape[1]} columns; a root and joints need more than 7")
    named, num_joints, note = joint_names(content), qpos.shape[1] - ROOT, ""
    if named is not None and len(named) < num_joints:
        note = f"the last {num_joints - len(named)} columns of qpos are not joints of it"
        num_joints = len(named)
    elif named is None and num_joints == content.robot.num_joints + ROOT:
        num_joints, note = content.robot.num_joints, "the last 7 columns, an object's pose, are left out"
    first, second = (np.abs(np.linalg.norm(qpos[:, at : at + 4], axis=-1) - 1).max() for at in (0, 3))
    quat_first = first < 0.05 < second
    if quat_first:
        note = "; ".join(filter(None, [note, "the quaternion comes before the position"]))
    pos, quat = (qpos[:, 4:7], qpos[:, :4]) if quat_first else (qpos[:, :3], qpos[:, 3:7])
    velocity = None
    if qvel is not None and qvel.ndim == 2 and qvel.shape[1] >= 6 + num_joints:
        velocity = qvel[:, 6 : 6 + num_joints]
    return Columns(qpos[:, ROOT : ROOT + num_joints], velocity, pos, quat, note)


def read_wide(content: Content) -> Columns:
    """Joints and root by their keys, or both from `joint_pos` if it is wide enough to hold the root too (holosoma)."""
    joint_pos, _ = joints(content)
    named = joint_names(content)
    num_joints = content.robot.num_joints if named is None else len(named)
    wide = joint_pos.shape[1] in (num_joints + ROOT, num_joints + 2 * ROOT)
    return read(content) if wide else by_keys(content)


QPOS = Format("MuJoCo trajectory (qpos)", ("qpos",), joint_vel=("qvel",), read=read)
