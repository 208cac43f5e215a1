"""Critically damped springs in closed form, exact for any time step.

For x'' = -2 y x' - y^2 x, with y = 2 ln 2 / half_life, x(t) = exp(-y t) (x + (x' + y x) t): D. Holden, "Spring-It-On:
The Game Developer's Spring-Roll-Call" (2021), https://theorangeduck.com/page/spring-roll-call. Decaying offsets between
two motions this way is inertialization: D. Bollo, "Inertialization: High-Performance Animation Transitions in Gears of
War", GDC 2018.
"""

import math

import jax
import jax.numpy as jnp


def decay(x: jax.Array, rate: jax.Array, seconds: jax.Array, half_life: float) -> tuple[jax.Array, jax.Array]:
    """An offset that a spring pulls to zero, and its rate of change, after each of T times.

    Args:
      x: [R, n].
      rate: its rate of change per second, [R, n].
      seconds: [T].
      half_life: seconds in which about half of an offset at rest disappears.

    Returns:
      offset and rate, [R, T, n].
    """
    y = 2 * math.log(2) / half_life
    time = seconds[None, :, None]
    pull = (rate + y * x)[:, None]
    fade = jnp.exp(-y * time)
    return fade * (x[:, None] + pull * time), fade * (rate[:, None] - y * pull * time)
