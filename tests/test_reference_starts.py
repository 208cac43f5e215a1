# pyright: reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
"""Episodes that begin on their reference, of models with a root channel, in both kinds of auto-reset."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

import cmg_jax
from cmg_jax import InputError, standing_frame
from cmg_jax.envs import ReferenceSource, _beginning
from tests.conftest import slow_except
from tests.generator_tools import arrays_in
from tests.tiny_envs import JOINTS, BeginsBrax, BeginsMjx
from tests.wrapper_tools import BATCH, KEYS, actions_of, draw, simulate, summary, unroll, wrapped

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")


def pooled(model):
    noise = jax.random.normal(jax.random.key(1), (50, model.config.motion_dim))
    return dataclasses.replace(model, initial_motion=standing_frame(model)[None] + 0.1 * noise)


@pytest.mark.parametrize("mode", slow_except(["brax", "playground", "playground full_reset"], "playground"))
def test_300_steps_are_those_of_a_plain_simulation_in_which_episodes_begin_on_their_reference(mode, tiny_root_model):
    env = BeginsBrax() if mode == "brax" else BeginsMjx()
    env = wrapped(env, tiny_root_model, full_reset="full" in mode)
    state = jax.jit(env.reset)(KEYS)
    first, actions = summary(state), actions_of(1)
    _, seen = unroll(env, state, actions)
    begun = lambda reference: {  # noqa: E731
        "joints": np.concatenate([reference.joint_pos, reference.joint_vel], axis=-1),
        "root": np.concatenate(reference.root, axis=-1),
        "feet": np.asarray(reference.contacts),
    }
    before = {name: np.asarray(leaf) for name, leaf in first["data"].items()}
    velocity = np.asarray(first["reference"].root.linear_velocity[:, :2])
    np.testing.assert_array_equal({**begun(first["reference"])}["root"], before["root"])
    np.testing.assert_array_equal(first["obs"][:, :2], before["x"])
    fresh = before["x"] - velocity  # x of a row that auto-reset has restored
    assert ((fresh >= 10) & (fresh <= 11)).all()
    contacts = []
    for now, (done, _, x) in enumerate(simulate(tiny_root_model, first, actions, seen)):
        step = jax.tree.map(lambda leaf, now=now: np.asarray(leaf[now]), seen)
        for name, expected in begun(step["reference"]).items():
            np.testing.assert_array_equal(step["data"][name][done], expected[done], err_msg=name)
            np.testing.assert_array_equal(step["data"][name][~done], before[name][~done], err_msg=name)
        np.testing.assert_array_equal(step["obs"][:, :2], step["data"]["x"])
        restored = x[done] - step["reference"].root.linear_velocity[done, :2]
        if "full" in mode:
            assert ((restored > 9.99) & (restored < 11.01)).all()
        else:
            np.testing.assert_allclose(restored, fresh[done], atol=1e-4)
        before, contacts = step["data"], [*contacts, step["reference"].contacts]
    assert 0.5 < np.mean(contacts) < 0.99, "the feet hardly ever change"
    assert np.ptp(seen["reference"].root.linear_velocity, axis=(0, 1)).min() > 0.1


class Wide(BeginsMjx):
    """A hook with work that an array of 137 numbers shows."""

    def begin_on_reference(self, state, reference):
        state = super().begin_on_reference(state, reference)
        work = jnp.sin(state.data["x"][0] * jnp.arange(137.0)).sum()
        return state.replace(reward=state.reward + 0 * work)


def test_the_hook_runs_for_a_chunk_of_rows_in_a_branch(tiny_root_model):
    batch = 600
    env = wrapped(Wide(), tiny_root_model)
    state = jax.eval_shape(env.reset, jax.ShapeDtypeStruct((batch, 2), jnp.uint32))
    program = jax.make_jaxpr(env.step)(state, jax.ShapeDtypeStruct((batch, 3), jnp.float32)).jaxpr
    work = [(shape, inside) for shape, inside in arrays_in(program) if shape[-1:] == (137,)]
    assert {shape[0] for shape, _ in work if len(shape) == 2} - {1} == {512, 128, 32, 16}
    assert all("while" in inside for _, inside in work)
    # What the hook leaves as it is (the first data that auto-reset keeps) is not carried through the loop.
    compiled: Any = (
        jax.jit(env.step, donate_argnums=0).lower(state, jax.ShapeDtypeStruct((batch, 3), jnp.float32)).compile()
    )
    assert compiled.memory_analysis().temp_size_in_bytes < 40 * batch * 4 * 100


def test_leaves_that_belong_to_no_row_are_seen_whole_and_kept():
    def hook(state, reference):
        return state | {"x": state["x"] + reference + state["weights"].sum(), "weights": state["weights"] * 2}

    state = {"x": jnp.arange(20.0), "weights": jnp.arange(3.0), "untouched": jnp.ones((20, 2))}
    rows = jnp.arange(20) % 3 == 1
    found = _beginning.begin_rows(hook, state, 10 * jnp.arange(20.0), rows, "Env")  # pyright: ignore
    np.testing.assert_array_equal(found["x"], np.where(rows, 11 * np.arange(20.0) + 3, np.arange(20.0)))
    np.testing.assert_array_equal(found["weights"], [0, 1, 2])
    assert found["untouched"] is state["untouched"]


def test_a_hook_that_changes_the_state_s_leaves_is_refused(tiny_root_model):
    for changes, words in (
        (
            lambda state: {"obs": state.obs[:-1]},
            r"the leaf .obs of the state was float32\[14\] and becomes float32\[13\]",
        ),
        (lambda state: {"reward": state.reward.astype(jnp.int32)}, r"the leaf .reward .* becomes int32\[\]"),
        (lambda state: {"info": state.info | {"new": jnp.zeros(3)}}, r"the leaf .info\['new'\] of the state is new"),
        (lambda state: {"metrics": {}}, r"the leaf .metrics\['x'\] of the state is missing"),
    ):

        class Wrong(BeginsMjx):
            def begin_on_reference(self, state, reference, changes=changes):
                return state.replace(**changes(state))

        with pytest.raises(InputError, match=f"Wrong.begin_on_reference: {words}") as error:
            jax.eval_shape(wrapped(Wrong(), tiny_root_model).reset, KEYS)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_fraction_of_the_episodes_begins_standing_and_the_others_in_the_pool(tiny_root_model):
    keys = jax.random.split(jax.random.PRNGKey(5), 400)
    standing, pool = standing_frame(tiny_root_model), np.asarray(pooled(tiny_root_model).initial_motion)
    for fraction in (0.0, 0.3, 1.0):
        env = wrapped(BeginsMjx(), pooled(tiny_root_model), cmg_jax.streaming(3), standing_fraction=fraction)
        state = jax.jit(env.reset)(keys)
        first = np.asarray(state.info["reference"].joint_pos)
        state.info["steps"] = jnp.where(jnp.arange(400) % 2 == 0, 39.0, 0.0)  # of episodes of 40
        state = jax.jit(env.step)(state, jnp.full((400, 3), -1.0))
        again = np.asarray(state.info["reference"].joint_pos)[::2]
        assert (state.done[::2] == 1).all()
        for frames in (first, again):
            stands = np.abs(frames - standing[:JOINTS]).max(axis=-1) < 1e-6
            assert abs(stands.mean() - fraction) < 0.1
            others = np.abs(frames[~stands, None] - pool[None, :, :JOINTS]).max(axis=-1).min(axis=-1)
            assert (others < 1e-5).all()
            assert len(np.unique(frames, axis=0)) > (20 if fraction < 1 else 0)
    for fraction in (-0.1, 1.5):
        with pytest.raises(InputError, match=f"standing_fraction {fraction} is not between 0 and 1"):
            ReferenceSource(tiny_root_model, cmg_jax.streaming(3), draw, standing_fraction=fraction)


def test_from_a_bank_episodes_begin_at_any_phase(tiny_root_model):
    motions = cmg_jax.build_bank(tiny_root_model, jax.random.key(4), 5, 30, draw)
    frames = np.asarray(motions.frames) * np.asarray(tiny_root_model.stats.motion_std) + np.asarray(
        tiny_root_model.stats.motion_mean
    )
    env = wrapped(BeginsMjx(), tiny_root_model.replace(bank=motions), cmg_jax.replay(lookahead_frames=4))
    state = jax.jit(env.reset)(jax.random.split(jax.random.PRNGKey(5), 100))
    first = np.asarray(state.data["joints"])
    phase = np.abs(frames[None, :, :, : 2 * JOINTS] - first[:, None, None]).max(axis=-1).min(axis=-1)
    assert (phase.min(axis=-1) < 1e-4).all()
    assert len(np.unique(phase.argmin(axis=-1))) > 15
    assert len(np.unique(first, axis=0)) > BATCH
