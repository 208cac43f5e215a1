"""The shapes of a robot's bodies, from an MJCF, and their places in a pose."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.robot import G1, Robot, _mjcf, _sides

VISIBLE_GROUPS = 3
"""Geoms of the groups below this number are drawn, as in MuJoCo's viewer; collision shapes are in the others."""


class Shape(NamedTuple):
    """All geoms of a body that have one colour."""

    mesh: Any
    """A `trimesh.Trimesh`."""
    colour: tuple[int, int, int]
    edged: bool
    """Whether it has edges, which smooth shading would hide."""


class Skeleton:
    """The shapes of a robot, from its MJCF or from another one that has the joints of its legs.

    Examples:
      >>> from cmg_jax.robot import G1
      >>> from cmg_jax.view import Skeleton
      >>> places, rotations = Skeleton().place(G1.standing_joint_pos, np.array([0, 0, 0.8]), np.array([1, 0, 0, 0]))
      >>> places.shape
      (31, 3)
    """

    def __init__(self, robot: Robot = G1, path: Path | None = None):
        """Raises:
        InputError: MuJoCo cannot read the MJCF, or it has no free joint or lacks a joint of the legs.
        """
        import mujoco

        self._mujoco, self.robot = mujoco, robot
        self.model: Any = robot.mj_model if path is None else _mjcf.read(path)
        self._data = mujoco.MjData(self.model)
        model = self.model
        free = [int(model.jnt_qposadr[joint]) for joint in range(model.njnt) if model.jnt_type[joint] == 0]
        self._address = {model.joint(j).name: int(model.jnt_qposadr[j]) for j in range(model.njnt)}
        legs = [name for foot in robot.feet for name in _sides.chain_joints(robot, foot)]
        missing = [name for name in legs if name not in self._address]
        if missing or not free:
            what = f"joint {missing[0]}" if missing else "free joint"
            raise InputError(f"{path or robot.name}: has no {what}; an MJCF of the robot {robot.name} is needed")
        self._free = free[0]
        self.shapes = {body: shapes for body in range(1, model.nbody) if (shapes := self._shapes(body))}
        """The shapes of each body, by its number, in its frame."""

    def place(
        self, joint_pos: np.ndarray, root_pos: np.ndarray, root_quat: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions [bodies, 3] and rotations [bodies, 4] wxyz of all bodies, the world first."""
        data = self._data
        data.qpos[:] = self.model.qpos0
        data.qpos[self._free : self._free + 7] = [*root_pos, *root_quat]
        for name, angle in zip(self.robot.joint_names, joint_pos, strict=True):
            if name in self._address:  # the MJCF of a G1 with 23 joints has no wrists
                data.qpos[self._address[name]] = angle
        self._mujoco.mj_kinematics(self.model, data)
        return data.xpos.copy(), data.xquat.copy()

    def _shapes(self, body: int) -> list[Shape]:
        """The visible geoms of a body, one shape for each colour."""
        import trimesh

        model, meshes_of = self.model, {}
        for geom in range(model.ngeom):
            if model.geom_bodyid[geom] != body or model.geom_group[geom] >= VISIBLE_GROUPS:
                continue
            if (mesh := self._mesh(geom)) is None:
                continue
            pose, matrix = np.eye(4), np.empty(9)
            self._mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
            pose[:3, :3], pose[:3, 3] = matrix.reshape(3, 3), model.geom_pos[geom]
            mesh.apply_transform(pose)
            material = model.geom_matid[geom]
            rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
            colour = tuple(int(value) for value in np.clip(np.asarray(rgba[:3]) * 255, 0, 255))
            kinds = self._mujoco.mjtGeom
            edged = int(model.geom_type[geom]) in (int(kinds.mjGEOM_BOX), int(kinds.mjGEOM_MESH))
            meshes_of.setdefault((colour, edged), []).append(mesh)
        return [Shape(trimesh.util.concatenate(meshes), *looks) for looks, meshes in meshes_of.items()]

    def _mesh(self, geom: int) -> Any:
        from trimesh import Trimesh, creation

        kinds, model = self._mujoco.mjtGeom, self.model
        kind, size = model.geom_type[geom], model.geom_size[geom]
        if kind == kinds.mjGEOM_BOX:
            return creation.box(extents=2 * size)
        if kind == kinds.mjGEOM_SPHERE:
            return creation.icosphere(subdivisions=2, radius=size[0])
        if kind == kinds.mjGEOM_ELLIPSOID:
            return creation.icosphere(subdivisions=2).apply_scale(size)
        if kind == kinds.mjGEOM_CYLINDER:
            return creation.cylinder(radius=size[0], height=2 * size[1], sections=24)
        if kind == kinds.mjGEOM_CAPSULE:
            capsule = creation.capsule(radius=size[0], height=2 * size[1], count=[16, 8])
            return capsule.apply_translation(-capsule.bounds.mean(axis=0))
        if kind == kinds.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            vertices = slice(model.mesh_vertadr[mesh], model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh])
            faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
            return Trimesh(model.mesh_vert[vertices].copy(), model.mesh_face[faces].copy(), process=False)
        return None  # planes and height fields are not parts of a robot
