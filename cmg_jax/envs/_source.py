"""`ReferenceSource`: the motion that the wrapper serves, and how."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

from cmg_jax._errors import InputError
from cmg_jax.commands import CommandSampler, Smoother, ramp
from cmg_jax.generators._base import Generator
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import Kinematics, Robot, kinematics


@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceSource:
    """The motion that the wrapper serves, the commands that it follows, and what an environment sees of it.

    Args:
      model: the model. An episode begins at a frame drawn from its pool, or with `replay` and `from_bank` at any frame
        of a motion of its bank.
      generator: any mode; `on_tick` and a bank make changes of command and resets cheap.
      command_sampler: draws commands, as `lambda key, n: commands.uniform(key, range, n)`. None: the model's bank
        draws them, and they are held for the episode.
      smoother: from requested to smoothed commands, a step per control step.
      hold_interval: control steps that a command is held, drawn for each one; both ends included.
      lookahead: offsets [L] in frames of the frames to come, up to the generator's horizon.
      key_bodies: names of bodies whose poses and velocities are wanted; they need MJX.
      robot: the robot of `key_bodies`; the model's by default.
      standing_fraction: of the episodes, 0 to 1, that begin at `standing_frame` instead; with `replay`, at the frame
        of the motion that is nearest to it.

    Raises:
      InputError: an offset beyond the generator's horizon, an impossible interval or fraction, a body that the robot
        lacks, or a model without a root channel whose commands are no velocities.

    Examples:
      >>> from cmg_jax import commands
      >>> from cmg_jax.envs import ReferenceSource
      >>> draw = lambda key, num_envs: commands.uniform(key, commands.trained_range(model), num_envs)
      >>> source = ReferenceSource(model, cmg_jax.streaming(10), draw, lookahead=(1, 4, 10))
      >>> source.hold_interval  # control steps
      (150, 300)
    """

    model: CMGModel
    generator: Generator
    command_sampler: CommandSampler | None
    smoother: Smoother = dataclasses.field(default_factory=ramp)
    _: dataclasses.KW_ONLY
    hold_interval: tuple[int, int] = (150, 300)
    lookahead: Sequence[int] = (1,)
    key_bodies: Sequence[str] = ()
    robot: Robot | None = None
    standing_fraction: float = 0.0

    def __post_init__(self) -> None:
        lookahead, horizon = tuple(self.lookahead), self.generator.horizon
        if min(lookahead, default=0) < 0:
            raise InputError(f"lookahead {lookahead}: offsets count frames ahead and are not negative")
        if (farthest := max(lookahead, default=0)) > horizon:
            raise InputError(
                f"lookahead {lookahead}: offset {farthest} lies beyond the {horizon:g} frames that the generator knows "
                "ahead; make one that knows more, streaming(lookahead_frames=...) for instance, or give smaller offsets"
            )
        if not 1 <= self.hold_interval[0] <= self.hold_interval[1]:
            raise InputError(f"hold_interval {self.hold_interval}: at least 1 step, the shorter one first")
        if not 0 <= self.standing_fraction <= 1:
            raise InputError(f"standing_fraction {self.standing_fraction} is not between 0 and 1")
        if not self.model.config.has_root:
            self.model.config.check_velocity_commands("the root of a model without a root channel")
        _ = self.kinematics  # its errors belong here

    @cached_property
    def kinematics(self) -> Kinematics | None:
        """Of the key bodies; None where there are none."""
        if not self.key_bodies:
            return None
        return kinematics(self.robot or self.model.config.robot, bodies=self.key_bodies)
