"""Facts that the user states about motion files, which lack them or state them wrongly."""

import dataclasses

from cmg_jax._errors import InputError
from cmg_jax.motion_files._clips import check_fps
from cmg_jax.robot import G1, Robot

MUJOCO, ISAACLAB = "mujoco", "isaaclab"
CHOICES: dict[str, tuple[str, ...]] = {
    "joint_order": (MUJOCO, ISAACLAB),
    "quaternion": ("wxyz", "xyzw"),
    "angles": ("radians", "degrees"),
    "lengths": ("m", "cm", "mm"),
    "bodies": ("ignore",),
    "missing": ("zero",),
}
"""The values that these fields of `Assume` take, beside None."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assume:
    """Facts that override a motion file. Where a field is None, the file and the robot's kinematics decide.

    Raises:
      InputError: a rate is not a positive number, or a field has a value that is not in `CHOICES`.

    Examples:
      >>> from cmg_jax import motion_files
      >>> assume = motion_files.Assume(csv_fps=30.0, quaternion="wxyz")
    """

    csv_fps: float | None = None
    """Frames per second of tables that do not state their rate; by default 30."""
    fps: float | None = None
    """Frames per second of all files, whatever they state."""
    joints: tuple[str, ...] | None = None
    """Names of the joints in the file's order, if the file does not name them."""
    joint_order: str | None = None
    """Order of unnamed joints: "mujoco" or "isaaclab"."""
    quaternion: str | None = None
    """Order of the quaternions: "wxyz" or "xyzw"."""
    angles: str | None = None
    """Unit of the joints: "radians" or "degrees"."""
    lengths: str | None = None
    """Unit of positions: "m", "cm" or "mm"."""
    bodies: str | None = None
    """"ignore": body poses are not compared with the joints."""
    missing: str | None = None
    """"zero": joints that a file lacks are set to zero."""
    robot: Robot = G1
    """The robot of the motion, if it has all joints that the file names."""

    def __post_init__(self) -> None:
        for rate in (self.fps, self.csv_fps):
            if rate is not None:
                check_fps(rate)
        for field, choices in CHOICES.items():
            value = getattr(self, field)
            if value is not None and value not in choices:
                raise InputError(f"{field} is {value!r}; it must be {' or '.join(map(repr, choices))}")
