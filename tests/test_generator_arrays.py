"""Every mode keeps its dtypes under jax_enable_x64, computes no NaN, and accepts states of NumPy arrays."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from tests.generator_tools import BATCH, flat
from tests.library_tools import library_of
from tests.test_generators import ALL, CONTRACT, MODES

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(2)
COMMANDS = RNG.uniform((-1.0, -0.5, -2.0), (1.5, 0.5, 2.0), (4, BATCH, 3))  # float64
MOTION = RNG.normal(size=(BATCH, 12))
DONE = np.arange(BATCH) % 3 == 0
FUNCTIONS = ("init", "drawn", "reset", "drawn again", "start", "set_command", "step", "lookahead", "at_time")


@pytest.fixture(scope="module")
def pooled(tiny_root_model):
    """A tiny model with a root channel, a bank of 17 motions of 20 frames, a library, and a pool of first frames."""

    def draw(key, number):
        return jax.random.uniform(key, (number, 3), jnp.float32)

    bank = cmg_jax.build_bank(tiny_root_model, jax.random.key(9), 17, 20, draw)
    model = tiny_root_model.replace(bank=bank, initial_motion=bank.frames[3])
    return cmg_jax.with_library(model, library_of(model.config.robot))


def calls(generator, through=lambda tree: tree):
    """What each function returns, in the order of FUNCTIONS, with the model and the states passed through `through`."""

    def run(model):
        model, key = through(model), jax.random.key(1)
        state = generator.init(model, key, COMMANDS[0])
        yield state
        yield generator.init(model, key, None, num_envs=BATCH)
        state = generator.reset(model, through(state), DONE, key, COMMANDS[1])
        yield state
        state = generator.reset(model, through(state), DONE.astype(float), key, None)
        yield state
        yield generator.reset(model, through(state), DONE, key, COMMANDS[1], MOTION)
        state = generator.set_command(model, through(state), COMMANDS[2])
        yield state
        state, frame = generator.step(model, through(state))
        yield state, frame
        yield generator.lookahead(model, through(state), (0, 1, 3))
        yield cmg_jax.at_time(generator, model, through(state), np.array([0.0, 0.031, 0.06]))

    return lambda model: dict(zip(FUNCTIONS, run(model), strict=True))


def described(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("name", CONTRACT)
def test_dtypes_and_numbers_are_the_same_under_x64(name, pooled):
    run = calls(ALL[name]())
    expected = jax.jit(run)(pooled)
    with jax.enable_x64(True):
        found = jax.jit(run)(pooled)
    assert described(found) == described(expected)
    assert not {leaf.dtype for leaf in jax.tree.leaves(found)} & {np.dtype("float64"), np.dtype("int64")}
    for function in FUNCTIONS:
        for one, other in zip(*map(jax.tree.leaves, (found[function], expected[function])), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=function)


@pytest.mark.parametrize("name", CONTRACT)
def test_states_and_models_may_be_numpy_arrays_and_no_intermediate_is_nan(name, pooled):
    generator = ALL[name]()
    with jax.debug_nans(True):
        expected = jax.jit(calls(generator))(pooled)
        found = calls(generator, lambda tree: jax.tree.map(np.asarray, tree))(pooled)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
    assert described(found) == described(expected)
    for function in FUNCTIONS:
        for one, other in zip(*map(jax.tree.leaves, (found[function], expected[function])), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=function)


@pytest.mark.parametrize("name", CONTRACT)
def test_a_state_of_numpy_arrays_may_be_closed_over(name, pooled):
    generator = ALL[name]()
    state = jax.jit(generator.init)(pooled, jax.random.key(0), COMMANDS[0])
    restored = jax.tree.map(np.asarray, state)

    def run(model, state):
        changed = generator.set_command(model, state, COMMANDS[1])
        return changed, generator.step(model, state), generator.lookahead(model, state, (0, 1))

    expected, found = jax.jit(run)(pooled, state), jax.jit(lambda model: run(model, restored))(pooled)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), found, expected)


def test_switch_takes_a_state_of_numpy_arrays(pooled):
    for generator, to in ((ALL["realtime"](), ALL["bank"]()), (ALL["wrapped"](), ALL["loop"]())):
        state = generator.init(pooled, jax.random.key(0), COMMANDS[0])
        key = jax.random.key(1)
        expected = cmg_jax.switch(generator, to, pooled, state, key)
        found = cmg_jax.switch(generator, to, pooled, jax.tree.map(np.asarray, state), key)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_apply_and_generate_return_float32_for_any_dtype(pooled):
    commands = COMMANDS[0][:, None].repeat(4, axis=1)
    expected = cmg_jax.generate(pooled, MOTION, commands)
    with jax.enable_x64(True):
        frame = cmg_jax.apply(pooled, jnp.asarray(MOTION), jnp.asarray(COMMANDS[0]))
        trajectory = jax.jit(cmg_jax.generate)(pooled, jnp.asarray(MOTION), jnp.asarray(commands))
    assert frame.dtype == trajectory.dtype == np.float32
    np.testing.assert_allclose(trajectory, expected, atol=1e-5)
    np.testing.assert_allclose(frame, expected[:, 1], atol=1e-5)


# Commands that the bank draws.


@pytest.mark.parametrize("name", ALL)
def test_every_mode_draws_commands_from_the_bank_in_the_same_way(name, pooled):
    generator = ALL[name]()
    known = {tuple(command) for command in np.asarray(pooled.bank.command)}
    state = jax.jit(generator.init, static_argnames="num_envs")(pooled, jax.random.key(3), None, num_envs=BATCH)

    def asked(state):  # before mirroring: a mirrored row has the mirror image
        state = state.inner if hasattr(state, "counts") else state
        return np.asarray(state.inner.command if hasattr(state, "mirror") else state.command)

    first = asked(state)
    assert {tuple(command) for command in first} <= known
    assert len(np.unique(first, axis=0)) > 3
    again = asked(jax.jit(generator.reset)(pooled, state, DONE, jax.random.key(4), None))
    assert {tuple(command) for command in again} <= known
    np.testing.assert_array_equal(again[~DONE], first[~DONE])
    assert (again[DONE] != first[DONE]).any()
    for command, model, words in (
        (None, pooled, "or num_envs for the number"),
        (None, pooled.replace(bank=None), "pass the commands"),
        (COMMANDS[0], pooled, r"must be \[3, 3\]"),
    ):
        options = {} if command is None and model is pooled else {"num_envs": 3}
        with pytest.raises(InputError, match=words):
            generator.init(model, jax.random.key(0), command, **options)
    with pytest.raises(InputError, match="only a bank draws them"):
        calls(MODES["loop"]())(pooled.replace(bank=None))


# The cost of a bank.


@pytest.mark.parametrize("name", ["bank", "streaming from a bank"])
def test_on_a_cpu_the_nearest_motion_is_searched_only_for_the_rows_concerned(name, pooled):
    rows, motions = 600, len(pooled.bank.command)
    generator = ALL[name]()
    command, done = jnp.zeros((rows, 3)), jnp.zeros(rows, bool)
    state = jax.eval_shape(generator.init, pooled, jax.random.key(0), command)
    for function, arguments in (
        (generator.reset, (done, jax.random.key(0), command)),
        (generator.set_command, (command, done)),
    ):
        if (name, function) == ("streaming from a bank", generator.set_command):
            continue
        lowered = jax.jit(function).trace(pooled, state, *arguments).lower(lowering_platforms=("cpu",))
        searched = {int(rows) for rows in re.findall(rf"tensor<(\d+)x{motions}x\w+>", lowered.as_text())}
        assert searched >= {16, 512}, "chunks of the rows concerned"
        assert rows not in searched


@pytest.mark.parametrize("name", ["bank", "streaming from a bank", "wrapped"])
def test_a_bank_is_an_argument_and_outlives_a_donated_state(name, pooled):
    generator = ALL[name]()
    init = jax.jit(generator.init, static_argnames="num_envs")
    constants = jax.make_jaxpr(lambda model: generator.init(model, jax.random.key(0), COMMANDS[0]))(pooled).consts
    assert max((np.size(constant) for constant in constants), default=0) <= COMMANDS[0].size
    state = init(pooled, jax.random.key(0), None, num_envs=BATCH)
    step = jax.jit(generator.step, donate_argnums=1)
    state, _ = step(pooled, state)
    state, frame = step(pooled, state)
    assert np.isfinite(flat(frame)).all()
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(pooled))


# Mapped axes of the user.


@pytest.mark.parametrize("name", ["bank", "wrapped", "streaming"])
def test_a_mapped_axis_of_any_name_does_not_change_draws(name, pooled):
    generator = ALL[name]()
    keys = jax.random.split(jax.random.key(5), 2)

    def start(axis):
        def one(key):
            return generator.init(pooled, key, COMMANDS[0])

        return jax.jit(jax.vmap(one, axis_name=axis))(keys)

    named = start("environments")
    jax.tree.map(np.testing.assert_array_equal, named, start("rows"))
    first = jax.jit(generator.init)(pooled, keys[0], COMMANDS[0])
    jax.tree.map(lambda both, one: np.testing.assert_allclose(both[0], one, atol=1e-5), named, first)
