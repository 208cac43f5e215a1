"""NPZ as tracking tasks read it, all in the world: mjlab's in MuJoCo's order, BeyondMimic's in Isaac Lab's.

Neither loader looks at names: both take joints and bodies by their place. The names are in the file for all others.
"""

from pathlib import Path

import numpy as np

from cmg_jax.files import atomic_path
from cmg_jax.motion_file.motion import Motion
from cmg_jax.robot import g1, rotation
from cmg_jax.robot.joints import indices


def write(path: Path, motion: Motion, *, bodies: bool, progress: g1.Progress) -> None:
    """fps, joint_names, joint_pos, joint_vel, body_names, body_pos_w, body_quat_w (wxyz), body_lin_vel_w,
    body_ang_vel_w of the 30 bodies, as mjlab has them: in MuJoCo's order, velocities of the frames' origins.

    Velocities of bodies are by kinematics of the joints' velocities and the root's.
    """
    _save(path, motion, g1.body_names(), g1.body_states(motion.qpos(), motion.qvel(), progress))


def write_beyondmimic(path: Path, motion: Motion, *, bodies: bool, progress: g1.Progress) -> None:
    """The same as BeyondMimic has it: in Isaac Lab's order, linear velocities of the bodies' centres of mass."""
    names = g1.breadth_first(g1.body_names())
    order = indices(names, g1.body_names())
    states = g1.body_states(motion.qpos(), motion.qvel(), progress)
    states = g1.BodyStates(*(array[:, order] for array in states))
    centre = rotation.rotate(states.rotation, g1.centres_of_mass(names))
    states = states._replace(linear_velocity=states.linear_velocity + np.cross(states.angular_velocity, centre))
    _save(path, motion.with_joints(g1.breadth_first(motion.joint_names)), names, states)


def _save(path: Path, motion: Motion, body_names: tuple[str, ...], states: g1.BodyStates) -> None:
    arrays = {
        "fps": np.array([motion.fps], np.float64),
        "joint_names": np.array(motion.joint_names),
        "joint_pos": motion.joint_pos.astype(np.float32),
        "joint_vel": motion.joint_vel.astype(np.float32),
        "body_names": np.array(body_names),
        "body_pos_w": states.position,
        "body_quat_w": states.rotation,
        "body_lin_vel_w": states.linear_velocity,
        "body_ang_vel_w": states.angular_velocity,
    }
    with atomic_path(path) as partial:
        np.savez(partial, **arrays)
