"""The public names of every package, so that a change of one is deliberate, and what each of them must have."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
import typing

import pytest
from jax.typing import DTypeLike

import cmg_jax

NAMES = {
    "cmg_jax": """
        CMGConfig CMGModel CMGMotionGenerator Generator GeneratorState InputError MotionBank MotionFrame
        MotionLibrary MotionStats __version__ apply at_time build_bank build_library compilation_cache compile_ahead
        default_model generate guarded load load_bank matching mirrored model_of_library on_tick pregenerated
        realtime replay save standing_frame streaming switch with_library
    """,
    "cmg_jax.commands": """
        COMMAND_LABELS COMMAND_NAMES COMMAND_UNITS ORIGINAL_PRESETS ORIGINAL_RANGE ORIGINAL_STAGES CommandRange
        CommandSampler HeldCommand Smoother SmootherState clip curriculum forward_only hold hold_each interpolate
        next_held normal presets ramp rate_limit read_schedule sequence stages trained_range truncated_normal uniform
        with_minimum_speed with_standing within
    """,
    "cmg_jax.data": """
        ALWAYS LEFT MAYBE NEVER RIGHT Dataset Options Row Windows build load make_windows save
    """,
    "cmg_jax.envs": """
        KeyBodies Reference ReferenceMotionWrapper ReferenceSource WrapEnvFn empty_reference make_wrap_env_fn
    """,
    "cmg_jax.evaluation": """
        COMPONENTS MOVING STAGES STILL STRIDE_SECONDS Settings default_grid evaluate report_json report_text
    """,
    "cmg_jax.export": """
        OPSET PLATFORMS TOLERANCE check_onnx check_stablehlo onnx_model stablehlo state_dict torch_file
    """,
    "cmg_jax.gaits": """
        Made Options Source build
    """,
    "cmg_jax.generators": """
        CMGMotionGenerator Generator GeneratorState GuardCounts GuardedState InitFn LookaheadFn MatchingState
        MirroredState MotionFrame PregeneratedState ReplayState ResetFn RollingState RootAhead SetCommandFn StepFn
        TickState at_time build_bank compilation_cache compile_ahead generate_sharded guarded matching mesh mirrored
        on_tick pregenerated realtime replay replicate root_ahead shard_rows sharded standing_frame streaming switch
    """,
    "cmg_jax.library": """
        FeatureWeights RolloutOptions beyond_library build_library nearest_command rollouts walked_velocity
    """,
    "cmg_jax.model": """
        CMG CMGConfig CMGModel MotionBank MotionLibrary MotionStats Precision Tile apply apply_normalized default_model
        default_model_path denormalize_command denormalize_motion expert_coefficients load model_of_library
        normalize_command normalize_motion param_shapes save with_kernels with_library with_precision without_kernels
    """,
    "cmg_jax.motion_files": """
        FORMATS ROOTS SUFFIXES Assume Check Clip Inspection Motion MotionFileError Note Reading format_name inspect
        is_motion_file of_trajectory read write
    """,
    "cmg_jax.pickles": """
        Handler PickleError Placeholder Writer dumps load load_npy load_npz
    """,
    "cmg_jax.rl": """
        CommandConfig Feasibility G1Tracking PPOConfig PlayResult RunConfig RunSetup check_feasibility default_config
        domain_randomize evaluate play policy_onnx read_config set_up train
    """,
    "cmg_jax.robot": """
        G1 G1_23_JOINTS G1_29_JOINTS BodyPoses BodyVelocities Contacts FramePart Kinematics Mirror MotionFrame
        Robot RootMotion RootPose RootState commanded_velocity contacts foot_contacts frame_parts ground_height
        indices init_root integrate_command integrate_root join_frame kinematics mirror_command mirror_frame
        mirror_joints mirror_motion place_root reset_root root_channel root_from_feet root_motion root_on_floor
        sole_points
        soles_in_world split_frame stance_velocity step_root
    """,
    "cmg_jax.store": """
        DTYPES SUFFIX FillReport MotionStore StoreConfig chunks_of_part create_store fill load_bank open_store read
    """,
    "cmg_jax.training": """
        RunOptions TrainConfig train validate
    """,
    "cmg_jax.view": """
        Drive Pacer Page Playback Pose Skeleton read_commands
    """,
    "cmg_jax.viz": """
        SheetEntry choose_gl draw_contact_sheet plot_clip plot_commands plot_evaluation plot_learning_curve
        plot_motion render_motion require_matplotlib require_writer
    """,
}
"""Package: all names of its `__all__`, in their order."""

TYPED = ("cmg_jax.generators", "cmg_jax.envs")
"""Packages whose signatures must not mention `Any`, as that of `cmg_jax.generate` must not."""

PUBLIC = [(package, name) for package, names in NAMES.items() for name in names.split()]
CODE = [(package, name) for package, name in PUBLIC if callable(getattr(importlib.import_module(package), name))]


@pytest.mark.parametrize("package", NAMES)
def test_a_package_has_these_names(package):
    module = importlib.import_module(package)
    assert module.__all__ == NAMES[package].split()
    assert module.__all__ == sorted(module.__all__, key=_order)
    assert all(hasattr(module, name) for name in module.__all__)
    assert module.__doc__


def test_every_package_with_public_names_is_listed():
    found = {"cmg_jax"}
    for info in pkgutil.iter_modules(cmg_jax.__path__, "cmg_jax."):
        if info.ispkg and getattr(importlib.import_module(info.name), "__all__", []):
            found.add(info.name)
    assert found == NAMES.keys()


@pytest.mark.parametrize(("package", "name"), CODE)
def test_a_function_or_class_is_documented(package, name):
    thing = getattr(importlib.import_module(package), name)
    if isinstance(thing, type | types.FunctionType):
        assert thing.__doc__
        assert not thing.__doc__.startswith(f"{name}("), "NamedTuple's and dataclass's own text"


@pytest.mark.parametrize(("package", "name"), [("cmg_jax", "generate"), *(pair for pair in CODE if pair[0] in TYPED)])
def test_a_signature_mentions_no_any(package, name):
    thing = getattr(importlib.import_module(package), name)
    functions = [thing] if isinstance(thing, types.FunctionType) else []
    if isinstance(thing, type):
        functions = [
            function
            for key, function in vars(thing).items()
            if isinstance(function, types.FunctionType)
            and (key in ("__init__", "__call__") or not key.startswith("_"))
            and function.__module__.startswith("cmg_jax")
        ]
    for function in functions:
        for annotation in (parameter.annotation for parameter in _parameters(function)):
            assert not _mentions_any(annotation), f"{function.__qualname__}: {annotation}"


def test_importing_all_packages_is_light():
    heavy = ("brax", "matplotlib", "mujoco", "mujoco.mjx", "mujoco_playground", "orbax", "viser")
    code = f"import sys, {', '.join(NAMES)}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def _order(name):
    """Constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _parameters(function):
    signature = inspect.signature(function)
    yield from signature.parameters.values()
    yield inspect.Parameter("returns", inspect.Parameter.KEYWORD_ONLY, annotation=signature.return_annotation)


def _mentions_any(annotation) -> bool:
    if annotation == DTypeLike:  # jax's own, which has type[Any]
        return False
    return annotation is typing.Any or any(
        _mentions_any(part)
        for argument in typing.get_args(annotation)
        for part in (argument if isinstance(argument, list) else [argument])
    )
