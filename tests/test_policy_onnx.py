"""A policy as an ONNX graph: the same actions, and the targets that the environment sets."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")
pytest.importorskip("onnxruntime")

import onnxruntime
from brax.training.acme import running_statistics, specs

from cmg_jax import InputError
from cmg_jax.rl import RunConfig, _onnx, _policy, _setup
from tests.conftest import DATA, refused_line

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")
ROWS = 3


def run(**settings):
    """A set-up whose policy is random, normalization included."""
    setup = _setup.set_up(RunConfig(hidden_layers=(16, 8), env={"rewards": {"key_bodies": 0.0}, **settings}))
    network, keys = setup.network(), jax.random.split(jax.random.PRNGKey(0), 4)
    size = sum(setup.env.observation_parts().values())
    normalizer = running_statistics.init_state(specs.Array((size,), jnp.dtype("float32")))
    normalizer = normalizer.replace(  # pyright: ignore
        mean=jax.random.normal(keys[0], (size,)), std=jax.random.uniform(keys[1], (size,), minval=0.5, maxval=2.0)
    )
    policy = network.policy_network.init(keys[2])
    noise = jax.random.normal(keys[3], policy["params"]["Dense_0"]["kernel"].shape)  # it would begin at zero
    policy["params"]["Dense_0"]["kernel"] = 0.3 * noise
    return setup, (normalizer, policy, network.value_network.init(keys[3]))


@pytest.mark.parametrize("settings", [{"residual": True}, {"residual": False, "lookahead": [2, 1]}])
def test_the_graph_gives_the_actions_and_the_targets_of_the_environment(settings, tmp_path):
    setup, params = run(action_scale=0.7, **settings)
    graph = _onnx.policy_onnx(setup, params)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    env = setup.env
    state = env.reset(jax.random.PRNGKey(0))
    rng = np.random.default_rng(0)
    low, high = np.asarray(env._limits).T
    reference = state.info["reference"]
    ahead = rng.uniform(low, high, (ROWS, *reference.ahead.joint_pos.shape)).astype(np.float32)
    obs, expected = [], []
    policy = _policy.make_policy(setup.network())
    for row in range(ROWS):
        seen = reference._replace(ahead=reference.ahead._replace(joint_pos=ahead[row]))
        obs.append(env.write_reference(jnp.asarray(state.obs) + 0.1 * row, seen))
        action = policy(params, obs[-1][None])[0]
        arriving = reference._replace(joint_pos=ahead[row, env.wrapping["lookahead"].index(1)])
        expected.append((action, env.target(arriving, action)))
    action, target = map(np.asarray, session.run(None, {"observation": np.stack(obs)}))
    np.testing.assert_allclose(action, [pair[0] for pair in expected], atol=2e-5)
    np.testing.assert_allclose(target, [pair[1] for pair in expected], atol=2e-5)
    assert np.ptp(target, axis=0).max() > 0.1, "rows do not differ"
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["observation"]) == env.observation_parts()
    assert sum(env.observation_parts().values()) == env.observation_size
    path = tmp_path / "policy.onnx"
    path.write_bytes(graph.SerializeToString())
    assert _onnx.check(setup, params, path) < 1e-4


def test_a_graph_of_other_observations_is_refused(tmp_path):
    setup, params = run()
    path = tmp_path / "policy.onnx"
    path.write_bytes(_onnx.policy_onnx(setup, params).SerializeToString())
    other = _setup.set_up(RunConfig(env={"lookahead": [1], "rewards": {"key_bodies": 0.0}}))
    with pytest.raises(InputError, match=r"policy\.onnx: its observation has the parts") as error:
        _onnx.onnx_policy(path, other)
    assert "\n" not in str(error.value)
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match="not a policy that cmg-jax rl export wrote"):
        _onnx.onnx_policy(path, setup)
    with pytest.raises(InputError, match="lacks 1, the frame that an action is added to"):
        _onnx.policy_onnx(*run(lookahead=[2]))


def test_export_refuses_before_it_works(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    for arguments, words in (
        (["export", tmp_path / "none", "--out", tmp_path / "a.onnx"], "none: no such directory"),
        (["export", tmp_path / "run", "--out", tmp_path / "b" / "a.onnx"], "no directory"),
        (["export", tmp_path / "run", "--out", tmp_path / "a.onnx"], "config.yaml: no such file"),
        (["play", DATA, "--onnx", tmp_path / "none.onnx", "--video", tmp_path / "a.gif"], "config.yaml: no such file"),
    ):
        assert words in refused_line(capsys, "rl", *arguments)
    assert not list(tmp_path.glob("*.onnx"))
