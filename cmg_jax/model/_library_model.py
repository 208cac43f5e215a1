"""Models that hold a library of motions: beside a network, or without one."""

from cmg_jax._errors import InputError
from cmg_jax.model._library import MotionLibrary
from cmg_jax.model._model import CMGConfig, CMGModel


def with_library(model: CMGModel, library: MotionLibrary) -> CMGModel:
    """`model` with a library that `matching` plays; its network stays usable.

    Raises:
      InputError: frames of the library are not those of the model: another robot, another rate, or no root channel.

    Examples:
      >>> library = cmg_jax.build_library(cmg_jax.data.load(Path("walks.npz")))
      >>> both = cmg_jax.with_library(model, library)  # for matching() and for streaming()
      >>> both.library.num_frames == library.num_frames
      True
    """
    config = model.config
    if config.joint_names != library.robot.joint_names:
        raise InputError(
            f"the library is one of the robot {library.robot.name} ({library.robot.num_joints} joints) and the model "
            f"one of {config.robot.name} ({config.num_joints} joints): use model_of_library(library)"
        )
    if config.motion_dim != library.frames.shape[-1] or config.command_dim != 3:
        raise InputError(
            f"frames of the library have {library.frames.shape[-1]} numbers under 3 commands, those of the model "
            f"{config.motion_dim} under {config.command_dim}: use model_of_library(library)"
        )
    if config.fps != library.fps:
        raise InputError(f"the library has {library.fps:g} frames per second and the model {config.fps:g}")
    return model.replace(library=library)


def model_of_library(library: MotionLibrary) -> CMGModel:
    """A model without a network, for `matching` and for what reads a model's robot, rate and command range.

    `cmg_jax.apply` and the modes that run a network refuse it.

    Examples:
      >>> library = cmg_jax.build_library(cmg_jax.data.load(Path("walks.npz")))
      >>> played = cmg_jax.model_of_library(library)
      >>> played.config.fps
      50.0
    """
    config = CMGConfig(library.frames.shape[-1], 3, 1, (1,), (1,), library.robot, library.fps)
    return CMGModel({}, library.stats, None, config, library=library)
