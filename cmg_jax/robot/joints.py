"""Joint names of the Unitree G1, and what follows from names: limbs, subsets, mirroring.

A joint is found by its name, never by its position. The order is that of the G1's URDF and MJCF.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")

LIMBS: dict[str, tuple[str, ...]] = {
    "left leg": tuple(f"left_{joint}_joint" for joint in _LEG),
    "right leg": tuple(f"right_{joint}_joint" for joint in _LEG),
    "waist": ("waist_yaw_joint", "waist_roll_joint", "waist_pitch_joint"),
    "left arm": tuple(f"left_{joint}_joint" for joint in _ARM),
    "right arm": tuple(f"right_{joint}_joint" for joint in _ARM),
}

G1_29_JOINTS: tuple[str, ...] = tuple(name for limb in LIMBS.values() for name in limb)
"""All joints of the G1."""

G1_23_JOINTS: tuple[str, ...] = tuple(name for name in G1_29_JOINTS if "wrist" not in name)
"""The G1 without its six wrist joints."""

ROBOTS: dict[str, tuple[str, ...]] = {
    "g1-29": G1_29_JOINTS,
    "g1-27": tuple(name for name in G1_29_JOINTS if name not in ("waist_roll_joint", "waist_pitch_joint")),
    "g1-23-no-wrists": G1_23_JOINTS,
    "g1-23": tuple(
        name for name in G1_29_JOINTS if not re.search("waist_roll|waist_pitch|wrist_pitch|wrist_yaw", name)
    ),
}
"""The G1s that there are: all joints; the waist locked but for its yaw; the six wrist joints locked, as ASAP, PBHC
and mjlab have it; and Unitree's own with 23, which keeps the roll of the wrists and has a waist that only yaws."""


def is_g1(names: Sequence[str]) -> bool:
    """Whether all of `names` are joints of the G1."""
    return set(names) <= set(G1_29_JOINTS)


def names_for(num_joints: int) -> tuple[str, ...]:
    """Joint names of a model that does not name its joints: the G1's if the number fits."""
    known = {len(names): names for names in (G1_29_JOINTS, G1_23_JOINTS)}
    return known.get(num_joints, tuple(f"joint_{index}" for index in range(num_joints)))


_PREFIX = re.compile(r"^(dof_pos|joint_pos|dof|joint|qpos|pos|q)_")
_SUFFIX = re.compile(r"_(joint|dof|pos|position|angle|rad|deg|q)$")


def g1_spelling(names: Sequence[str]) -> tuple[str, ...]:
    """Names as the G1's own files spell them: `LeftKnee`, `robot/left_knee` and `left_knee_joint_dof` are all
    `left_knee_joint`. Names of other joints are left as they are, and so are all where two would become one."""
    spelled = []
    for name in names:
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.split(r"[/:.]", name.strip())[-1])
        plain = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
        for pattern in (_PREFIX, _SUFFIX):
            while (shorter := pattern.sub("", plain)) != plain:
                plain = shorter
        spelled.append(f"{plain}_joint" if f"{plain}_joint" in G1_29_JOINTS else name)
    return tuple(spelled) if len(set(spelled)) == len(set(names)) else tuple(names)


def indices(names: Sequence[str], within: Sequence[str]) -> np.ndarray:
    """Where each of `names` stands in `within`, [len(names)] integers.

    `values[..., indices(G1_23_JOINTS, G1_29_JOINTS)]` takes 29 joints to 23.

    Raises:
      ValueError: a name is not in `within`, with the names.
    """
    position = {name: index for index, name in enumerate(within)}
    if missing := [name for name in names if name not in position]:
        raise ValueError(f"no joint {', '.join(missing)} among the {len(within)} given ones")
    return np.array([position[name] for name in names], dtype=np.int32)


class Mirror(NamedTuple):
    """Left-right reflection of joint values: `values[..., source] * sign`."""

    source: np.ndarray  # [J] integers
    sign: np.ndarray  # [J] +1 or -1


def mirror(names: Sequence[str]) -> Mirror:
    """The reflection for joints in the order of `names`: sides swapped, roll and yaw joints negated.

    Raises:
      ValueError: a joint's other side is not among `names`.
    """
    swap = {"left": "right", "right": "left"}
    reflected = []
    for name in names:
        side, _, rest = name.partition("_")
        reflected.append(f"{swap[side]}_{rest}" if side in swap else name)
    sign = [-1.0 if "roll" in name or "yaw" in name else 1.0 for name in names]
    return Mirror(indices(reflected, names), np.array(sign, dtype=np.float32))


def mirror_joints(values: jax.Array, names: Sequence[str]) -> jax.Array:
    """Reflect joint positions or velocities [..., J]."""
    source, sign = mirror(names)
    return values[..., source] * jnp.asarray(sign).reshape((1,) * (values.ndim - 1) + (-1,))


def mirror_motion(motion: jax.Array, names: Sequence[str]) -> jax.Array:
    """Reflect frames [..., 2J]: joint positions and joint velocities alike."""
    return jnp.concatenate([mirror_joints(half, names) for half in jnp.split(motion, 2, axis=-1)], axis=-1)


def mirror_command(command: jax.Array) -> jax.Array:
    """Reflect commands [..., 3]: vx stays, vy and the yaw rate change sign."""
    return command * jnp.array([1.0, -1.0, -1.0]).reshape((1,) * (command.ndim - 1) + (3,))
