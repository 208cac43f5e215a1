"""A policy as an ONNX graph: normalization, network, and PD targets. Needs the extra `export`."""
# pyright: reportMissingImports=false

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.rl import _policy
from cmg_jax.rl._g1_tracking import AHEAD_JOINT_POS
from cmg_jax.rl._setup import RunSetup
from cmg_jax.robot import G1

OPSET = 17
LAYOUT = "observation"
"""Key of the metadata that has the parts of the observation and their sizes, in JSON."""


def policy_onnx(setup: RunSetup, params: _policy.Params) -> Any:
    """The `onnx.ModelProto` of a policy: observation [batch, K] in; action [batch, J] and joint_target [batch, J] out.

    Observations are those of `G1Tracking`, not normalized; the metadata of the graph name their parts. Targets are in
    rad, for the joints of the model, and within their limits.

    Args:
      setup: of the run.
      params: of its policy.

    Raises:
      InputError: onnx is not installed, or the observation lacks the frame that actions are added to.

    Examples:
      >>> from cmg_jax import rl
      >>> graph = rl.policy_onnx(setup, params).graph
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise InputError("ONNX graphs need onnx: pip install 'cmg_jax[export]'") from None
    normalizer, policy, _ = params
    env, nodes, constants = setup.env, [], {}

    def constant(name: str, value: Any) -> str:
        constants[name] = np.asarray(value, np.float32)
        return name

    def add(operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operation.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    x = add("Sub", "observation", constant("mean", normalizer.mean))
    x = add("Div", x, constant("std", normalizer.std))
    layers = policy["params"]
    hidden = [layers["MLP_0"][f"hidden_{index}"] for index in range(len(layers["MLP_0"]))]
    for index, layer in enumerate((*hidden, layers["Dense_0"])):
        last = index == len(hidden)
        kernel, bias = (constant(f"{part}_{index}", layer[part]) for part in ("kernel", "bias"))
        x = add("Gemm", x, kernel, bias, output="action" if last else "")
        if not last:
            x = add("Mul", x, add("Sigmoid", x))  # swish
    parts = env.observation_parts()
    joints = list(env.joint_names)
    at = [G1.joint_names.index(name) for name in joints]
    low, high = np.asarray(G1.joint_limits)[at].T
    base = constant("standing", np.asarray(G1.standing_joint_pos)[at])
    if env.residual:
        begin = _next_frame(setup, parts)
        for name, number in {"begin": begin, "end": begin + len(joints), "axis": 1}.items():
            constants[name] = np.array([number], np.int64)
        base = add("Add", base, add("Slice", "observation", "begin", "end", "axis"))
    target = add("Add", base, add("Mul", "action", constant("scale", env.action_scale)))
    target = add("Max", target, constant("low", low))
    add("Min", target, constant("high", high), output="joint_target")

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])

    graph = helper.make_graph(
        nodes,
        "policy",
        [value("observation", sum(parts.values()))],
        [value("action", len(joints)), value("joint_target", len(joints))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(
        model, {LAYOUT: json.dumps(parts), "joint_names": json.dumps(joints), "control_dt": str(env.dt)}
    )
    checker.check_model(model)
    return model


def _next_frame(setup: RunSetup, parts: dict[str, int]) -> int:
    """Where in an observation the joint positions begin that the reference has at the end of the step."""
    lookahead, offset = setup.env.wrapping["lookahead"], round(setup.env.dt * setup.model.config.fps)
    if offset not in lookahead:
        raise InputError(f"env.lookahead {lookahead} lacks {offset}, the frame that an action is added to")
    before = list(parts)[: list(parts).index(AHEAD_JOINT_POS)]
    return sum(parts[name] for name in before) + lookahead.index(offset) * setup.env.action_size


def onnx_policy(path: Path, setup: RunSetup) -> _policy.Policy:
    """The policy of a file, run by onnxruntime, in place of that of `make_policy`; it ignores its parameters.

    Raises:
      InputError: onnxruntime is not installed, or the file is no policy for the observations of the run.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError("running ONNX graphs needs onnxruntime: pip install 'cmg_jax[export]'") from None
    parts, joints = setup.env.observation_parts(), setup.env.action_size
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        found = json.loads(session.get_modelmeta().custom_metadata_map[LAYOUT])
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # onnxruntime raises many kinds
        raise InputError(f"{path}: not a policy that cmg-jax rl export wrote ({first_line(error)})") from None
    if found != parts:
        raise InputError(f"{path}: its observation has the parts {found}, the run's {parts}")

    def run(obs: Any) -> np.ndarray:
        return np.asarray(session.run(["action"], {"observation": np.asarray(obs)})[0])

    def policy(_: Any, obs: jax.Array) -> jax.Array:
        return jax.pure_callback(run, jax.ShapeDtypeStruct((len(obs), joints), np.float32), obs)

    return policy


def chosen_policy(directory: Path, setup: RunSetup, onnx: Path | None) -> tuple[_policy.Policy, Any]:
    """The policy of a run and its parameters, or that of a file."""
    if onnx is not None:
        return onnx_policy(onnx, setup), None
    network = setup.network()
    return _policy.make_policy(network), _policy.load_policy(directory, network, setup.env.observation_size)


def check(setup: RunSetup, params: _policy.Params, path: Path) -> float:
    """The largest difference of the actions of a file from those of the policy, over 256 random observations."""
    mean, std = (jnp.asarray(leaf) for leaf in (params[0].mean, params[0].std))
    obs = mean + std * jax.random.normal(jax.random.PRNGKey(0), (256, *mean.shape))
    expected = _policy.make_policy(setup.network())(params, obs)
    return float(np.abs(onnx_policy(path, setup)(None, obs) - expected).max())
