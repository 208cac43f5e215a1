"""The live plots of the page."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmg_jax.commands import COMMAND_LABELS
from cmg_jax.robot import Robot, _sides
from cmg_jax.view._pose import Pose

SECONDS = 6.0
"""Length of the time axis of the plots."""

COLOURS = ("#2868dc", "#e6821e", "#3ca05a", "#aa50be", "#c83c3c", "#3cafb4", "#8c6e46", "#787878")


class Charts:
    """Plots of the commanded and measured velocity, the weights of the experts, and the joints of a limb."""

    def __init__(self, gui: Any, labels: Sequence[str], robot: Robot, fps: float, first: Sequence[Pose]):
        self.gui, self.robot = gui, robot
        self.rows: deque[tuple[float, Sequence[Pose]]] = deque(maxlen=max(round(SECONDS * fps), 2))
        experts = max(len(pose.gate) for pose in first)
        self.commanded = bool(np.isfinite(first[0].command).all())
        self.velocity = []
        with gui.add_folder("Velocity"):
            for component in COMMAND_LABELS:
                names = ["command"] if self.commanded else []
                names += [f"measured {label}" if len(labels) > 1 else "measured" for label in labels]
                self.velocity.append(self._chart(component, names, dashed=self.commanded))
        self.gates = []
        if experts:
            with gui.add_folder("Experts", expand_by_default=False):
                for label in labels:
                    title = f"gate, {label}" if len(labels) > 1 else "gate"
                    self.gates.append(self._chart(title, [f"{index}" for index in range(experts)]))
        self.limb_folder = gui.add_folder("Joints", expand_by_default=False)
        with self.limb_folder:
            self.limb = gui.add_dropdown("limb", list(robot.limbs))
            self.joints = self._limb_chart()
        self.limb.on_update(lambda _: self._change_limb())
        self.next_chart = 0

    def add(self, seconds: float, poses: Sequence[Pose]) -> None:
        """Add the poses at a time [s]."""
        self.rows.append((seconds, poses))

    def clear(self) -> None:
        """Forget all poses."""
        self.rows.clear()

    def draw_next(self) -> None:
        """Update the next one of the charts, in turn: updating all at once would make a frame late."""
        if len(self.rows) < 2:
            return
        rows = list(self.rows)
        seconds = np.array([row[0] for row in rows])
        charts = [*self.velocity, *self.gates, self.joints]
        chosen = self.next_chart = (self.next_chart + 1) % len(charts)
        if chosen < len(self.velocity):
            series = [np.array([row[1][0].command[chosen] for row in rows])] if self.commanded else []
            series += [np.array([row[1][robot].velocity[chosen] for row in rows]) for robot in range(len(rows[0][1]))]
        elif chosen < len(self.velocity) + len(self.gates):
            gates = np.array([row[1][chosen - len(self.velocity)].gate for row in rows])
            series = list(gates.T)
        else:
            joints = np.array([row[1][0].joint_pos for row in rows])
            series = [joints[:, self.robot.joint_names.index(name)] for name in self._limb_joints()]
        data = (seconds, *(np.asarray(values, np.float64) for values in series))
        if len(data) == len(charts[chosen].series):
            charts[chosen].data = data

    def _chart(self, title: str, names: Sequence[str], dashed: bool = False) -> Any:
        series = [{"label": "s"}]
        for index, name in enumerate(names):
            line = {
                "label": name,
                "stroke": "#505050" if dashed and not index else COLOURS[index % len(COLOURS)],
                "width": 1.5,
            }
            series.append({**line, "dash": (6, 4)} if dashed and not index else line)  # pyright: ignore
        data = tuple(np.zeros(2) for _ in series)
        scales: Any = {"x": {"time": False}}
        return self.gui.add_uplot(data, tuple(series), title=title, scales=scales, height=150)

    def _limb_joints(self) -> tuple[str, ...]:
        return self.robot.limbs[self.limb.value]

    def _limb_chart(self) -> Any:
        names = [_sides.label(name, self.robot.sides) for name in self._limb_joints()]
        return self._chart(f"{self.limb.value} [rad]", names)

    def _change_limb(self) -> None:
        old = self.joints
        with self.limb_folder:
            self.joints = self._limb_chart()
        old.remove()
