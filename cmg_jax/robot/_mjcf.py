"""Reads and writes MJCF: any file that MuJoCo reads becomes a plain text of one robot that needs no other file.

Only MuJoCo parses files of users. The text that data sets and models carry along is written here; a text that refers to
files or plugins, which ours never does, is refused.
"""
# pyright: reportAttributeAccessIssue=false

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.robot import _rotation

FREE, HINGE = 0, 3
PLANE, HFIELD, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX, MESH = range(8)
GEOM_TYPES = {SPHERE: "sphere", CAPSULE: "capsule", ELLIPSOID: "ellipsoid", CYLINDER: "cylinder", BOX: "box"}
JOINT_TYPES = ("free", "ball", "slide", "hinge")

_ELSEWHERE = re.compile(r"<\s*(include|plugin|extension)\b|\b(file|meshdir|texturedir|assetdir)\s*=")


@lru_cache(maxsize=32)
def compiled(text: str, name: str = "MJCF") -> Any:
    """The `mujoco.MjModel` of a text that `plain_text` wrote, or of one that needs no other file either.

    Raises:
      InputError: MuJoCo cannot read it, or it refers to other files.
    """
    import mujoco  # not needed to generate motion

    if found := _ELSEWHERE.search(text):
        raise InputError(f"{name}: its MJCF refers to another file or a plugin ({found[0].strip()})")
    try:
        return mujoco.MjModel.from_xml_string(text)
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(f"{name}: MuJoCo cannot read it: {first_line(error)}") from None


def read(path: Path) -> Any:
    """The `mujoco.MjModel` of a file, without the meshes and textures whose files are missing.

    Raises:
      InputError: there is no such file, or MuJoCo cannot read it.
    """
    import mujoco

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        try:
            return spec.compile()
        except ValueError as error:
            if "file" not in str(error):
                raise
        return _without_files(mujoco, mujoco.MjSpec.from_file(str(path))).compile()
    except (ValueError, mujoco.FatalError) as error:
        raise InputError(f"{path}: MuJoCo cannot read it: {first_line(error)}") from None


def _without_files(mujoco: Any, spec: Any) -> Any:
    for geom in list(spec.geoms):
        geom.material = ""
        if geom.type in (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_HFIELD, mujoco.mjtGeom.mjGEOM_SDF):
            spec.delete(geom)
    for part in (spec.skins, spec.meshes, spec.hfields, spec.materials, spec.textures):
        for element in list(part):
            spec.delete(element)
    spec.compiler.boundmass = spec.compiler.boundinertia = (
        1e-3  # a missing mesh may have been the only source of a body's inertia
    )
    return spec


def plain_text(path: Path) -> str:
    """The robot in a file as MJCF with nothing but its bodies, joints, inertias, geoms and standing pose.

    Raises:
      InputError: MuJoCo cannot read the file, or it has no hinge.
    """
    model = read(path)
    root = _robot_root(model)
    if root is None:
        raise InputError(f"{path}: has no hinge joint, so there is no robot in it")
    bodies = [body for body in range(1, model.nbody) if root in _with_parents(model, body)]
    meshes: list[str] = []
    tree = "\n".join(_body(model, root, bodies, torque_limits(model), meshes, indent="    "))
    key = _standing_key(model, bodies)
    assets = "\n".join(["  <asset>", *meshes, "  </asset>"]) if meshes else ""
    parts = [
        f"<mujoco model={quoteattr(path.stem)}>",
        '  <compiler angle="radian" autolimits="true"/>',
        *([assets] if assets else []),
        "  <worldbody>",
        tree,
        "  </worldbody>",
        *([f'  <keyframe><key name="stand" qpos="{_numbers(key)}"/></keyframe>'] if key is not None else []),
        "</mujoco>",
    ]
    return "\n".join(parts) + "\n"


def torque_limits(model: Any) -> np.ndarray:
    """Torque limit [njnt] of each joint: the lower of the joint's and its actuators'; infinite without any."""
    limits = np.where(model.jnt_actfrclimited.astype(bool), np.abs(model.jnt_actfrcrange).min(axis=-1), np.inf)
    for actuator in range(model.nu):
        if int(model.actuator_trntype[actuator]) not in (0, 1):  # of a joint
            continue
        joint, gear = model.actuator_trnid[actuator, 0], abs(model.actuator_gear[actuator, 0])
        force = np.inf
        if model.actuator_forcelimited[actuator]:
            force = np.abs(model.actuator_forcerange[actuator]).min()
        if model.actuator_ctrllimited[actuator] and not model.actuator_biasprm[actuator].any():  # a plain motor
            control = np.abs(model.actuator_ctrlrange[actuator]).min()
            force = min(force, control * abs(model.actuator_gainprm[actuator, 0]))
        limits[joint] = min(limits[joint], force * gear)
    return limits


def balls(model: Any, geom: int) -> tuple[np.ndarray, float]:
    """Centres [n, 3], in the frame of a geom, and the radius of balls that touch a floor where the geom would.

    No balls for a plane and other geoms that cannot stand on a floor.
    """
    size, kind = model.geom_size[geom], int(model.geom_type[geom])
    if kind == SPHERE:
        return np.zeros((1, 3)), float(size[0])
    if kind == CAPSULE:
        return np.array([[0, 0, -size[1]], [0, 0, size[1]]]), float(size[0])
    if kind == BOX:
        return size * np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(-1, 3), 0.0
    if kind == ELLIPSOID:
        return size * directions(64), 0.0
    if kind == CYLINDER:
        angle = np.arange(8) * np.pi / 4
        rim = np.stack([size[0] * np.cos(angle), size[0] * np.sin(angle), np.full(8, size[1])], axis=-1)
        return np.concatenate([rim * [1, 1, -1], rim]), 0.0
    if kind == MESH:
        return hull(model, geom), 0.0
    return np.zeros((0, 3)), 0.0


def lowest_points(model: Any, qpos: np.ndarray) -> np.ndarray:
    """Height [nbody - 1] m of the lowest point of each body's geoms in a pose; infinite for a body without geoms."""
    import mujoco

    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    out = np.full(model.nbody, np.inf)
    for geom in colliding(model, range(1, model.nbody)):
        points, radius = balls(model, geom)
        if len(points):
            height = data.geom_xpos[geom, 2] + points @ data.geom_xmat[geom].reshape(3, 3)[2] - radius
            body = model.geom_bodyid[geom]
            out[body] = min(out[body], height.min())
    return out[1:]


def colliding(model: Any, bodies: Sequence[int]) -> list[int]:
    """The geoms of some bodies that can collide; all of them if none can."""
    geoms = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] in bodies]
    return [geom for geom in geoms if model.geom_contype[geom] or model.geom_conaffinity[geom]] or geoms


def hull(model: Any, geom: int) -> np.ndarray:
    """The vertices [n, 3] of a mesh that are extreme in one of 128 directions: a coarse convex hull."""
    mesh = model.geom_dataid[geom]
    first = model.mesh_vertadr[mesh]
    vertices = np.asarray(model.mesh_vert[first : first + model.mesh_vertnum[mesh]], np.float64)
    return vertices[np.unique((vertices @ directions(128).T).argmax(axis=0))]


def directions(count: int) -> np.ndarray:
    """Unit vectors [count, 3], evenly spread (a Fibonacci spiral)."""
    index = np.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    across = np.sqrt(1 - z * z)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=-1)


def _with_parents(model: Any, body: int) -> Iterator[int]:
    while body:
        yield body
        body = int(model.body_parentid[body])


def _robot_root(model: Any) -> int | None:
    """The child of the world that carries the most hinges."""
    of = [list(_with_parents(model, int(model.jnt_bodyid[j])))[-1] for j in range(model.njnt) if _is_hinge(model, j)]
    return max(dict.fromkeys(of), key=of.count) if of else None


def _is_hinge(model: Any, joint: int) -> bool:
    return int(model.jnt_type[joint]) == HINGE


def _name(model: Any, kind: str, index: int) -> str:
    return getattr(model, kind)(index).name or f"{kind}_{index}"


def _numbers(values: Any) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def _body(
    model: Any, body: int, bodies: Sequence[int], torques: np.ndarray, meshes: list[str], indent: str
) -> Iterator[str]:
    """The lines of a body and of all that it carries; meshes are added to `meshes`."""
    place = f'pos="{_numbers(model.body_pos[body])}" quat="{_numbers(model.body_quat[body])}"'
    yield f"{indent}<body name={quoteattr(_name(model, 'body', body))} {place}>"
    inside = indent + "  "
    for joint in range(model.njnt):
        if model.jnt_bodyid[joint] == body:
            yield inside + _joint(model, joint, torques[joint])
    if model.body_mass[body] > 0:
        yield (
            f'{inside}<inertial mass="{_numbers(model.body_mass[body])}" pos="{_numbers(model.body_ipos[body])}" '
            f'quat="{_numbers(model.body_iquat[body])}" diaginertia="{_numbers(model.body_inertia[body])}"/>'
        )
    for geom in range(model.ngeom):
        if model.geom_bodyid[geom] == body and (line := _geom(model, geom, meshes)):
            yield inside + line
    for child in bodies:
        if model.body_parentid[child] == body:
            yield from _body(model, child, bodies, torques, meshes, inside)
    yield f"{indent}</body>"


def _joint(model: Any, joint: int, torque: float) -> str:
    name, kind = quoteattr(_name(model, "joint", joint)), int(model.jnt_type[joint])
    if kind == FREE:
        return f"<freejoint name={name}/>"
    words = [f'<joint name={name} type="{JOINT_TYPES[kind]}" pos="{_numbers(model.jnt_pos[joint])}"']
    if kind == HINGE or JOINT_TYPES[kind] == "slide":
        words.append(
            f'axis="{_numbers(model.jnt_axis[joint])}" ref="{_numbers(model.qpos0[model.jnt_qposadr[joint]])}"'
        )
    if model.jnt_limited[joint]:
        words.append(f'range="{_numbers(model.jnt_range[joint])}"')
    if np.isfinite(torque) and torque > 0 and kind == HINGE:
        words.append(f'actuatorfrcrange="{_numbers([-torque, torque])}"')
    words.append(f'armature="{_numbers(model.dof_armature[model.jnt_dofadr[joint]])}"/>')
    return " ".join(words)


def _geom(model: Any, geom: int, meshes: list[str]) -> str | None:
    """A geom without mass (bodies have inertias); None for one that cannot be part of a robot."""
    kind, size, material = int(model.geom_type[geom]), model.geom_size[geom], model.geom_matid[geom]
    place, shape = model.geom_pos[geom], f'type="{GEOM_TYPES.get(kind)}" size="{_numbers(size)}"'
    if kind == MESH:
        vertices = hull(model, geom)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        if len(vertices) < 4 or np.ptp(vertices @ np.linalg.svd(vertices - vertices.mean(0))[2][2]) < 1e-4:
            shape = (
                f'type="box" size="{_numbers(np.maximum((high - low) / 2, 1e-4))}"'  # flat, so it has no convex hull
            )
            place = place + _rotation.matrix(model.geom_quat[geom]) @ (low + high) / 2
        else:
            name = f"hull_{geom}"
            meshes.append(f'    <mesh name="{name}" vertex="{_numbers(vertices.astype(np.float32))}"/>')
            shape = f'type="mesh" mesh="{name}"'
    elif kind not in GEOM_TYPES:
        return None
    rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
    name = model.geom(geom).name
    return (
        f"<geom {f'name={quoteattr(name)} ' if name else ''}{shape} "
        f'pos="{_numbers(place)}" quat="{_numbers(model.geom_quat[geom])}" rgba="{_numbers(rgba)}" '
        f'group="{int(model.geom_group[geom])}" contype="{int(model.geom_contype[geom])}" '
        f'conaffinity="{int(model.geom_conaffinity[geom])}" mass="0"/>'
    )


def _standing_key(model: Any, bodies: Sequence[int]) -> np.ndarray | None:
    """Positions of the robot's joints in the keyframe of its standing pose."""
    if not model.nkey:
        return None
    names = [model.key(index).name for index in range(model.nkey)]
    chosen = next((names.index(name) for name in ("stand", "home") if name in names), 0)
    widths = {0: 7, 1: 4}
    parts = []
    for joint in range(model.njnt):
        if model.jnt_bodyid[joint] in bodies:
            first = model.jnt_qposadr[joint]
            parts.append(model.key_qpos[chosen, first : first + widths.get(int(model.jnt_type[joint]), 1)])
    return np.concatenate(parts)
