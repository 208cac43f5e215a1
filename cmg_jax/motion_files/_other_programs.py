"""Formats of other programs, which are read only. Their keys are enough to read them."""

from cmg_jax.motion_files._format import Format
from cmg_jax.motion_files._qpos import read_wide

INSTINCT = Format(
    "retargeted NPZ (Instinct)",
    ("joint_pos",),
    ("base_pos_w",),
    ("base_quat_w",),
    joint_vel=("joint_vel",),
    body_pos="body_pos_w",
    body_quat="body_quat_w",
    read=read_wide,
)
ASAP = Format(
    "ASAP-style (ASAP, PBHC, human2humanoid)",
    ("dof", "dof_pos"),
    ("root_trans_offset", "root_trans"),
    ("root_rot", "root_quat"),
    "xyzw",
    ("dof_vel", "dof_vels"),
    fewer_joints=("g1-23-no-wrists",),
)
AMI_IIT = Format("ami-iit", ("joint_positions",), ("root_position",), ("root_quaternion",), "xyzw")
HOLOMOTION = Format(
    "HoloMotion",
    ("ref_dof_pos", "dof_pos"),
    quaternion_order="xyzw",
    joint_vel=("ref_dof_vel", "dof_vels"),
    body_pos="ref_global_translation",
    body_quat="ref_global_rotation_quat",
)
UNKNOWN_PROGRAM = Format(
    "joints and a root",
    ("joint_pos", "dof_pos", "joint_positions", "dof_positions", "joints", "dof", "q"),
    ("root_pos", "root_position", "root_translation", "root_trans", "base_pos", "base_position", "pelvis_pos"),
    ("root_quat", "root_rot", "root_rotation", "root_quaternion", "root_orientation", "base_quat", "base_rot"),
    joint_vel=("joint_vel", "dof_vel", "joint_velocities", "dof_velocities", "dq"),
    quaternion_by="proof",
)
