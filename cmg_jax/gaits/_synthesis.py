"""From a plan to the motion of the robot: strides looked up by speed and phase, feet locked, legs solved."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax.gaits import _feet, _ik, _lock, _soften
from cmg_jax.gaits._feet import FootPoses
from cmg_jax.gaits._plan import Plan
from cmg_jax.gaits._strides import split_channels, turned
from cmg_jax.gaits._table import Table
from cmg_jax.robot import Robot, _rotation
from cmg_jax.robot import _feet as _soles

GRAVITY = 9.81

LEAN = 0.5
"""Share of the lean into a turn that would balance its centripetal acceleration."""

APART = 0.15
"""m between the middles of feet that stand side by side, at least."""

STEP_CLEAR = 0.25
"""m of a step from which on feet pass one another whatever their distance."""

DROP_SECONDS = 0.12
"""s over which the root is lowered before and after a leg would be too short."""

REACH_SOFTNESS = 0.006
"""m before the end of its reach, from which on the root comes down to a foot that stands."""

HEEL_ANGLES = np.linspace(0.0, 0.8, 17)
"""rad that a heel may be raised further, for the leg to reach its foot."""

HEEL_MARGIN = 0.003
"""m of reach that is left by it."""


class Library(NamedTuple):
    """What recordings have taught."""

    walk: Table
    run: Table | None
    stand: np.ndarray  # [C] channels of standing
    reach: np.ndarray  # [2] m, longest distance from hip to foot
    limits: np.ndarray  # [J, 2] rad, the joint positions that were recorded
    robot: Robot


class Motions(NamedTuple):
    """Motions one after the other."""

    joint_pos: np.ndarray  # [N, J] rad
    root_pos: np.ndarray  # [N, 3] m
    root_quat: np.ndarray  # [N, 4] wxyz
    velocity: np.ndarray  # [N, 3] m/s and rad/s, of the path


def synthesise(plans: Sequence[Plan], library: Library, fps: float) -> list[Motions]:
    """The motions of plans."""
    robot = library.robot
    posed = [_pose(plan, library, fps) for plan in plans]
    joint_pos, root_pos, root_quat, soles = (np.concatenate(parts) for parts in zip(*posed, strict=True))
    back = _rotation.inverse(root_quat)[:, None, None]
    local = _rotation.rotate(np.broadcast_to(back, (*soles.shape[:-1], 4)), soles - root_pos[:, None, None])
    joint_pos = _ik.solve_legs(joint_pos, local, robot, library.limits)
    edges = np.cumsum([len(plan.phase) for plan in plans])[:-1]
    whole = zip(*(np.split(array, edges) for array in (joint_pos, root_pos, root_quat)), strict=True)
    motions = []
    for plan, (joints, place, turn) in zip(plans, whole, strict=True):
        joints = _soften.soften(joints, place, turn, plan.contact, library.limits, robot, fps)
        motions.append(Motions(*(part[plan.kept] for part in (joints, place, turn, plan.velocity))))
    return motions


def hips(robot: Robot) -> np.ndarray:
    """Where the legs begin [2, 3] m, in the frame of the root."""
    legs = _soles._legs(robot)
    out = []
    for foot in range(2):
        first = int(np.argmax(legs.joints[foot] >= 0))
        place, turn = np.zeros(3), np.eye(3)
        for link in range(first + 1):
            place, turn = place + turn @ legs.offset[foot, link], turn @ legs.rotation[foot, link]
        out.append(place)
    return np.array(out)


def _pose(plan: Plan, library: Library, fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Joints whose legs are not solved yet, the root, and where the soles shall be in the world."""
    robot = library.robot
    channels = library.walk.stride(plan.velocity[:, 0], plan.phase)
    if library.run is not None and plan.running.any():
        share = plan.running[:, None]
        channels = (1 - share) * channels + share * library.run.stride(plan.velocity[:, 0], plan.phase)
    active = plan.active[:, None]
    root, joint_pos, feet = split_channels((1 - active) * library.stand + active * channels)
    root, feet = root.copy(), feet.copy()
    _widen(feet, plan)
    lean = plan.active * LEAN * plan.velocity[:, 0] * plan.velocity[:, 2] / GRAVITY
    root[:, 5] -= lean
    root[:, 4] += plan.active * LEAN * np.maximum(np.gradient(plan.velocity[:, 0], 1 / fps), 0) / GRAVITY
    root[:, 1] += lean * root[:, 2]
    nominal = FootPoses(
        np.concatenate(
            [
                turned(feet[..., :2], plan.heading[:, None]) + plan.position[:, None],
                feet[..., 2:3],
            ],
            axis=-1,
        ),
        feet[..., 3],
        feet[..., 4] + plan.heading[:, None],
    )
    locked = _lock.lock(nominal, plan.contact, plan.active == 0, plan.running, robot, fps)
    place = np.concatenate([turned(root[:, :2], plan.heading) + plan.position, root[:, 2:3]], axis=-1)
    rotation = _quaternion(root[:, 3] + plan.heading, root[:, 4], root[:, 5])
    _raise_heels(place, rotation, locked, plan, library, fps)
    place[:, 2] -= _drop(place, rotation, locked, plan.contact, library, fps)
    _pull_in(place, rotation, locked, plan.contact, library)
    return joint_pos, place, rotation, _feet.sole_points(locked, robot)


def _widen(feet: np.ndarray, plan: Plan) -> None:
    """Move feet apart where a step to the side would put one onto the other."""
    apart = feet[:, 0, 1] - feet[:, 1, 1]
    half = plan.period / 2
    short = APART + np.abs(plan.velocity[:, 1]) * half - apart.mean()
    side_by_side = np.clip(1 - np.abs(plan.velocity[:, 0]) * half / STEP_CLEAR, 0, 1)
    extra = plan.active * np.maximum(short, 0) * side_by_side
    feet[:, 0, 1] += extra / 2
    feet[:, 1, 1] -= extra / 2


def _raise_heels(
    place: np.ndarray, rotation: np.ndarray, feet: FootPoses, plan: Plan, library: Library, fps: float
) -> None:
    """Roll feet that stand behind their hips over their toes until the legs reach them."""
    shape = _feet.foot_shape(library.robot)
    for foot in range(2):
        hip = _hip(place, rotation, library.robot, foot)
        heading = np.stack([np.cos(feet.yaw[:, foot]), np.sin(feet.yaw[:, foot])], axis=-1)
        behind = ((hip - feet.position[:, foot])[:, :2] * heading).sum(axis=-1) > 0
        extra = np.zeros(len(place))
        for more in HEEL_ANGLES[::-1]:
            position = _over_toes(feet, foot, more, heading, shape.toe[foot])
            far = np.linalg.norm(hip - position, axis=-1) > library.reach[foot] - HEEL_MARGIN
            extra = np.where(far, extra, more)
        extra = _spread(np.where(plan.contact[:, foot] & behind, extra, 0.0), fps)
        feet.position[:, foot] = _over_toes(feet, foot, extra, heading, shape.toe[foot])
        feet.pitch[:, foot] += extra


def _over_toes(
    feet: FootPoses, foot: int, more: np.ndarray | float, heading: np.ndarray, toe: np.ndarray
) -> np.ndarray:
    """Positions [T, 3] of a foot that is pitched by `more` rad while its toes stay where they are."""
    before, after = feet.pitch[:, foot], feet.pitch[:, foot] + more
    ahead = (np.cos(before) - np.cos(after)) * toe[0] + (np.sin(before) - np.sin(after)) * toe[2]
    up = (np.cos(before) - np.cos(after)) * toe[2] - (np.sin(before) - np.sin(after)) * toe[0]
    return feet.position[:, foot] + np.concatenate([ahead[:, None] * heading, up[:, None]], axis=-1)


def _hip(place: np.ndarray, rotation: np.ndarray, robot: Robot, foot: int) -> np.ndarray:
    """Where a leg begins [T, 3] m, in the world."""
    return place + _rotation.rotate(rotation, np.broadcast_to(hips(robot)[foot], place.shape))


def _drop(
    place: np.ndarray, rotation: np.ndarray, feet: FootPoses, contact: np.ndarray, library: Library, fps: float
) -> np.ndarray:
    """How much lower [T] m the root must be for the legs to reach the feet that stand."""
    need = np.zeros(len(place))
    for foot in range(2):
        hip = _hip(place, rotation, library.robot, foot)
        away = np.square(hip[:, :2] - feet.position[:, foot, :2]).sum(axis=-1)
        above = np.sqrt(np.maximum(np.square(library.reach[foot]) - away, 0.01))
        short = hip[:, 2] - feet.position[:, foot, 2] - above
        short = 0.5 * (short + np.sqrt(np.square(short) + REACH_SOFTNESS**2))  # a knee does not snap straight
        need = np.maximum(need, np.where(contact[:, foot], short, 0.0))
    return _spread(need, fps)


def _spread(need: np.ndarray, fps: float) -> np.ndarray:
    """Values [T] that are at least `need`, and rise before it and fall after it."""
    if not need.any():
        return need
    width = max(round(DROP_SECONDS * fps), 1)
    padded = np.pad(need, width, mode="edge")
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1).max(axis=-1)
    kernel = np.hanning(2 * width + 3)[1:-1]
    return np.convolve(np.pad(highest, width, mode="edge"), kernel / kernel.sum(), mode="valid")


def _pull_in(place: np.ndarray, rotation: np.ndarray, feet: FootPoses, contact: np.ndarray, library: Library) -> None:
    """Bring feet that swing within reach of their hips."""
    for foot in range(2):
        hip = _hip(place, rotation, library.robot, foot)
        leg = feet.position[:, foot] - hip
        length = np.linalg.norm(leg, axis=-1)
        far = np.where(contact[:, foot], 0.0, np.maximum(length - library.reach[foot], 0.0))
        feet.position[:, foot] -= leg * (far / length)[:, None]


def _quaternion(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Rotations [T, 4] by yaw, then pitch, then roll, each about the turned axes."""
    zero = np.zeros_like(yaw)
    turns = [
        np.stack([np.cos(angle / 2), *(np.sin(angle / 2) if axis == at else zero for at in range(3))], axis=-1)
        for axis, angle in ((2, yaw), (1, pitch), (0, roll))
    ]
    return _rotation.multiply(_rotation.multiply(turns[0], turns[1]), turns[2])
