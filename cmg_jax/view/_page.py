"""The page: controls and their meaning, and the loop that shows a frame at its time.

All browsers see one robot and share its controls. Callbacks of the page only leave a wish behind; the loop, in a thread
of its own, is the only one that generates and draws. While no browser is there, nothing runs.
"""

import threading
from typing import Any

import numpy as np

from cmg_jax.commands import COMMAND_LABELS, CommandRange
from cmg_jax.view._charts import Charts
from cmg_jax.view._drive import Drive
from cmg_jax.view._pacing import Pacer
from cmg_jax.view._playback import Playback
from cmg_jax.view._pose import Pose
from cmg_jax.view._scene import Scene
from cmg_jax.view._skeleton import Skeleton

# Sliders clip them to the trained range.
PRESETS: dict[str, tuple[float, float, float]] = {
    "stand": (0.0, 0.0, 0.0),
    "walk": (0.8, 0.0, 0.0),
    "fast": (1.3, 0.0, 0.0),
    "back": (-0.3, 0.0, 0.0),
    "left": (0.0, 0.3, 0.0),
    "right": (0.0, -0.3, 0.0),
    "turn left": (0.4, 0.0, 0.6),
    "turn right": (0.4, 0.0, -0.6),
}
KEYS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "faster": ("I", (0.1, 0.0, 0.0)),
    "slower": ("K", (-0.1, 0.0, 0.0)),
    "turn left": ("J", (0.0, 0.0, 0.1)),
    "turn right": ("L", (0.0, 0.0, -0.1)),
    "left": ("U", (0.0, 0.1, 0.0)),
    "right": ("O", (0.0, -0.1, 0.0)),
}
"""What each adds to the command. The arrows, W, A, S, D, Q and E move viser's camera."""

SLIDER_STEP = 0.05
"""m/s and rad/s."""

REFRESH = 10
"""Frames between two updates of the figures, and of one plot each."""


class Page:
    """What a browser shows of a source of frames."""

    def __init__(self, server: Any, source: Drive | Playback, skeleton: Skeleton):
        self.server, self.source = server, source
        self.scene = Scene(server, skeleton, source.labels)
        self.pacer = Pacer()
        self.stopping = threading.Event()
        self.wake = threading.Event()  # of the loop, when something is wished for
        self.paused = False
        self.speed = 1.0
        self.wishes: list[str] = []
        self.seek_to: int | None = None
        self._shown_frame = -1
        gui = server.gui
        gui.configure_theme(
            control_layout="collapsible", control_width="medium", show_share_button=False, show_logo=False
        )
        self.status = gui.add_markdown("")
        if isinstance(source, Drive):
            self._add_driving(gui, source)
        else:
            self._add_time_bar(gui, source)
        self._add_running(gui)
        self.poses = source.reset()
        self.charts = Charts(gui, source.labels, source.robot, source.fps, self.poses)
        self._add_keys(gui)
        self._show(self.poses, refresh=True)

    # Controls.

    def _add_driving(self, gui: Any, drive: Drive) -> None:
        following = drive.commands is not None
        with gui.add_folder("Command"):
            self.sliders = [
                gui.add_slider(name, low, high, SLIDER_STEP, float(np.clip(0.0, low, high)), disabled=following)
                for name, (low, high) in zip(COMMAND_LABELS, slider_bounds(drive.command_range), strict=True)
            ]
            self._take_sliders(drive)
            for slider in self.sliders:
                slider.on_update(lambda _: self._take_sliders(drive))
            presets = gui.add_button_group("preset", tuple(PRESETS), disabled=following)
            presets.on_click(lambda _: self._set_sliders(drive, PRESETS[presets.value]))
            smooth = gui.add_checkbox("smoother", True, disabled=following)
            seconds = gui.add_slider("smoother [s]", 0.1, 2.0, 0.1, 0.5, disabled=following)
            for handle in (smooth, seconds):
                handle.on_update(lambda _: drive.set_smoothing(seconds.value if smooth.value else 0.0))
            if not following:
                for label, (key, change) in KEYS.items():
                    gui.add_command(label, hotkey=key).on_trigger(
                        lambda _, change=change: self._set_sliders(
                            drive, [slider.value + c for slider, c in zip(self.sliders, change, strict=True)]
                        )
                    )
                gui.add_command("stand", hotkey="X").on_trigger(lambda _: self._set_sliders(drive, PRESETS["stand"]))
        save = gui.add_button("save this drive (CSV)", hint="a schedule that --schedule plays back to the same motion")
        save.on_click(lambda event: event.client.send_file_download("drive.csv", drive.record_text().encode()))

    def _add_time_bar(self, gui: Any, playback: Playback) -> None:
        self.bar = gui.add_slider("time [s]", 0.0, _round((playback.frames - 1) / playback.fps), 0.01, 0.0)

        def seek(event: Any) -> None:
            if event.client is not None:  # moved by a user, not by the loop
                self.seek_to = round(self.bar.value * playback.fps)
                self.wake.set()

        self.bar.on_update(seek)
        self.loop = gui.add_checkbox("again from the start at the end", True)

    def _add_keys(self, gui: Any) -> None:
        lines = [f"`{key}` {label}" for label, (key, _) in KEYS.items()] + ["`X` stand"]
        lines = lines if isinstance(self.source, Drive) and self.source.commands is None else []
        with gui.add_folder("Keys", expand_by_default=False):
            gui.add_markdown(", ".join([*lines, "`P` pause", "`N` single step", "`R` reset"]))

    def _add_running(self, gui: Any) -> None:
        with gui.add_folder("Time"):
            self.pause = gui.add_checkbox("pause", False)
            self.pause.on_update(lambda _: self._set_paused(self.pause.value))
            step = gui.add_button("single step")
            step.on_click(lambda _: self._wish("step"))
            reset = gui.add_button("reset to standing" if isinstance(self.source, Drive) else "back to the start")
            reset.on_click(lambda _: self._wish("reset"))
            speed = gui.add_slider("speed", 0.1, 2.0, 0.1, 1.0)
            speed.on_update(lambda _: setattr(self, "speed", float(speed.value)))
        gui.add_command("pause", hotkey="P").on_trigger(lambda _: self._set_paused(not self.paused))
        gui.add_command("single step", hotkey="N").on_trigger(lambda _: self._wish("step"))
        gui.add_command("reset", hotkey="R").on_trigger(lambda _: self._wish("reset"))

    def _take_sliders(self, drive: Drive) -> None:
        drive.target = np.array([slider.value for slider in self.sliders], np.float32)

    def _set_sliders(self, drive: Drive, command: Any) -> None:
        for slider, value in zip(self.sliders, command, strict=True):
            slider.value = float(np.clip(round(value, 2), slider.min, slider.max))
        self._take_sliders(drive)

    def _set_paused(self, paused: bool) -> None:
        self.paused = paused
        if self.pause.value != paused:
            self.pause.value = paused
        self.wake.set()

    def _wish(self, wish: str) -> None:
        self.wishes.append(wish)
        self.wake.set()

    # The loop.

    def run(self, seconds: float | None = None) -> None:
        """Show frames at their time until `stopping` is set, or until `seconds` of frames have been shown."""
        self.pacer.start()
        shown = 0
        while not self.stopping.is_set():
            self._grant_wishes()
            if not self.server.get_clients() or self.paused or (self.source.finished and not self._again()):
                # Wakes for a new browser, too, of which nobody tells.
                self.wake.wait(0.05)
                self.wake.clear()
                self.pacer.start()
                continue
            period = 1 / (self.source.fps * self.speed)
            poses = self.source.step()  # made before it is due
            if not self.pacer.wait(period, self.wake):
                self.wake.clear()  # a wish: what was made is shown at once, and the clock begins anew
                self.pacer.start()
            self._show(poses)
            self.pacer.shown(period)
            shown += 1
            if seconds is not None and shown >= seconds * self.source.fps:
                return

    def _again(self) -> bool:
        if not isinstance(self.source, Playback) or not self.loop.value:
            return False
        self._reset()
        return True

    def _grant_wishes(self) -> None:
        while self.wishes:
            wish = self.wishes.pop(0)
            if wish == "reset":
                self._reset()
            elif not self.source.finished:
                self._show(self.source.step(), refresh=True)
        if self.seek_to is not None and isinstance(self.source, Playback):
            frame, self.seek_to = self.seek_to, None
            self._show(self.source.seek(frame), refresh=True)

    def _reset(self) -> None:
        self.charts.clear()
        self._show(self.source.reset(), refresh=True)
        self.scene.clear_paths()

    def _show(self, poses: list[Pose], refresh: bool = False) -> None:
        self.poses, frame = poses, self.source.frame
        if frame < self._shown_frame:
            self.charts.clear()
        self._shown_frame = frame
        self.scene.show(poses)
        self.charts.add(frame / self.source.fps, poses)
        turn = frame % REFRESH
        if refresh or turn == 0 or self.source.finished:
            self.status.content = self._status()
            if isinstance(self.source, Playback):
                self.bar.value = min(_round(frame / self.source.fps), self.bar.max)
        if refresh or turn == REFRESH // 2:
            self.scene.draw_paths()
        if turn in (2, 7):
            self.charts.draw_next()

    def _status(self) -> str:
        lines = [f"**{self.source.frame / self.source.fps:.2f} s** &nbsp; {self.pacer.text()}"]
        for label, pose in zip(self.source.labels, self.poses, strict=True):
            w, x, y, z = pose.root_quat
            yaw = np.degrees(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
            walked = " ".join(f"{value:+.2f}" for value in pose.walked)
            lines.append(
                f"{label}: x {pose.root_pos[0]:.2f} m, y {pose.root_pos[1]:.2f} m, heading {yaw:.0f}°, walks {walked}"
            )
        return "\n\n".join(lines)


def slider_bounds(trained: CommandRange) -> list[tuple[float, float]]:
    """Lowest and highest value of each slider: the whole steps inside the trained range."""
    bounds = []
    for low, high in zip(*trained, strict=True):
        inside = _round(np.ceil(low / SLIDER_STEP) * SLIDER_STEP), _round(np.floor(high / SLIDER_STEP) * SLIDER_STEP)
        bounds.append(inside if inside[0] < inside[1] else (float(low), float(high)))
    return bounds


def _round(value: float) -> float:
    return round(float(value), 2)
