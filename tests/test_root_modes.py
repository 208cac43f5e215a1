# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportOptionalMemberAccess=false
"""The root channel and the whole root in every mode, and at its edges: look-ahead, guards, mirrors, half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.generators import _sharded, root_ahead
from cmg_jax.robot import G1, integrate_root, mirror_command, mirror_motion, split_frame
from tests.conftest import slow_except
from tests.generator_tools import commands, flat, play, reference, sampler
from tests.library_tools import small_library
from tests.test_generators import ALL, MODES

ROWS, STEPS = 16, 8
HALF = {
    "half streaming": lambda: cmg_jax.streaming(4, dtype="bfloat16"),
    "half loop": lambda: cmg_jax.pregenerated(12, dtype="float16"),
    "sharded": lambda: _sharded.sharded(cmg_jax.streaming(4), _sharded.mesh()),
}
MADE = ALL | HALF


@pytest.fixture(scope="module")
def banked(root_model):
    bank = cmg_jax.build_bank(root_model, jax.random.key(9), 5, 20, sampler)
    return cmg_jax.with_library(root_model.replace(bank=bank), small_library())


def run(generator, offsets):
    """A reset and a change of command of some rows, then steps and what was seen before each."""

    def body(carry, _):
        model, state = carry
        seen = generator.lookahead(model, state, offsets), root_ahead(generator, model, state, offsets)
        state, frame = generator.step(model, state)
        return (model, state), (frame, seen)

    def start(model, key):
        state = generator.init(model, key, commands(1, ROWS))
        state, _ = generator.step(model, state)
        state = generator.reset(model, state, np.arange(ROWS) % 3 == 0, key, commands(2, ROWS))
        state = generator.set_command(model, state, commands(3, ROWS), np.arange(ROWS) % 3 == 1)
        (_, after), out = jax.lax.scan(body, (model, state), None, length=STEPS)
        return state, after, out

    return jax.jit(start)


@pytest.mark.parametrize("name", slow_except(MADE, "loop", "streaming", "bank", "half streaming", "sharded"))
def test_roots_ahead_are_those_that_the_served_frames_lead_to(name, banked):
    generator = MADE[name]()
    known = int(min(generator.horizon, 3))
    offsets = tuple(range(known + 1))
    state, after, (served, (ahead, root)) = run(generator, offsets)(banked, jax.random.key(0))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert served.root.gravity.shape == (STEPS, ROWS, 2)
    jax.tree.map(np.testing.assert_array_equal, root.frames, ahead)
    assert root.contacts.shape == (STEPS, ROWS, known + 1, 2)
    assert np.isfinite(flat(served)).all()
    frames = np.concatenate([flat(ahead)[:1, :, 0], flat(served)])  # the frame last served, then those that follow
    seen = flat(ahead)
    # A bank shows the rest of a motion, even where its row will begin it again; a tick changes what was to come.
    for step in range(STEPS - known if name not in ("bank", "wrapped") else 0):
        np.testing.assert_array_equal(np.moveaxis(seen[step], 1, 0), frames[step : step + known + 1])
    motion = split_frame(jnp.asarray(seen), 29).root
    expected = integrate_root(motion, banked.config.fps)
    np.testing.assert_allclose(root.root.position, expected.position, atol=1e-5)
    np.testing.assert_allclose(np.abs((root.root.rotation * expected.rotation).sum(-1)), 1.0, atol=1e-5)
    known_pairs = slice(0, max(known, 1))
    np.testing.assert_allclose(
        root.root.linear_velocity[:, :, known_pairs], expected.linear_velocity[:, :, known_pairs], atol=2e-3
    )


@pytest.mark.parametrize("name", ["realtime", "extend", "streaming", "hold, first served"])
def test_frames_with_a_root_follow_one_another(name, banked):
    motion, command = banked.initial_motion[np.arange(ROWS) % 7], commands(2, ROWS)
    state = MODES[name]().init(banked, jax.random.key(0), command, motion)
    served = play(MODES[name](), banked, state, 11)[1]
    expected = reference(banked, motion, command, 11)
    np.testing.assert_allclose(served, expected[:11] if "first" in name else expected[1:], atol=1e-4)


def test_between_frames_the_root_is_linear_and_a_switch_keeps_it(banked):
    generator = cmg_jax.streaming(3)
    state = generator.init(banked, jax.random.key(0), commands(2, ROWS))
    frames = flat(generator.lookahead(banked, state, (0, 1)))
    between = flat(cmg_jax.at_time(generator, banked, state, 0.3 / banked.config.fps))[:, 0]
    np.testing.assert_allclose(between, 0.7 * frames[:, 0] + 0.3 * frames[:, 1], atol=1e-5)
    to = cmg_jax.realtime(6)
    switched = cmg_jax.switch(generator, to, banked, state, jax.random.key(1))
    np.testing.assert_allclose(flat(to.lookahead(banked, switched, (0, 1))), frames, atol=1e-5)


def test_the_mirror_image_of_a_motion_has_the_mirrored_root(banked):
    plain, image = cmg_jax.streaming(3), cmg_jax.mirrored(cmg_jax.streaming(3), 1.0)
    motion = banked.initial_motion[np.arange(ROWS) % 7]
    states = [
        plain.init(banked, jax.random.key(0), commands(2, ROWS), motion),
        image.init(banked, jax.random.key(0), mirror_command(commands(2, ROWS)), mirror_motion(motion, G1)),
    ]
    served = [play(mode, banked, state, 5)[1] for mode, state in zip((plain, image), states, strict=True)]
    np.testing.assert_allclose(served[1], mirror_motion(jnp.asarray(served[0]), G1), atol=1e-5)
    roots = [root_ahead(g, banked, s, (0, 2)) for g, s in zip((plain, image), states, strict=True)]
    np.testing.assert_allclose(
        roots[1].root.position, roots[0].root.position * jnp.array([1.0, -1, 1]).reshape(1, 1, 3), atol=1e-5
    )
    np.testing.assert_array_equal(roots[1].contacts, roots[0].contacts[..., ::-1])


def test_a_guard_holds_the_root_of_the_last_finite_frame(banked):
    generator = cmg_jax.guarded(cmg_jax.streaming(3))
    state = generator.init(banked, jax.random.key(0), commands(2, ROWS))
    state, frame = generator.step(banked, state)
    broken = jax.jit(generator.set_command)(banked, state, commands(3, ROWS).at[4].set(jnp.nan))
    broken, held = generator.step(banked, broken)
    np.testing.assert_array_equal(flat(held)[4], flat(frame)[4])
    seen = root_ahead(generator, banked, broken, (0, 2))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(seen))
    np.testing.assert_array_equal(seen.frames.root.height[4, 1], frame.root.height[4])


def test_models_without_a_root_stand_upright_and_move_as_commanded(model):
    generator, command = cmg_jax.streaming(6), commands(2, ROWS)
    state = generator.init(model, jax.random.key(0), command)
    seen = root_ahead(generator, model, state, (0, 5))
    assert seen.frames.root is None
    turned = 2 * np.arctan2(seen.root.rotation[:, 1, 3], seen.root.rotation[:, 1, 0])
    np.testing.assert_allclose(turned, 5 * command[:, 2] / 50, atol=1e-5)
    np.testing.assert_array_equal(seen.root.rotation[..., 1:3], 0)
    np.testing.assert_array_equal(seen.root.position[:, 0, :2], 0)
    distance = np.linalg.norm(seen.root.position[:, 1, :2], axis=-1)
    np.testing.assert_allclose(distance, np.linalg.norm(command[:, :2], axis=-1) * 0.1, rtol=0.01)
    assert ((seen.root.position[..., 2] > 0.6) & (seen.root.position[..., 2] < 0.9)).all()


def test_what_roots_ahead_cannot_be_asked_for(banked, small_model):
    generator = cmg_jax.streaming(2)
    state = generator.init(banked, jax.random.key(0), commands(1, 2))
    for call, words in (
        (lambda: root_ahead(generator, banked, state, (0, 3)), "offset 3 is beyond the 2 frames"),
        (lambda: root_ahead(generator, banked, state, (-1,)), "offset -1 is negative"),
        (lambda: jax.jit(lambda o: root_ahead(generator, banked, state, o))(jnp.array([1])), "offsets .* are traced"),
        (
            lambda: root_ahead(
                generator, small_model, generator.init(small_model, jax.random.key(0), jnp.zeros((2, 2))), (0,)
            ),
            "needs commands vx, vy and yaw rate",
        ),
    ):
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_the_stateful_class_and_compiling_ahead_serve_it(banked):
    motions = cmg_jax.CMGMotionGenerator(banked, 3, "streaming", buffer_size=2)
    motions.update_commands(commands(1, 3))
    data = motions.get_full_motion_data()
    assert data["motion_raw"].shape == (3, 64)
    np.testing.assert_array_equal(data["motion_raw"][:, :29], data["dof_pos"])
    ahead = cmg_jax.compile_ahead(banked, 3, generator=cmg_jax.streaming(2))
    state = ahead.init(banked, jax.random.key(0), commands(1, 3))
    assert flat(ahead.step(banked, state)[1]).shape == (3, 64)
