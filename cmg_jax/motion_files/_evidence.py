"""Evidence about a motion file from the robot: its kinematics, its joint limits and its upright walk.

Many files do not state the order of unnamed joints, or state a wrong one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.motion_files import _clips
from cmg_jax.motion_files._assume import ISAACLAB, MUJOCO, Assume
from cmg_jax.motion_files._clips import Clip
from cmg_jax.motion_files._columns import Bodies
from cmg_jax.robot import Robot, _feet, _rotation, _sides
from cmg_jax.robot import _bodies as robot_bodies
from cmg_jax.robot._g1 import fixed_links, robot_of, variants

SAMPLE = 300
"""Number of frames, evenly spread, whose kinematics are computed."""

PLACE_TOLERANCE = 0.02
"""Largest distance in m between a body of the file and its place by kinematics: models of a robot differ by mm."""

EXACT = 0.001
"""Distance in m up to which bodies alone prove that the joints are read correctly."""

FAR, FAR_BODY = 0.03, 0.08
"""Largest mean and largest single distance in m between the bodies and their places by kinematics. A wrong joint order
moves the bodies of a walk by 0.035 m and more on average, another model of the robot by millimetres."""

WITHIN_LIMITS = 0.05
"""Fraction of frames beyond the joint limits up to which a motion counts as within the limits."""

LIMIT_TOLERANCE = 0.01
"""Excess over a joint limit in rad that is ignored."""

UPRIGHT, FALLEN = 30.0, 60.0
"""Mean tilt of the pelvis in degrees up to which a robot may be walking, and above which it cannot be."""

ORDERS = {MUJOCO: "MuJoCo's", ISAACLAB: "breadth-first (Isaac Lab's)"}


class Candidate(NamedTuple):
    """A way to name the joints of a file."""

    label: str
    """The robot's name for these joints; empty if the file or the user names them."""
    order: str
    """MUJOCO, ISAACLAB, "named" by the file or "listed" by the user."""
    robot: Robot
    """The robot with the joints of the file, in the file's order."""
    is_whole: bool
    """Whether they are all joints of the motion's robot."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.robot.joint_names


def candidates(count: int, named: tuple[str, ...] | None, assume: Assume) -> list[Candidate]:
    """The ways to name `count` joints: by the names, else as each robot variant with that many, in each order.

    Empty for joints of an unknown robot.
    """
    whole = assume.robot
    if named is not None:
        robot = robot_of(named, whole)
        is_whole = set(named) == set(whole.joint_names)
        reordered = robot.has_mjcf and set(named) == set(robot.hinge_names) and assume.joint_order == ISAACLAB
        if reordered:
            return [Candidate("", ISAACLAB, breadth_first(robot), is_whole)]
        return [Candidate("", "named", robot, is_whole)]
    if assume.joints is not None and len(assume.joints) == count:
        return [Candidate("", "listed", robot_of(assume.joints, whole), set(assume.joints) == set(whole.joint_names))]
    robots = {name: whole.with_joints(joints) for name, joints in variants(whole).items() if len(joints) == count}
    return [
        Candidate(name, order, robot if order == MUJOCO else breadth_first(robot), count == whole.num_joints)
        for name, robot in robots.items()
        for order in ORDERS
        if assume.joint_order in (None, order)
    ]


def breadth_first(robot: Robot) -> Robot:
    """The robot with its joints in Isaac Lab's order."""
    return robot.with_joints(robot_bodies.breadth_first(robot, robot.joint_names))


def other_orders(choice: Candidate) -> list[Candidate]:
    """The same joints in other orders that programs write by mistake."""
    robot = choice.robot
    out = [Candidate(choice.label, ISAACLAB, breadth_first(robot), choice.is_whole)]
    if not robot.sides:
        return out
    for limbs in (("leg",), ("arm",), ("leg", "arm")):
        swapped = {name for limb, names in robot.limbs.items() if limb.endswith(limbs) for name in names}
        names = [_sides.mirrored_name(name, robot.sides) if name in swapped else name for name in robot.joint_names]
        if set(names) == set(robot.joint_names):
            text = f"with left and right {' and '.join(f'{limb}s' for limb in limbs)} exchanged"
            out.append(Candidate(choice.label, text, robot.with_joints(names), choice.is_whole))
    return out


class Poses:
    """Evenly spread frames of clips with the same joints, and how well each interpretation explains them."""

    def __init__(
        self,
        clips: Sequence[Clip],
        bodies: Bodies | None,
        order: str,
        candidates: Sequence[Candidate],
        scale: float = 1.0,
    ):
        """The clips' quaternions are those of the file, expected in `order`; their angles are in radians."""
        joint_pos = np.concatenate([clip.joint_pos for clip in clips])
        root_pos = np.concatenate([clip.root_pos for clip in clips]) * scale
        quat = np.concatenate([clip.root_quat for clip in clips])
        frames = np.cumsum([0, *(len(clip.joint_pos) for clip in clips)])
        pairs = np.setdiff1d(np.arange(len(joint_pos) - 1), frames[1:] - 1)
        self.pairs = pairs[_spread(len(pairs))]
        self.index = _spread(len(joint_pos))
        self.all_joint_pos, self.all_root_pos, self.fps = joint_pos, root_pos, clips[0].fps
        self.joint_pos = joint_pos[self.index]
        self.order, self.other_order = order, "xyzw" if order == "wxyz" else "wxyz"
        self.quats = {name: quat if name == "wxyz" else quat[:, [3, 0, 1, 2]] for name in ("wxyz", "xyzw")}
        """The quaternions as wxyz, assuming that the file's are in the order of the key."""
        self.candidates = candidates
        self.bodies = None if bodies is None else bodies._replace(position=bodies.position[self.index] * scale)
        known = bool(candidates) and candidates[0].robot.walks
        self.interpretations = self._interpret(candidates) if known and self.has_places() else []

    def quat(self, order: str) -> np.ndarray:
        return self.quats[order][self.index]

    def has_places(self) -> bool:
        """Whether the bodies of the file are at different places, not all at one or two points."""
        if self.bodies is None:
            return False
        apart = np.linalg.norm(self.bodies.position - self.bodies.position[:, :1], axis=-1).mean(axis=0)
        return bool((apart > 0.01).mean() > 0.5) and len(np.unique(apart.round(3))) > 2

    def _interpret(self, candidates: Sequence[Candidate]) -> "list[Interpretation]":
        """How well each order of joints and of quaternions explains the body positions, the best one first."""
        assert self.bodies is not None
        robot = self.candidates[0].robot
        links = (*robot.body_names, *fixed_links(robot))
        relative = self.bodies.position - self.bodies.position[:, self.bodies.root, None]
        frames = {self.order: relative}
        if not self.bodies.local:
            orders = (self.order, self.other_order)
            frames = {name: _rotation.rotate(_rotation.inverse(self.quat(name))[:, None], relative) for name in orders}
        interpretations = []
        for choice in candidates:
            positions = robot_bodies.qpos(choice.robot, self.joint_pos)
            places = robot_bodies.link_positions(robot, robot_bodies.body_poses(robot, positions), links)
            for order, frame in frames.items():
                away = np.linalg.norm(frame[:, :, None] - places[:, None], axis=-1).mean(axis=0)  # [bodies, links]
                interpretations.append(Interpretation(choice, order, away, links, self.bodies.names))
        return sorted(interpretations, key=lambda each: each.error)

    def better(self) -> "Interpretation | None":
        """Another joint order that explains the body positions far better than the best candidate.

        It is Isaac Lab's, or one with the joints of both legs or arms exchanged.
        """
        best = self.interpretations[0]
        if best.error < EXACT:
            return None
        others = [choice for choice in other_orders(best.choice) if choice.names != best.choice.names]
        found = self._interpret(others)[0] if others else best
        return found if 3 * found.error < best.error - 0.002 else None

    def keeps_limits(self, robot: Robot) -> bool:
        """Whether nearly all frames are within the limits of the joints."""
        return float((beyond(self.joint_pos, robot) > LIMIT_TOLERANCE).any(axis=-1).mean()) <= WITHIN_LIMITS

    def beyond(self, robot: Robot) -> float:
        """Mean excess of the joints over their limits in rad."""
        return float(beyond(self.joint_pos, robot).mean())

    def tilts(self) -> dict[str, float]:
        return {order: tilt(self.quat(order)) for order in (self.order, self.other_order)}

    def slip(self, robot: Robot, order: str) -> float:
        """Mean displacement in m between two frames of the foot that moves less: small if a walk is read correctly."""
        soles = []
        for at in (self.pairs, self.pairs + 1):
            place = self.all_root_pos[at], self.quats[order][at]
            soles.append(_feet.sole_positions(robot, robot_bodies.qpos(robot, self.all_joint_pos[at], *place)))
        moved = np.linalg.norm((soles[1] - soles[0])[..., :2], axis=-1).mean(axis=-1)  # [pairs, feet]
        return float(moved.min(axis=-1).mean())

    def advance(self) -> float:
        """Mean displacement of the root in m between two frames."""
        moved = self.all_root_pos[self.pairs + 1] - self.all_root_pos[self.pairs]
        return float(np.linalg.norm(moved[:, :2], axis=-1).mean())

    def height_of_soles(self, robot: Robot, order: str) -> float:
        """Median height in m of the lower foot's lowest point."""
        return float(np.median(self.heights_of_soles(robot, order)))

    def heights_of_soles(self, robot: Robot, order: str) -> np.ndarray:
        """Height in m of the lower foot's lowest point in each frame of the sample."""
        positions = robot_bodies.qpos(robot, self.joint_pos, self.all_root_pos[self.index], self.quat(order))
        return _feet.sole_positions(robot, positions)[..., 2].min(axis=(1, 2))


class Interpretation(NamedTuple):
    """An order of the joints and of the quaternions, and the distances of the bodies from the links under it."""

    choice: Candidate
    quaternion_order: str
    away: np.ndarray  # [bodies, links] m, mean distance
    links: tuple[str, ...]
    names: tuple[str, ...] | None
    """Of the bodies."""

    @property
    def distances(self) -> np.ndarray:
        """Distance in m of each body from the link of its name, or from the nearest link if no link has its name.

        If every body is exactly at some link, the nearest links count: the body names are wrong then, not the joints.
        """
        nearest = self.away.min(axis=1)
        if self.names is None or nearest.mean() < EXACT:
            return nearest
        rows = enumerate(self.names)
        named = {row: self.away[row, self.links.index(name)] for row, name in rows if name in self.links}
        return np.array([named.get(row, distance) for row, distance in enumerate(nearest)])

    @property
    def error(self) -> float:
        """Mean of the distances in m."""
        return float(self.distances.mean())

    @property
    def fits(self) -> bool:
        """Whether the bodies are where kinematics places them."""
        return self.error <= FAR and float(self.distances.max()) <= FAR_BODY

    def misplaced(self, names: Sequence[str]) -> list[int]:
        """Bodies that are nearer to another link than to the one of their name, if there is one."""
        nearest = self.away.min(axis=1)
        known = [(row, self.links.index(name)) for row, name in enumerate(names) if name in self.links]
        return [row for row, link in known if self.away[row, link] > nearest[row] + PLACE_TOLERANCE / 2]


class Verdict(NamedTuple):
    """Which of several possibilities holds, whether that is proven, and the evidence."""

    choice: int
    proven: bool
    words: str


def joints_by_bodies(poses: Poses) -> Verdict | None:
    """The joint order according to the body positions; None without bodies of the robot."""
    if not poses.interpretations or not poses.interpretations[0].fits:
        return None
    error = [min(each.error for each in poses.interpretations if each.choice == choice) for choice in poses.candidates]
    best = int(np.argmin(error))
    others = error[:best] + error[best + 1 :]
    proven = not others or min(others) > 1.5 * error[best] + 0.002
    return Verdict(best, proven, f"the bodies agree with kinematics (to {1000 * error[best]:.1f} mm)")


def joints_by_limits(poses: Poses) -> Verdict:
    """The joint order according to the joint limits, which differ from joint to joint, if the joints move enough."""
    beyond = [poses.beyond(choice.robot) for choice in poses.candidates]
    best = int(np.argmin(beyond))
    others = beyond[:best] + beyond[best + 1 :]
    proven = (
        bool(others) and min(others) > 5 * beyond[best] + 0.001 and poses.keeps_limits(poses.candidates[best].robot)
    )
    nearest = sorted(beyond)[:2]  # two of the possibilities are enough to report
    listed = [
        f"{value:.3f} {_words(choice)}"
        for value, choice in zip(beyond, poses.candidates, strict=True)
        if value in nearest
    ]
    words = ", ".join(listed)
    return Verdict(best, proven, f"beyond the limits by {words.replace(' ', ' rad on average ', 1)}")


def joints_by_axes(arrays: Mapping[str, Any], candidates: Sequence[Candidate]) -> Verdict | None:
    """The joint order according to the axes: ASAP's files also hold each joint's rotation about its axis (pose_aa)."""
    aa = arrays.get("pose_aa")
    count = len(candidates[0].names)
    if not isinstance(aa, np.ndarray) or aa.ndim != 3 or aa.shape[1] < 1 + count or aa.shape[2] != 3:
        return None
    size = np.abs(aa[:, 1 : 1 + count]).mean(axis=0)  # [J, 3]
    moving = size.max(axis=-1) > 1e-3
    axis = np.array(["roll", "pitch", "yaw"])[size.argmax(axis=-1)]
    expected = [[_axis(name) for name in choice.names] for choice in candidates]
    wrong = [int((np.array(axes) != axis)[moving].sum()) for axes in expected]
    best = int(np.argmin(wrong))
    proven = moving.sum() > count // 2 and wrong[best] == 0 and wrong.count(0) == 1
    return Verdict(best, True, "the axes in pose_aa agree with it") if proven else None


def _axis(joint: str) -> str:
    """The axis that a joint's name implies: left_hip_pitch_joint rotates in pitch, and so do knees and elbows."""
    word = joint.split("_")[-2] if joint.count("_") else joint
    return "pitch" if word in ("knee", "elbow") else word


def _words(choice: Candidate) -> str:
    order = {MUJOCO: "in MuJoCo's order", ISAACLAB: "breadth-first"}.get(choice.order, choice.order)
    return f"as {choice.label} {order}" if not choice.is_whole else order


def quaternion_order(poses: Poses, robot: Robot) -> Verdict:
    """The quaternion order. Choice 0 is that of the format, 1 the other one."""
    order, other = poses.order, poses.other_order
    if poses.interpretations and poses.bodies is not None and not poses.bodies.local:
        best = {each.quaternion_order: each.error for each in poses.interpretations[::-1]}  # the better one stays
        words = ", ".join(f"{1000 * best[key]:.1f} mm off as {key}" for key in (order, other))
        if min(best.values()) < FAR and max(best.values()) > 2 * min(best.values()) + 0.005:
            return Verdict(int(best[other] < best[order]), True, f"the bodies are {words}")
    tilts = poses.tilts()
    words = f"the pelvis tilts by {tilts[order]:.0f} degrees read as {order}, by {tilts[other]:.0f} as {other}"
    if tilts[order] < UPRIGHT and tilts[other] > FALLEN:
        return Verdict(0, True, words)
    if tilts[other] < UPRIGHT and tilts[order] > FALLEN:
        return Verdict(1, True, words)
    if robot.walks and len(poses.pairs) and min(tilts.values()) < UPRIGHT:
        slips = [poses.slip(robot, name) for name in (order, other)]
        if poses.advance() * poses.fps > 0.1 and max(slips) > 2 * min(slips):
            slide = ", ".join(
                f"{slip * poses.fps:.2f} m/s as {key}" for slip, key in zip(slips, (order, other), strict=True)
            )
            return Verdict(int(slips[1] < slips[0]), True, f"{words}; the stance foot slides by {slide}")
    return Verdict(0, False, words)


def _spread(count: int) -> np.ndarray:
    """At most SAMPLE of `count` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, SAMPLE).round().astype(int)) if count else np.zeros(0, int)


def beyond(joint_pos: np.ndarray, robot: Robot) -> np.ndarray:
    """Excess of the joints over their limits, [N, J] rad; 0 within them."""
    low, high = robot.joint_limits.T
    return np.maximum(np.maximum(joint_pos - high, low - joint_pos), 0.0)


def excess(joint_pos: np.ndarray, robot: Robot) -> str:
    """Words on how far joints exceed their limits; empty if none does."""
    over = beyond(joint_pos, robot)
    furthest = np.unravel_index(over.argmax(), over.shape)
    if over[furthest] <= LIMIT_TOLERANCE:
        return ""
    share = 100 * (over > LIMIT_TOLERANCE).any(axis=-1).mean()
    worst = f"{robot.joint_names[int(furthest[1])]} by {over[furthest]:.2f} rad in frame {furthest[0]}"
    return f"{share:.1f} % of the frames exceed a limit, at worst {worst}"


def tilt(quat: np.ndarray) -> float:
    """Mean angle in degrees between the pelvis' axis and the vertical."""
    return float(np.degrees(_clips.tilt(quat)).mean())
