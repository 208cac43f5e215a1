"""`Robot`: everything constant about a robot in one hashable value, so that jit takes it as a static argument."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

import dataclasses
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.robot import _mjcf, _sides

STANDING_KEYS = ("stand", "home")
"""Names of the keyframe that holds the standing pose; the first keyframe if none has them."""


class Mirror(NamedTuple):
    """Left-right reflection of joint values: `values[..., source] * sign`."""

    source: np.ndarray  # [J] integers
    sign: np.ndarray  # [J] +1 or -1


@dataclasses.dataclass(frozen=True)
class Robot:
    """A robot, with all or some of its joints. Robots with the same content are equal, for jit too.

    `G1` is the Unitree G1; `Robot.from_mjcf` makes others. The arrays follow the order of `joint_names`; they are
    computed once and are read-only.

    Examples:
      >>> from cmg_jax import robot
      >>> robot.G1.num_joints, robot.G1.feet
      (29, ('left_ankle_roll_link', 'right_ankle_roll_link'))
      >>> robot.G1.joint_limits.shape, robot.G1.torque_limits.shape  # rad, N m
      ((29, 2), (29,))
      >>> legs = robot.G1.with_joints(robot.G1.joint_names[:12])
      >>> legs.num_joints
      12
    """

    name: str = dataclasses.field(compare=False)
    joint_names: tuple[str, ...]
    """The J hinges that a motion contains. Other joints of the MJCF stay at rest."""
    mjcf: str = dataclasses.field(default="", repr=False)
    """The MJCF as text; empty if only the names of the joints are known."""
    feet: tuple[str, ...] = ()
    """Names of the bodies that stand on the floor, left and right; empty if they are not known."""
    sides: tuple[str, ...] = ()
    """The parts of joint and body names that mean left and right; empty if they are not known."""

    @classmethod
    def from_mjcf(
        cls, path: Path | str, *, feet: Sequence[str] | None = None, mirror: Sequence[str] | None = None
    ) -> "Robot":
        """A robot from a MuJoCo XML file.

        The file may include others and have meshes; what the robot keeps is a plain text of its bodies, joints and
        geoms, with meshes as convex hulls. Actuators remain as torque limits of the joints.

        Args:
          path: the file. Of several robots in it, the one with the most hinges is used.
          feet: names or patterns ("*_foot") of the two bodies that stand on the floor, left and right. By default
            the two lowest bodies of the standing pose whose names are mirror images of each other.
          mirror: the parts of names that mean left and right, such as ("left_", "right_"). By default the first of
            several common pairs by which every joint has a counterpart.

        Raises:
          InputError: a file that MuJoCo cannot read, or patterns that do not match; the message lists the names
            without a match.
        """
        path = Path(path)
        text = _mjcf.plain_text(path)
        robot = cls(path.stem, hinges(_mjcf.compiled(text, str(path))), text)
        names = (*robot.hinge_names, *robot.body_names)
        if mirror is not None:
            pair = _sides.check_pair(mirror)
            _sides.check(robot.hinge_names, pair, str(path))
        else:
            pair = _sides.find_pair(robot.hinge_names, names)
        robot = dataclasses.replace(robot, sides=pair)
        found = _lowest_bodies(robot) if feet is None else _sides.match_feet(robot.body_names, feet, str(path))
        return dataclasses.replace(robot, feet=found)

    def with_joints(self, names: Sequence[str]) -> "Robot":
        """This robot with the joints `names`, in that order; its other joints stay at rest.

        Raises:
          InputError: a name that is not a joint of this robot.
        """
        return _with_joints(self, tuple(names))

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    @property
    def has_mjcf(self) -> bool:
        """Whether its MJCF is known, and not only the names of its joints."""
        return bool(self.mjcf)

    @property
    def walks(self) -> bool:
        """Whether its feet are known and its base is floating."""
        return self.has_mjcf and len(self.feet) == 2 and self.is_floating

    @property
    def mj_model(self) -> Any:
        """The compiled `mujoco.MjModel`, shared by all robots with this MJCF; treat it as read-only.

        Raises:
          InputError: only the names of the joints are known, or the text is not MJCF.
        """
        if not self.mjcf:
            raise InputError(
                f"of the robot with the joints {', '.join(self.joint_names[:2])}, ... only the names are known; "
                "its kinematics need its MJCF: make the data set with cmg-jax data --robot FILE.xml"
            )
        return _mjcf.compiled(self.mjcf, self.name)

    @property
    def is_floating(self) -> bool:
        """Whether the base is floating; MuJoCo positions then begin with the position and rotation of the root."""
        return self.mj_model.njnt > 0 and int(self.mj_model.jnt_type[0]) == 0

    @cached_property
    def hinge_names(self) -> tuple[str, ...]:
        """All hinges of the MJCF in its order, whether a motion contains them or not."""
        return hinges(self.mj_model)

    @cached_property
    def body_names(self) -> tuple[str, ...]:
        """All bodies of the MJCF in its order, the root first."""
        return tuple(self.mj_model.body(index).name for index in range(1, self.mj_model.nbody))

    @cached_property
    def joint_ids(self) -> np.ndarray:
        """[J] indices of the joints in `mj_model`."""
        return _constant([self.mj_model.joint(name).id for name in self.joint_names], np.int32)

    @cached_property
    def qpos_index(self) -> np.ndarray:
        """[J] indices of the joints in MuJoCo positions."""
        return _constant(self.mj_model.jnt_qposadr[self.joint_ids], np.int32)

    @cached_property
    def qvel_index(self) -> np.ndarray:
        """[J] indices of the joints in MuJoCo velocities."""
        return _constant(self.mj_model.jnt_dofadr[self.joint_ids], np.int32)

    @cached_property
    def joint_limits(self) -> np.ndarray:
        """Lower and upper position limits [J, 2] rad; infinite if a joint has none."""
        model = self.mj_model
        limits = np.where(model.jnt_limited[:, None], model.jnt_range, [[-np.inf, np.inf]])
        return _constant(limits[self.joint_ids], np.float32)

    @cached_property
    def torque_limits(self) -> np.ndarray:
        """Torque limit [J] N m of each joint's motor; infinite if it is not known."""
        return _constant(_mjcf.torque_limits(self.mj_model)[self.joint_ids], np.float64)

    @cached_property
    def standing_qpos(self) -> np.ndarray:
        """MuJoCo positions of the keyframe `stand` or `home`, else of the first keyframe, else of the model at rest."""
        model = self.mj_model
        names = [model.key(index).name for index in range(model.nkey)]
        known = [names.index(name) for name in STANDING_KEYS if name in names]
        return _constant(model.key_qpos[(known or [0])[0]] if names else model.qpos0, np.float64)

    @cached_property
    def standing_joint_pos(self) -> np.ndarray:
        """Joint positions [J] rad of the standing pose."""
        return _constant(self.standing_qpos[self.qpos_index], np.float32)

    @cached_property
    def mirror(self) -> Mirror:
        """The reflection of the joints: sides swapped by name, signs by the axes of both sides.

        Raises:
          InputError: joints whose counterpart is missing or is not their mirror image; the message lists them.
        """
        return Mirror(*map(_read_only, _sides.mirror(self)))

    @cached_property
    def limbs(self) -> dict[str, tuple[str, ...]]:
        """The joints by limb: the chain down to each foot is a leg; other joints with a side are of an arm."""
        return _sides.limbs(self)

    @cached_property
    def _hash(self) -> int:
        return hash((self.joint_names, self.mjcf, self.feet, self.sides))

    def __hash__(self) -> int:
        return self._hash


def hinges(model: Any) -> tuple[str, ...]:
    """The names of a model's hinges."""
    return tuple(model.joint(index).name for index in range(model.njnt) if int(model.jnt_type[index]) == 3)


@lru_cache(maxsize=128)
def _with_joints(robot: Robot, names: tuple[str, ...]) -> Robot:
    if names == robot.joint_names:
        return robot
    known = robot.joint_names
    if not set(names) <= set(known) and robot.has_mjcf:  # joints that this robot has left at rest
        known = robot.hinge_names
    if missing := [name for name in names if name not in known]:
        raise InputError(f"{robot.name} has no joint {', '.join(missing)}")
    return dataclasses.replace(robot, joint_names=names)


def _lowest_bodies(robot: Robot) -> tuple[str, ...]:
    """The lowest two bodies of the standing pose whose names are mirror images of each other."""
    lowest = _mjcf.lowest_points(robot.mj_model, robot.standing_qpos)
    pairs = []
    for name, height in zip(robot.body_names, lowest, strict=True):
        other = _sides.mirrored_name(name, robot.sides) if robot.sides else name
        if other != name and other in robot.body_names and np.isfinite(height):
            is_left = _sides.side_of(name, robot.sides) == 0
            pairs.append((height, (name, other) if is_left else (other, name)))
    return min(pairs)[1] if pairs else ()


def _constant(values: Any, dtype: Any) -> np.ndarray:
    return _read_only(np.array(values, dtype))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
