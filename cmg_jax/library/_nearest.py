"""Which commands a library holds motion for."""

import numpy as np

from cmg_jax.model._library import MotionLibrary

FAR = (0.35, 0.3, 0.5)
"""m/s, m/s and rad/s between a command and the nearest one of a library, beyond which it is not obeyed."""


def nearest_command(library: MotionLibrary, command: np.ndarray) -> np.ndarray:
    """The command of the library that is nearest to each of [N, 3], in units of `FAR`.

    Examples:
      >>> from cmg_jax import data, library
      >>> made = library.build_library(data.load(Path("walks.npz")))
      >>> library.nearest_command(made, np.array([[9.0, 0.0, 0.0]], np.float32)).shape
      (1, 3)
    """
    walked = np.asarray(library.command)[np.asarray(library.allowed)]
    scaled = walked / np.array(FAR)
    return np.stack([walked[np.square(scaled - one / np.array(FAR)).sum(axis=-1).argmin()] for one in command])


def beyond_library(library: MotionLibrary, command: np.ndarray) -> list[str]:
    """A line for each of the commands [N, 3] that is far outside of what the library holds: the nearest that exists.

    Examples:
      >>> from cmg_jax import data, library
      >>> made = library.build_library(data.load(Path("walks.npz")))
      >>> len(library.beyond_library(made, np.array([[9.0, 0.0, 0.0]], np.float32)))
      1
    """
    lines = []
    for one, near in zip(command, nearest_command(library, command), strict=True):
        if (np.abs(one - near) > FAR).any():
            lines.append(f"the library has nothing near the command {_text(one)}; the nearest is {_text(near)}")
    return lines


def _text(command: np.ndarray) -> str:
    vx, vy, yaw = command
    return f"vx {vx:+.2f} m/s, vy {vy:+.2f} m/s, yaw rate {yaw:+.2f} rad/s"
