"""A policy as an ONNX graph: the same actions, and the targets that the environment sets."""
# pyright: reportAttributeAccessIssue=false

import dataclasses
import functools
import json
import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")
pytest.importorskip("onnxruntime")

import mujoco
import onnxruntime
from brax.training.acme import running_statistics, specs

from cmg_jax import InputError
from cmg_jax.cli.main import main
from cmg_jax.export._graph import Graph
from cmg_jax.rl import RunConfig, _config, _onnx, _onnx_reference, _policy, _setup
from cmg_jax.robot import G1
from tests.conftest import DATA, refused_line

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")
ROWS = 3


def run(model="", *, ppo=None, lookahead_frames=10, tick=4, **settings):
    """A set-up whose policy is random, normalization included."""
    env = {"rewards": {"key_bodies": 0.0}, **settings}
    ppo = dataclasses.replace(_config.PPOConfig(), **(ppo or {}))
    sizes = {"hidden_layers": (16, 8), "lookahead_frames": lookahead_frames, "tick": tick}
    config = RunConfig(model=model, env=env, ppo=ppo, **sizes)
    setup = _setup.set_up(config)
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


def session_of(content) -> Any:
    return onnxruntime.InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])


def held_torque(env, error, velocity):
    """N m of MuJoCo's actuators where each joint is `error` [rad] below its target, and moves."""
    model, free = env.mj_model, len(G1.standing_qpos) - 29
    data = mujoco.MjData(model)
    model.actuator_forcelimited[:] = 0
    qpos = np.concatenate([G1.standing_qpos[:free], G1.standing_joint_pos])
    data.qpos, data.qvel[-29:] = qpos[-model.nq :], velocity
    data.ctrl = G1.standing_joint_pos + error
    mujoco.mj_forward(model, data)
    return data.actuator_force


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


@pytest.mark.parametrize(
    "settings",
    [
        {"floating": True, "engine": "mujoco", "sim_dt": 0.01, "action_scale": 0.3},
        {"floating": False, "residual": False, "lookahead": [3, 0]},
        {"model": "policy", "lookahead": [4, 2], "ppo": {"action_repeat": 2}},
        {"model": "policy", "residual": False, "lookahead": [], "ctrl_dt": 0.04},
    ],
    ids=["floating", "fixed", "without_root", "without_lookahead"],
)
def test_the_graph_that_makes_the_reference_follows_the_environment(settings, tmp_path):
    """Its own frames are those of the environment over changes of command, and so are observations and targets.

    A command is active in the environment from the frame after it on; a loop that gives it to the graph with the frame
    before, as the example does, obeys it one step later.
    """
    setup, params = run(**settings)
    graph, env = Graph(), setup.env
    seen, _ = _onnx_reference.add_reference(graph, setup, "frame", "command")
    graph.add("Concat", *seen, axis=1, output="seen")
    motion_dim, robot = setup.model.config.motion_dim, sum(_onnx_reference.robot_parts(env).values())
    shown = session_of(
        graph.model(
            "shown", {"frame": motion_dim, "command": 3}, {"seen": sum(env.observation_parts().values()) - robot}
        )
    )
    session = session_of(_onnx.policy_onnx(setup, params, with_reference=True))
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    torque = np.array(about["stiffness"]) * 0.1 - np.array(about["damping"]) * 0.5
    np.testing.assert_allclose(torque, held_torque(env, 0.1, 0.5), rtol=1e-6)
    assert sum(about["frame"].values()) == len(about["standing_frame"]) == motion_dim
    size = sum(about["robot"].values())
    wrapped, policy = _setup.evaluation_env(setup.config, 100), _policy.make_policy(setup.network())
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), ROWS))
    step = jax.jit(lambda state, command, action: wrapped.step(wrapped.set_command(state, command), action))
    standing = np.tile(np.float32(about["standing_frame"]), (ROWS, 1))
    frame = before = standing
    active, target = np.zeros((ROWS, 3)), np.zeros((ROWS, 29))
    for number in range(40):
        obs, reference = np.asarray(state.obs), state.info["reference"]
        active = np.asarray(reference.command)
        inputs = {"robot": obs[:, :size], "command": active}
        if number:
            (frame,) = session.run(["next_frame"], inputs | {"frame": before})
        action, target = session.run(["action", "joint_target"], inputs | {"frame": frame})
        (parts,) = shown.run(None, {"frame": frame, "command": active})
        close = functools.partial(np.testing.assert_allclose, err_msg=f"step {number}")
        close(parts, obs[:, size:], atol=5e-4)
        close(frame[:, :58], np.concatenate([reference.joint_pos, reference.joint_vel], axis=1), atol=5e-4)
        expected = policy(params, state.obs)
        close(action, expected, atol=5e-4)
        sign = 1 if number < 20 else -1
        command = np.array([[0.8, 0.1 * sign, 0.4], [0.2 * sign, -0.2, 0.0], [0.0, 0.0, -0.5 * sign]], np.float32)
        state, before = step(state, command, expected), frame
        if (np.asarray(state.info["reference"].command) == active).all():
            close(target, jax.vmap(env.target)(state.info["reference"], expected)[:, env._driven], atol=1e-3)
        assert not np.asarray(state.done).any()
    assert np.abs(active).max() > 0.3
    assert np.abs(frame - standing).max() > 0.1, "the reference stands"
    path = tmp_path / "policy.onnx"
    path.write_bytes(_onnx.policy_onnx(setup, params, with_reference=True).SerializeToString())
    assert 0 < _onnx.check(setup, params, path) < 1e-4
    with pytest.raises(InputError, match=r"policy\.onnx: it generates its own reference"):
        _onnx.onnx_policy(path, setup)


def test_a_graph_of_another_policy_is_noticed(tmp_path):
    setup, params = run()
    changed = jax.tree.map(lambda leaf: leaf * 1.01, params[1])
    path = tmp_path / "policy.onnx"
    for with_reference in (False, True):
        graph = _onnx.policy_onnx(setup, (params[0], changed, params[2]), with_reference=with_reference)
        path.write_bytes(graph.SerializeToString())
        with pytest.raises(InputError, match="the graph differs from the policy by"):
            _onnx.check(setup, params, path)


def test_a_graph_makes_no_reference_that_its_run_lacks():
    with pytest.raises(InputError, match="the observation of this run has no reference"):
        _onnx.policy_onnx(*run(reference=False, residual=False), with_reference=True)
    with pytest.raises(InputError, match="the model of this run has no root channel"):
        _onnx.policy_onnx(*run(model="policy", floating=True), with_reference=True)
    blind = run(floating=True, residual=False, lookahead=[], lookahead_frames=0)
    with pytest.raises(InputError, match="lookahead_frames 0"):
        _onnx.policy_onnx(*blind, with_reference=True)
    with pytest.raises(InputError, match="lacks frame 1 ahead"):
        _onnx.policy_onnx(*run(reference=False))


@pytest.mark.slow
def test_the_bundled_policy_walks_in_plain_mujoco(tmp_path, capsys):
    path = tmp_path / "policy.onnx"
    assert main(["rl", "export", "--with-reference", "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    assert float(printed.split()[-1]) < 1e-5, printed
    example = Path(__file__).parents[1] / "docs" / "examples" / "policy_in_mujoco.py"
    walked = runpy.run_path(str(example))["main"](path, command=(0.7, 0.0, 0.0), seconds=5.0)
    assert walked[50:, 2].min() > 0.65, "it falls"
    distance = np.linalg.norm(walked[-1, :2] - walked[50, :2])
    assert abs(distance / 4 - 0.7) < 0.1


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
    with pytest.raises(InputError, match="lacks frame 1 ahead, to which an action is added"):
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
