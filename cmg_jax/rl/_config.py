"""The configuration of a training run, from a YAML file: every key is checked, and each one has a default."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import yaml

from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.commands._sampler import CommandRange

ENGINES = ("mjx", "mujoco")
"""Who computes the physics: MJX, or C MuJoCo, which is faster on a CPU."""

BUNDLED = Path(__file__).parents[1] / "assets" / "walk"
"""The run whose policy the package has."""


@dataclasses.dataclass(frozen=True)
class CommandConfig:
    """Commands in training: the ranges to draw from, how long one is held, and how long the ramp to the next one is.

    The ranges are clipped to the trained range of the model.

    Examples:
      >>> from cmg_jax.rl import CommandConfig
      >>> CommandConfig(vx=(0.0, 1.5), hold=(50, 100)).range.high
      array([1.5, 0.3, 0.6], dtype=float32)
    """

    vx: tuple[float, float] = (-0.3, 1.2)  # m/s
    vy: tuple[float, float] = (-0.3, 0.3)  # m/s
    yaw_rate: tuple[float, float] = (-0.6, 0.6)  # rad/s
    hold: tuple[int, int] = (100, 200)  # control steps
    ramp: int = 25  # control steps
    still: float = 0.0  # fraction of the commands that are zero

    def __post_init__(self):
        if not 0 <= self.still <= 1:
            raise InputError(f"commands.still {self.still} is not between 0 and 1")
        for name in ("vx", "vy", "yaw_rate", "hold"):
            low, high = getattr(self, name)
            if low > high:
                raise InputError(f"commands.{name} [{low}, {high}]: the lower one comes first")
        if self.hold[0] < 1 or self.ramp < 1:
            raise InputError(f"commands.hold {list(self.hold)} and commands.ramp {self.ramp}: at least 1 step")

    @property
    def range(self) -> CommandRange:
        """The configured range, not clipped."""
        return CommandRange(*np.array([self.vx, self.vy, self.yaw_rate], np.float32).T)


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimization, with the names of the arguments of `brax.training.agents.ppo.train`.

    Examples:
      >>> from cmg_jax.rl import PPOConfig
      >>> PPOConfig(num_timesteps=500_000, learning_rate=1e-3).num_envs
      256
    """

    num_timesteps: int = 2_000_000  # the reward of a fixed base hardly rises after them
    num_evals: int = 9  # the first before the training, the others every 266,000 steps
    num_envs: int = 256
    num_eval_envs: int = 64  # more than the 36 commands of the grid
    episode_length: int = 250  # 5 s: two commands, and the change from one to the other
    action_repeat: int = 1  # an action for each frame of the reference
    unroll_length: int = 20  # 0.4 s, four times what the discount sees
    batch_size: int = 256  # sequences of a minibatch
    num_minibatches: int = 4  # 1024 sequences an update, four of each environment
    num_updates_per_batch: int = 4  # passes over the sequences
    learning_rate: float = 5e-4  # the divergence from update to update stays small without ADAPTIVE_KL
    learning_rate_schedule: Literal["ADAPTIVE_KL", "NONE"] = "NONE"
    desired_kl: float = 0.02  # for ADAPTIVE_KL
    entropy_cost: float = 0.0  # actions begin with noise enough
    discounting: float = 0.8  # five steps: a tracker's reward follows its action within a few
    gae_lambda: float = 0.9  # with the discount, an advantage looks about four steps ahead
    clipping_epsilon: float = 0.2  # that of the PPO paper
    max_grad_norm: float = 1.0
    reward_scaling: float = 10.0  # a step's reward is 0.07, so returns are about 3

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                continue
            least = 0 if field.name == "entropy_cost" else math.ulp(0.0)
            if not least <= value < math.inf:
                raise InputError(f"ppo.{field.name} {value} must be a positive number")
        if self.num_evals < 2:
            raise InputError(f"ppo.num_evals {self.num_evals}: at least 2, before and after training")
        if self.batch_size * self.num_minibatches % self.num_envs:
            raise InputError(
                f"ppo.batch_size {self.batch_size} x ppo.num_minibatches {self.num_minibatches} is not a multiple of "
                f"ppo.num_envs {self.num_envs}"
            )

    @property
    def steps_per_update(self) -> int:
        """Environment steps from one update to the next."""
        return self.batch_size * self.num_minibatches * self.unroll_length * self.action_repeat

    @property
    def updates_per_evaluation(self) -> int:
        return math.ceil(self.num_timesteps / ((self.num_evals - 1) * self.steps_per_update))

    @property
    def num_updates(self) -> int:
        """At least `num_timesteps` environment steps, and a whole number of updates between evaluations."""
        return self.updates_per_evaluation * (self.num_evals - 1)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A training run. The file in the run's directory reproduces it.

    Examples:
      >>> from cmg_jax.rl import CommandConfig, PPOConfig, RunConfig
      >>> config = RunConfig(ppo=PPOConfig(num_timesteps=500_000), commands=CommandConfig(vx=(0.0, 1.5)))
      >>> config.ppo.num_envs
      256
    """

    model: str = ""
    """Model directory; the bundled one by default."""
    seed: int = 0
    randomize: bool = False
    """Whether the robot differs between environments (`domain_randomize`)."""
    lookahead_frames: int = 10
    """L of the `streaming` generator; at least the largest offset of env.lookahead."""
    tick: int = 5
    """Steps between two ticks; changes of command take effect on a tick (`on_tick`)."""
    start_from: str = ""
    """Directory of a run whose best policy, value network and normalization this one begins with; by default they are
    new. It has the same layers, observations and meaning of actions; rewards, pushes, commands and gains may differ."""
    standing_fraction: float = 1.0
    """Of the episodes that begin standing; the others begin at a frame of the model's pool."""
    hidden_layers: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of policy and value network."""
    noise_std: float = 0.2
    """Standard deviation of a new policy's actions. Their mean is zero: it follows the bare reference."""
    env: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of `G1Tracking` that differ from its `default_config`."""
    commands: CommandConfig = dataclasses.field(default_factory=CommandConfig)
    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)

    def __post_init__(self):
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed {self.seed} is not from 0 to {2**31 - 1}")
        if self.lookahead_frames < 0 or self.tick < 1 or not 0 < self.noise_std < math.inf:
            raise InputError("lookahead_frames must be 0 or more, tick 1 or more, noise_std positive")
        if not self.hidden_layers or min(self.hidden_layers) < 1:
            raise InputError(f"hidden_layers {list(self.hidden_layers)}: widths of at least one layer are needed")


def read_config(path: Path, base: RunConfig | None = None) -> RunConfig:
    """The configuration in a YAML file.

    Args:
      path: of the file.
      base: has the settings that the file does not name; by default each has its own default.

    Raises:
      InputError: no such file, not YAML, a key that does not exist, or a value of the wrong type.

    Examples:
      >>> from cmg_jax.rl import read_config
      >>> _ = Path("run.yaml").write_text("randomize: true\\nppo: {num_timesteps: 500000}\\n")
      >>> read_config(Path("run.yaml")).ppo.num_timesteps
      500000
    """
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {first_line(error)}") from None
    try:
        return _build(base or RunConfig(), {} if content is None else content, "")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def config_text(config: RunConfig) -> str:
    """The YAML text that `read_config` reads."""
    return yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False)


def _build(base: Any, content: Any, where: str) -> Any:
    """`base` with the settings of `content`."""
    if not isinstance(content, Mapping):
        raise InputError(f"{where.rstrip('.') or 'it'} is not a mapping of settings to values")
    hints = get_type_hints(type(base))
    for key in content:
        if key not in hints:
            raise InputError(f"{where}{key}: no such setting; there are {', '.join(hints)}")
    found = {key: _value(hints[key], value, f"{where}{key}", getattr(base, key)) for key, value in content.items()}
    return dataclasses.replace(base, **found)


def _value(kind: Any, value: Any, where: str, base: Any = None) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(base, value, f"{where}.")
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is not a mapping of settings to values")
        return _merged(base, value)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        open_ended = kinds[-1] is Ellipsis
        if not isinstance(value, list) or not (open_ended or len(value) == len(kinds)):
            raise InputError(
                f"{where} {value!r} is not a list of {'numbers' if open_ended else f'{len(kinds)} numbers'}"
            )
        return tuple(_value(kinds[0], item, where) for item in value)
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if kind is float and number and math.isfinite(value):
        return float(value)
    if kind is int and number and value == int(value):
        return int(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise InputError(f"{where} {value!r} is not one of {', '.join(get_args(kind))}")
    raise InputError(f"{where} {value!r} is not of the type {kind.__name__}")


def _merged(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of `settings` where both have one."""
    out = dict(base)
    for key, value in settings.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = _merged(out[key], value) if both else value
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
