"""A motion file, played frame by frame."""

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.motion_files import Clip, _clips
from cmg_jax.robot import _bodies, _feet
from cmg_jax.view._pose import Pose

SMOOTHING = 0.2
"""Seconds over which the velocity of the root is averaged."""

CONTACT_HEIGHT = 0.03
"""Height in m up to which a sole is in contact: soles of recordings are further from the floor than generated ones."""


class Playback:
    """One robot that moves as a clip does.

    Examples:
      >>> from cmg_jax import motion_files
      >>> from cmg_jax.view import Playback
      >>> playback = Playback(motion_files.read(Path("walk.npz")).clips[0])
      >>> playback.step()[0].root_pos.shape
      (3,)
    """

    def __init__(self, clip: Clip):
        """Raises:
        InputError: the feet of the clip's robot are not known, or the clip has numbers that cannot be shown.
        """
        arrays = (clip.joint_pos, clip.root_pos, clip.root_quat)
        if not clip.robot.walks:
            raise InputError(f"{clip.name}: its joints are not the G1's; pass the MJCF of its robot: --robot FILE.xml")
        if not clip.fps > 0 or not all(np.isfinite(array).all() for array in arrays):
            raise InputError(f"{clip.name}: holds numbers that cannot be shown; cmg-jax inspect says which")
        self.clip, self.fps, self.robot, self.labels = clip, clip.fps, clip.robot, (clip.name,)
        positions = _bodies.qpos(clip.robot, clip.joint_pos, clip.root_pos, clip.root_quat)
        self.soles = _feet.sole_positions(clip.robot, positions)
        # Even who sprints has a foot on the floor for more than a quarter of the time.
        self.floor = float(np.quantile(self.soles[..., 2].min(axis=(1, 2)), 0.25))
        self.velocity = _clips.yaw_frame_velocity(clip, SMOOTHING)
        self.frame = 0

    @property
    def num_frames(self) -> int:
        return len(self.clip.joint_pos)

    @property
    def finished(self) -> bool:
        """Whether there is no next frame."""
        return self.frame + 1 >= self.num_frames

    def reset(self) -> list[Pose]:
        """Go back to the first frame; returns its pose."""
        return self.seek(0)

    def step(self) -> list[Pose]:
        """Advance by one frame; returns its pose."""
        return self.seek(self.frame + 1)

    def seek(self, frame: int) -> list[Pose]:
        """The pose at a frame, or at the first or last one if there is no such frame."""
        self.frame = index = int(np.clip(frame, 0, self.num_frames - 1))
        clip = self.clip
        command = np.full(3, np.nan) if clip.command is None else clip.command[index]
        soles = self.soles[index]
        return [
            Pose(
                clip.joint_pos[index],
                clip.root_pos[index],
                clip.root_quat[index],
                soles.mean(axis=1),
                soles[..., 2].min(axis=1) < self.floor + CONTACT_HEIGHT,
                command,
                self.velocity[index],
                np.zeros(0),
            )
        ]
