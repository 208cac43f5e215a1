import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmg_jax import InputError
from cmg_jax.commands import _sampler
from cmg_jax.commands._region import limits_at, region_of
from cmg_jax.commands._sampler import ORIGINAL_PRESETS, ORIGINAL_RANGE, ORIGINAL_STAGES, CommandRange

KEY = jax.random.key(4)
MANY = 20_000


@pytest.mark.parametrize("name", [*ORIGINAL_PRESETS, *ORIGINAL_STAGES])
def test_uniform_draws_fill_their_range(name):
    wanted = {**ORIGINAL_PRESETS, **ORIGINAL_STAGES}[name]
    drawn = np.asarray(_sampler.uniform(KEY, wanted, MANY))
    width = wanted.high - wanted.low
    np.testing.assert_allclose(drawn.min(0), wanted.low, atol=1e-3 * (1 + width.max()))
    np.testing.assert_allclose(drawn.max(0), wanted.high, atol=1e-3 * (1 + width.max()))
    np.testing.assert_allclose(drawn.mean(0), (wanted.low + wanted.high) / 2, atol=0.05)
    assert (drawn >= wanted.low - 1e-6).all()
    assert (drawn <= wanted.high + 1e-6).all()


def test_the_signs_of_the_presets():
    middle = {name: (wanted.low + wanted.high) / 2 for name, wanted in ORIGINAL_PRESETS.items()}
    assert middle["forward"][0] > 0 > middle["backward"][0]
    assert middle["turn_left"][2] > 0 > middle["turn_right"][2]
    assert middle["strafe_left"][1] > 0 > middle["strafe_right"][1]


@pytest.mark.parametrize(("difficulty", "scale"), [(0.0, (0.5, 0, 0.3)), (0.5, (0.75, 0.5, 0.65)), (1.0, (1, 1, 1))])
def test_curriculum_widens_the_range(difficulty, scale):
    found = _sampler.curriculum(ORIGINAL_RANGE, difficulty)
    np.testing.assert_allclose(found.low, ORIGINAL_RANGE.low * np.array(scale), atol=1e-6)
    np.testing.assert_allclose(found.high, ORIGINAL_RANGE.high * np.array(scale), atol=1e-6)


def test_a_changing_range_compiles_once():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def draw(key, difficulty):
        return _sampler.uniform(key, _sampler.curriculum(ORIGINAL_RANGE, difficulty), 5)

    spread = [float(np.ptp(draw(KEY, difficulty)[:, 0])) for difficulty in (0.0, 0.5, 1.0)]
    assert spread == sorted(spread)


def test_normal_draws_have_the_default_moments():
    drawn = np.asarray(_sampler.normal(KEY, ORIGINAL_RANGE, MANY))
    np.testing.assert_allclose(drawn.mean(0), (ORIGINAL_RANGE.low + ORIGINAL_RANGE.high) / 2, atol=0.05)
    np.testing.assert_allclose(drawn.std(0), (ORIGINAL_RANGE.high - ORIGINAL_RANGE.low) / 4, rtol=0.05)
    assert (drawn[:, 0] > ORIGINAL_RANGE.high[0]).any(), "a normal distribution has no edge"


def test_truncated_draws_stay_inside_and_do_not_pile_up():
    mean, std = np.array([1.0, 0, 0]), np.array([3.0, 0.4, 0.4])
    drawn = np.asarray(_sampler.truncated_normal(KEY, ORIGINAL_RANGE, MANY, mean=mean, std=std))
    assert (drawn >= ORIGINAL_RANGE.low).all()
    assert (drawn <= ORIGINAL_RANGE.high).all()
    assert (drawn == ORIGINAL_RANGE.high).mean() < 0.001
    narrow = _sampler.truncated_normal(KEY, ORIGINAL_PRESETS["forward"], 50)
    assert (np.asarray(narrow)[:, 1:] == 0).all()


@pytest.mark.parametrize(("frames", "interval"), [(1, 1), (7, 1), (2, 3), (9, 3), (31, 10), (40, 10)])
def test_sequences_go_in_straight_lines(frames, interval):
    drawn = np.asarray(_sampler.sequence(KEY, ORIGINAL_RANGE, 4, frames, change_interval=interval))
    assert drawn.shape == (4, frames, 3)
    bends = np.abs(np.diff(drawn, 2, axis=1)).max(axis=(0, 2)) > 1e-4
    at = np.arange(1, frames - 1)
    assert not (bends & (at % interval != 0)).any()
    if frames > 2 * interval and interval > 1:
        assert bends.any()


def test_standing_minimum_speed_and_forward_only():
    drawn = _sampler.uniform(KEY, ORIGINAL_RANGE, MANY)
    standing = np.asarray(_sampler.with_standing(KEY, drawn, 0.2) == 0).all(-1)
    assert standing.mean() == pytest.approx(0.2, abs=0.02)
    quick = np.asarray(_sampler.with_minimum_speed(drawn, 0.5))
    speed = np.linalg.norm(quick[:, :2], axis=-1)
    assert ((speed == 0) | (speed >= 0.5)).all()
    assert (speed == 0).any()
    np.testing.assert_array_equal(quick[:, 2], drawn[:, 2])
    forward = _sampler.forward_only(ORIGINAL_RANGE)
    np.testing.assert_array_equal(forward.low, [0, 0, 0])
    np.testing.assert_array_equal(forward.high, [3, 0, 0])


def test_a_command_is_held_and_then_drawn_again_row_by_row():
    held = _sampler.hold(KEY, jnp.zeros((200, 3)), (5, 9))
    step = jax.jit(lambda key, held, command, done: _sampler.next_held(held, key, command, (5, 9), done))
    lasted, since = [], np.zeros(200, int)
    for time in range(60):
        done = np.arange(200) == time
        new = jnp.full((200, 3), float(time + 1))
        before = held.requested
        held, changed = step(jax.random.key(time), held, new, done)
        changed = np.asarray(changed)
        np.testing.assert_array_equal(held.requested, np.where(changed[:, None], new, before))
        assert changed[time]
        since += 1
        if time > 9:
            lasted += since[changed & ~done].tolist()
        since[changed] = 0
    assert (min(lasted), max(lasted)) == (5, 9)


def test_impossible_numbers_are_refused():
    with pytest.raises(InputError, match="interval"):
        _sampler.hold(KEY, jnp.zeros((2, 3)), (9, 5))
    with pytest.raises(InputError, match="at least 1"):
        _sampler.sequence(KEY, CommandRange(np.zeros(3), np.ones(3)), 2, 0)


def test_another_shape_is_refused_instead_of_broadcast():
    """With a user's configuration, without the strict promotion rules of the tests."""
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    held = _sampler.hold(KEY, rows, (5, 9))
    with jax.numpy_rank_promotion("allow"):
        for call, words in (
            (lambda: _sampler.hold(KEY, rows[0], (5, 9)), r"command has shape \(3,\); it must be \[B, C\]"),
            (lambda: _sampler.next_held(held, KEY, rows[:1], (5, 9)), r"command has shape \(1, 3\)"),
            (lambda: _sampler.next_held(held, KEY, rows, (5, 9), np.zeros(1)), r"done has shape \(1,\)"),
            (lambda: _sampler.uniform(KEY, CommandRange(rows, rows), 2), "lowest command has shape"),
            (lambda: _sampler.uniform(KEY, CommandRange(rows[0], rows[0, :2]), 2), "highest command has shape"),
            (lambda: _sampler.uniform(KEY, CommandRange(0.0, 1.0), 2), r"must be \[C\]"),
            (lambda: _sampler.normal(KEY, ORIGINAL_RANGE, 2, mean=rows), "mean has shape"),
            (lambda: _sampler.with_standing(KEY, rows[0], 0.1), "command has shape"),
            (lambda: _sampler.with_minimum_speed(rows[:, :2], 0.1), r"must be \[B, 3\]"),
        ):
            with pytest.raises(InputError, match=words):
                call()


def test_presets_and_stages_stay_inside_what_the_model_was_trained_on(policy_model):
    trained = CommandRange(*map(np.asarray, _sampler.trained_range(policy_model)[:2]))
    for ranges, original in ((_sampler.presets, ORIGINAL_PRESETS), (_sampler.stages, ORIGINAL_STAGES)):
        assert ranges(policy_model).keys() == original.keys()
        for name, found in ranges(policy_model).items():
            drawn = np.asarray(_sampler.uniform(KEY, found, 200))
            assert (drawn >= trained.low - 1e-6).all(), name
            assert (drawn <= trained.high + 1e-6).all(), name
            assert np.ptp(drawn, axis=0).max() > 0.1, f"{name} contains hardly any command"
    assert ORIGINAL_PRESETS["forward"].high[0] > trained.high[0], "the test would show nothing"


def test_a_model_of_the_originals_range_has_the_originals_presets(policy_model):
    wide = policy_model.stats._replace(command_min=jnp.full(3, -4.0), command_max=jnp.full(3, 4.0))
    found = _sampler.presets(dataclasses.replace(policy_model, stats=wide))
    jax.tree.map(np.testing.assert_array_equal, found, ORIGINAL_PRESETS)


def test_presets_of_other_commands_are_refused(small_model):
    with pytest.raises(InputError, match="needs commands vx, vy and yaw rate; the model's are 2 numbers"):
        _sampler.presets(small_model)
    assert _sampler.trained_range(small_model).low.shape == (2,)


def test_draws_are_float32_where_double_precision_is_on():
    with jax.enable_x64(True):
        key, wide = jax.random.key(1), CommandRange(np.zeros(3), np.ones(3))
        held = _sampler.hold(key, np.zeros((4, 3)), (2, 5))
        held, _ = _sampler.next_held(held, key, np.ones((4, 3)), (2, 5))
        drawn = [draw(key, wide, 4) for draw in (_sampler.uniform, _sampler.normal, _sampler.truncated_normal)]
        drawn += [_sampler.sequence(key, wide, 4, 9), _sampler.uniform(key, _sampler.curriculum(wide, 0.5), 4)]
        drawn += [
            _sampler.with_standing(key, drawn[0], 0.5),
            _sampler.with_minimum_speed(drawn[0], 0.5),
            held.requested,
        ]
        assert {array.dtype.name for array in drawn} == {"float32"}
        assert held.remaining.dtype == jnp.int32


def region_commands(rng):
    """Walking sideways and turning up to 1.5 m/s; faster, nearly straight."""
    vx = rng.uniform(-0.5, 3.0, 4000)
    wide = np.where(vx < 1.5, 1.0, 0.1)
    return np.column_stack([vx, wide * rng.uniform(-0.4, 0.4, 4000), wide * rng.uniform(-0.9, 0.9, 4000)])


def test_a_region_holds_its_data_and_narrows_where_they_do():
    recorded = region_commands(np.random.default_rng(5))
    region = region_of(recorded)
    assert (np.diff(region[:, 0]) > 0).all()
    limits = np.asarray(limits_at(region, jnp.asarray(recorded[:, 0], jnp.float32)))
    assert (np.abs(recorded[:, 1:]) <= limits + 0.01).mean() > 0.97
    slow, fast = region[region[:, 0] < 1.2], region[region[:, 0] > 1.8]
    np.testing.assert_allclose(slow[:, 1:], [[0.4, 0.9]] * len(slow), rtol=0.05)
    np.testing.assert_allclose(fast[:, 1:], [[0.04, 0.09]] * len(fast), rtol=0.05)


def test_speeds_that_were_never_recorded_have_the_limits_of_their_neighbours():
    command = np.zeros((300, 3))
    command[:, 0] = np.repeat([0.0, 1.0, 3.0], 100)
    command[:, 2] = np.repeat([1.0, 0.5, 0.1], 100)
    region = region_of(command)
    found = np.asarray(limits_at(region, jnp.array([0.5, 2.0, -1.0, 9.0])))
    np.testing.assert_allclose(found[:, 1], [0.75, 0.3, 1.0, 0.1], atol=1e-5)
    few = region_of(command[:3])
    np.testing.assert_allclose(few[:, 1:], [[0.0, 1.0]] * len(few))


@pytest.mark.parametrize("draw", [_sampler.uniform, _sampler.truncated_normal], ids=["uniform", "normal"])
def test_draws_stay_in_a_region_and_fill_it(draw):
    region = region_of(region_commands(np.random.default_rng(6)))
    wide = CommandRange(np.array([-0.5, -0.4, -0.9]), np.array([3.0, 0.4, 0.9]), region)
    for found in (wide, _sampler.clip(ORIGINAL_RANGE, wide)):
        drawn = np.asarray(draw(KEY, found, 3000))
        np.testing.assert_allclose(drawn, np.asarray(_sampler.within(found, drawn)), atol=1e-6)
    fast = drawn[:, 0] > 2
    assert np.ptp(drawn[fast, 2]) == pytest.approx(0.18, abs=0.02)
    assert np.ptp(drawn[~fast, 2]) > 1.3


def test_lines_between_draws_stay_in_the_region():
    region = np.array([[-1.0, 0.5, 1.0], [1.0, 0.0, 0.1], [3.0, 0.5, 1.0]], np.float32)  # narrow in its middle
    found = CommandRange(np.array([-1.0, -0.5, -1.0]), np.array([3.0, 0.5, 1.0]), region)
    path = np.asarray(_sampler.sequence(KEY, found, 50, 120))
    np.testing.assert_allclose(path, np.asarray(_sampler.within(found, path)), atol=1e-6)
    assert np.abs(path[..., 2]).max() > 0.3


def test_the_common_range_lies_in_all_of_its_parts():
    narrow = np.array([[0.0, 0.1, 0.9], [2.0, 0.4, 0.2]], np.float32)
    other = np.array([[-1.0, 0.3, 0.5], [1.0, 0.1, 0.5]], np.float32)
    ranges = [
        CommandRange(np.array([-1.0, -1, -1]), np.array([1.0, 1, 1]), narrow),
        CommandRange(np.array([0.0, -2, -1]), np.array([3.0, 0.5, 1]), other),
        CommandRange(np.array([-3.0, -2, -1]), np.array([3.0, 2, 1])),
    ]
    common = _sampler.common_range(ranges)
    drawn = np.asarray(_sampler.uniform(KEY, common, 500))
    for one in ranges:
        np.testing.assert_allclose(drawn, np.asarray(_sampler.within(one, drawn)), atol=1e-6)
    assert _sampler.common_range(ranges[2:]).region is None
