"""Motions of a file with the same joints: determines their joint names, units and orders."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax.motion_files import _columns, _evidence, _pace, _units
from cmg_jax.motion_files._assume import ISAACLAB, Assume
from cmg_jax.motion_files._clips import Clip
from cmg_jax.motion_files._columns import Bodies
from cmg_jax.motion_files._evidence import Candidate, Poses, Verdict
from cmg_jax.motion_files._format import Columns, Content, Format
from cmg_jax.robot import Robot
from cmg_jax.robot._g1 import robot_of

LAFAN1_FPS = 30.0
"""Frame rate assumed for tables that do not state one: LAFAN1's."""

BEYOND = 0.005
"""Mean excess over the joint limits in rad above which the user has to state an unproven joint order: nearly all walks
in another order exceed it, and recorded or retargeted walks stay within the limits."""

NAMELESS = Robot("robot", ())
"""The robot of clips whose joints are not named yet."""


class Note(NamedTuple):
    """A correction, an assumption or an open question from reading a file."""

    check: str
    """The check of `inspect` that it belongs to."""
    text: str
    wrong: bool = False
    """Whether the file contradicts its format."""


class Notes:
    """Notes and questions in the order in which they arose, without duplicates."""

    def __init__(self) -> None:
        self.notes: dict[Note, None] = {}
        self.questions: dict[Note, None] = {}

    def note(self, check: str, text: str, wrong: bool = False) -> None:
        self.notes[Note(check, text, wrong)] = None

    def ask(self, check: str, text: str) -> None:
        self.questions[Note(check, text)] = None


class Group(NamedTuple):
    """Motions of a file in one format and with the same joints."""

    format: Format
    clips: list[Clip]
    bodies: Bodies | None
    poses: Poses | None
    """Poses of finite frames; None if there are none."""
    named: bool
    choice: Candidate | None
    """How the joints are named; None for joints of an unknown robot."""
    joints: Verdict | None
    quaternion: Verdict | None
    order: str
    """The order in which the quaternions were read."""
    states_fps: bool
    pace: str
    """A remark on the rate of a file that does not state one; empty if there is none."""


def settle(members: Sequence[tuple[Content, Columns]], assume: Assume, notes: Notes) -> Group:
    """Name the joints of motions that have the same ones, and convert the motions to our units and orders."""
    first = members[0][0]
    clips: list[Clip] = []
    for content, columns in members:
        if columns.note:
            notes.note("body order", columns.note)
        clips += _columns.clips(content, fps_of(content, assume), NAMELESS, columns)
        if content.format.is_table and "not_read" in content.arrays:
            notes.note("numbers", f"columns that are not read: {', '.join(content.arrays['not_read'])}")
    bodies = _all_bodies([content for content, _ in members])
    clips = _units.normalized_quaternions(clips, notes.note)
    clips = _units.in_radians(clips, assume.angles, notes.note, notes.ask)
    named, count = _columns.joint_names(first), clips[0].joint_pos.shape[-1]
    candidates = _evidence.candidates(count, named, assume)
    scale = _units.LENGTHS[assume.lengths] if assume.lengths else _units.metres_per_unit(clips)
    finite, finite_bodies = _finite(clips, bodies)
    order, quaternion = first.format.quaternion_order, None
    poses = Poses(finite, finite_bodies, order, candidates, scale) if finite else None
    choice, joints = _choose_joints(first, count, poses, candidates, assume, notes)
    numbered = tuple(f"joint_{index}" for index in range(count))
    robot = choice.robot if choice else robot_of(named or numbered, assume.robot)
    if poses is not None:
        quaternion = _evidence.quaternion_order(poses, robot)
        order = _choose_order(first.format, poses, quaternion, assume, notes)
        if scale != 1 and not assume.lengths:
            on_floor = robot.walks and abs(poses.height_of_soles(robot, order)) < 0.5
            scale = scale if on_floor else 1.0
    if scale != 1:
        unit = next(unit for unit, metres in _units.LENGTHS.items() if metres == scale)
        notes.note("units", f"positions in {unit}, converted to metres", not assume.lengths)
        bodies = bodies and bodies._replace(position=bodies.position * scale)
    settled = _converted(clips, robot, scale, order)
    if poses is not None and robot.has_mjcf and (words := _evidence.excess(poses.all_joint_pos, robot)):
        notes.note("limits", f"joints beyond their limits: {words}")
    doubt = ""
    if not first.states_fps and assume.fps is None:
        known = assume.csv_fps is not None or not robot.walks or poses is None or not len(finite[0].joint_pos)
        doubt = _report_rate(settled[0].fps, [] if known else _converted(finite, robot, scale, order), notes)
    return Group(
        first.format,
        settled,
        bodies,
        poses,
        named is not None,
        choice,
        joints,
        quaternion,
        order,
        first.states_fps,
        doubt,
    )


def fps_of(content: Content, assume: Assume) -> float:
    """The rate of a motion: the user's, else the file's, else that of a table without one."""
    if assume.fps is not None:
        return assume.fps
    return content.fps() if content.states_fps else assume.csv_fps or LAFAN1_FPS


def _report_rate(fps: float, walks: Sequence[Clip], notes: Notes) -> str:
    """Report the rate that is assumed for a file without one, and how `walks` contradict it."""
    doubt, is_open = _pace.assess(walks) if walks else ("", False)
    doubt = f"; {doubt}: state the rate with --csv-fps" if doubt else ""
    text = f"read at {fps:g} frames per second, because the file does not state a rate{doubt}"
    if is_open:
        notes.ask("fps", text)
    else:
        notes.note("fps", text)
    return doubt


def _all_bodies(contents: Sequence[Content]) -> Bodies | None:
    """The body poses of all motions, one after the other; None if they differ, or if one has none."""
    each = [bodies for content in contents if (bodies := _columns.bodies(content)) is not None]
    if len(each) < len(contents) or len({(bodies.names, bodies.position.shape[1]) for bodies in each}) != 1:
        return None
    rotations = [bodies.rotation for bodies in each if bodies.rotation is not None]
    return each[0]._replace(
        position=np.concatenate([bodies.position for bodies in each]),
        rotation=np.concatenate(rotations) if len(rotations) == len(each) else None,
    )


def _finite(clips: Sequence[Clip], bodies: Bodies | None) -> tuple[list[Clip], Bodies | None]:
    """The finite frames of clips and bodies, the only ones that serve as evidence."""
    found, masks = [], []
    for clip in clips:
        if len({len(clip.joint_pos), len(clip.root_pos), len(clip.root_quat)}) > 1:
            return [], None
        arrays = {field: getattr(clip, field) for field in ("joint_pos", "root_pos", "root_quat")}
        masks.append(np.all([np.isfinite(array).all(axis=-1) for array in arrays.values()], axis=0))
        if masks[-1].any():
            found.append(clip._replace(**{field: array[masks[-1]] for field, array in arrays.items()}))
    mask = np.concatenate(masks) if masks else np.zeros(0, bool)
    if bodies is None or len(bodies.position) != len(mask) or not np.isfinite(bodies.position).all():
        return found, None
    return found, bodies._replace(position=bodies.position[mask])


def _converted(clips: Sequence[Clip], robot: Robot, scale: float, order: str) -> list[Clip]:
    """The clips of `robot`, in metres and with quaternions in our order."""
    wxyz = [0, 1, 2, 3] if order == "wxyz" else [3, 0, 1, 2]
    return [
        clip._replace(robot=robot, root_pos=clip.root_pos * scale, root_quat=clip.root_quat[:, wxyz]) for clip in clips
    ]


def _choose_joints(
    content: Content,
    count: int,
    poses: Poses | None,
    candidates: list[Candidate],
    assume: Assume,
    notes: Notes,
) -> tuple[Candidate | None, Verdict | None]:
    """The candidate that names the joints, and the evidence for it."""
    if not candidates or (assume.joints and _columns.joint_names(content) is None and candidates[0].order != "listed"):
        listed = f"; --joint-names names {len(assume.joints)}" if assume.joints else ""
        notes.ask("joint order", f"{count} joints without names{listed}; name them with --joint-names")
        return (candidates[0] if candidates else None), None
    if poses is None or not candidates[0].robot.walks:
        return candidates[0], None
    verdict = _evidence.joints_by_bodies(poses)
    if poses.interpretations and assume.bodies is None:
        _ask_about_bodies(poses, notes)
    if verdict is None and len(candidates) > 1:
        verdict = _evidence.joints_by_axes(content.arrays, candidates) or _evidence.joints_by_limits(poses)
    if len(candidates) == 1:
        all_hinges = set(candidates[0].names) == set(candidates[0].robot.hinge_names)
        doubted = bool(poses.interpretations) and assume.bodies is None
        if verdict is None and assume.joint_order is None and all_hinges and not doubted:
            _ask_about_names(poses, candidates[0], notes)
        return candidates[0], verdict
    if verdict is not None and verdict.proven:
        choice = candidates[verdict.choice]
        if not choice.is_whole:
            notes.note("joint order", f"{count} joints without names are those of {choice.label}: {verdict.words}")
        if choice.order == ISAACLAB and assume.joint_order is None:
            remark = "joints in Isaac Lab's order, read as such (--assume joint-order=mujoco overrides)"
            notes.note("joint order", remark, True)
        return choice, verdict
    return _choose_by_format(content, count, poses, candidates, assume, notes), verdict


def _choose_by_format(
    content: Content, count: int, poses: Poses, candidates: list[Candidate], assume: Assume, notes: Notes
) -> Candidate:
    """Joints without evidence: all of the robot, or those that programs write in this format."""
    meant = [choice for choice in candidates if choice.is_whole or choice.label in content.format.fewer_joints]
    if not meant:
        labels = dict.fromkeys(choice.label for choice in candidates)
        known = " or ".join(f"--joint-names {label}" for label in labels)
        several = "several robots have that many" if len(labels) > 1 else "names are needed"
        notes.ask("joint order", f"{count} joints without names: {several}; pass {known}, or the names")
        return candidates[0]
    if not meant[0].is_whole:
        text = f"{count} joints without names, taken as {meant[0].label}, as in ASAP and PBHC (else pass --joint-names)"
        notes.note("joint order", text)
    beyond = poses.beyond(meant[0].robot)
    others = [poses.beyond(choice.robot) for choice in candidates if choice.label == meant[0].label]
    contradicted = beyond > BEYOND or any(beyond > 5 * other + 0.001 for other in others)
    if contradicted and assume.joint_order is None:
        notes.ask(
            "joint order",
            f"{count} joints without names exceed their limits by {beyond:.3f} rad on average in MuJoCo's order: "
            "name them with --joint-names, or confirm the order with --assume joint-order=mujoco",
        )
    return meant[0]


def _ask_about_bodies(poses: Poses, notes: Notes) -> None:
    """Ask about joints that the bodies contradict."""
    best, better = poses.interpretations[0], poses.better()
    remedy = "--assume bodies=ignore reads the joints alone"
    if better is not None:
        isaac = better.choice.order == ISAACLAB
        order = "in Isaac Lab's order" if isaac else better.choice.order
        notes.ask(
            "joint order",
            f"the bodies are {1000 * best.error:.0f} mm from their places by kinematics, and "
            f"{1000 * better.error:.1f} mm {order}: name the joints with --joint-names, "
            + ("use that order with --assume joint-order=isaaclab, " if isaac else "")
            + f"or {remedy}",
        )
    elif not best.fits:
        notes.ask(
            "joint order",
            f"the bodies are {best.error:.2f} m from their places by kinematics: the names or "
            f"the order of joints or bodies are wrong ({remedy})",
        )


def _ask_about_names(poses: Poses, named: Candidate, notes: Notes) -> None:
    """Ask about names that the limits of their joints contradict."""
    other = Candidate("", ISAACLAB, _evidence.breadth_first(named.robot), named.is_whole)
    over, over_other = poses.beyond(named.robot), poses.beyond(other.robot)
    if set(other.names) != set(named.names) or other.names == named.names or over <= 5 * over_other + 0.001:
        return
    notes.ask(
        "joint order",
        f"under their names, joints exceed their limits by {over:.3f} rad on average, in Isaac Lab's order by "
        f"{over_other:.3f}: --assume joint-order=isaaclab uses that order, joint-order=mujoco keeps the names",
    )


def _choose_order(form: Format, poses: Poses, verdict: Verdict, assume: Assume, notes: Notes) -> str:
    """The order in which to read the quaternions."""
    check = "quaternion order"
    if assume.quaternion is not None:
        return assume.quaternion
    if form.quaternion_by == "names":
        return poses.order
    if form.quaternion_by == "proof":
        if verdict.choice == 1:
            notes.note(check, f"quaternions read as {poses.other_order}")
            return poses.other_order
        if not verdict.proven:
            words = f"the order of its quaternions is unknown: {verdict.words}"
            notes.ask(check, f"{words}; state it with --assume quaternion=...")
        return poses.order
    if verdict.choice == 1:
        notes.note(
            check,
            f"quaternions in {poses.other_order}, where {poses.order} is expected, read as such "
            f"(--assume quaternion={poses.order} overrides)",
            True,
        )
        return poses.other_order
    if not verdict.proven and min(poses.tilts().values()) > _evidence.FALLEN:
        notes.ask(
            check,
            f"{verdict.words}: the robot lies down, or these are not quaternions; "
            f"--assume quaternion={poses.order} accepts them",
        )
    return poses.order
