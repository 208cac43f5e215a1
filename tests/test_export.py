"""A model as an ONNX graph."""

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax.export import onnx_model
from cmg_jax.model._model import apply_normalized


@pytest.fixture(params=["real", "small", "root"])
def any_model(request, model, small_model, root_model):
    return {"real": model, "small": small_model, "root": root_model}[request.param]


@pytest.mark.parametrize("physical", [False, True])
def test_onnxruntime_makes_the_same_frame_for_any_number_of_rows(physical, any_model):
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = onnx_model(any_model, physical=physical)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    assert [value.name for value in session.get_inputs()] == ["prev_motion", "command"]
    assert [value.name for value in session.get_outputs()] == ["motion"]
    rng, config, stats = np.random.default_rng(0), any_model.config, any_model.stats
    for rows in (1, 7, 64):
        motion = rng.normal(size=(rows, config.motion_dim)).astype(np.float32)
        command = rng.uniform(-1, 1, size=(rows, config.command_dim)).astype(np.float32)
        scale = np.ones(config.motion_dim, np.float32)
        if physical:
            scale = np.asarray(stats.motion_std)
            motion = motion * scale + np.asarray(stats.motion_mean)
            command = command + (np.asarray(stats.command_max) + np.asarray(stats.command_min)) / 2
        frame = session.run(None, {"prev_motion": motion, "command": command})[0]
        function = cmg_jax.apply if physical else apply_normalized
        expected = np.asarray(jax.jit(function)(any_model, motion, command))
        np.testing.assert_allclose(frame / scale, expected / scale, rtol=0, atol=1e-5)
