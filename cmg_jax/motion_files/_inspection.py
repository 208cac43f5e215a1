"""The content of a motion file, and checks that need no other file, each with a verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.motion_files import _clips, _evidence, _root_checks
from cmg_jax.motion_files._assume import ISAACLAB, Assume
from cmg_jax.motion_files._check import ASK, OK, UNKNOWN, WRONG, Check
from cmg_jax.motion_files._clips import Clip, MotionFileError
from cmg_jax.motion_files._columns import Bodies
from cmg_jax.motion_files._format import Content
from cmg_jax.motion_files._group import Group
from cmg_jax.motion_files._reading import Reading, examine
from cmg_jax.robot._bodies import breadth_first
from cmg_jax.robot._joints import indices

OFF_FLOOR = 0.3
"""Largest mean distance in m of the soles from the floor; a robot that climbs, jumps or lies may exceed it."""


class Inspection(NamedTuple):
    """A motion file with its clips and the checks of them."""

    content: Content
    """The first motion, as the file holds it."""
    reading: Reading
    checks: list[Check]

    @property
    def clips(self) -> list[Clip]:
        return self.reading.clips


def inspect(path: Path, assume: Assume = Assume()) -> Inspection:  # noqa: B008  (immutable)
    """Read a motion file and check it.

    Raises:
      InputError: it is not a motion file of a known format, or holds no frames.
      OSError: it cannot be opened.

    Examples:
      >>> from cmg_jax import motion_files
      >>> checks = motion_files.inspect(Path("walk.npz")).checks
      >>> [(check.name, check.verdict) for check in checks][:3]
      [('numbers', 'ok'), ('fps', 'ok'), ('units', 'ok')]
    """
    try:
        reading = examine(path, assume)
    except MotionFileError as rejected:
        raise InputError(f"{path}: not a motion file: {rejected.reason}") from None
    if not reading.clips or min(len(clip.joint_pos) for clip in reading.clips) < 2:
        raise InputError(f"{path}: holds no motion of 2 frames or more")
    return Inspection(reading.contents[0], reading, _checks(reading, assume))


def _checks(reading: Reading, assume: Assume) -> list[Check]:
    """All checks; those of orders and limits use the first group of motions with the same joints."""
    group, found = reading.groups[0], reading.clips
    bodies = group.bodies if len(reading.groups) == 1 else None
    numbers = check_numbers(found, bodies)
    if _invalid_numbers(found, bodies) or group.poses is None:
        skipped = ("fps", "units", "joint order", "limits", "quaternion order", "body order", *_root_checks.NAMES)
        return [numbers, *(Check(name, UNKNOWN, "not while the numbers are wrong") for name in skipped)]
    checks = [
        numbers,
        check_fps(group, found),
        check_units(group),
        check_joint_order(group, assume),
        check_limits(group),
        check_quaternion_order(group, assume),
        check_body_order(group),
    ]
    checks = [_with_notes(check, reading) for check in checks]
    return [*checks, *_root_checks.check_root(group.clips, doubted=any(check.verdict == ASK for check in checks))]


def _with_notes(check: Check, reading: Reading) -> Check:
    """A check with the notes and questions from reading the file."""
    asked = [note.text for note in reading.questions if note.check == check.name]
    if check.name == "limits" and any(question.check == "joint order" for question in reading.questions):
        return check._replace(verdict=UNKNOWN, reason="not checked: the joint order is unknown")
    if asked and check.verdict != WRONG:
        return check._replace(verdict=ASK, reason="; ".join(asked))
    noted = [note for note in reading.notes if note.check == check.name]
    if check.name == "units" and noted:
        wrong = any(note.wrong for note in noted)
        return check._replace(verdict=WRONG if wrong else OK, reason="; ".join(note.text for note in noted))
    if check.name in ("numbers", "body order") and noted:
        return check._replace(reason="; ".join([check.reason, *(note.text for note in noted)]))
    return check


def check_numbers(found: Sequence[Clip], bodies: Bodies | None) -> Check:
    """Whether numbers are finite, arrays of equal length, quaternions of length 1, and no frame jumps."""
    if invalid := _invalid_numbers(found, bodies):
        return Check("numbers", WRONG, invalid)
    pieces = [_clips.split_at_jumps(clip) for clip in found]
    if jumps := sum(map(len, pieces)) - len(found):
        first = next(cut[0] for cut in pieces if len(cut) > 1)
        words = f"{jumps} jump{'s' * (jumps > 1)} between frames, the first after frame {len(first.joint_pos) - 1}"
        return Check("numbers", WRONG, words)
    return Check("numbers", OK, "finite, of equal length, without jumps")


def _invalid_numbers(found: Sequence[Clip], bodies: Bodies | None) -> str:
    """Why the numbers cannot be used for other checks; empty if they can."""
    for clip in found:
        try:
            _clips.check(clip._replace(joint_vel=None, fps=1.0))
        except MotionFileError as rejected:
            return f"{clip.name}: {rejected.reason}"
        if clip.joint_vel is not None and not np.isfinite(clip.joint_vel).all():
            return f"{clip.name}: joint_vel is not finite"
    frames = sum(len(clip.joint_pos) for clip in found)
    if bodies is not None and len(bodies.position) != frames:
        return f"body positions have {len(bodies.position)} frames, joints {frames}"
    if bodies is not None and not np.isfinite(bodies.position).all():
        return "body positions are not finite"
    return ""


def check_fps(group: Group, found: Sequence[Clip]) -> Check:
    """Whether velocities agree with positions at the declared rate."""
    declared = found[0].fps
    statement = f"declares {declared:.4g}" if group.states_fps else f"states no rate; read at {declared:g}"
    if not _clips.is_rate(declared):
        return Check("fps", WRONG, f"{statement}, which is not a plausible rate")
    if all(clip.joint_vel is None for clip in found):
        return Check("fps", UNKNOWN, f"{statement}; there are no velocities to check it against{group.pace}")
    implied = [rate for clip in found if (rate := _clips.implied_fps(clip)) is not None]
    if not implied:
        return Check("fps", UNKNOWN, f"{statement}; hardly anything moves")
    rate = float(np.median(implied))
    if abs(rate / declared - 1) > _clips.FPS_TOLERANCE:
        return Check("fps", WRONG, f"{statement}, but its velocities agree with its positions at {rate:.1f}")
    return Check("fps", OK, f"{statement}; velocities agree with positions at {rate:.1f}")


def check_units(group: Group) -> Check:
    """Radians and metres, which reading ensures, and a root height that agrees with the legs."""
    name, robot, poses = "units", group.clips[0].robot, group.poses
    statement = "radians and metres"
    if poses is None or not robot.walks:
        return Check(name, OK, statement)
    heights = poses.heights_of_soles(robot, group.order)
    off = float(np.abs(heights).mean())
    if off <= OFF_FLOOR:
        return Check(name, OK, statement)
    statement += f"; the soles are {off:.2f} m above or below the floor on average"
    _, sideways, up = poses.all_root_pos[poses.index].T
    if np.abs(heights - up + np.abs(sideways)).mean() < min(off / 2, OFF_FLOOR):
        return Check(name, ASK, f"{statement}: its y seems to be the root's height, where z is expected")
    return Check(name, OK, statement)


def check_joint_order(group: Group, assume: Assume) -> Check:
    """The joint order: by names, else by the bodies or by the joint limits."""
    name, robot, poses = "joint order", group.clips[0].robot, group.poses
    names = robot.joint_names
    assert poses is not None
    if not robot.walks:
        strangers = [joint for joint in names if joint not in assume.robot.hinge_names]
        return Check(
            name, UNKNOWN, f"{len(names)} joints, of which {assume.robot.name} lacks {', '.join(strangers[:3])}"
        )
    statement = f"{len(names)} joints {'named' if group.named else 'without names'}"
    if group.named:
        ordered = list(names) == sorted(names, key=robot.hinge_names.index)
        statement += ", in MuJoCo's order" if ordered else ", not in MuJoCo's order: read by name"
    if group.choice is not None and group.choice.label and not group.choice.is_whole:
        statement += f", {group.choice.label}"
    order = group.choice.order if group.choice else "named"
    contradicts = order == ISAACLAB and assume.joint_order is None
    if poses.interpretations and poses.interpretations[0].fits:
        statement += "" if group.named else f"; read in {_evidence.ORDERS.get(order, 'the listed')} order"
        where = f"the bodies agree with kinematics (to {1000 * poses.interpretations[0].error:.1f} mm)"
        if contradicts:
            return Check(name, WRONG, f"{statement}, not in MuJoCo's; {where}")
        return Check(name, OK, f"{statement}; {where}")
    if poses.interpretations:
        error = poses.interpretations[0].error
        return Check(name, WRONG, f"{statement}; the bodies are {error:.2f} m from their places by kinematics")
    if group.named or order == "listed":
        return Check(name, OK, statement)
    if group.joints is None:
        return Check(name, UNKNOWN, statement)
    words = f"{statement}; {group.joints.words}"
    if contradicts:
        return Check(name, WRONG, f"{words} (Isaac Lab's order)")
    return Check(name, OK if group.joints.proven else UNKNOWN, words)


def check_limits(group: Group) -> Check:
    """Whether all joints are within their limits."""
    robot, poses = group.clips[0].robot, group.poses
    if not robot.has_mjcf or poses is None:
        return Check("limits", UNKNOWN, "the limits of this robot's joints are not known")
    words = _evidence.excess(poses.all_joint_pos, robot)
    return Check("limits", WRONG, words) if words else Check("limits", OK, "all joints within their limits")


def check_quaternion_order(group: Group, assume: Assume) -> Check:
    """The order of the quaternions: by the bodies, else by the pelvis, which is upright in a walk, and by the stance
    foot."""
    name, poses, verdict = "quaternion order", group.poses, group.quaternion
    assert poses is not None
    assert verdict is not None
    if group.format.quaternion_by == "names":
        return Check(name, OK, f"w, x, y and z are named: {verdict.words}")
    if not verdict.proven:
        return Check(name, UNKNOWN, verdict.words)
    proven, other = (poses.order, poses.other_order)[:: -1 if verdict.choice else 1]
    expected = assume.quaternion or (proven if group.format.quaternion_by == "proof" else poses.order)
    if proven == expected:
        return Check(name, OK, f"{proven}: {verdict.words}")
    return Check(name, WRONG, f"{proven}, where {other} is expected: {verdict.words}")


def check_body_order(group: Group) -> Check:
    """Whether each body is nearest to the link of its name or position, by kinematics."""
    name, poses = "body order", group.poses
    if poses is None or poses.bodies is None:
        return Check(name, UNKNOWN, "the file holds no bodies")
    bodies = poses.bodies
    count = bodies.position.shape[1]
    statement = f"{count} bodies {'named' if bodies.names else 'without names'}"
    if not poses.has_places():
        return Check(name, WRONG, f"{statement}, most of them at one point: these are not body poses")
    if not poses.interpretations:
        return Check(name, UNKNOWN, f"{statement}, of an unknown robot")
    best = poses.interpretations[0]
    if not best.fits:
        return Check(name, WRONG, f"{statement}; they are {best.error:.2f} m from their links by kinematics")
    robot = group.clips[0].robot
    links = robot.body_names
    if bodies.names is None and count != len(links):
        return Check(name, UNKNOWN, f"{statement}; the MJCF of {robot.name} has {len(links)}")
    expected = bodies.names or links
    misplaced = best.misplaced(expected)
    if misplaced:
        row = misplaced[0]
        found = best.links[int(best.away[row].argmin())]
        others = f", and {len(misplaced) - 1} more" if misplaced[1:] else ""
        isaac = bodies.names is None and not best.misplaced(breadth_first(robot, links))
        remark = "; all are in breadth-first order (Isaac Lab's)" if isaac else ""
        return Check(
            name, WRONG, f"{statement}; body {row} is the {found} where {expected[row]} is expected{others}{remark}"
        )
    known = indices([link for link in expected if link in links], links)
    order = "MuJoCo's order" if (np.diff(known) > 0).all() else "another order: read by name"
    return Check(name, OK, f"{statement}, each in its place, in {order}")
