"""One contract for all modes, and what each mode adds."""

import inspect
import math
import pydoc
import typing

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmg_jax
from cmg_jax import InputError, at_time
from cmg_jax.robot import join_frame
from tests.conftest import slow_except
from tests.generator_tools import BATCH, commands, first, flat, jitted, play, reference, sampler
from tests.library_tools import small_library

MODES = {
    "loop": lambda: cmg_jax.pregenerated(12),
    "loop, first served": lambda: cmg_jax.pregenerated(12, serve_first=True),
    "hold": lambda: cmg_jax.pregenerated(12, on_end="hold"),
    "hold, first served": lambda: cmg_jax.pregenerated(12, on_end="hold", serve_first=True),
    "extend": lambda: cmg_jax.pregenerated(12, on_end="extend", lookahead_frames=3),
    "extend, first served": lambda: cmg_jax.pregenerated(12, on_end="extend", serve_first=True),
    "realtime": lambda: cmg_jax.realtime(10),
    "realtime odd": lambda: cmg_jax.realtime(7),
    "streaming": lambda: cmg_jax.streaming(4),
    "streaming 0": lambda: cmg_jax.streaming(0),
}
POOLED = {
    "bank": lambda: cmg_jax.replay(lookahead_frames=3),
    "streaming from a bank": lambda: cmg_jax.streaming(4, from_bank=True),
    "matching": lambda: cmg_jax.matching(search_every=3, lookahead_frames=4),
    "wrapped": lambda: cmg_jax.guarded(
        cmg_jax.mirrored(cmg_jax.on_tick(cmg_jax.realtime(10, from_bank=True), num_frames=3))
    ),
}
ALL = MODES | POOLED
CONTRACT = ["loop", "hold", "extend", "realtime", "streaming", *POOLED]
SERVES_FIRST = [name for name in MODES if name.endswith("first served")]


@pytest.fixture
def model(request, reference_model, motions):
    """The reference model with a bank, from which every mode may draw commands; for matching, a library."""
    chosen = getattr(request.node, "callspec", None)
    if chosen and "matching" in chosen.params.values():
        return cmg_jax.model_of_library(small_library())
    return reference_model.replace(bank=motions)


def frames_for(model, seed):
    """First frames [B, D] of a model."""
    if model.library is None:
        return first(seed)
    return model.library.frames[jax.random.randint(jax.random.key(seed), (BATCH,), 0, model.library.num_frames)]


@pytest.fixture(params=CONTRACT)
def generator(request):
    return ALL[request.param]()


@pytest.fixture(params=slow_except(MODES, *CONTRACT, "hold, first served"))
def mode(request):
    return request.param, MODES[request.param]()


# The contract.


def test_state_keeps_its_structure_shapes_and_dtypes(generator, model):
    key, done = jax.random.key(1), jnp.arange(BATCH) % 3 == 0
    state = generator.init(model, key, commands(1))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))

    def described(function, *arguments):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), jax.eval_shape(function, model, *arguments))

    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
    stepped, frame = described(generator.step, state)
    for later in (
        stepped,
        described(generator.reset, state, done, key, commands(2)),
        described(generator.reset, state, done.astype(jnp.float32), key, commands(2)),
        described(generator.set_command, state, commands(3)),
        described(generator.set_command, state, commands(3), done),
        described(generator.init, key, commands(3), frames_for(model, 4)),
    ):
        assert later == expected
    float32 = jnp.dtype("float32")
    assert frame[:2] == (((BATCH, 29), float32),) * 2
    ahead = described(lambda *given: generator.lookahead(*given, (0, 1, 3)), state)
    assert ahead[:2] == (((BATCH, 3, 29), float32),) * 2


def rollout_body(generator):
    def body(carry, _):
        model, state, key = carry
        key, done_key, command_key, changed_key, reset_key = jax.random.split(key, 5)
        done = jax.random.uniform(done_key, (BATCH,)) < 0.05
        state = generator.reset(model, state, done, reset_key, sampler(command_key, BATCH))
        changed = jax.random.uniform(changed_key, (BATCH,)) < 0.05
        state = generator.set_command(model, state, sampler(changed_key, BATCH), changed)
        state, frame = generator.step(model, state)
        return (model, state, key), (frame, generator.lookahead(model, state, (1, 2)))

    return body


def rollout(generator, steps):
    return lambda model, state, key: jax.lax.scan(rollout_body(generator), (model, state, key), None, length=steps)


def test_the_same_eager_jitted_and_inside_a_scan(generator, model):
    state = jax.jit(generator.init)(model, jax.random.key(0), commands(1))
    run = jax.jit(rollout(generator, 30), donate_argnums=1)  # as the next test compiles it
    _, (frames, ahead) = run(model, jax.tree.map(jnp.copy, state), jax.random.key(5))
    for functions, steps in ((generator, 1), (jitted(generator), 4)):
        one, key = state, jax.random.key(5)
        for step in range(steps):
            (_, one, key), (frame, seen) = rollout_body(functions)((model, one, key), None)
            np.testing.assert_allclose(flat(frame), flat(frames)[step], atol=2e-5)
            np.testing.assert_allclose(flat(seen), flat(ahead)[step], atol=2e-5)


def test_a_long_rollout_compiles_once_and_moves_nothing_between_host_and_device(generator, model):
    chex.clear_trace_counter()
    state, key = jax.jit(generator.init)(model, jax.random.key(0), commands(1)), jax.random.key(3)
    run = jax.jit(chex.assert_max_traces(rollout(generator, 30), n=1), donate_argnums=1)
    live, served = [], []
    with jax.transfer_guard("disallow"):
        for _ in range(10):
            (_, state, key), frames = run(model, state, key)
            jax.block_until_ready(frames)
            served.append(frames[0].joint_pos)
            del frames
            live.append(len(jax.live_arrays()) - len(served))
    assert np.isfinite(served).all()
    assert live == live[:1] * 10


def test_a_donated_state_is_updated_in_place(generator, model):
    state = jax.eval_shape(generator.init, model, jax.random.key(0), commands(1, 256))
    step = jax.jit(generator.step, donate_argnums=1).lower(model, state).compile()
    memory = step.memory_analysis()
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert memory is not None
    assert memory.alias_size_in_bytes >= 0.95 * state_bytes


def scenario(generator):
    """Served and look-ahead frames [B, 3, D] after a reset and a change of command of some rows."""

    def run(model, state, touched, seed):
        key = jax.random.key(seed)
        state, _ = generator.step(model, state)
        state = generator.reset(model, state, touched, key, sampler(key, BATCH))
        state, _ = generator.step(model, state)
        state = generator.set_command(model, state, -sampler(key, BATCH), touched)
        state, frame = generator.step(model, state)
        ahead = generator.lookahead(model, state, (1, 3))
        return jnp.concatenate([join_frame(frame)[:, None], join_frame(ahead)], axis=1)

    return jax.jit(run)


def test_a_row_never_affects_another(generator, model):
    run = scenario(generator)
    start = jax.jit(generator.init)(model, jax.random.key(1), commands(1))

    @settings(max_examples=25)
    @given(seed=st.integers(0, 2**16), row=st.integers(0, BATCH - 1), mixed=st.integers(0, 2**BATCH - 1))
    def check(seed, row, mixed):
        others = np.arange(BATCH) != row
        mixed = (mixed >> np.arange(BATCH)) % 2 == 1
        without, touched = run(model, start, mixed & others, seed), run(model, start, mixed | ~others, seed)
        np.testing.assert_array_equal(touched[others], without[others])

    check()


def test_bad_input_is_one_clear_line(generator, model):
    state = generator.init(model, jax.random.key(0), commands(1))
    mask = jnp.zeros(BATCH, bool)
    key = jax.random.key(0)
    for call, words in (
        (lambda: generator.init(model, key, commands(1)[0]), r"command has shape \(3,\)"),
        (lambda: generator.init(model, key, None), "pass the commands"),
        (lambda: generator.init(model, key, commands(1)[:, :1]), r"must be \[11, 3\]"),
        (lambda: generator.init(model, key, commands(1).at[3].set(jnp.nan)), "not finite in row 3"),
        (lambda: generator.reset(model, state, mask[:3], key, commands(1)), "done has shape"),
        (lambda: generator.reset(model, state, mask, key, commands(1)[:3]), "command has shape"),
        (lambda: generator.set_command(model, state, commands(1), mask[:3]), "changed has shape"),
        (lambda: generator.set_command(model, state, commands(1)[:3]), "command has shape"),
        (lambda: generator.init(model, key, commands(1), frames_for(model, 1)[:3]), "motion has shape"),
        (
            lambda: generator.init(model, key, commands(1), frames_for(model, 1).at[4, 9].set(jnp.nan)),
            "motion is not finite in row 4",
        ),
        (lambda: generator.lookahead(model, state, (1, -2)), "offset -2 is negative"),
        (lambda: generator.lookahead(model, state, (0.5,)), "at_time"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_help_describes_each_function(generator):
    for name, words in (
        ("init", "num_envs: B, needed where `command` is None"),
        ("step", "frame with leaves [B, J] in rad and rad/s"),
        ("reset", "done: [B] bool, or 0 and 1"),
        ("set_command", "changed: [B] bool, rows that take their command"),
        ("lookahead", "offsets: whole numbers [n] from 0 to `Generator.horizon`"),
    ):
        function = getattr(generator, name)
        text = pydoc.plain(pydoc.render_doc(function))
        assert f"{name}(model: " in text
        assert words in text
        contract = inspect.signature(typing.get_type_hints(cmg_jax.Generator)[name].__origin__.__call__)
        assert list(inspect.signature(function).parameters) == list(contract.parameters)[1:]


# Modes that run the network.


def test_first_frames_are_given_drawn_from_the_pool_or_standing(model):
    generator = cmg_jax.pregenerated(1, serve_first=True)
    pool = {tuple(row) for row in np.asarray(model.initial_motion).round(4).tolist()}

    def served(model, **given):
        state = generator.init(model, jax.random.key(3), commands(1), **given)
        return flat(generator.step(model, state)[1])

    drawn = [tuple(row) for row in served(model).round(4).tolist()]
    assert set(drawn) <= pool
    assert len(set(drawn)) > BATCH // 2
    np.testing.assert_allclose(served(model, motion=first(2)), first(2), atol=1e-5)
    standing = np.tile(cmg_jax.standing_frame(model), (BATCH, 1))
    np.testing.assert_allclose(served(model, motion=standing), standing, atol=1e-5)
    np.testing.assert_allclose(served(model.replace(initial_motion=None)), standing, atol=1e-5)


def test_frames_follow_one_another(mode, model):
    name, generator = mode
    motion, command = first(1), commands(2)
    state = jax.jit(generator.init)(model, jax.random.key(0), command, motion)
    expected = reference(model, motion, command, 40)
    served = play(generator, model, state, 40)[1]
    index = np.arange(40) if name in SERVES_FIRST else np.arange(40) + 1
    if name.startswith("loop"):
        index = index % 13
    if name.startswith("hold"):
        index = np.minimum(index, 12)
    np.testing.assert_allclose(served, expected[index], atol=1e-4)


def test_a_new_command_acts_on_the_frame_last_served(mode, model):
    _, generator = mode
    generator = jitted(generator)
    state = generator.init(model, jax.random.key(0), commands(2), first(1))
    for steps in (1, 2, 5, 9, 14):
        state, frame = generator.step(model, state)
        for _ in range(steps - 1):
            state, frame = generator.step(model, state)
        new = commands(100 + steps)
        changed = jnp.arange(BATCH) % 2 == 0
        expected = cmg_jax.apply(model, jnp.asarray(flat(frame)), new)
        plain = generator.step(model, state)[1]
        state = generator.set_command(model, state, new, changed)
        ahead = generator.lookahead(model, state, (0, 1)[: int(min(generator.horizon, 1)) + 1])
        np.testing.assert_allclose(flat(ahead)[changed, 0], flat(frame)[changed], atol=1e-5)
        state, following = generator.step(model, state)
        np.testing.assert_allclose(flat(following)[changed], expected[changed], atol=1e-5)
        if ahead.joint_pos.shape[1] == 2:
            np.testing.assert_allclose(flat(ahead)[:, 1], flat(following), atol=1e-5)
        np.testing.assert_array_equal(flat(following)[~changed], flat(plain)[~changed])


def test_a_reset_row_restarts_and_the_others_continue(mode, model):
    name, generator = mode
    generator = jitted(generator)
    state = generator.init(model, jax.random.key(0), commands(2), first(1))
    for _ in range(5):
        state, _ = generator.step(model, state)
    done = jnp.zeros(BATCH, bool).at[jnp.array([1, 5])].set(True)
    undisturbed = play(generator, model, state, 8)[1]
    state = generator.reset(model, state, done, jax.random.key(1), commands(7), first(8))
    np.testing.assert_array_equal(state.command, jnp.where(done[:, None], commands(7), commands(2)))
    served = play(generator, model, state, 8)[1]
    expected = reference(model, first(8), commands(7), 8)[0 if name in SERVES_FIRST else 1 :][:8]
    np.testing.assert_allclose(served[:, done], expected[:, done], atol=1e-4)
    np.testing.assert_array_equal(served[:, ~done], undisturbed[:, ~done])


@pytest.mark.parametrize("name", SERVES_FIRST)
def test_a_command_for_a_row_just_reset_keeps_its_first_frame(name, model):
    generator = jitted(MODES[name]())
    state = generator.init(model, jax.random.key(0), commands(2), first(1))
    state, _ = generator.step(model, state)
    state = generator.reset(model, state, jnp.ones(BATCH, bool), jax.random.key(1), commands(7), first(8))
    state = generator.set_command(model, state, commands(9))
    served = play(generator, model, state, 6)[1]
    np.testing.assert_allclose(served, reference(model, first(8), commands(9), 5), atol=1e-4)


def test_lookahead_returns_the_frames_that_will_be_served(mode, model):
    name, generator = mode
    state = jax.jit(generator.init)(model, jax.random.key(0), commands(2), first(1))
    horizons = {"realtime": 5, "realtime odd": 3, "streaming": 4, "extend": 3}
    horizons |= {"streaming 0": 0, "extend, first served": 0}
    assert generator.horizon == horizons.get(name, math.inf)
    known = min(generator.horizon, 30)
    look = jax.jit(lambda state: generator.lookahead(model, state, jnp.arange(known + 1)))
    for steps in (8, 1, 1, 1, 1, 1):
        state, served = play(generator, model, state, steps)
        ahead = flat(look(state))
        np.testing.assert_array_equal(ahead[:, 0], served[-1])
        following = play(generator, model, state, known)[1]
        np.testing.assert_array_equal(ahead[:, 1:].swapaxes(0, 1), following)


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name]().horizon < math.inf])
def test_offsets_beyond_the_horizon_are_refused(name, model):
    generator = ALL[name]()
    state = jax.jit(generator.init)(model, jax.random.key(0), commands(2))
    horizon, fps = generator.horizon, model.config.fps
    assert np.isfinite(flat(generator.lookahead(model, state, (0, horizon)))).all()
    assert np.isfinite(flat(at_time(generator, model, state, horizon / fps))).all()
    beyond = rf"offset {horizon + 1} is beyond the {horizon} frames ahead"
    for call in (
        lambda state: generator.lookahead(model, state, (0, horizon + 1)),
        lambda state: generator.lookahead(model, state, np.array([horizon + 1])),
        lambda state: at_time(generator, model, state, [0.0, (horizon + 0.5) / fps]),
        lambda state: at_time(generator, model, state, np.float64((horizon + 1) / fps)),
    ):
        for run in (call, jax.jit(call)):
            with pytest.raises(InputError, match=beyond):
                run(state)


@pytest.mark.parametrize("name", ["streaming", "extend", "realtime", "bank", "matching", "wrapped"])
def test_traced_offsets_beyond_the_horizon_give_no_frame(name, model):
    generator = ALL[name]()
    state = jax.jit(generator.init)(model, jax.random.key(0), commands(2))
    known = np.array([0, 1, generator.horizon])
    offsets = np.array([-1, *known, generator.horizon + 1, 10**6])
    seen = flat(jax.jit(generator.lookahead)(model, state, offsets))
    np.testing.assert_array_equal(seen[:, 1:4], flat(generator.lookahead(model, state, known)))
    assert np.isnan(seen[:, [0, 4, 5]]).all()
    seconds = offsets / model.config.fps
    between = flat(jax.jit(lambda state, seconds: at_time(generator, model, state, seconds))(state, seconds))
    np.testing.assert_allclose(between[:, 1:4], seen[:, 1:4], atol=1e-6)
    assert np.isnan(between[:, [0, 4, 5]]).all()


def test_between_frames_the_reference_is_linear(model):
    generator = cmg_jax.streaming(4)
    state = generator.init(model, jax.random.key(0), commands(2), first(1))
    frames = flat(generator.lookahead(model, state, (0, 1, 2, 3)))
    times = np.array([0, 0.25, 1, 2.5, 3]) / 50  # the model's frames per second
    between = flat(at_time(generator, model, state, times))
    columns = [(0, 0, 0), (0, 1, 0.25), (1, 1, 0), (2, 3, 0.5), (3, 3, 0)]
    expected = np.stack([(1 - w) * frames[:, a] + w * frames[:, b] for a, b, w in columns], axis=1)
    np.testing.assert_allclose(between, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_half_precision_store_takes_half_the_memory(dtype, model):
    tolerance = {"float16": 5e-3, "bfloat16": 5e-2}[dtype]
    for make in (cmg_jax.streaming, cmg_jax.realtime, cmg_jax.pregenerated):
        generators = [make(20, dtype=store) for store in ("float32", dtype)]
        states = [generator.init(model, jax.random.key(0), commands(1), first(1)) for generator in generators]
        assert states[1].frames.nbytes * 2 == states[0].frames.nbytes
        served = [play(*pair, 20)[1] for pair in zip(generators, [model] * 2, states, strict=True)]
        np.testing.assert_allclose(served[1], served[0], atol=tolerance * np.abs(served[0]).max())


@pytest.mark.parametrize(
    "make",
    [
        lambda: cmg_jax.streaming(-1),
        lambda: cmg_jax.realtime(1),
        lambda: cmg_jax.pregenerated(0),
        lambda: cmg_jax.pregenerated(5, on_end="stop"),  # pyright: ignore
        lambda: cmg_jax.pregenerated(5, on_end="extend", lookahead_frames=5),
        lambda: cmg_jax.pregenerated(5, lookahead_frames=2),
        lambda: cmg_jax.replay(lookahead_frames=-1),
        lambda: cmg_jax.streaming(5, dtype="int8"),
    ],
)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(InputError):
        make()
