"""Strict settings that user code may have, and fixtures that several tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides XLA's errors about cached programs

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests.shape_checks import check_shapes

# Most of the tests' time goes into compiling, which these options shorten. AVX lacks fused multiply-adds, without which
# a product and a sum round alike in every program. With another level in XLA_FLAGS, such as 3, the tests run the code
# that users have.
QUICK_TO_COMPILE = (
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_max_isa=AVX"
)
EIGHT_DEVICES = " --xla_force_host_platform_device_count=8"
XLA_FLAGS = os.environ.get("XLA_FLAGS", "").replace(EIGHT_DEVICES, "")  # set by the parent process
XLA_FLAGS += QUICK_TO_COMPILE * ("xla_backend_optimization_level" not in XLA_FLAGS)
"""For programs that tests start, which have one device."""
os.environ["XLA_FLAGS"] = XLA_FLAGS + EIGHT_DEVICES

# Every call of a function in these packages is checked against the shapes in its annotations.
SHAPE_CHECKED = ("_rollout", "commands", "envs", "generators", "robot", "model._model", "model._networks")
install_import_hook([f"cmg_jax.{name}" for name in SHAPE_CHECKED], f"{check_shapes.__module__}.{check_shapes.__name__}")

import cmg_jax  # noqa: E402
from cmg_jax.generators import standing_frame  # noqa: E402
from cmg_jax.model._model import CMGConfig, CMGModel  # noqa: E402
from cmg_jax.model._normalization import MotionStats  # noqa: E402
from cmg_jax.robot import G1, Robot  # noqa: E402
from cmg_jax.robot._g1 import robot_of  # noqa: E402
from tests.generator_tools import sampler  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
settings.register_profile("cmg_jax", deadline=None, derandomize=True)
settings.load_profile("cmg_jax")

DATA = Path(__file__).parent / "data"
REFERENCE_MODEL = DATA / "reference_model"
SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Larger real files. More is checked if they are present."""

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the larger data set is not beside the project")


def slow_except(names: Iterable[str], *quick: str) -> list[Any]:
    """Values of a parameter, marked slow but for those that are also in `quick`."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.fixture(scope="session", autouse=True)
def shared_compilations(tmp_path_factory, worker_id):
    """Programs that several tests compile are compiled once in a run, in any of its processes."""
    base = tmp_path_factory.getbasetemp()
    run = base if worker_id == "master" else base.parent
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(run / "compiled"))  # for programs that tests start
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])


@pytest.fixture(scope="session", autouse=True)
def no_progress_lines():
    """On a busy machine a program of a few seconds takes longer than the interval of its lines of progress."""
    from cmg_jax.cli import _progress

    _progress.INTERVAL = 3600.0


@pytest.fixture(scope="session")
def reference_model() -> CMGModel:
    """Converted from a checkpoint of the PyTorch original, which has the golden outputs."""
    return cmg_jax.load(REFERENCE_MODEL)


@pytest.fixture(scope="session")
def model(reference_model: CMGModel) -> CMGModel:
    return reference_model


@pytest.fixture(scope="session")
def bundled() -> CMGModel:
    """The default model, with a root channel."""
    return cmg_jax.default_model()


@pytest.fixture(scope="session")
def policy_model() -> CMGModel:
    """The bundled model without a root channel, whose gait is a robot policy's."""
    return cmg_jax.load("policy")


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """Outputs of the PyTorch implementation for the same checkpoint."""
    with np.load(DATA / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def small_model() -> CMGModel:
    """A random model, all of whose sizes differ from the default's."""
    config = CMGConfig(
        6, 2, 5, (7,), (9, 8, 4), Robot("abc", ("a", "b", "c")), fps=30.0, provenance=(("made", "by a test"),)
    )
    rng = np.random.default_rng(11)
    initialize = jax.jit(config.network.init)
    params = initialize(jax.random.key(3), jnp.zeros((1, 6)), jnp.zeros((1, 2)))["params"]
    mean, std = jnp.asarray(rng.uniform(0.5, 1.5, size=(2, 6)), jnp.float32)
    stats = MotionStats(mean, std, jnp.array([-1.0, -2.0]), jnp.array([2.0, 3.0]))
    return CMGModel(params, stats, jnp.asarray(rng.normal(size=(4, 6)), jnp.float32), config)


@pytest.fixture(scope="session")
def motions(reference_model: CMGModel) -> cmg_jax.MotionBank:
    """17 motions of 20 frames."""
    return cmg_jax.build_bank(reference_model, jax.random.key(9), 17, 20, sampler, block_rows=6)


@pytest.fixture(scope="session")
def tiny_model() -> CMGModel:
    """A random network of three joints, without a pool: every episode begins at the mean."""
    config = CMGConfig(6, 3, 2, (7,), (9, 8), Robot("abc", ("a", "b", "c")))
    params = jax.jit(config.network.init)(jax.random.key(3), jnp.zeros((1, 6)), jnp.zeros((1, 3)))["params"]
    low, high = jnp.array([-1.0, -0.5, -2.0]), jnp.array([1.5, 0.5, 2.0])
    return CMGModel(params, MotionStats(jnp.arange(6.0), jnp.array([1.0, 2, 1, 2, 1, 2]), low, high), None, config)


@pytest.fixture(scope="session")
def root_model() -> CMGModel:
    """A random network of the G1 with a root channel: motion near standing that nobody would walk."""
    size = 64
    config = CMGConfig(size, 3, 2, (7,), (9, 8), G1)
    params = jax.jit(config.network.init)(jax.random.key(5), jnp.zeros((1, size)), jnp.zeros((1, 3)))["params"]
    std = jnp.concatenate([jnp.full(29, 0.1), jnp.full(29, 0.5), jnp.array([0.02, 0.05, 0.05, 0.3, 0.2, 0.4])])
    low, high = jnp.array([-1.0, -0.5, -2.0]), jnp.array([1.5, 0.5, 2.0])
    model = CMGModel(params, MotionStats(jnp.zeros(size), std, low, high), None, config)
    mean = standing_frame(model)
    pool = mean[None] + std[None] * jax.random.normal(jax.random.key(6), (7, size))
    return model.replace(stats=model.stats._replace(motion_mean=mean), initial_motion=pool)


@pytest.fixture(scope="session")
def tiny_root_model() -> CMGModel:
    """A random network of three joints of the G1 and a root channel, without a pool: episodes begin standing."""
    robot = robot_of(("left_knee_joint", "right_knee_joint", "waist_yaw_joint"))
    size = 12
    config = CMGConfig(size, 3, 2, (7,), (9, 8), robot)
    params = jax.jit(config.network.init)(jax.random.key(5), jnp.zeros((1, size)), jnp.zeros((1, 3)))["params"]
    std = jnp.array([0.2, 0.2, 0.1, 1.0, 1.0, 1.0, 0.05, 0.1, 0.1, 0.5, 0.3, 0.6])
    low, high = jnp.array([-1.0, -0.5, -2.0]), jnp.array([1.5, 0.5, 2.0])
    model = CMGModel(params, MotionStats(jnp.zeros(size), std, low, high), None, config)
    return model.replace(stats=model.stats._replace(motion_mean=standing_frame(model)))


@pytest.fixture(scope="module")
def allow_mixed_dtypes():
    """Brax and MJX mix dtypes and ranks, which our code may not."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


PROGRESS = re.compile(r"^cmg-jax \w+: .* so far.*\n", re.MULTILINE)
"""Lines of progress, which only a busy machine has in a test."""


def run_program(*arguments: Any, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """One of our programs, `cmg-jax` or `cmg-convert`, as a user starts it."""
    program = Path(sys.executable).with_name(arguments[0])
    command = [str(program), *map(str, arguments[1:])]
    environment = {**os.environ, "XLA_FLAGS": XLA_FLAGS, **environment}
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=600)
    result.stderr = PROGRESS.sub("", result.stderr)
    return result


def run_in_process(
    capsys: pytest.CaptureFixture[str], *arguments: Any, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Like `run_program`, but in this process: a new one takes seconds to start, load and compile."""
    from cmg_jax.cli.main import main
    from converters.cli import main as convert

    program, *rest = map(str, arguments)
    capsys.readouterr()
    with contextlib.chdir(cwd or Path.cwd()):
        try:
            code = {"cmg-jax": main, "cmg-convert": convert}[program](rest)
        except SystemExit as stop:  # how argparse exits
            code = stop.code
    captured = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, int(code or 0), captured.out, captured.err)


def enable_interrupts() -> None:
    """For `preexec_fn`: a program that a shell starts in the background inherits an ignored Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def refused_line(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The error line of `cmg-jax` for bad arguments, run in this process: exit code 2, nothing on standard output."""
    result = run_in_process(capsys, "cmg-jax", *arguments)
    assert_one_clear_line(result)
    assert result.stdout == ""
    return result.stderr.strip()


def assert_one_clear_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, nothing on standard output, one line that holds `words`."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0], result.stderr
