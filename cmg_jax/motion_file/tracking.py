"""NPZ as the tracking tasks of mjlab and BeyondMimic read it: joints and bodies in MuJoCo's order, all in the world."""

from pathlib import Path

import numpy as np

from cmg_jax.files import atomic_path
from cmg_jax.motion_file.motion import Motion
from cmg_jax.robot import g1


def write(path: Path, motion: Motion, *, bodies: bool, progress: g1.Progress) -> None:
    """fps, joint_pos, joint_vel, body_pos_w, body_quat_w (wxyz), body_lin_vel_w, body_ang_vel_w of the 30 bodies.

    Velocities of bodies are those of their frames' origins, by kinematics of the joints' velocities and the root's.
    """
    states = g1.body_states(motion.qpos(), motion.qvel(), progress)
    arrays = {
        "fps": np.array([motion.fps], np.float64),
        "joint_pos": motion.joint_pos.astype(np.float32),
        "joint_vel": motion.joint_vel.astype(np.float32),
        "body_pos_w": states.position,
        "body_quat_w": states.rotation,
        "body_lin_vel_w": states.linear_velocity,
        "body_ang_vel_w": states.angular_velocity,
    }
    with atomic_path(path) as partial:
        np.savez(partial, **arrays)
