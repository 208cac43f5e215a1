"""NPZ as tracking tasks read it, all in the world: mjlab's in MuJoCo's order, BeyondMimic's in Isaac Lab's.

Neither loader uses names: both take joints and bodies by position. The names are in the file for other readers.
"""

from pathlib import Path

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files._format import Format, Writer
from cmg_jax.motion_files._motion import Motion
from cmg_jax.motion_files._qpos import read_wide
from cmg_jax.robot import _rotation
from cmg_jax.robot._bodies import BodyStates, Progress, body_states, breadth_first, centres_of_mass
from cmg_jax.robot._joints import indices


def write(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """Write fps, joint_names, joint_pos, joint_vel, body_names, body_pos_w, body_quat_w (wxyz), body_lin_vel_w and
    body_ang_vel_w of all bodies, as mjlab has them: in MuJoCo's order, velocities of the frames' origins.

    The bodies' velocities follow by kinematics from those of the joints and of the root.
    """
    states = body_states(motion.robot, motion.qpos(), motion.qvel(), progress)
    _save(path, motion, motion.robot.body_names, states)


def write_beyondmimic(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """Write the same keys as BeyondMimic has them: in Isaac Lab's order, and with linear velocities of the bodies'
    centres of mass."""
    robot = motion.robot
    names = breadth_first(robot, robot.body_names)
    order = indices(names, robot.body_names)
    states = body_states(robot, motion.qpos(), motion.qvel(), progress)
    states = BodyStates(*(array[:, order] for array in states))
    centre = _rotation.rotate(states.rotation, centres_of_mass(robot, names))
    states = states._replace(linear_velocity=states.linear_velocity + np.cross(states.angular_velocity, centre))
    _save(path, motion.with_joints(breadth_first(robot, motion.joint_names)), names, states)


def _save(path: Path, motion: Motion, body_names: tuple[str, ...], states: BodyStates) -> None:
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


TRACKING = Format(
    "tracking NPZ (mjlab, BeyondMimic)",
    ("joint_pos",),
    joint_vel=("joint_vel",),
    body_pos="body_pos_w",
    body_quat="body_quat_w",
    read=read_wide,
    writers={"mjlab": Writer(".npz", write), "beyondmimic": Writer(".npz", write_beyondmimic)},
)
