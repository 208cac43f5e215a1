"""Motion files read into clips: the one way in for all that reads motion.

What the file says counts before its layout, and names before places. What the robot proves to be otherwise is put
right, with a note; what is suspicious and cannot be proven is asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.motion_files import _containers, _evidence, _layouts, _pace, _parts
from cmg_jax.motion_files._assume import ISAACLAB, Assume
from cmg_jax.motion_files._clips import Clip, Rejected, implied_fps
from cmg_jax.motion_files._evidence import Candidate, Poses, Verdict
from cmg_jax.motion_files._layouts import Content
from cmg_jax.motion_files._parts import Bodies, Columns
from cmg_jax.motion_files._tables import Table, in_degrees
from cmg_jax.robot import Robot
from cmg_jax.robot._g1 import is_g1, robot_of

LAFAN1_FPS = 30.0
"""LAFAN1-style tables do not state their rate."""

SUFFIXES = _containers.SUFFIXES

LENGTH_TOLERANCE = 0.1
"""By which quaternions may be off the length 1: they were scaled or rounded. Others are no rotations."""

NAMELESS = Robot("robot", ())
"""Of clips whose joints are not named yet."""

LENGTHS = {"m": 1.0, "cm": 0.01, "mm": 0.001}


class Note(NamedTuple):
    """What reading a file has put right, or asks."""

    check: str
    """The check of `inspection` that it belongs to."""
    text: str
    wrong: bool = False
    """The file is not what its layout says."""


Say = Callable[..., None]
"""Takes the check and the text of a note."""


class Group(NamedTuple):
    """Motions of a file that one program wrote alike."""

    layout: _layouts.Layout
    clips: list[Clip]
    bodies: Bodies | None
    poses: Poses | None
    """Of frames that are finite; None where there are none."""
    named: bool
    choice: Candidate | None
    """How the joints are named; None for a stranger's."""
    joints: Verdict | None
    quaternion: Verdict | None
    order: str
    """Of the quaternions, as they were read."""
    says_fps: bool
    pace: str
    """What there is to say of the rate of a file that does not say it."""


class Reading(NamedTuple):
    contents: list[Content]
    groups: list[Group]
    notes: list[Note]
    questions: list[Note]

    @property
    def clips(self) -> list[Clip]:
        return [clip for group in self.groups for clip in group.clips]


def read(path: Path, assume: Assume = Assume()) -> Reading:  # noqa: B008  (immutable)
    """The clips of a file, put right where the robot proves it.

    Raises:
      Rejected: no motion file, damaged, without something needed, or something that has to be asked.
      OSError: it cannot be opened.
    """
    reading = examine(path, assume)
    if reading.questions:
        raise Rejected("; ".join(question.text for question in reading.questions))
    return reading


def examine(path: Path, assume: Assume = Assume()) -> Reading:  # noqa: B008
    """The same with all questions: where one is open, the clips are as the layout has them.

    Raises:
      Rejected: no motion file, damaged, or without something needed.
      OSError: it cannot be opened.
    """
    motions = _containers.load(path, assume.robot)
    alike: dict[Any, list[tuple[Content, Columns]]] = {}
    notes: dict[Note, None] = {}
    questions: dict[Note, None] = {}
    for name, arrays in motions.items():
        try:
            content, taken = _taken(name, arrays, assume)
        except Rejected as rejected:
            if len(motions) == 1:
                raise
            notes[Note("numbers", f"{name} is left out: it {rejected}")] = None
            continue
        key = (content.layout.name, _parts.joint_names(content), taken.joint_pos.shape[-1])
        alike.setdefault(key, []).append((content, taken))
    if not alike:
        raise Rejected(next((note.text for note in notes), "holds no motion"))
    groups = [_settle(members, assume, notes, questions) for members in alike.values()]
    contents = [content for members in alike.values() for content, _ in members]
    return Reading(contents, groups, list(notes), list(questions))


def _taken(name: str, arrays: Mapping[str, Any], assume: Assume) -> tuple[Content, Columns]:
    """A motion and its columns, all that it needs being there."""
    content = _layouts.content(name, arrays)
    taken = _parts.columns(content)
    names, count = _parts.joint_names(content), taken.joint_pos.shape[-1]
    if names and len(names) != count:
        raise Rejected(f"names {len(names)} joints and holds {count}")
    _fps(content, assume)
    return content, taken


def _settle(
    members: Sequence[tuple[Content, Columns]], assume: Assume, notes: dict[Note, None], questions: dict[Note, None]
) -> Group:
    """Names, units and orders of motions that are alike."""

    def note(check: str, text: str, wrong: bool = False) -> None:
        notes[Note(check, text, wrong)] = None

    def ask(check: str, text: str) -> None:
        questions[Note(check, text)] = None

    first = members[0][0]
    says_fps = not isinstance(first.arrays, Table) or first.key(_layouts.RATES) is not None
    raw: list[Clip] = []
    for content, taken in members:
        if taken.note:
            note("body order", taken.note)
        raw += _parts.clips(content, _fps(content, assume), NAMELESS, taken)
        if isinstance(content.arrays, Table) and "not_read" in content.arrays:
            note("numbers", f"columns that are not read: {', '.join(content.arrays['not_read'])}")
    bodies = _bodies([content for content, _ in members])
    raw = _lengths_of_quaternions(raw, note)
    raw = _angles(raw, assume, note, ask)
    named, count = _parts.joint_names(first), raw[0].joint_pos.shape[-1]
    choices = _evidence.candidates(count, named, assume)
    scale = LENGTHS[assume.lengths] if assume.lengths else _scale(raw)
    finite, finite_bodies = _finite(raw, bodies)
    poses = Poses(finite, finite_bodies, first.layout.quaternion_order, choices, scale) if finite else None
    choice, joints = _joints(first, count, poses, choices, assume, note, ask)
    robot = (
        choice.robot if choice else robot_of(named or tuple(f"joint_{index}" for index in range(count)), assume.robot)
    )
    order, quaternion = first.layout.quaternion_order, None
    if poses is not None:
        quaternion = _evidence.quaternion_order(poses, robot)
        order = _quaternions(first, poses, quaternion, assume, note, ask)
        if scale != 1 and not assume.lengths:
            on_floor = robot.walks and abs(poses.height_of_soles(robot, order)) < 0.5
            scale = scale if on_floor else 1.0
    if scale != 1:
        unit = next(unit for unit, metres in LENGTHS.items() if metres == scale)
        note("units", f"positions in {unit}, read as metres", not assume.lengths)
        bodies = bodies and bodies._replace(position=bodies.position * scale)
    found = [clip._replace(robot=robot) for clip in _read(raw, scale, order)]
    if poses is not None and robot.has_mjcf and (words := _evidence.excess(poses.all_joint_pos, robot)):
        note("limits", f"joints beyond their limits: {words}")
    doubt = ""
    if not says_fps and assume.fps is None:
        words = f"read at {found[0].fps:g} frames a second, which the file does not say"
        absurd = False
        if assume.csv_fps is None and robot.walks and poses is not None and len(finite[0].joint_pos):
            doubt, absurd = _pace.judge([clip._replace(robot=robot) for clip in _read(finite, scale, order)])
        doubt = f", {doubt}: say the rate with --csv-fps" if doubt else ""
        (ask if absurd else note)("fps", words + doubt)
    return Group(
        first.layout, found, bodies, poses, named is not None, choice, joints, quaternion, order, says_fps, doubt
    )


def _fps(content: Content, assume: Assume) -> float:
    if assume.fps is not None:
        return assume.fps
    if isinstance(content.arrays, Table) and content.key(_layouts.RATES) is None:
        return assume.csv_fps or LAFAN1_FPS
    return content.fps()


def _bodies(contents: Sequence[Content]) -> Bodies | None:
    each = [found for content in contents if (found := _parts.bodies(content)) is not None]
    if len(each) < len(contents) or len({(found.names, found.position.shape[1]) for found in each}) != 1:
        return None
    rotations = [found.rotation for found in each if found.rotation is not None]
    return each[0]._replace(
        position=np.concatenate([found.position for found in each]),
        rotation=np.concatenate(rotations) if len(rotations) == len(each) else None,
    )


def _finite(raw: Sequence[Clip], bodies: Bodies | None) -> tuple[list[Clip], Bodies | None]:
    """The frames that evidence may look at."""
    found, masks = [], []
    for clip in raw:
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


def _lengths_of_quaternions(raw: Sequence[Clip], note: Say) -> list[Clip]:
    lengths = np.concatenate([np.linalg.norm(clip.root_quat, axis=-1) for clip in raw])
    if not (np.abs(lengths - 1) < LENGTH_TOLERANCE).all():
        return list(raw)
    if np.abs(lengths - 1).max() > 5e-3:
        note("numbers", f"quaternions of length {lengths.min():.3f} .. {lengths.max():.3f} normalized")
    return [
        clip._replace(root_quat=clip.root_quat / np.linalg.norm(clip.root_quat, axis=-1, keepdims=True)) for clip in raw
    ]


def _angles(raw: list[Clip], assume: Assume, note: Say, ask: Say) -> list[Clip]:
    every = np.concatenate([clip.joint_pos.ravel() for clip in raw])
    degrees = assume.angles == "degrees" or (assume.angles is None and in_degrees(every))
    finite = np.abs(every[np.isfinite(every)])
    if not degrees:
        if assume.angles is None and finite.size and np.quantile(finite, 0.999) > 2 * np.pi:
            ask(
                "units",
                f"joint angles reach {finite.max():.4g}, neither radians nor degrees (--assume angles=... says)",
            )
        return raw
    note("units", "joint angles in degrees, read as radians", assume.angles is None)
    out = []
    for clip in raw:
        turned = clip._replace(joint_pos=np.radians(clip.joint_pos))
        rate = implied_fps(turned)
        # Velocities may be in radians already: those that agree with the rate are taken.
        if rate and abs(np.log(abs(np.degrees(1.0) * clip.fps / rate))) < abs(np.log(abs(clip.fps / rate))):
            turned = turned._replace(joint_vel=np.radians(clip.joint_vel))  # pyright: ignore
        out.append(turned)
    return out


def _scale(raw: Sequence[Clip]) -> float:
    """Metres in the unit of a root at this height: a pelvis is carried at 0.2 to 2 m."""
    heights = np.concatenate([clip.root_pos[:, 2] for clip in raw])
    height = float(np.median(heights[np.isfinite(heights)])) if np.isfinite(heights).any() else 0.0
    return 0.01 if 20 < height < 200 else 0.001 if 200 <= height < 2000 else 1.0


def _read(raw: Sequence[Clip], scale: float, order: str) -> list[Clip]:
    """In metres, quaternions in our order."""
    swap = [0, 1, 2, 3] if order == "wxyz" else [3, 0, 1, 2]
    return [clip._replace(root_pos=clip.root_pos * scale, root_quat=clip.root_quat[:, swap]) for clip in raw]


def _joints(
    content: Content,
    count: int,
    poses: Poses | None,
    choices: list[Candidate],
    assume: Assume,
    note: Say,
    ask: Say,
) -> tuple[Candidate | None, Verdict | None]:
    """Which joint is which."""
    layout = content.layout
    if not choices or (assume.joints and _parts.joint_names(content) is None and choices[0].order != "given"):
        said = f"; --joint-names names {len(assume.joints)}" if assume.joints else ""
        ask("joint order", f"{count} joints without names{said}; name them with --joint-names")
        return (choices[0] if choices else None), None
    if poses is None or not choices[0].robot.walks:
        return choices[0], None
    verdict = _evidence.joints_by_bodies(poses)
    if verdict is None and poses.readings and assume.bodies is None:
        error = poses.readings[0].error
        ask(
            "joint order",
            f"the bodies are {error:.2f} m from where the joints put them: joints or bodies are not what they are said "
            "to be (--assume bodies=ignore reads the joints alone)",
        )
    if verdict is None and len(choices) > 1:
        verdict = _by_axes(content.arrays, choices) or _evidence.joints_by_limits(poses)
    if len(choices) == 1:
        if (
            verdict is None
            and assume.joint_order is None
            and set(choices[0].names) == set(choices[0].robot.hinge_names)
        ):
            _doubt_names(poses, choices[0], ask)
        return choices[0], verdict
    robots = dict.fromkeys(choice.label for choice in choices)
    if verdict is not None and verdict.proven:
        choice = choices[verdict.choice]
        if len(robots) > 1 or choice.label not in ("g1-29", assume.robot.name):
            note("joint order", f"{count} joints without names are those of {choice.label}: {verdict.words}")
        if choice.order == ISAACLAB and assume.joint_order is None:
            note("joint order", "joints in Isaac Lab's order, read so (--assume joint-order=mujoco overrules)", True)
        return choice, verdict
    on_g1 = is_g1(assume.robot)
    meant = [
        choice for choice in choices if any(set(choice.names) == set(names) for names in layout.joints) or not on_g1
    ]
    if not meant or (on_g1 and count != 29 and len(layout.joints) == 1):
        known = " or ".join(f"--joint-names {robot}" for robot in robots)
        several = "several robots have so many" if len(robots) > 1 else "names are needed"
        ask("joint order", f"{count} joints without names: {several}; say {known}, or the names")
        return choices[0], verdict
    if on_g1 and count != 29:
        note(
            "joint order",
            f"{count} joints without names, taken as {meant[0].label}, as ASAP and PBHC mean it (else --joint-names)",
        )
    if (beyond := poses.beyond(meant[0].robot)) > 0.05 and assume.joint_order is None:
        ask(
            "joint order",
            f"{count} joints without names go beyond their limits by {beyond:.2f} rad on average in MuJoCo's order: "
            "name them with --joint-names, or insist with --assume joint-order=mujoco",
        )
    return meant[0], verdict


def _doubt_names(poses: Poses, named: Candidate, ask: Say) -> None:
    """Names that the limits of their joints contradict."""
    other = Candidate("", ISAACLAB, _evidence.breadth_first(named.robot))
    over, over_other = poses.beyond(named.robot), poses.beyond(other.robot)
    if set(other.names) != set(named.names) or other.names == named.names or over <= 5 * over_other + 0.001:
        return
    ask(
        "joint order",
        f"as they are named, joints go beyond their limits by {over:.3f} rad on average, in Isaac Lab's order by "
        f"{over_other:.3f}: --assume joint-order=isaaclab takes that order, joint-order=mujoco keeps the names",
    )


def _by_axes(arrays: Mapping[str, Any], choices: Sequence[Candidate]) -> Verdict | None:
    """ASAP's files hold each joint as a rotation too (pose_aa), around its axis."""
    aa = arrays.get("pose_aa")
    count = len(choices[0].names)
    if not isinstance(aa, np.ndarray) or aa.ndim != 3 or aa.shape[1] < 1 + count or aa.shape[2] != 3:
        return None
    size = np.abs(aa[:, 1 : 1 + count]).mean(axis=0)  # [J, 3]
    moving = size.max(axis=-1) > 1e-3
    axis = np.array(["roll", "pitch", "yaw"])[size.argmax(axis=-1)]
    fits = [
        [("pitch" if word in ("knee", "elbow") else word) for word in (name.split("_")[-2] for name in choice.names)]
        for choice in choices
    ]
    wrong = [int((np.array(fit) != axis)[moving].sum()) for fit in fits]
    best = int(np.argmin(wrong))
    proven = moving.sum() > count // 2 and wrong[best] == 0 and wrong.count(0) == 1
    return Verdict(best, True, "the axes in pose_aa are theirs") if proven else None


def _quaternions(content: Content, poses: Poses, verdict: Verdict, assume: Assume, note: Say, ask: Say) -> str:
    """The order in which the quaternions are read."""
    if assume.quaternion is not None:
        return assume.quaternion
    if content.layout is _layouts.CSV_NAMED:
        return poses.order
    if verdict.choice == 1 and content.layout is _layouts.OTHER:
        note("quaternion order", f"quaternions read as {poses.other_order}")
        return poses.other_order
    if verdict.choice == 1:
        note(
            "quaternion order",
            f"quaternions in {poses.other_order}, where {poses.order} belongs, read so "
            f"(--assume quaternion={poses.order} overrules)",
            True,
        )
        return poses.other_order
    if not verdict.proven and content.layout is _layouts.OTHER:
        ask("quaternion order", f"in which order are its quaternions? {verdict.words}; say --assume quaternion=...")
    elif not verdict.proven and min(poses.tilts().values()) > _evidence.FALLEN:
        ask(
            "quaternion order",
            f"{verdict.words}: a robot that lies, or no quaternions; --assume quaternion={poses.order} reads it so",
        )
    return poses.order
