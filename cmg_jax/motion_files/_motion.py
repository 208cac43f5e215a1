"""`Motion`, a complete motion in memory that every format can be written from."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGConfig
from cmg_jax.robot import Robot, _bodies, _odometry, _root, _root_pose, _rotation, split_frame
from cmg_jax.robot._g1 import robot_of

ROOTS = ("model", "command", "odometry")
"""How a generated motion's root moves: as the model's root channel says, as commanded, or as the stance feet carry it.

By default it is the first of them that the model has: "command" where its frames have no root channel.
"""


class Motion(NamedTuple):
    """T+1 frames of J joints; leading axes are environments, none for a single one.

    Examples:
      >>> from cmg_jax import motion_files
      >>> frames = np.tile(cmg_jax.standing_frame(model), (51, 1))
      >>> motion = motion_files.of_trajectory(model.config, frames, np.zeros((50, 3), np.float32))
      >>> motion.qpos().shape  # of MuJoCo
      (51, 36)
    """

    fps: float
    """Frames per second."""
    robot: Robot
    joint_pos: np.ndarray  # [..., T+1, J] rad
    joint_vel: np.ndarray  # [..., T+1, J] rad/s
    commands: np.ndarray  # [..., T, 3]: frame t+1 follows frame t under commands[t]
    root_pos: np.ndarray  # [..., T+1, 3] m
    root_quat: np.ndarray  # [..., T+1, 4] wxyz

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.robot.joint_names

    def qpos(self) -> np.ndarray:
        """MuJoCo positions [N, nq] of all frames, environment after environment."""
        flat = (array.reshape(-1, array.shape[-1]) for array in (self.joint_pos, self.root_pos, self.root_quat))
        joint_pos, root_pos, root_quat = flat
        return _bodies.qpos(self.robot, joint_pos, root_pos, root_quat)

    def qvel(self) -> np.ndarray:
        """MuJoCo velocities [T+1, nv] of a single motion; the root's are differences of its positions and rotations.

        The root's linear velocity is in the world, its angular velocity in its own frame, as a free joint has them.
        """
        # Central differences also for a root that a model's own velocities lead: those belong to the middle between
        # two frames, which at a frame is wrong by half a frame of acceleration (0.2 m/s at 2 g and 50 fps); their mean
        # over the steps before and after a frame is the central difference, which is wrong by the jerk / 6 fps^2.
        linear = np.gradient(self.root_pos.astype(np.float64), 1 / self.fps, axis=0)
        angular = _rotation.angular_velocity(self.root_quat.astype(np.float64), self.fps)
        return _bodies.qvel(self.robot, self.joint_vel, linear, angular)

    def with_joints(self, names: Sequence[str]) -> "Motion":
        """The motion with the joints `names`; joints that it lacks stay at zero."""

        def take(values: np.ndarray) -> np.ndarray:
            out = np.zeros((*values.shape[:-1], len(names)), values.dtype)
            for column, name in enumerate(names):
                if name in self.joint_names:
                    out[..., column] = values[..., self.joint_names.index(name)]
            return out

        robot = robot_of(tuple(names), self.robot)
        return self._replace(robot=robot, joint_pos=take(self.joint_pos), joint_vel=take(self.joint_vel))


def choose_root(config: CMGConfig, root: str | None) -> str:
    """`root`, one of `ROOTS`, or for None the default of the model.

    Raises:
      InputError: "model" for a model without a root channel.
    """
    if root == "model" and not config.has_root:
        others = " or ".join(f"--root {name}" for name in ROOTS[1:])
        raise InputError(f"--root model: the model's frames of {config.motion_dim} numbers have no root; use {others}")
    return root or ("model" if config.has_root else "command")


def of_trajectory(config: CMGConfig, trajectory: np.ndarray, commands: np.ndarray, root: str | None = None) -> Motion:
    """The motion of a generated trajectory, which starts at the origin and faces +x.

    A root that does not come from the model is upright and keeps the lower foot on the floor.

    Args:
      config: of the model.
      trajectory: frames [..., T+1, D]: joint positions [rad], velocities [rad/s] and perhaps a root channel.
      commands: [..., T, 3] vx, vy [m/s] and yaw rate [rad/s]; frame t+1 follows frame t under commands[t].
      root: one of `ROOTS`; None for the model's own, or "command" where it has none. Of a robot whose feet are not
        known "odometry" is impossible, and a root as commanded has no height.

    Raises:
      InputError: "model" for a model without a root channel.

    Examples:
      >>> from cmg_jax import motion_files
      >>> commands = np.tile(np.array([0.8, 0.0, 0.0], np.float32), (50, 1))
      >>> trajectory = np.asarray(jax.jit(cmg_jax.generate)(model, cmg_jax.standing_frame(model), commands))
      >>> motion = motion_files.of_trajectory(model.config, trajectory, commands)
      >>> motion.joint_pos.shape, motion.root_pos.shape
      ((51, 29), (51, 3))
    """
    robot, fps, root = config.robot, config.fps, choose_root(config, root)
    *joints, channel = split_frame(np.asarray(trajectory), robot.num_joints)
    joint_pos, joint_vel = map(np.asarray, joints)
    if root == "model":
        place = map(np.asarray, _integrate_root(channel, fps)[:2])
    elif root == "odometry":
        place = _odometry.root_from_feet(joint_pos, robot, fps)
    else:
        place = _root_pose.root_on_floor(joint_pos, robot, commands, fps)
    return Motion(fps, robot, joint_pos, joint_vel, commands, *place)


_integrate_root = jax.jit(_root.integrate_root)
