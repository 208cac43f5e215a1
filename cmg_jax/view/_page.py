"""The page: its controls, and the loop that shows each frame at its time.

All browsers see the same robots and share their controls. Callbacks of the page only store a request; the loop is the
only thread that generates and draws. While no browser is connected, nothing runs.
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

PRESETS: dict[str, tuple[float, float, float]] = {
    "stand": (0.0, 0.0, 0.0),
    "walk": (0.8, 0.0, 0.0),
    "jog": (2.0, 0.0, 0.0),
    "run": (3.0, 0.0, 0.0),
    "back": (-0.4, 0.0, 0.0),
    "left": (0.0, 0.3, 0.0),
    "right": (0.0, -0.3, 0.0),
    "turn left": (0.4, 0.0, 0.6),
    "turn right": (0.4, 0.0, -0.6),
}
"""Commands of the buttons, which the sliders clip to the trained range."""

KEYS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "faster": ("I", (0.1, 0.0, 0.0)),
    "slower": ("K", (-0.1, 0.0, 0.0)),
    "turn left": ("J", (0.0, 0.0, 0.1)),
    "turn right": ("L", (0.0, 0.0, -0.1)),
    "left": ("U", (0.0, 0.1, 0.0)),
    "right": ("O", (0.0, -0.1, 0.0)),
}
"""Key, and what it adds to the command. The arrows, W, A, S, D, Q and E move viser's camera."""

SLIDER_STEP = 0.05
"""m/s and rad/s."""

REFRESH = 10
"""Frames between two updates of the text; in between, two of the plots are updated."""


class Page:
    """The page of a `viser.ViserServer` that shows a drive or a playback.

    Examples:
      >>> import viser
      >>> from cmg_jax.view import Drive, Page, Skeleton
      >>> drive = Drive([model], ["human"])
      >>> Page(viser.ViserServer(), drive, Skeleton(drive.robot)).run(seconds=60)
    """

    def __init__(self, server: Any, source: Drive | Playback, skeleton: Skeleton):
        """Args:
        server: the `viser.ViserServer`.
        source: where the frames come from.
        skeleton: the shapes of its robot.
        """
        self.server, self.source = server, source
        self.scene = Scene(server, skeleton, source.labels)
        self.pacer = Pacer()
        self.stopping = threading.Event()
        self.wake = threading.Event()  # wakes the loop when there is a request
        self.paused = False
        self.speed = 1.0
        self.requests: list[str] = []
        self.seek_to: int | None = None
        self._last_frame = -1
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
        save.on_click(lambda event: event.client.send_file_download("drive.csv", drive.schedule_text().encode()))

    def _add_time_bar(self, gui: Any, playback: Playback) -> None:
        self.bar = gui.add_slider("time [s]", 0.0, _round((playback.num_frames - 1) / playback.fps), 0.01, 0.0)

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
            step.on_click(lambda _: self._request("step"))
            reset = gui.add_button("reset to standing" if isinstance(self.source, Drive) else "back to the start")
            reset.on_click(lambda _: self._request("reset"))
            speed = gui.add_slider("speed", 0.1, 2.0, 0.1, 1.0)
            speed.on_update(lambda _: setattr(self, "speed", float(speed.value)))
        gui.add_command("pause", hotkey="P").on_trigger(lambda _: self._set_paused(not self.paused))
        gui.add_command("single step", hotkey="N").on_trigger(lambda _: self._request("step"))
        gui.add_command("reset", hotkey="R").on_trigger(lambda _: self._request("reset"))

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

    def _request(self, request: str) -> None:
        self.requests.append(request)
        self.wake.set()

    # The loop.

    def run(self, seconds: float | None = None) -> None:
        """Show frames at their time until `stopping` is set, or until `seconds` of motion have been shown."""
        self.pacer.start()
        num_frames = 0
        while not self.stopping.is_set():
            self._handle_requests()
            if not self.server.get_clients() or self.paused or (self.source.finished and not self._restart_loop()):
                # The timeout is for new browsers, which do not wake the loop.
                self.wake.wait(0.05)
                self.wake.clear()
                self.pacer.start()
                continue
            period = 1 / (self.source.fps * self.speed)
            poses = self.source.step()  # before the frame is due
            if not self.pacer.wait(period, self.wake):
                self.wake.clear()  # a request: this frame is shown at once, and the clock restarts
                self.pacer.start()
            self._show(poses)
            self.pacer.record(period)
            num_frames += 1
            if seconds is not None and num_frames >= seconds * self.source.fps:
                return

    def _restart_loop(self) -> bool:
        """Restart a playback that is to be repeated; returns whether it was."""
        if not isinstance(self.source, Playback) or not self.loop.value:
            return False
        self._reset()
        return True

    def _handle_requests(self) -> None:
        while self.requests:
            if self.requests.pop(0) == "reset":
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
        if frame < self._last_frame:
            self.charts.clear()
        self._last_frame = frame
        self.scene.show(poses)
        self.charts.add(frame / self.source.fps, poses)
        turn = frame % REFRESH
        if refresh or turn == 0 or self.source.finished:
            self.status.content = self._status()
            if isinstance(self.source, Playback):
                self.bar.value = min(_round(frame / self.source.fps), self.bar.max)
            elif self.source.commands is not None:
                self._set_sliders(self.source, poses[0].command)
        if refresh or turn == REFRESH // 2:
            self.scene.draw_paths()
        if turn in (2, 7):
            self.charts.draw_next()

    def _status(self) -> str:
        lines = [f"**{self.source.frame / self.source.fps:.2f} s** &nbsp; {self.pacer.text()}"]
        for label, pose in zip(self.source.labels, self.poses, strict=True):
            qw, qx, qy, qz = pose.root_quat
            yaw = np.degrees(np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz)))
            x, y, _ = pose.root_pos
            velocity = " ".join(f"{value:+.2f}" for value in pose.velocity)
            lines.append(f"{label}: x {x:.2f} m, y {y:.2f} m, heading {yaw:.0f}°, velocity {velocity}")
        return "\n\n".join(lines)


def slider_bounds(trained: CommandRange) -> list[tuple[float, float]]:
    """Lowest and highest value of each slider: the multiples of its step within the trained range."""
    bounds = []
    for low, high in zip(trained.low, trained.high, strict=True):
        inside = _round(np.ceil(low / SLIDER_STEP) * SLIDER_STEP), _round(np.floor(high / SLIDER_STEP) * SLIDER_STEP)
        bounds.append(inside if inside[0] < inside[1] else (float(low), float(high)))
    return bounds


def _round(value: float) -> float:
    return round(float(value), 2)
