"""Robots: the Unitree G1, and others from an MJCF; their kinematics, root poses and mirror images.

    import jax.numpy as jnp
    from cmg_jax.robot import G1, mirror_joints, sole_points

    joint_pos = jnp.asarray(G1.standing_joint_pos)  # [29] rad
    soles = sole_points(joint_pos, G1)  # [2, 4, 3] m: feet, points
    mirrored = mirror_joints(joint_pos, G1)

`Robot.from_mjcf` makes a robot from a MuJoCo XML file. `kinematics` gives body poses and velocities inside jit; it
needs the extra `mjx`.
"""

from cmg_jax.robot._bodies import BodyPoses
from cmg_jax.robot._feet import ground_height, sole_points
from cmg_jax.robot._frame import (
    FramePart,
    MotionFrame,
    RootMotion,
    frame_parts,
    join_frame,
    mirror_frame,
    mirror_motion,
    split_frame,
)
from cmg_jax.robot._g1 import G1, G1_23_JOINTS, G1_29_JOINTS
from cmg_jax.robot._joints import indices, mirror_command, mirror_joints
from cmg_jax.robot._kinematics import BodyVelocities, Kinematics, kinematics
from cmg_jax.robot._odometry import Contacts, contacts, root_from_feet, stance_velocity
from cmg_jax.robot._robot import Mirror, Robot
from cmg_jax.robot._root import (
    RootState,
    foot_contacts,
    integrate_root,
    place_root,
    root_channel,
    root_motion,
    soles_in_world,
)
from cmg_jax.robot._root_pose import (
    RootPose,
    commanded_velocity,
    init_root,
    integrate_command,
    reset_root,
    root_on_floor,
    step_root,
)

__all__ = [
    "G1",
    "G1_23_JOINTS",
    "G1_29_JOINTS",
    "BodyPoses",
    "BodyVelocities",
    "Contacts",
    "FramePart",
    "Kinematics",
    "Mirror",
    "MotionFrame",
    "Robot",
    "RootMotion",
    "RootPose",
    "RootState",
    "commanded_velocity",
    "contacts",
    "foot_contacts",
    "frame_parts",
    "ground_height",
    "indices",
    "init_root",
    "integrate_command",
    "integrate_root",
    "join_frame",
    "kinematics",
    "mirror_command",
    "mirror_frame",
    "mirror_joints",
    "mirror_motion",
    "place_root",
    "reset_root",
    "root_channel",
    "root_from_feet",
    "root_motion",
    "root_on_floor",
    "sole_points",
    "soles_in_world",
    "split_frame",
    "stance_velocity",
    "step_root",
]
