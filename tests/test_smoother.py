import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmg_jax import InputError
from cmg_jax.commands import _smoother
from tests.conftest import SHARED, needs_shared

ROWS = np.array([[0.5, -0.2, 0.1], [-1.0, 0.3, 0.7], [0.0, 0.0, 0.0]], np.float32)
LINEAR, COMPOUNDING = _smoother.ramp(25), _smoother.ramp(25, form="compounding")


def follow(rule, state, steps):
    """Smoothed commands [steps, B, C], and the state after them."""

    def body(state, _):
        state = rule.step(state)
        return state, state.smoothed

    return jax.jit(lambda state: jax.lax.scan(body, state, None, length=steps))(state)


def original(start, target, steps, total=25):
    """The PyTorch original's rule, written out."""
    current, out = start.astype(np.float64), []
    for count in range(steps):
        alpha = min(count / total, 1.0)
        current = (1 - alpha) * current + alpha * target
        out.append(current)
    return np.array(out)


def test_the_compounding_ramp_is_the_originals():
    state = COMPOUNDING.request(COMPOUNDING.init(jnp.zeros((3, 3))), ROWS)
    state, first = follow(COMPOUNDING, state, 18)
    np.testing.assert_allclose(first, original(np.zeros((3, 3)), ROWS, 18), atol=1e-6)
    state = COMPOUNDING.request(state, -ROWS, np.array([True, True, False]))
    _, second = follow(COMPOUNDING, state, 40)
    np.testing.assert_allclose(second[:, :2], original(np.asarray(first[-1]), -ROWS, 40)[:, :2], atol=1e-6)


@needs_shared
def test_the_compounding_ramp_agrees_with_pytorch():
    with np.load(SHARED / "golden" / "smoother.npz") as arrays:
        state = COMPOUNDING.request(COMPOUNDING.init(jnp.zeros((8, 3))), arrays["target_0"])
        state, first = follow(COMPOUNDING, state, 18)
        _, second = follow(COMPOUNDING, COMPOUNDING.request(state, arrays["target_1"]), 40)
        difference = np.abs(np.concatenate([first, second]).swapaxes(0, 1) - arrays["smoothed"]).max()
    print(f"smoother {difference:.1e}")
    assert difference <= 1e-3


def test_the_linear_ramp_is_straight_and_arrives():
    state = LINEAR.request(LINEAR.init(jnp.zeros((3, 3))), ROWS)
    _, path = follow(LINEAR, state, 30)
    np.testing.assert_allclose(path[:25], np.arange(1, 26)[:, None, None] / 25 * ROWS, atol=1e-6)
    np.testing.assert_array_equal(path[24:], np.broadcast_to(ROWS, (6, 3, 3)))


@pytest.mark.parametrize("steps", [0, 7, 24])
def test_a_new_target_makes_no_jump(steps):
    for rule in (LINEAR, COMPOUNDING):
        state, path = follow(rule, rule.request(rule.init(jnp.zeros((3, 3))), ROWS), 30)
        state = state._replace(smoothed=path[steps - 1]) if steps else state
        _, after = follow(rule, rule.request(state, -2 * ROWS), 30)
        assert np.abs(after[0] - state.smoothed).max() <= 3 * np.abs(ROWS).max() / 25 + 1e-6
        np.testing.assert_allclose(after[-1], -2 * ROWS, atol=1e-5)


def test_a_rate_limit_holds_per_component_and_arrives():
    rule = _smoother.rate_limit([2.0, 1.0, 0.5], fps=50)
    state = rule.request(rule.init(jnp.zeros((3, 3))), ROWS)
    _, path = follow(rule, state, 100)
    steps = np.abs(np.diff(np.concatenate([np.zeros((1, 3, 3)), path]), axis=0))
    assert (steps <= np.array([2.0, 1.0, 0.5]) / 50 + 1e-6).all()
    np.testing.assert_array_equal(path[-1], ROWS)
    arrived = (np.asarray(path)[:, 1] == ROWS[1]).argmax(axis=0) + 1
    np.testing.assert_allclose(arrived, [25, 15, 70], atol=1)


def test_the_state_holds_requested_and_smoothed_commands_and_rows_are_independent():
    state = LINEAR.request(LINEAR.init(ROWS), ROWS + 1, np.array([True, False, True]))
    state = LINEAR.step(state)
    np.testing.assert_array_equal(state.requested[:, 0], ROWS[:, 0] + [1, 0, 1])
    np.testing.assert_allclose(state.smoothed[:, 0], ROWS[:, 0] + [0.04, 0, 0.04], atol=1e-6)
    reset = LINEAR.reset(state, np.array([0.0, 0.0, 1.0]), ROWS - 3)
    np.testing.assert_array_equal(reset.smoothed[2], ROWS[2] - 3)
    np.testing.assert_array_equal(LINEAR.step(reset).smoothed[2], ROWS[2] - 3)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:2], b[:2]), reset, state)


def test_impossible_numbers_are_refused():
    for make in (
        lambda: _smoother.ramp(0),
        lambda: _smoother.ramp(5, form="cubic"),  # pyright: ignore
        lambda: _smoother.rate_limit([1.0, 0.0, 1.0], 50),
        lambda: _smoother.rate_limit([1.0, 1.0, 1.0], 0),
    ):
        with pytest.raises(InputError):
            make()


def test_another_shape_is_refused_instead_of_broadcast():
    """With a user's configuration, without the strict promotion rules of the tests."""
    state = LINEAR.init(ROWS)
    limited = _smoother.rate_limit([1.0, 2.0], 50)
    with jax.numpy_rank_promotion("allow"):
        for call, words in (
            (lambda: LINEAR.init(ROWS[0]), r"command has shape \(3,\); it must be \[B, C\]"),
            (lambda: LINEAR.request(state, ROWS[0]), r"command has shape \(3,\); it must be \[3, 3\]"),
            (lambda: LINEAR.request(state, ROWS[:1]), r"command has shape \(1, 3\)"),
            (lambda: LINEAR.request(state, ROWS, True), r"changed has shape \(\); it must be \[3\]"),
            (lambda: LINEAR.reset(state, np.ones(1), ROWS), r"done has shape \(1,\)"),
            (lambda: LINEAR.reset(state, np.ones(3), ROWS[:1]), r"command has shape \(1, 3\)"),
            (lambda: _smoother.rate_limit(ROWS + 2, 50), r"limit has shape \(3, 3\).*the same for all rows"),
            (lambda: limited.step(limited.init(ROWS)), r"limit has shape \(2,\); it must be \[3\]"),
        ):
            with pytest.raises(InputError, match=words):
                call()


def test_one_limit_is_that_of_every_component():
    single, each = _smoother.rate_limit(0.5, 50), _smoother.rate_limit([0.5, 0.5, 0.5], 50)
    paths = [follow(rule, rule.request(rule.init(np.zeros((3, 3))), ROWS), 30)[1] for rule in (single, each)]
    np.testing.assert_array_equal(*paths)


def test_a_state_of_numpy_arrays_continues_like_its_original():
    for rule in (LINEAR, COMPOUNDING, _smoother.rate_limit([2.0, 1.0, 0.5], fps=50)):
        state, _ = follow(rule, rule.request(rule.init(jnp.zeros((3, 3))), ROWS), 4)
        outs = []
        for start in (state, jax.tree.map(np.asarray, state)):
            after = rule.step(rule.request(rule.reset(start, np.array([0, 1, 0]), ROWS / 2), -ROWS))
            outs.append(rule.step(after))
        jax.tree.map(np.testing.assert_array_equal, *outs)
