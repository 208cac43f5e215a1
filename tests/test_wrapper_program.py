"""The compiled step of the wrapper, commands of banks, key bodies, kinds of arrays, and errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

import cmg_jax
from cmg_jax import InputError
from cmg_jax.envs import ReferenceSource, empty_reference
from cmg_jax.robot import Robot, kinematics
from tests.tiny_envs import JOINTS, OFFSETS, TinyBrax, TinyMjx
from tests.wrapper_tools import KEYS, actions_of, unroll, wrapped

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")

# The compiled step.


class OnG1(TinyMjx):
    def reset(self, rng):
        state = super().reset(rng)
        state.info["reference"] = empty_reference(num_joints=29, lookahead=1)
        return state

    def write_reference(self, obs, reference):
        return obs.at[2:5].set(reference.joint_pos[:3])


def runs_if_needed(equation):
    """Whether it is a conditional, or a loop with a number of turns that is found as it runs, none where none is due.

    A loop of a known number of turns is a `scan`; one under `vmap` runs while any row needs it.
    """
    if equation.primitive.name == "while":
        return equation.params["cond_jaxpr"].jaxpr.outvars[0].aval.shape == ()
    # Of the branches for several platforms, one is compiled.
    return equation.primitive.name == "cond" and equation.params.get("branches_platforms") is None


def network_calls(jaxpr, inside=False):
    """Number of matrix products outside of conditionals, and of predicates that are not scalars."""
    outside, wide = 0, 0
    for equation in jaxpr.eqns:
        is_cond = runs_if_needed(equation)
        if equation.primitive.name == "dot_general" and not inside:
            outside += 1
        if equation.primitive.name == "cond":
            wide += equation.invars[0].aval.shape != ()
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            sub = getattr(value, "jaxpr", value)
            if hasattr(sub, "eqns"):
                more = network_calls(sub, inside or is_cond)
                outside, wide = outside + more[0], wide + more[1]
    return outside, wide


def test_the_network_runs_only_in_branches_and_its_weights_are_arguments(model):
    batch = 256
    env = wrapped(OnG1(), model, cmg_jax.realtime(8), hold=1000, lookahead=(1,))
    state = jax.eval_shape(env.reset, jax.random.split(jax.random.PRNGKey(0), batch))
    action = jax.ShapeDtypeStruct((batch, 3), jnp.float32)
    assert network_calls(jax.make_jaxpr(env.step)(state, action).jaxpr) == (0, 0)
    lowered = jax.jit(env.step).lower(state, action)
    weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(model.params))
    assert len(lowered.as_text()) < weights / 4, "weights are written into the program"
    compiled: Any = lowered.compile()
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes > weights
    assert memory.temp_size_in_bytes < 5 * weights, "weights are copied for every row"


def test_the_check_detects_a_generator_inside_vmap(model):
    """The check of the test above detects a generator that is stepped row by row."""
    generator = cmg_jax.realtime(8)
    command = jnp.zeros((5, 3))
    state = jax.eval_shape(
        jax.vmap(lambda row: generator.init(model, jax.random.PRNGKey(0), row[None])),
        jax.ShapeDtypeStruct(command.shape, command.dtype),
    )
    step = jax.vmap(lambda model, state: generator.step(model, state)[0], in_axes=(None, 0))
    outside, _ = network_calls(jax.make_jaxpr(step)(model, state).jaxpr)
    assert outside > 0


def test_motions_of_a_bank_have_their_own_commands(motions, model):
    env = wrapped(OnG1(), model.replace(bank=motions), cmg_jax.streaming(3, from_bank=True), lookahead=(1,))
    state = jax.jit(env.reset)(KEYS)
    known = {tuple(command) for command in np.asarray(motions.command)}
    assert {tuple(command) for command in np.asarray(state.info["reference"].command)} <= known
    actions = actions_of(6, steps=10)
    _, seen = unroll(env, state, actions)
    done = np.asarray(seen["done"]) == 1
    assert {tuple(command) for command in np.asarray(seen["reference"].requested)[done]} <= known


ARM = """<mujoco><worldbody><body name="upper"><joint name="a" axis="0 1 0"/><geom size="0.1"/>
  <body name="lower" pos="0 0 0.3"><joint name="b" axis="1 0 0"/><geom size="0.1"/>
    <body name="hand" pos="0 0 0.2"><joint name="c" axis="0 0 1"/><geom size="0.1"/></body>
  </body></body></worldbody></mujoco>"""


class WithBodies(TinyMjx):
    def reset(self, rng):
        state = super().reset(rng)
        state.info["reference"] = empty_reference(
            num_joints=JOINTS, lookahead=len(OFFSETS), key_bodies=2, contacts=False
        )
        return state


def test_key_bodies_come_with_the_frames(tiny_model, tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    arm = Robot.from_mjcf(path)
    env = wrapped(WithBodies(), tiny_model, key_bodies=("hand", "lower"), robot=arm)
    reference = jax.jit(env.reset)(KEYS).info["reference"]
    forward = jax.jit(kinematics(arm, bodies=("hand", "lower")).body_velocities)
    for bodies, frame in ((reference.bodies, reference[:2]), (reference.ahead_bodies, reference.ahead)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), tuple(bodies), forward(*frame))
    assert np.ptp(reference.ahead_bodies.poses.position, axis=(0, 1)).max() > 0.01


# Double precision and NumPy arrays.


@pytest.mark.slow
def test_double_precision_changes_no_draw_and_no_dtype_of_the_reference(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, cmg_jax.on_tick(cmg_jax.streaming(3), 2))
    actions, keys = actions_of(4, steps=20), np.asarray(KEYS)

    def play():
        state = jax.jit(env.reset)(keys)
        last, seen = unroll(env, state, actions)
        assert jax.tree.map(lambda leaf: leaf.dtype, last) == jax.tree.map(lambda leaf: leaf.dtype, state)
        return seen["reference"]

    single = play()
    with jax.enable_x64(True):
        double = play()
    assert {leaf.dtype.name for leaf in jax.tree.leaves(double)} == {"float32"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), single, double)


def test_a_state_restored_as_numpy_arrays_continues_unchanged(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, cmg_jax.on_tick(cmg_jax.streaming(3), 2))
    actions = actions_of(5, steps=20)
    state, _ = unroll(env, jax.jit(env.reset)(KEYS), actions[:6])
    restored = jax.tree.map(np.asarray, state)
    command = np.linspace(-0.5, 0.5, 3 * len(KEYS), dtype=np.float32).reshape(-1, 3)
    rollouts = [unroll(env, env.set_command(start, command), actions[6:])[1] for start in (state, restored)]
    jax.tree.map(np.testing.assert_array_equal, *rollouts)


# Errors.


class NoSlot(TinyMjx):
    def reset(self, rng):
        state = super().reset(rng)
        del state.info["reference"]
        return state


class NoWriter(TinyMjx):
    write_reference: Any = None


class WrongObs(TinyMjx):
    def write_reference(self, obs, reference):
        return obs[:-1]


def test_errors_say_how_to_fix_them(tiny_model):
    for make, words in (
        (lambda: wrapped(NoSlot(), tiny_model).reset(KEYS), r"NoSlot declares no info.*add .*lookahead=2"),
        (lambda: wrapped(TinyMjx(), tiny_model, lookahead=(1,)).reset(KEYS), r"TinyMjx is not the slot .*lookahead=1"),
        (lambda: wrapped(TinyMjx(), tiny_model).reset(KEYS[0]), r"one raw key .* of shape \(2,\): jax.random"),
        (lambda: wrapped(NoWriter(), tiny_model), "NoWriter has no method write_reference"),
        (lambda: wrapped(WrongObs(), tiny_model).reset(KEYS), "WrongObs.write_reference returns"),
        (lambda: wrapped(TinyMjx(dt=0.015), tiny_model), "0.015 s is 0.75 frames"),
        (lambda: wrapped(TinyBrax(), tiny_model, full_reset=True), "TinyBrax is a Brax environment"),
        (lambda: wrapped(TinyMjx(), tiny_model, lookahead=(-1,)), "not negative"),
        (lambda: ReferenceSource(tiny_model, cmg_jax.streaming(2), None, lookahead=(1, 3)), "offset 3 .* the 2 frames"),
        (lambda: wrapped(TinyMjx(), tiny_model, cmg_jax.realtime(6), lookahead=(4,)), "offset 4 .* the 3 frames"),
        (lambda: wrapped(TinyMjx(), tiny_model, hold=0), "at least 1 step"),
        (lambda: wrapped(TinyMjx(), tiny_model, key_bodies=("nose",)), "only the names are known"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words) as error:
            make()
        assert "\n" not in str(error.value)
