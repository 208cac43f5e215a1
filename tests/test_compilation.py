"""Functions that are compiled ahead compile nothing when called, and return the same results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from tests.conftest import assert_one_clear_line, run_program
from tests.generator_tools import commands, first, flat, jitted

ENVS = 6


@pytest.fixture
def compilations():
    """The number of programs compiled since, as counted by jax."""
    seen = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_generator_compiled_ahead(model, compilations):
    generator = cmg_jax.streaming(2)
    command, other = commands(1, ENVS), commands(2, ENVS)
    done, key = jnp.arange(ENVS) % 2 == 0, jax.random.key(3)
    served, counts = [], []
    for functions in (jitted(generator), cmg_jax.compile_ahead(model, ENVS, generator=generator)):
        state = functions.init(model, key, command)
        compilations.clear()
        state = functions.reset(model, state, done, key, other)
        state, _ = functions.step(model, state)
        state = functions.set_command(model, state, other)
        state, frame = functions.step(model, state)
        served.append(flat(frame))
        counts.append(len(compilations))
    assert counts[0] >= 3, "step, reset and set_command, when they are called"
    assert counts[1] == 0, "compiled ahead"
    np.testing.assert_allclose(served[0], served[1], atol=1e-6)
    assert served[0].std() > 0.1


def test_the_state_is_donated_by_default(model):
    for donate in (True, False):
        model = model.replace(bank=small_pool(model))
        generator = cmg_jax.compile_ahead(model, ENVS, generator=cmg_jax.replay(), donate=donate)
        state = generator.init(model, jax.random.key(0), commands(1, ENVS))
        generator.step(model, state)
        assert state.frame_index.is_deleted() == donate


def small_pool(model):
    return cmg_jax.build_bank(model, jax.random.key(1), 3, 2, commands_of)


def commands_of(key, number):
    return jax.random.uniform(key, (number, 3))


def test_generate_compiled_ahead(model, compilations):
    generate = cmg_jax.compile_ahead(model, ENVS, steps=3, time_major=True)
    motion, orders = first(1, ENVS), jnp.repeat(commands(1, ENVS)[:, None], 3, axis=1)
    compilations.clear()
    trajectory = generate(model, motion, orders)
    assert not compilations
    expected = jax.jit(cmg_jax.generate, static_argnames="time_major")(model, motion, orders, time_major=True)
    np.testing.assert_allclose(trajectory, expected, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"steps": 3, "generator": cmg_jax.streaming(1)}, {"steps": 0}])
def test_invalid_options_of_compile_ahead_are_refused(model, options):
    with pytest.raises(InputError):
        cmg_jax.compile_ahead(model, 4, **options)


@pytest.mark.slow
def test_a_second_process_takes_its_programs_from_the_cache(tmp_path):
    arguments = ("cmg-jax", "--compilation-cache", tmp_path / "cache", "generate", "--seconds", 0.2)
    kept = []
    for _ in range(2):
        # The log level of a user, not that of the tests.
        result = run_program(*arguments, JAX_COMPILATION_CACHE_DIR="", TF_CPP_MIN_LOG_LEVEL="1")
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        kept.append(sorted(path.name for path in (tmp_path / "cache").iterdir() if path.name.endswith("-cache")))
    assert len(kept[0]) > 1
    assert kept[0] == kept[1]
    (tmp_path / "file").write_text("")
    bad = run_program("cmg-jax", "--compilation-cache", tmp_path / "file", "info")
    assert_one_clear_line(bad, "cannot be a compilation cache")
