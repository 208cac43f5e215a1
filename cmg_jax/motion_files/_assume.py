"""What the user knows about files that do not state it, or state something else than they hold."""

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
    """Facts that overrule a motion file; None leaves one to the file and to what the robot proves.

    Raises:
      InputError: a rate is no positive number, or a field has a value that is not in `CHOICES`.
    """

    csv_fps: float | None = None
    """Frames per second of tables that do not state their rate; by default 30."""
    fps: float | None = None
    """Frames per second of all files, whatever they state."""
    joints: tuple[str, ...] | None = None
    """Names of joints that the file does not name, in its order."""
    joint_order: str | None = None
    """Order of joints without names: "mujoco" or "isaaclab"."""
    quaternion: str | None = None
    """Order of the quaternions: "wxyz" or "xyzw"."""
    angles: str | None = None
    """Unit of the joints: "radians" or "degrees"."""
    lengths: str | None = None
    """Unit of positions: "m", "cm" or "mm"."""
    bodies: str | None = None
    """"ignore": body poses that do not fit the joints prove nothing."""
    missing: str | None = None
    """"zero": joints that a file lacks stay at zero."""
    robot: Robot = G1
    """The robot that moves, where the names of its joints allow that."""

    def __post_init__(self) -> None:
        for rate in (self.fps, self.csv_fps):
            if rate is not None:
                check_fps(rate)
        for field, choices in CHOICES.items():
            value = getattr(self, field)
            if value is not None and value not in choices:
                raise InputError(f"{field} is {value!r}; it must be {' or '.join(map(repr, choices))}")
