"""`MotionLibrary`: clips with what a search compares, as one pytree that travels with a model."""

import dataclasses
from functools import partial

import jax
from jaxtyping import Array, Bool, Float, Int

from cmg_jax.model._normalization import MotionStats
from cmg_jax.robot import Robot

FUTURE_SECONDS = (1 / 3, 2 / 3, 1.0)
"""Times ahead at which a search compares where a motion goes: about a step, two steps and a stride of a walker."""

POSE = 14
"""Features that describe a pose: position and velocity of both soles, 3 numbers each, then the root's velocity."""

PATH = POSE + 2 * len(FUTURE_SECONDS)
"""Index after the features of the future path: x and y at each of the times. The headings follow, cosine and sine."""

FEATURES = PATH + 2 * len(FUTURE_SECONDS)
"""F, the number of features of a frame."""

GROUP = 128
"""Candidates of a search whose least cost is found before the best one among them."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "frames", "clearance", "soles", "contact", "features", "center", "scale", "last", "allowed", "support",
        "standing", "first_foot", "command", "candidates", "candidate_index", "standing_index", "stats",
    ],
    meta_fields=["robot", "fps"],
)  # fmt: skip
@dataclasses.dataclass(frozen=True)
class MotionLibrary:
    """Clips and their mirror images, N frames in a row. `cmg_jax.build_library` makes one.

    Positions and velocities of the soles are in the heading frame of their frame.
    """

    frames: Float[Array, "N D"]  # physical, with a root channel
    clearance: Float[Array, "N"]  # m of the lowest point of both soles above the floor
    soles: Float[Array, "N 2 3"]  # m, centres of the soles, left foot first
    contact: Float[Array, "N 2"]  # from 0, in the air, to 1, on the floor
    features: Float[Array, "N F"]  # (physical features - center) * scale
    center: Float[Array, "F"]
    scale: Float[Array, "F"]  # weight over standard deviation
    last: Int[Array, "N"]  # index of the last frame of the same clip
    allowed: Bool[Array, "N"]  # whether the clip may be played from here: upright, and long enough
    support: Int[Array, "N"]  # 0: a foot is in the air; 1: both are down; 2: both are down and still
    standing: Bool[Array, "N"]  # both feet have been down and still for a while
    first_foot: Int[Array, "N"]  # the foot that is lifted next, LEFT or RIGHT of a data set; 0 if none soon
    command: Float[Array, "N 3"]  # the command that the data set gives each frame
    candidates: Float[Array, "G 128 F+4"]  # what a search multiplies with a query, see `_search`
    candidate_index: Int[Array, "M"]  # the frame of each candidate; M is at most 128 G
    standing_index: Int[Array, ""]  # the frame that stands most still
    stats: MotionStats
    robot: Robot
    fps: float

    @property
    def num_frames(self) -> int:
        """N."""
        return self.frames.shape[0]

    def replace(self, **changes: object) -> "MotionLibrary":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]


def future_frames(fps: float) -> tuple[int, ...]:
    """`FUTURE_SECONDS` in whole frames."""
    return tuple(max(round(seconds * fps), 1) for seconds in FUTURE_SECONDS)
