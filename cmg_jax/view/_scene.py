"""The 3D part of the page: the floor, the robots, their feet on the floor, and their paths."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmg_jax.view._pose import Pose
from cmg_jax.view._skeleton import Skeleton

SPACING = 1.2
"""Distance in m between robots side by side."""

PATH_POINTS = 400
PATH_STEP = 0.05
"""Distance in m between points of the path."""

CAMERA = ((1.6, -1.4, 1.1), (0.0, 0.0, 0.62))  # position, and the point it looks at

PATH_COLOURS = ((40, 110, 220), (230, 130, 30), (60, 160, 90), (170, 80, 190))
CONTACT_COLOUR = (20, 170, 70)


class Scene:
    """The world moves under the first robot, which stays in the middle, so that only the user moves the camera."""

    def __init__(self, server: Any, skeleton: Skeleton, labels: Sequence[str]):
        self.server, self.skeleton = server, skeleton
        scene = server.scene
        server.initial_camera.position, server.initial_camera.look_at = CAMERA
        scene.configure_default_lights(cast_shadow=False)
        scene.configure_environment_map(None)  # it takes a browser without a GPU ten seconds
        scene.add_light_ambient("/light", intensity=0.6)
        self.grid = scene.add_grid(
            "/floor", 60, 60, cell_size=0.5, section_size=1.0, plane_color=(236, 239, 243), plane_opacity=1.0,
            cell_color=(205, 210, 217), section_color=(170, 177, 187), fade_distance=40, shadow_opacity=0.0,
        )  # fmt: skip
        self.world = scene.add_frame("/world", show_axes=False)
        self.robots = [_Robot(scene, skeleton, index, label, len(labels) > 1) for index, label in enumerate(labels)]

    def show(self, poses: Sequence[Pose]) -> None:
        """Show the robots in their poses. All changes reach the browser together."""
        x, y, _ = poses[0].root_pos
        centre = (len(poses) - 1) * SPACING / 2
        with self.server.atomic():
            self.world.position = (-x, centre - y, 0.0)
            self.grid.position = (-(x % 1.0), -((y - centre) % 1.0), 0.0)
            for robot, pose in zip(self.robots, poses, strict=True):
                robot.show(pose)

    def draw_paths(self) -> None:
        """Draw the paths so far."""
        for robot in self.robots:
            robot.draw_path()

    def clear_paths(self) -> None:
        """Remove the paths."""
        for robot in self.robots:
            robot.path.clear()
            robot.draw_path()


class _Robot:
    def __init__(self, scene: Any, skeleton: Skeleton, index: int, label: str, labelled: bool):
        self.skeleton = skeleton
        name = f"/world/robot_{index}"
        self.base = scene.add_frame(name, show_axes=False, position=(0.0, -index * SPACING, 0.0))
        self.bodies = {}
        for body, shapes in skeleton.shapes.items():
            self.bodies[body] = scene.add_frame(f"{name}/body_{body}", show_axes=False)
            for number, shape in enumerate(shapes):
                scene.add_mesh_simple(
                    f"{name}/body_{body}/{number}", np.asarray(shape.mesh.vertices, np.float32),
                    np.asarray(shape.mesh.faces, np.uint32), color=shape.colour, flat_shading=shape.edged,
                    cast_shadow=False, receive_shadow=False,
                )  # fmt: skip
        self.feet = [
            scene.add_cylinder(f"{name}/{side}_foot", 0.11, 0.004, CONTACT_COLOUR, opacity=0.6, cast_shadow=False)
            for side in ("left", "right")
        ]
        self.label = scene.add_label(f"{name}/label", label) if labelled else None
        self.path: deque[np.ndarray] = deque(maxlen=PATH_POINTS)
        self.num_drawn = -1
        self.line = scene.add_line_segments(
            f"{name}/path", np.zeros((1, 2, 3)), PATH_COLOURS[index % len(PATH_COLOURS)], thickness=0.015
        )

    def show(self, pose: Pose) -> None:
        position, rotation = self.skeleton.place(pose.joint_pos, pose.root_pos, pose.root_quat)
        for body, handle in self.bodies.items():
            handle.position, handle.wxyz = position[body], rotation[body]
        for handle, foot, contact in zip(self.feet, pose.feet, pose.contact, strict=True):
            handle.visible = bool(contact)
            if contact:
                handle.position = (foot[0], foot[1], 0.003)
        if self.label is not None:
            self.label.position = (*pose.root_pos[:2], pose.root_pos[2] + 0.7)
        point = np.array([*pose.root_pos[:2], 0.006])
        if not self.path or np.linalg.norm(point - self.path[-1]) > PATH_STEP:
            self.path.append(point)

    def draw_path(self) -> None:
        """Draw the path so far, if it has become longer."""
        if len(self.path) == self.num_drawn < PATH_POINTS:
            return
        self.num_drawn = len(self.path)
        points = np.array(self.path) if len(self.path) > 1 else np.zeros((2, 3))
        self.line.points = np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)
