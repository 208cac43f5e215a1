"""Which arrays a motion is made of, under the keys of each program that writes motions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.motion_files._clips import Rejected
from cmg_jax.motion_files._tables import Table, rate
from cmg_jax.pickles._numpy import Placeholder
from cmg_jax.robot._g1 import G1_23_JOINTS, G1_29_JOINTS


class Layout(NamedTuple):
    """Keys, each as those that are known for it."""

    name: str
    joint_pos: tuple[str, ...]
    root_pos: tuple[str, ...] = ()
    root_quat: tuple[str, ...] = ()
    """[T, 4]; without these two keys the root is a body."""
    quaternion_order: str = "wxyz"
    joint_vel: tuple[str, ...] = ()
    body_pos: str = ""
    body_quat: str = ""
    local: bool = False
    """The bodies are in the frame of the pelvis; else in the world."""
    joints: tuple[tuple[str, ...], ...] = (G1_29_JOINTS,)
    """Those that its programs mean where they do not name them."""


CSV = Layout("LAFAN1-style CSV", ("dof_pos",), ("root_pos",), ("root_rot",), "xyzw", ("dof_vel",))
CSV_NAMED = CSV._replace(root_quat=("root_quat",), quaternion_order="wxyz")
ROLLOUTS = Layout(
    "rollouts NPZ",
    ("joint_pos", "dof_positions"),
    ("root_pos",),
    ("root_quat_wxyz",),
    joint_vel=("joint_vel", "dof_velocities"),
    body_pos="body_positions",
    body_quat="body_rotations",
)
QPOS = Layout("MuJoCo trajectory (qpos)", ("qpos",), joint_vel=("qvel",))
OTHER = Layout(
    "joints and a root",
    ("joint_pos", "dof_pos", "joint_positions", "dof_positions", "joints", "dof", "q"),
    ("root_pos", "root_position", "root_translation", "root_trans", "base_pos", "base_position", "pelvis_pos"),
    ("root_quat", "root_rot", "root_rotation", "root_quaternion", "root_orientation", "base_quat", "base_rot"),
    joint_vel=("joint_vel", "dof_vel", "joint_velocities", "dof_velocities", "dq"),
)
"""Of no program that is known: the order of its quaternions has to be proven, or said."""

LAYOUTS: tuple[Layout, ...] = (
    ROLLOUTS,
    Layout(
        "retargeted NPZ (Instinct)",
        ("joint_pos",),
        ("base_pos_w",),
        ("base_quat_w",),
        joint_vel=("joint_vel",),
        body_pos="body_pos_w",
        body_quat="body_quat_w",
    ),
    Layout(
        "tracking NPZ (mjlab, BeyondMimic)",
        ("joint_pos",),
        joint_vel=("joint_vel",),
        body_pos="body_pos_w",
        body_quat="body_quat_w",
    ),
    Layout(
        "NPZ of the original",
        ("dof_positions",),
        joint_vel=("dof_velocities",),
        body_pos="body_positions",
        body_quat="body_rotations",
    ),
    Layout(
        "TWIST-style (TWIST, GMR)",
        ("dof_pos",),
        ("root_pos",),
        ("root_rot",),
        "xyzw",
        ("dof_vel",),
        "local_body_pos",
        local=True,
    ),
    Layout(
        "ASAP-style (ASAP, PBHC, human2humanoid)",
        ("dof", "dof_pos"),
        ("root_trans_offset", "root_trans"),
        ("root_rot", "root_quat"),
        "xyzw",
        ("dof_vel", "dof_vels"),
        joints=(G1_29_JOINTS, G1_23_JOINTS),
    ),
    Layout("ami-iit", ("joint_positions",), ("root_position",), ("root_quaternion",), "xyzw"),
    Layout(
        "HoloMotion",
        ("ref_dof_pos", "dof_pos"),
        quaternion_order="xyzw",
        joint_vel=("ref_dof_vel", "dof_vels"),
        body_pos="ref_global_translation",
        body_quat="ref_global_rotation_quat",
    ),
    QPOS,
    OTHER,
)
"""The first whose keys are all there is taken."""

JOINT_NAMES = ("dof_names", "joint_names", "joints_list")
BODY_NAMES = ("body_names", "link_body_list", "link_names")
RATES = ("fps", "framerate", "frame_rate", "frequency", "motion_fps", "mocap_framerate", "mocap_frame_rate")
STEPS = ("dt", "timestep", "time_step")
TIMES = ("time", "times", "t", "timestamps", "timestamp")

ABSURD = 1e9
"""Numbers beyond are none of a motion's: damage, read as NaN."""

PERSON = ("poses", "pose_body", "body_pose", "smpl_poses", "trans")
"""Keys of recordings of a person."""


class Content(NamedTuple):
    """A motion as a file holds it."""

    name: str
    layout: Layout
    arrays: Mapping[str, Any]

    def key(self, keys: Sequence[str]) -> str | None:
        """The first of these keys that it has."""
        return next((key for key in keys if self.arrays.get(key) is not None), None)

    def array(self, key: str, dims: int) -> np.ndarray:
        """Numbers of so many axes.

        Raises:
          Rejected: they are not there, or something else.
        """
        if self.arrays.get(key) is None:
            raise Rejected(f"has no {key}")
        value = self.arrays[key]
        try:
            with np.errstate(all="ignore"):
                array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise Rejected(f"{key} is no array of numbers{_why(value)}") from None
        if array.ndim == dims + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim != dims:
            raise Rejected(f"{key} has {array.ndim} axes; {dims} are expected")
        if not array.size:
            raise Rejected(f"{key} is empty")
        return np.where(np.abs(array) < ABSURD, array, np.nan)

    def names(self, keys: Sequence[str], kind: str) -> tuple[str, ...] | None:
        """Names of joints or bodies; None where there are none, or mere numbers of them."""
        key = self.key(keys)
        value = None if key is None else self.arrays[key]
        if key is None or not isinstance(value, np.ndarray | list | tuple):
            return None
        listed = value.ravel() if isinstance(value, np.ndarray) else value
        names = tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in listed)
        numbered = all(name.strip().lower().removeprefix(kind).strip("_ ").isdigit() for name in names)
        return None if numbered else names

    def fps(self) -> float:
        """Its rate.

        Raises:
          Rejected: it does not say.
        """
        if key := self.key(RATES):
            fps = self._number(key)
            return 1 / fps if 0 < fps < 1 else fps  # some write the time of a frame there
        if key := self.key(STEPS):
            step = self._number(key)
            return 1 / step if step else 0.0
        if (key := self.key(TIMES)) and np.ndim(self.arrays[key]) == 1:
            return rate(self.array(key, 1))
        metadata = self.arrays.get("metadata")
        if isinstance(metadata, np.ndarray | str) and np.ndim(metadata) == 0:
            try:
                return float(json.loads(str(metadata))["motion_fps"])
            except (ValueError, TypeError, LookupError):
                pass
        raise Rejected("has no fps; say it with --assume fps=50")

    def _number(self, key: str) -> float:
        try:
            return float(np.asarray(self.arrays[key], np.float64).reshape(()))
        except (TypeError, ValueError):
            raise Rejected(f"{key} is not a number") from None


def _why(value: Any) -> str:
    """What stands in an array's place."""
    if isinstance(value, Exception | Placeholder):
        return f": {value}"
    objects = (
        [item for item in value.ravel()[:1] if isinstance(item, Placeholder)] if isinstance(value, np.ndarray) else ()
    )
    return f": {objects[0]}" if objects else ""


def content(name: str, arrays: Mapping[str, Any]) -> Content:
    """The motion under `arrays`, in its layout.

    Raises:
      Rejected: of no layout known.
    """
    if isinstance(arrays, Table):
        return Content(name, CSV_NAMED if "root_quat" in arrays else CSV, arrays)
    for layout in LAYOUTS:
        found = Content(name, layout, arrays)
        needed = [layout.joint_pos, *(keys for keys in (layout.root_pos, layout.root_quat) if keys)]
        if not layout.root_pos and layout is not QPOS:
            needed.append((layout.body_quat,))
        if all(found.key(keys) for keys in needed):
            return found
    held = ", ".join(map(str, list(arrays)[:8])) or "nothing"
    if len(arrays) > 8:
        held += f" and {len(arrays) - 8} more"
    if any(key in arrays for key in PERSON):
        raise Rejected(f"is a recording of a person, not of a robot (it holds {held}): retarget it to the G1 first")
    partly = [layout for layout in LAYOUTS if Content(name, layout, arrays).key(layout.joint_pos)]
    if partly:
        joints = Content(name, partly[0], arrays).key(partly[0].joint_pos)
        roots = dict.fromkeys(key for layout in partly for key in layout.root_quat or (layout.body_quat,))
        raise Rejected(f"has {joints} but no root under {' or '.join(roots)} (it holds {held})")
    raise Rejected(f"has no joint positions under a key that is known, such as dof_pos or joint_pos (it holds {held})")
