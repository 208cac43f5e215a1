"""The robot walking over a floor grid, as GIF or MP4: by MuJoCo if there is OpenGL, else as a stick figure."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

import contextlib
import ctypes.util
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path
from cmg_jax.motion_files import Motion
from cmg_jax.robot import Robot, _feet, _sides
from cmg_jax.viz import _plot

SUFFIXES = (".gif", ".mp4")
GIF_FPS = 25.0
"""A GIF counts time in hundredths of a second: 25 frames a second are exact, and viewers keep to them."""

SIZE = (320, 480)  # height, width

SUPERSAMPLING = 2
"""Pixels drawn for each pixel of a picture, in each direction; their mean has smooth edges."""

CAMERA = {"distance": 2.3, "azimuth": 130.0, "elevation": -12.0}
HEIGHT = 0.78
"""Height in m of the standing root of a robot that `CAMERA` suits."""
EXTENT = 1.4
"""Size in m of such a robot."""

Frame = np.ndarray  # [height, width, 3] uint8
Draw = Callable[[np.ndarray, np.ndarray], Frame]
"""A picture of qpos [nq], the camera at position [3]."""


def choose_gl() -> None:
    """Choose an OpenGL with which MuJoCo renders without a screen. Call it before the first import of `mujoco`.

    Examples:
      >>> from cmg_jax import viz
      >>> viz.choose_gl()
    """
    if sys.platform != "linux" or "MUJOCO_GL" in os.environ:
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = backend
            return


def require_writer(path: Path) -> None:
    """Raise InputError unless everything that a video to `path` needs is installed. Call it before long work.

    Examples:
      >>> from cmg_jax import viz
      >>> viz.require_writer(Path("walk.gif"))
    """
    _plot.require_matplotlib()
    if path.suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise InputError(f"{path}: MP4 needs imageio-ffmpeg: pip install 'cmg_jax[viz]'; or write a .gif")


def render_motion(
    path: Path,
    motion: Motion,
    *,
    beside: Motion | None = None,
    titles: tuple[str, str] = ("robot", "reference"),
    progress: Callable[[int], Any] = lambda _: None,
) -> str:
    """Save a video of one environment, which the camera follows; `.gif` or `.mp4`.

    Args:
      path: file to write.
      motion: arrays without an environment axis.
      beside: a motion of the same length, which is shown to the right of it: the reference that it follows.
      titles: of `motion` and `beside`.
      progress: called with the number of pictures just drawn.

    Returns:
      The renderer: "MuJoCo", or "matplotlib" and the reason.

    Raises:
      InputError: an unknown suffix, or a package is missing.

    Examples:
      >>> from cmg_jax import motion_files, viz
      >>> frames = np.tile(cmg_jax.standing_frame(model), (51, 1))
      >>> motion = motion_files.of_trajectory(model.config, frames, np.zeros((50, 3), np.float32))
      >>> _ = viz.render_motion(Path("walk.gif"), motion)
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown format {path.suffix!r}; a video is {' or '.join(SUFFIXES)}")
    require_writer(path)
    frame_rate, frame_indices = _pictures(motion, path)
    motions = [one.qpos() for one in (motion, beside) if one is not None]
    focuses = [_smooth(positions[:, :3], width=round(motion.fps)) for positions in motions]
    with drawing(motion.robot) as (draw, name):

        def frames() -> Iterator[Any]:
            for index in frame_indices:
                views = [draw(qpos[index], focus[index]) for qpos, focus in zip(motions, focuses, strict=True)]
                picture = _caption(np.concatenate(views, axis=1), _text(motion, index))
                if beside is not None:
                    for view, title in enumerate(titles):
                        _write(picture, title, (8 + view * SIZE[1], SIZE[0] - 18))
                yield picture
                progress(1)

        with atomic_path(path) as partial:
            (_write_gif if path.suffix == ".gif" else _write_mp4)(partial, frames(), frame_rate)
    return name


def num_pictures(motion: Motion, path: Path) -> int:
    """How many pictures `render_motion` will draw."""
    return len(_pictures(motion, path)[1])


def _pictures(motion: Motion, path: Path) -> tuple[float, np.ndarray]:
    """Pictures per second, and the index of the frame that each picture shows."""
    frame_rate = GIF_FPS if path.suffix == ".gif" else motion.fps
    frames = motion.joint_pos.shape[0]
    times = np.arange(0, frames / motion.fps, 1 / frame_rate)
    return frame_rate, np.minimum(np.round(times * motion.fps).astype(int), frames - 1)


@contextlib.contextmanager
def drawing(robot: Robot) -> Iterator[tuple[Draw, str]]:
    """The best way to draw on this machine, and its name."""
    try:
        renderer = _mujoco_renderer(robot)
    except Exception as error:  # without OpenGL, the kind of error depends on the platform and the driver
        yield _stick_figure(robot), f"matplotlib, because MuJoCo cannot draw here: {type(error).__name__} {error}"
        return
    try:
        yield _mujoco_draw(renderer, _scale(robot)), "MuJoCo"
    finally:
        renderer.close()


def _scale(robot: Robot) -> float:
    """The size of a robot in units of the one that the camera suits."""
    return round(-float(_feet.ground_height(robot.standing_joint_pos[None], robot)[0]), 2) / HEIGHT


def _mujoco_renderer(robot: Robot) -> Any:
    import mujoco

    spec = mujoco.MjSpec.from_string(robot.mjcf)
    height, width = (SUPERSAMPLING * pixels for pixels in SIZE)
    spec.visual.global_.offheight, spec.visual.global_.offwidth = height, width
    # With multisampling or a wide shadow map, Mesa draws specks on the floor. Twice the size takes no longer than the
    # former. The shadow map covers `shadowclip` extents around the light.
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 0
    spec.visual.map.shadowclip, spec.stat.extent = 0.7, EXTENT * _scale(robot)
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.35] * 3, [0.35] * 3
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.93, 0.95, 0.97],
        rgb2=[0.72, 0.79, 0.86],
        width=64,
        height=64,
    )
    spec.add_texture(
        name="grid",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=[0.80, 0.83, 0.86],
        rgb2=[0.75, 0.78, 0.82],
        markrgb=[0.6, 0.64, 0.69],
        width=256,
        height=256,
    )
    # Two by two squares in a texture, one texture a metre: squares of half a metre.
    grid = spec.add_material(name="grid", texrepeat=[1, 1], texuniform=True)
    grid.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "grid"
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], material="grid")
    # The light travels with the robot: a shadow map has an edge.
    spec.body(robot.body_names[0]).add_light(
        pos=[0, 0, 3],
        dir=[0, 0, -1],
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
    )
    return mujoco.Renderer(spec.compile(), height, width)


def _mujoco_draw(renderer: Any, scale: float) -> Draw:
    import mujoco
    from PIL import Image

    model = renderer.model
    data, camera = mujoco.MjData(model), mujoco.MjvCamera()
    camera.distance, camera.azimuth, camera.elevation = CAMERA.values()
    camera.distance *= scale

    def draw(position: np.ndarray, focus: np.ndarray) -> Frame:
        data.qpos[:] = position
        mujoco.mj_forward(model, data)
        camera.lookat[:] = focus[0], focus[1], 0.65 * scale
        renderer.update_scene(data, camera)
        return np.asarray(Image.fromarray(renderer.render()).reduce(SUPERSAMPLING))

    return draw


def _stick_figure(robot: Robot) -> Draw:
    import mujoco

    figure = _plot.new_figure(figsize=(SIZE[1] / 100, SIZE[0] / 100), dpi=100)
    axis: Any = figure.add_subplot(projection="3d")
    model, data = robot.mj_model, mujoco.MjData(robot.mj_model)
    scale = _scale(robot)
    bones = [(model.body_parentid[body], body) for body in range(2, model.nbody)]

    def draw(position: np.ndarray, focus: np.ndarray) -> Frame:
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        axis.clear()
        axis.set_axis_off()
        x, y = np.floor(focus[:2] * 2) / 2
        for offset in np.arange(-1.5, 2.0, 0.5):
            axis.plot([x + offset] * 2, [y - 1.5, y + 1.5], [0, 0], color="0.8")
            axis.plot([x - 1.5, x + 1.5], [y + offset] * 2, [0, 0], color="0.8")
        for parent, child in bones:
            side = _sides.side_of(model.body(child).name, robot.sides) if robot.sides else None
            colour = "0.2" if side is None else ("tab:blue", "tab:red")[side]
            axis.plot(*data.xpos[[parent, child]].T, color=colour, linewidth=3, solid_capstyle="round")
        around = scale * np.array([-0.8, 0.8])
        axis.set(xlim=focus[0] + around, ylim=focus[1] + around, zlim=(0, 1.4 * scale))
        axis.set_box_aspect((1.6, 1.6, 1.4), zoom=1.6)
        axis.view_init(elev=-CAMERA["elevation"], azim=CAMERA["azimuth"] + 180)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()

    return draw


def _smooth(path: np.ndarray, width: int) -> np.ndarray:
    """Moving average [T, 3] over `width` frames, so that the camera glides."""
    padded = np.pad(path, ((width, width), (0, 0)), mode="edge")
    kernel = np.ones(2 * width + 1) / (2 * width + 1)
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=-1)


def _text(motion: Motion, index: int) -> str:
    vx, vy, yaw = motion.commands[min(index, len(motion.commands) - 1)][:3]
    return f"{index / motion.fps:5.2f} s    command  vx {vx:+.2f} m/s   vy {vy:+.2f} m/s   yaw {yaw:+.2f} rad/s"


def _caption(frame: Frame, text: str) -> Any:
    from PIL import Image

    picture = Image.fromarray(frame)
    _write(picture, text, (8, 6))
    return picture


def _write(picture: Any, text: str, place: tuple[int, int]) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(picture).text(place, text, fill=(40, 44, 52))


def _write_gif(path: Path, frames: Iterator[Any], frame_rate: float) -> None:
    first = next(frames)
    palette = first.quantize(64)
    rest = (frame.quantize(palette=palette, dither=0) for frame in frames)
    first = first.quantize(palette=palette, dither=0)
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / frame_rate), loop=0, optimize=False)


def _write_mp4(path: Path, frames: Iterator[Any], frame_rate: float) -> None:
    from imageio_ffmpeg import write_frames

    # Otherwise it starts ffmpeg by a bare fork, which may hang in a process with threads; jax warns of it.
    os.environ.setdefault("IMAGEIO_FFMPEG_NO_PREVENT_SIGINT", "1")
    first = next(frames)
    writer = write_frames(str(path), first.size, fps=frame_rate, quality=7, macro_block_size=2)  # pyright: ignore
    writer.send(None)
    try:
        for frame in itertools.chain([first], frames):
            writer.send(np.asarray(frame).tobytes())
    finally:
        writer.close()
