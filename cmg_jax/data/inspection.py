"""What a motion file holds, and whether it is what it says: checks that need no other file, with a verdict each.

Where a file does not say (the order of joints without names) or says something else than it holds, the robot
itself tells: its kinematics, the limits of its joints, and that it walks upright.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmg_jax.data import clips, readers
from cmg_jax.data.clips import Clip, Rejected
from cmg_jax.data.readers import Bodies, Content
from cmg_jax.errors import InputError
from cmg_jax.robot import G1, Robot, rotation
from cmg_jax.robot import bodies as robot_bodies
from cmg_jax.robot.g1 import fixed_links
from cmg_jax.robot.joints import indices

OK, WRONG, UNKNOWN = "ok", "wrong", "unknown"

SAMPLE = 300
"""Frames, evenly spread, that kinematics looks at."""

LIMIT_TOLERANCE = 0.01
"""rad beyond a joint's limit that is no matter."""

PLACE_TOLERANCE = 0.02
"""m between a body of the file and the same one by kinematics: models of one robot differ by millimetres."""

UPRIGHT, FALLEN = 30.0, 60.0
"""Mean tilt in degrees of a pelvis that is walking, and of one that cannot be."""


class Check(NamedTuple):
    name: str
    verdict: str
    """OK, WRONG, or UNKNOWN where the file does not hold what would tell."""
    reason: str


class Inspection(NamedTuple):
    content: Content
    clips: list[Clip]
    bodies: Bodies | None
    checks: list[Check]


def inspect(path: Path, csv_fps: float = readers.LAFAN1_FPS, robot: Robot = G1) -> Inspection:
    """Read a motion file and check it.

    Raises:
      InputError: no motion file of a known layout, or without frames.
    """
    clips.check_fps(csv_fps)
    try:
        content = readers.load(path, csv_fps, robot)
    except Rejected as rejected:
        raise InputError(f"{path}: not a motion file: {rejected}") from None
    try:
        found = readers.clips(content)
        bodies = readers.bodies(content)
    except Rejected as rejected:
        keys = ", ".join(map(str, list(content.arrays)[:6]))
        raise InputError(f"{path}: not a motion file: {rejected} (it holds {keys or 'nothing'})") from None
    if not found or min(len(clip.joint_pos) for clip in found) < 2:
        raise InputError(f"{path}: holds no motion of 2 frames or more")
    return Inspection(content, found, bodies, _checks(content, found, bodies))


def _checks(content: Content, found: Sequence[Clip], bodies: Bodies | None) -> list[Check]:
    numbers = check_numbers(found, bodies)
    if numbers.verdict == WRONG and "jumps" not in numbers.reason:
        skipped = ("fps", "joint order", "limits", "quaternion order", "body order")
        return [numbers, *(Check(name, UNKNOWN, "not while the numbers are wrong") for name in skipped)]
    pose = _Pose(content, found, bodies)
    return [
        numbers,
        check_fps(content, found),
        check_joint_order(pose),
        check_limits(pose),
        check_quaternion_order(pose),
        check_body_order(pose),
    ]


def check_numbers(found: Sequence[Clip], bodies: Bodies | None) -> Check:
    """Finite numbers, arrays of one length, quaternions of length 1, and no jumps."""
    jumps = 0
    for clip in found:
        try:
            clips.check(clip._replace(joint_vel=None, fps=1.0))
        except Rejected as rejected:
            return Check("numbers", WRONG, f"{clip.name}: {rejected}")
        if clip.joint_vel is not None and not np.isfinite(clip.joint_vel).all():
            return Check("numbers", WRONG, f"{clip.name}: joint_vel is not finite")
        jumps += len(clips.split_at_jumps(clip)) - 1
    frames = sum(len(clip.joint_pos) for clip in found)
    if bodies is not None and len(bodies.position) != frames:
        return Check("numbers", WRONG, f"body positions have {len(bodies.position)} frames, joints {frames}")
    if bodies is not None and not np.isfinite(bodies.position).all():
        return Check("numbers", WRONG, "body positions are not finite")
    if jumps:
        first = next(pieces[0] for clip in found if len(pieces := clips.split_at_jumps(clip)) > 1)
        return Check(
            "numbers", WRONG, f"{jumps} jumps between frames, the first after frame {len(first.joint_pos) - 1}"
        )
    return Check("numbers", OK, "finite, of one length, without jumps")


def check_fps(content: Content, found: Sequence[Clip]) -> Check:
    """The declared rate against the one at which velocities agree with positions."""
    declared = found[0].fps
    said = f"does not say; read at {declared:g}" if content.layout == readers.CSV else f"declares {declared:.4g}"
    if not declared > 0:
        return Check("fps", WRONG, f"{said}, which is no rate")
    if all(clip.joint_vel is None for clip in found):
        return Check("fps", UNKNOWN, f"{said}; there are no velocities to check it with")
    implied = [rate for clip in found if (rate := clips.implied_fps(clip)) is not None]
    if not implied:
        return Check("fps", UNKNOWN, f"{said}; hardly anything moves")
    rate = float(np.median(implied))
    if abs(rate / declared - 1) > clips.FPS_TOLERANCE:
        return Check("fps", WRONG, f"{said}, but its velocities agree with its positions at {rate:.1f}")
    return Check("fps", OK, f"{said}; velocities agree with positions at {rate:.1f}")


class _Pose:
    """Evenly spread frames of a file, and the readings of them that are tried."""

    def __init__(self, content: Content, found: Sequence[Clip], bodies: Bodies | None):
        joint_pos = np.concatenate([clip.joint_pos for clip in found])
        index = np.unique(np.linspace(0, len(joint_pos) - 1, SAMPLE).round().astype(int))
        self.robot, self.names = found[0].robot, found[0].joint_names
        self.expected = content.robot
        self.named = readers.joint_names(content) is not None
        self.known = self.robot.has_mjcf
        self.all_joint_pos = joint_pos
        self.joint_pos = joint_pos[index]
        self.order = content.quaternion_order
        self.root_quat = np.concatenate([clip.root_quat for clip in found])[index]
        # The same four numbers, were they in the other order.
        self.other_quat = self.root_quat[:, [1, 2, 3, 0] if self.order == "xyzw" else [3, 0, 1, 2]]
        self.other_order = "wxyz" if self.order == "xyzw" else "xyzw"
        self.bodies = None if bodies is None else bodies._replace(position=bodies.position[index])
        self.readings = self._readings() if self.known and self.has_places() else []

    def has_places(self) -> bool:
        """Whether the file's bodies are anywhere but in one or two points."""
        if self.bodies is None:
            return False
        apart = np.linalg.norm(self.bodies.position - self.bodies.position[:, :1], axis=-1).mean(axis=0)
        return bool((apart > 0.01).mean() > 0.5) and len(np.unique(apart.round(3))) > 2

    def joint_orders(self) -> dict[str, tuple[str, ...]]:
        """Readings of joints without names: MuJoCo's order first."""
        if self.named:
            return {"named": self.names}
        return {
            "MuJoCo's": self.names,
            "breadth-first (Isaac Lab's)": robot_bodies.breadth_first(self.robot, self.names),
        }

    def _readings(self) -> "list[_Reading]":
        """How well each order of joints and of quaternions explains where the bodies are, the best one first."""
        assert self.bodies is not None
        links = (*self.robot.body_names, *fixed_links(self.robot))
        root = readers.root_index(self.bodies.names or (), self.robot)
        relative = self.bodies.position - self.bodies.position[:, root, None]
        if self.bodies.local:
            frames = {self.order: relative}
        else:
            turned = ((self.order, self.root_quat), (self.other_order, self.other_quat))
            frames = {name: rotation.rotate(rotation.inverse(quat)[:, None], relative) for name, quat in turned}
        readings = []
        for joint_order, names in self.joint_orders().items():
            robot = self.robot.with_joints(names)
            poses = robot_bodies.body_poses(robot, robot_bodies.qpos(robot, self.joint_pos))
            places = robot_bodies.link_positions(robot, poses, links)
            for quaternion_order, frame in frames.items():
                away = np.linalg.norm(frame[:, :, None] - places[:, None], axis=-1).mean(axis=0)  # [bodies, links]
                readings.append(_Reading(joint_order, quaternion_order, away, links))
        return sorted(readings, key=lambda reading: reading.error)


class _Reading(NamedTuple):
    joint_order: str
    quaternion_order: str
    away: np.ndarray  # [bodies, links] m, mean distance
    links: tuple[str, ...]

    @property
    def error(self) -> float:
        """m by which bodies are from the nearest link, on average."""
        return float(self.away.min(axis=1).mean())

    def misplaced(self, names: Sequence[str]) -> list[int]:
        """Bodies that are not where the link of their name is; names that are no links are passed over."""
        known = [(row, self.links.index(name)) for row, name in enumerate(names) if name in self.links]
        return [row for row, link in known if self.away[row, link] > PLACE_TOLERANCE]


def check_joint_order(pose: _Pose) -> Check:
    """By names; without them by the bodies, or by the limits of the joints."""
    name = "joint order"
    if not pose.known:
        strangers = [joint for joint in pose.names if joint not in pose.expected.hinge_names]
        return Check(
            name, UNKNOWN, f"{len(pose.names)} joints, not those of {pose.expected.name}: {', '.join(strangers[:3])}"
        )
    ordered = list(pose.names) == sorted(pose.names, key=pose.robot.hinge_names.index)
    said = f"{len(pose.names)} joints {'named' if pose.named else 'without names'}"
    if pose.named:
        said += ", in MuJoCo's order" if ordered else ", not in MuJoCo's order: read them by name"
    if pose.readings:
        best = pose.readings[0]
        if best.error > PLACE_TOLERANCE:
            return Check(name, WRONG, f"{said}; the bodies are {best.error:.2f} m from where the joints put them")
        if best.joint_order not in ("named", "MuJoCo's"):
            return Check(name, WRONG, f"{said}; the bodies are where they put them in the order {best.joint_order}")
        where = f"the bodies are where they put them (to {1000 * best.error:.1f} mm)"
        return Check(name, OK, f"{said}; {where}" if pose.named else f"{said}; read in MuJoCo's order {where}")
    if pose.named:
        return Check(name, OK, said)
    beyond = {
        order: float(_beyond(pose.joint_pos, pose.robot.with_joints(names)).mean())
        for order, names in pose.joint_orders().items()
    }
    first, second = beyond.values()
    words = f"beyond the limits by {first:.3f} rad on average in MuJoCo's order, {second:.3f} breadth-first"
    if second > 5 * first + 0.001:
        return Check(name, OK, f"{said}; {words}")
    if first > 5 * second + 0.001:
        return Check(name, WRONG, f"{said}; {words} (Isaac Lab's order)")
    return Check(name, UNKNOWN, f"{said}; {words}")


def _beyond(joint_pos: np.ndarray, robot: Robot) -> np.ndarray:
    """rad by which joints are beyond their limits, [N, J], 0 within."""
    low, high = robot.joint_limits.T
    return np.maximum(np.maximum(joint_pos - high, low - joint_pos), 0.0)


def check_limits(pose: _Pose) -> Check:
    if not pose.known:
        return Check("limits", UNKNOWN, f"known of the joints of {pose.expected.name} only")
    beyond = _beyond(pose.all_joint_pos, pose.robot)
    furthest = np.unravel_index(beyond.argmax(), beyond.shape)
    if beyond[furthest] <= LIMIT_TOLERANCE:
        return Check("limits", OK, "all joints within their limits")
    share = 100 * (beyond > LIMIT_TOLERANCE).any(axis=-1).mean()
    worst = f"{pose.names[furthest[1]]} by {beyond[furthest]:.2f} rad in frame {furthest[0]}"
    return Check("limits", WRONG, f"{share:.1f} % of the frames are beyond, furthest {worst}")


def check_quaternion_order(pose: _Pose) -> Check:
    """By the bodies; without them by the pelvis, which a walking robot carries upright."""
    name, order, other = "quaternion order", pose.order, pose.other_order
    if pose.readings and pose.bodies is not None and not pose.bodies.local:
        best = {reading.quaternion_order: reading.error for reading in pose.readings[::-1]}  # the better one stays
        words = ", ".join(f"{1000 * best[key]:.1f} mm off as {key}" for key in (order, other))
        if min(best.values()) < PLACE_TOLERANCE and max(best.values()) > 2 * min(best.values()) + 0.005:
            if best[order] < best[other]:
                return Check(name, OK, f"{order}: the bodies are {words}")
            return Check(name, WRONG, f"{other}, where {order} belongs: the bodies are {words}")
    tilt, tilt_other = _tilt(pose.root_quat), _tilt(pose.other_quat)
    words = f"the pelvis tilts by {tilt:.0f} degrees read as {order}, by {tilt_other:.0f} as {other}"
    if tilt < UPRIGHT and tilt_other > FALLEN:
        return Check(name, OK, f"{order}: {words}")
    if tilt_other < UPRIGHT and tilt > FALLEN:
        return Check(name, WRONG, f"{other}, where {order} belongs: {words}")
    return Check(name, UNKNOWN, words)


def _tilt(quat: np.ndarray) -> float:
    """Mean angle in degrees between the pelvis' axis and the vertical."""
    up = 1 - 2 * np.square(quat[:, 1:3]).sum(axis=-1)
    return float(np.degrees(np.arccos(np.clip(up, -1, 1))).mean())


def check_body_order(pose: _Pose) -> Check:
    """Each body against the link that kinematics puts in its place."""
    name, bodies = "body order", pose.bodies
    if bodies is None:
        return Check(name, UNKNOWN, "the file holds no bodies")
    count = bodies.position.shape[1]
    said = f"{count} bodies {'named' if bodies.names else 'without names'}"
    if not pose.has_places():
        return Check(name, WRONG, f"{said}, most of them in one place: no body poses")
    if not pose.known:
        return Check(name, UNKNOWN, f"{said}, of a robot that is not {pose.expected.name}")
    best = pose.readings[0]
    if best.error > PLACE_TOLERANCE:
        return Check(name, WRONG, f"{said}; they are {best.error:.2f} m from any link where the joints put it")
    links = pose.robot.body_names
    if bodies.names is None and count != len(links):
        return Check(name, UNKNOWN, f"{said}; the MJCF of {pose.robot.name} has {len(links)}")
    expected = bodies.names or links
    misplaced = best.misplaced(expected)
    if misplaced:
        row = misplaced[0]
        found = best.links[int(best.away[row].argmin())]
        others = f", and {len(misplaced) - 1} more" if misplaced[1:] else ""
        isaac = bodies.names is None and not best.misplaced(robot_bodies.breadth_first(pose.robot, links))
        remark = "; all are in the order breadth-first (Isaac Lab's)" if isaac else ""
        return Check(name, WRONG, f"{said}; body {row} is the {found} where {expected[row]} belongs{others}{remark}")
    known = indices([link for link in expected if link in links], links)
    order = "MuJoCo's order" if (np.diff(known) > 0).all() else "an order of their own: read them by name"
    return Check(name, OK, f"{said}, each in its place, in {order}")
