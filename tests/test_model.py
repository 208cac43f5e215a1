"""A model as a pytree: two checkpoints share its structure and programs, but not their provenance."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax.model._model import param_shapes
from cmg_jax.robot import Robot


@pytest.fixture(scope="module")
def checkpoints(tiny_model, tmp_path_factory):
    """Two loaded models of one architecture with different weights and cards."""
    models = []
    for name, factor in (("one", 1.0), ("two", 0.5)):
        config = dataclasses.replace(tiny_model.config, provenance=(("description", name), (name, "only here")))
        params = jax.tree.map(lambda leaf, factor=factor: leaf * np.float32(factor), tiny_model.params)
        path = tmp_path_factory.mktemp("models") / name
        cmg_jax.save(dataclasses.replace(tiny_model, params=params, config=config), path)
        models.append(cmg_jax.load(path))
    return models


def test_two_checkpoints_have_one_structure_and_compile_once(checkpoints):
    one, two = checkpoints
    assert dict(one.config.provenance)["description"] == "one"
    assert one.config == two.config
    assert hash(one.config) == hash(two.config)
    assert jax.tree.structure(one) == jax.tree.structure(two)
    apply = jax.jit(chex.assert_max_traces(cmg_jax.apply, n=1))
    motion, command = jnp.ones((2, 6)), jnp.zeros((2, 3))
    frames = [apply(model, motion, command) for model in checkpoints]
    assert np.abs(frames[0] - frames[1]).max() > 0


def test_models_of_another_robot_or_rate_differ(checkpoints):
    one = checkpoints[0]
    for change in ({"robot": Robot("xbc", ("x", "b", "c"))}, {"fps": 30.0}):
        other = one.replace(config=dataclasses.replace(one.config, **change))
        assert jax.tree.structure(other) != jax.tree.structure(one)


def test_an_ensemble_is_a_map_over_models(checkpoints):
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *checkpoints)
    motion, command = jnp.ones((2, 6)), jnp.zeros((2, 3))
    frames = jax.vmap(cmg_jax.apply, in_axes=(0, None, None))(ensemble, motion, command)
    for model, frame in zip(checkpoints, frames, strict=True):
        np.testing.assert_allclose(cmg_jax.apply(model, motion, command), frame, atol=1e-5)


def test_a_model_never_has_the_provenance_of_another(checkpoints):
    half = jax.jit(lambda model: jax.tree.map(lambda leaf: leaf / 2, model))
    for model in checkpoints:  # the second takes the program that the first compiled
        assert half(model).config.provenance == ()
        assert model.replace(initial_motion=None).config.provenance == model.config.provenance
    mean = jax.tree.map(lambda *leaves: sum(leaves) / 2, *checkpoints)
    assert mean.config == checkpoints[0].config
    assert mean.config.provenance == ()


def test_a_program_compiled_ahead_runs_a_second_checkpoint(checkpoints):
    one, two = checkpoints
    command = jnp.ones((4, 3))
    generator = cmg_jax.streaming(2)
    ahead = cmg_jax.compile_ahead(one, 4, generator=generator, donate=False)
    state = ahead.init(two, jax.random.key(0), command)
    frame = ahead.step(two, state)[1]
    expected = generator.step(two, generator.init(two, jax.random.key(0), command))[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), frame, expected)
    assert np.abs(frame.joint_pos - ahead.step(one, ahead.init(one, jax.random.key(0), command))[1].joint_pos).max() > 0


def test_saved_and_loaded_under_x64(checkpoints, tmp_path):
    one = checkpoints[0]
    with jax.enable_x64(True):
        cmg_jax.save(one, tmp_path / "model")
        loaded = cmg_jax.load(tmp_path / "model")
        shapes = param_shapes(one.config)
    assert {leaf.dtype for leaf in jax.tree.leaves((loaded, shapes))} == {np.dtype("float32")}
    jax.tree.map(np.testing.assert_array_equal, loaded, one)
    assert loaded.config.provenance == one.config.provenance
