"""The examples in the docstrings of public functions and classes run, and print what they say."""

import doctest
import importlib
import inspect
import types
from pathlib import Path

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax import commands, data, motion_files
from tests.test_public_names import NAMES
from tests.test_readme import PAGES

PACKAGES = [package for package in NAMES if package != "cmg_jax.pickles"]  # for readers of files, not for users
PUBLIC = {
    f"{package}.{name}": thing
    for package in PACKAGES
    for name in NAMES[package].split()
    if isinstance(thing := getattr(importlib.import_module(package), name), type | types.FunctionType)
}
EXAMPLES = {name: thing for name, thing in PUBLIC.items() if "Examples:" in (inspect.getdoc(thing) or "")}
EXAMPLES = {name: EXAMPLES[name] for name in {thing: name for name, thing in reversed(EXAMPLES.items())}.values()}

NOT_RUN = {
    "cmg_jax.compilation_cache": "it changes jax for the whole process",
    "cmg_jax.gaits.build": "it needs minutes of recordings",
    "cmg_jax.library.rollouts": "compiling it takes seconds; test_library.py calls it",
    "cmg_jax.evaluation.evaluate": "it generates minutes of motion; test_evaluation.py calls it",
    "cmg_jax.evaluation.report_text": "it needs a report of evaluate",
    "cmg_jax.viz.plot_evaluation": "it needs a report of evaluate",
    "cmg_jax.training.train": "it trains for an hour; test_training.py and a notebook do so in small",
    "cmg_jax.training.validate": "it needs a trained model",
    "cmg_jax.rl.train": "it trains for minutes; test_rl_program.py does so in small",
    "cmg_jax.rl.play": "it needs a trained policy",
    "cmg_jax.rl.policy_onnx": "it needs a trained policy",
    "cmg_jax.rl.evaluate": "it needs a trained policy",
    "cmg_jax.view.Page": "it serves a page until it is interrupted",
    "cmg_jax.viz.choose_gl": "it chooses OpenGL for the whole process, before MuJoCo is imported",
    "cmg_jax.viz.draw_contact_sheet": "it loads OpenGL; test_program.py draws in a process of its own",
    "cmg_jax.viz.render_motion": "it loads OpenGL; test_program.py draws in a process of its own",
}
"""Examples that do not run here, and why."""

MADE_BY_OTHERS = {
    "cmg_jax": "Generator GeneratorState MotionBank MotionLibrary MotionStats",
    "cmg_jax.commands": "CommandSampler HeldCommand Smoother SmootherState",
    "cmg_jax.data": "Row Windows",
    "cmg_jax.envs": "KeyBodies Reference ReferenceMotionWrapper WrapEnvFn",
    "cmg_jax.gaits": "Made Source",
    "cmg_jax.generators": """
        GuardCounts GuardedState InitFn LookaheadFn MatchingState MirroredState PregeneratedState ReplayState ResetFn
        RollingState RootAhead SetCommandFn StepFn TickState
    """,
    "cmg_jax.model": "CMG Tile",
    "cmg_jax.motion_files": "Check Clip Inspection MotionFileError Note Reading",
    "cmg_jax.rl": "Feasibility PlayResult RunSetup",
    "cmg_jax.robot": """
        BodyPoses BodyVelocities Contacts FramePart Kinematics Mirror RootMotion RootPose RootState
    """,
    "cmg_jax.store": "FillReport MotionStore StoreConfig",
    "cmg_jax.view": "Pose",
    "cmg_jax.viz": "SheetEntry",
}
"""Classes without an example of their own: what functions return or take, whose examples show them, and protocols."""


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples share: the names that docs/reference/index.md imports, and files."""
    (_, code), *_ = PAGES["docs/reference/index.md"]
    names: dict = {}
    exec(code, names)
    return names


@pytest.fixture(scope="module")
def files(tmp_path_factory, names):
    """A directory with six seconds of standing, walking and standing, as a motion file and as a data set."""
    folder, model = tmp_path_factory.mktemp("examples"), names["model"]
    schedule = commands.hold_each([(0, 0, 0), (0.8, 0, 0), (0, 0, 0)], 6.0, model.config.fps)
    walk = np.asarray(jax.jit(cmg_jax.generate)(model, cmg_jax.standing_frame(model), schedule))
    motion_files.write(folder / "walk.npz", motion_files.of_trajectory(model.config, walk, schedule))
    data.save(folder / "walks.npz", data.build([folder / "walk.npz"])[0])
    return folder


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in NOT_RUN])
def test_an_example_prints_what_it_says(name, names, files, tmp_path, monkeypatch, request):
    if name.startswith(("cmg_jax.rl", "cmg_jax.envs")):
        request.getfixturevalue("allow_mixed_dtypes")
    monkeypatch.chdir(tmp_path)
    for path in files.iterdir():
        Path(path.name).symlink_to(path)
    test = _test(name, names)
    assert test.examples
    report = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not failed, "".join(report)


@pytest.mark.parametrize("name", NOT_RUN)
def test_an_example_that_does_not_run_is_python(name, names):
    for example in _test(name, names).examples:
        compile(example.source, name, "single")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_and_class_has_an_example(package):
    without = {
        name
        for name in NAMES[package].split()
        if f"{package}.{name}" in PUBLIC and "Examples:" not in (inspect.getdoc(PUBLIC[f"{package}.{name}"]) or "")
    }
    listed = set(" ".join(MADE_BY_OTHERS.values()).split())
    assert not {name for name in without if not isinstance(PUBLIC[f"{package}.{name}"], type)}
    assert without <= listed
    assert not {name for name in MADE_BY_OTHERS.get(package, "").split() if name not in without}, "it has one now"


def _test(name: str, names: dict) -> doctest.DocTest:
    """The example of a public name, which has all that it needs beside `names`."""
    text = inspect.getdoc(EXAMPLES[name]) or ""
    return doctest.DocTestParser().get_doctest(text[text.index("Examples:") :], dict(names), name, None, None)
