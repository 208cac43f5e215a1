"""`CMGModel`: everything that generation needs, as one pytree."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax._errors import InputError
from cmg_jax.model import _normalization, _padding
from cmg_jax.model._library import MotionLibrary
from cmg_jax.model._networks import CMG
from cmg_jax.model._normalization import MotionStats
from cmg_jax.model._padding import Kernels
from cmg_jax.robot import FramePart, Robot, _frame, frame_parts


@dataclasses.dataclass(frozen=True)
class CMGConfig:
    """The static part of a model: architecture, robot, frame rate and provenance.

    Examples:
      >>> model.config.num_joints, model.config.motion_dim, model.config.fps
      (29, 64, 50.0)
      >>> small = cmg_jax.CMGConfig(64, 3, 4, (128,), (128, 128), model.config.robot)
      >>> small.has_root
      True
    """

    motion_dim: int
    command_dim: int
    num_experts: int
    gate_dims: tuple[int, ...]
    hidden_dims: tuple[int, ...]
    robot: Robot
    """The robot; a frame has its joints."""
    fps: float = 50.0
    provenance: tuple[tuple[str, str], ...] = dataclasses.field(default=(), compare=False)
    """Pairs of key and text, as `cmg-jax info` prints them. Not compared between configurations."""

    def __post_init__(self):
        dims = (self.motion_dim, self.num_joints, self.command_dim)
        sizes = (*dims, self.num_experts, *self.gate_dims, *self.hidden_dims)
        if min(sizes) < 1:
            raise InputError(f"sizes {sizes}: all must be at least 1")
        names = self.robot.joint_names
        if len(set(names)) != len(names):
            raise InputError(f"joint_names must be {len(names)} different names")
        _frame.has_root(self.motion_dim, len(names))
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps {self.fps} is not a positive number of frames per second")

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.robot.joint_names

    @property
    def num_joints(self) -> int:
        """J, the number of joints in a frame."""
        return self.robot.num_joints

    @property
    def has_root(self) -> bool:
        """Whether a frame has a root channel."""
        return _frame.has_root(self.motion_dim, self.num_joints)

    @property
    def frame_parts(self) -> tuple[FramePart, ...]:
        """What a frame's D = `motion_dim` numbers are, in their order: names, sizes and units."""
        return frame_parts(self.num_joints, root=self.has_root)

    def check_velocity_commands(self, what: str) -> None:
        """Raise InputError unless commands are vx, vy and yaw rate, which `what` needs."""
        if self.command_dim != 3:
            raise InputError(f"{what} needs commands vx, vy and yaw rate; the model's are {self.command_dim} numbers")

    def check_robot(self, robot: Robot, what: str) -> None:
        """Raise InputError unless the model is one of `robot`, with any of its joints, under velocity commands."""
        self.check_velocity_commands(what)
        if self.robot.mjcf != robot.mjcf:
            names = ", ".join(self.joint_names[:2])
            raise InputError(f"{what} needs a model of the robot {robot.name}; this one's joints are {names}, ...")

    def check_walks(self, what: str) -> None:
        """Raise InputError unless commands are velocities and the robot's feet are known; `what` needs that."""
        self.check_velocity_commands(what)
        if not self.robot.walks:
            names = ", ".join(self.joint_names[:2])
            lack = "feet and a free joint" if self.robot.has_mjcf else "MJCF"
            raise InputError(f"{what} needs the {lack} of the model's robot, which are not known (joints {names}, ...)")

    @functools.cached_property
    def without_provenance(self) -> "CMGConfig":
        """The static part of a model's tree. Cached, because every call of a jitted function compares it."""
        return dataclasses.replace(self, provenance=())

    @property
    def network(self) -> CMG:
        return CMG(self.motion_dim, self.num_experts, self.gate_dims, self.hidden_dims)


class MotionBank(NamedTuple):
    """M motions of F frames, each under one command. `build_bank` and `load_bank` make one."""

    frames: Float[Array, "F M D"]  # normalized
    command: Float[Array, "M C"]  # physical
    command_low: Float[Array, "C"]  # draws choose motions whose command lies between these two;
    command_high: Float[Array, "C"]  # a curriculum may replace them with `_replace` at any time


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class CMGModel:
    """A conditional motion generator. A pytree: pass it as an argument, never close over it.

    Two models of one configuration have the same tree structure: what was compiled for one model runs for the other,
    and `jax.tree.map` accepts both together. The provenance in a configuration describes the arrays as they were loaded
    and is not part of the tree: a model that comes out of `jax.jit` or `jax.tree.map` has none.

    Examples:
      >>> without_pool = model.replace(initial_motion=None)  # episodes begin standing
      >>> without_pool.config == model.config
      True
    """

    params: Any
    """Parameters of `config.network`; padded if there are `kernels`."""
    stats: MotionStats
    initial_motion: Float[Array, "N D"] | None
    """A pool of frames that a motion may start from; None if the checkpoint had none."""
    config: CMGConfig
    bank: MotionBank | None = None
    """Motions that generators play and draw commands from. `model.replace(bank=...)` sets it; `save` leaves it out."""
    kernels: Kernels | None = None
    """How the network runs as kernels on a GPU. `with_kernels` sets it; `save` leaves it out."""
    library: MotionLibrary | None = None
    """Clips that `matching` plays. `with_library(model, library)` sets it; `save` leaves it out."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], CMGConfig]:
        children = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in _CHILDREN]
        return children, self.config.without_provenance

    def tree_flatten(self) -> tuple[list[Any], CMGConfig]:
        children, config = self.tree_flatten_with_keys()
        return [child for _, child in children], config

    @classmethod
    def tree_unflatten(cls, config: CMGConfig, children: Any) -> Self:
        return cls(config=config, **dict(zip(_CHILDREN, children, strict=True)))


_CHILDREN = ("params", "stats", "initial_motion", "bank", "kernels", "library")


def without_kernels(model: CMGModel) -> CMGModel:
    """The model that `with_kernels` was given: parameters without padding. One without kernels is returned as it is.

    Examples:
      >>> from cmg_jax.model import with_kernels, without_kernels
      >>> without_kernels(with_kernels(model)).kernels is None
      True
    """
    if model.kernels is None:
        return model
    config = model.config
    inputs = config.motion_dim + config.command_dim
    gate_sizes = (inputs, *config.gate_dims, config.num_experts)
    params = _padding.unpad(model.params, gate_sizes, (inputs, *config.hidden_dims, config.motion_dim))
    return model.replace(params=params, kernels=None)


def apply(model: CMGModel, motion: ArrayLike, command: ArrayLike) -> Float[Array, "... D"]:
    """The next frame.

    Args:
      model: the model.
      motion: last frame [..., D], physical.
      command: command [..., C], physical (m/s, m/s, rad/s).

    Returns:
      The next frame [..., D], physical, float32.

    Examples:
      >>> frame = cmg_jax.apply(model, cmg_jax.standing_frame(model), jnp.array([0.8, 0.0, 0.0]))
      >>> frame.shape
      (64,)
    """
    motion, command = jnp.asarray(motion, jnp.float32), jnp.asarray(command, jnp.float32)
    normalized = apply_normalized(
        model,
        _normalization.normalize_motion(model.stats, motion),
        _normalization.normalize_command(model.stats, command),
    )
    return _normalization.denormalize_motion(model.stats, normalized)


def apply_normalized(
    model: CMGModel, motion: Float[ArrayLike, "*batch D"], command: Float[ArrayLike, "*batch C"]
) -> Float[Array, "*batch D"]:
    """`apply` in the units of the network: all arrays are normalized.

    Examples:
      >>> from cmg_jax.model import apply_normalized, normalize_command, normalize_motion
      >>> motion = normalize_motion(model.stats, cmg_jax.standing_frame(model))
      >>> command = normalize_command(model.stats, jnp.array([0.8, 0.0, 0.0]))
      >>> apply_normalized(model, motion, command).shape
      (64,)
    """
    _require_network(model)
    if model.kernels is not None:
        return _fused(model, jnp.asarray(motion), jnp.asarray(command))
    frame: jax.Array = model.config.network.apply({"params": model.params}, motion, command)  # pyright: ignore
    return frame


def _fused(model: CMGModel, motion: jax.Array, command: jax.Array) -> jax.Array:
    """`apply_normalized` as kernels where they can run. Its gradients are those of the model without kernels."""
    from cmg_jax.model import _pallas  # Pallas takes a moment to import

    kernels = model.kernels
    assert kernels is not None

    def on_gpu(params: Any, motion: jax.Array, command: jax.Array) -> jax.Array:
        x = jnp.concatenate([motion, command], axis=-1)
        x = x.reshape(-1, x.shape[-1])
        x = jnp.pad(x, ((0, 0), (0, _padding.up_to(_padding.FEATURES, x.shape[1]) - x.shape[1])))
        frame = _pallas.network(params, x, kernels.tiles, interpret=kernels.interpret)
        return frame[:, : motion.shape[-1]].reshape(motion.shape)

    def elsewhere(params: Any, motion: jax.Array, command: jax.Array) -> jax.Array:
        return apply_normalized(without_kernels(model.replace(params=params)), motion, command)

    @jax.custom_vjp
    def frame(*arguments: Any) -> jax.Array:
        if kernels.interpret:
            return on_gpu(*arguments)
        return lax.platform_dependent(*arguments, cuda=on_gpu, default=elsewhere)

    def backward(arguments: Any, gradient: jax.Array) -> Any:
        return jax.vjp(elsewhere, *arguments)[1](gradient)

    frame.defvjp(lambda *arguments: (frame(*arguments), arguments), backward)
    return frame(model.params, motion, command)


def expert_coefficients(model: CMGModel, motion: ArrayLike, command: ArrayLike) -> Float[Array, "... E"]:
    """The weights that the gate gives the experts, [..., E], which sum to 1. Arguments are those of `apply`.

    Examples:
      >>> from cmg_jax.model import expert_coefficients
      >>> coefficients = expert_coefficients(model, cmg_jax.standing_frame(model), jnp.array([0.8, 0.0, 0.0]))
      >>> coefficients.shape
      (4,)
      >>> print(f"{coefficients.sum():.3f}")
      1.000
    """
    motion, command = jnp.asarray(motion, jnp.float32), jnp.asarray(command, jnp.float32)
    _require_network(model)
    model = without_kernels(model)
    coefficients: jax.Array = model.config.network.apply(  # pyright: ignore
        {"params": model.params},
        _normalization.normalize_motion(model.stats, motion),
        _normalization.normalize_command(model.stats, command),
        method="coefficients",
    )
    return coefficients


def _require_network(model: CMGModel) -> None:
    if not model.params:
        raise InputError("this model holds a library of motions and no network; play it with cmg_jax.matching")


def param_shapes(config: CMGConfig) -> Any:
    """The tree of parameters, with `jax.ShapeDtypeStruct` leaves.

    Examples:
      >>> from cmg_jax.model import param_shapes
      >>> param_shapes(model.config)["layers_0"]["kernel"].shape  # input, expert x output
      (2048, 67)
    """
    motion, command = (jax.ShapeDtypeStruct((1, size), jnp.float32) for size in (config.motion_dim, config.command_dim))
    return jax.eval_shape(config.network.init, jax.random.key(0), motion, command)["params"]
