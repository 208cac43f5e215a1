"""A policy as an ONNX graph: normalization, network, and PD targets. Needs the extra `export`."""
# pyright: reportMissingImports=false

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.commands import uniform
from cmg_jax.envs import Reference, empty_reference
from cmg_jax.export._graph import Graph
from cmg_jax.generators import root_ahead, standing_frame
from cmg_jax.generators._base import first_frames
from cmg_jax.rl import _policy
from cmg_jax.rl._g1_tracking import AHEAD_JOINT_POS, VELOCITY_SCALE, G1Tracking
from cmg_jax.rl._onnx_reference import add_reference, frame_layout, robot_parts, standing_joint_pos
from cmg_jax.rl._setup import RunSetup
from cmg_jax.robot import G1, indices

LAYOUT, ROBOT = "observation", "robot"
"""Keys of the metadata, in JSON: the parts of the observation, or those of the robot, and their sizes."""

CHECKED = 256
"""Rows of a comparison with the policy."""

TOLERANCE = 1e-4
"""Largest difference of an action, or of a frame in units of the data's standard deviation."""


def policy_onnx(setup: RunSetup, params: _policy.Params, *, with_reference: bool = False) -> Any:
    """The `onnx.ModelProto` of a policy: normalization, network and PD targets.

        observation [batch, K]                                           -> action, joint_target [batch, J]
        robot [batch, R], frame [batch, D], command [batch, 3]           -> action, joint_target, next_frame

    The second is `with_reference`: the graph generates the reference too. `robot` is the observation before its
    reference, `frame` the reference's frame in physical units, which is `next_frame` a control step later, and
    `command` the active one. Observations are those of `G1Tracking`, not normalized. Targets are in rad, for the
    joints of the model, and within their limits. The metadata, in JSON, have the parts of `observation`, or those of
    `robot` and `frame` and a `standing_frame` to begin with; names, standing angles [rad], stiffness [N m/rad] and
    damping [N m s/rad] of the joints; the range of the commands in training, and seconds from an action to the next.

    Args:
      setup: of the run.
      params: of its policy.
      with_reference: put the generator of the reference into the graph.

    Raises:
      InputError: onnx is not installed, the observation lacks the frame that actions are added to, or `with_reference`
        where there is no reference, or no root channel in the model of a floating base.

    Examples:
      >>> from cmg_jax import rl
      >>> graph = rl.policy_onnx(setup, params).graph
    """
    env, model, graph = setup.env, setup.model, Graph()
    joints = env.action_size
    about: dict[str, Any] = {
        "joint_names": list(env.joint_names),
        "control_dt": setup.control_dt,
        "standing_joint_pos": standing_joint_pos(env).tolist(),
        "joint_vel_scale": VELOCITY_SCALE,
        "command_low": np.asarray(setup.commands.low).tolist(),
        "command_high": np.asarray(setup.commands.high).tolist(),
    } | _gains(env)
    outputs = {"action": joints, "joint_target": joints}
    base = standing = graph.constant(standing_joint_pos(env), "standing")
    if with_reference:
        robot, frame_size = robot_parts(env), model.config.motion_dim
        seen, following = add_reference(graph, setup, "frame", "command")
        graph.add("Identity", following, output="next_frame")
        observation = graph.add("Concat", "robot", *seen, axis=1)
        if env.residual:
            base = graph.columns(following, 0, joints)
        about |= {ROBOT: robot, "frame": frame_layout(setup), "standing_frame": standing_frame(model).tolist()}
        inputs = {"robot": sum(robot.values()), "frame": frame_size, "command": model.config.command_dim}
        outputs["next_frame"] = frame_size
    else:
        observation = "observation"
        if env.residual:
            begin = _next_frame(setup)
            base = graph.add("Add", graph.columns(observation, begin, begin + joints), standing)
        about[LAYOUT] = env.observation_parts()
        inputs = {"observation": sum(about[LAYOUT].values())}
    _add_policy(graph, setup, params, observation, base)
    return graph.model("policy", inputs, outputs, {key: json.dumps(value) for key, value in about.items()})


def _add_policy(graph: Graph, setup: RunSetup, params: _policy.Params, observation: str, base: str) -> None:
    """The values `action` and `joint_target`; the action is added to `base` [batch, J] rad."""
    env, add, constant = setup.env, graph.add, graph.constant
    normalizer, policy, _ = params
    x = add("Sub", observation, constant(normalizer.mean, "mean"))
    x = add("Div", x, constant(normalizer.std, "std"))
    layers = policy["params"]
    hidden = [layers["MLP_0"][f"hidden_{index}"] for index in range(len(layers["MLP_0"]))]
    for index, layer in enumerate((*hidden, layers["Dense_0"])):
        last = index == len(hidden)
        kernel, bias = (constant(layer[part], f"policy_{part}_{index}") for part in ("kernel", "bias"))
        x = add("Gemm", x, kernel, bias, output="action" if last else "")
        if not last:
            x = add("Mul", x, add("Sigmoid", x))  # swish
    low, high = np.asarray(G1.joint_limits)[indices(env.joint_names, G1.joint_names)].T
    target = add("Add", base, add("Mul", "action", constant(env.action_scale)))
    target = add("Max", target, constant(low))
    add("Min", target, constant(high), output="joint_target")


def _gains(env: G1Tracking) -> dict[str, list[float]]:
    """Of the PD control that a policy was trained with: N m/rad and N m s/rad of each joint."""
    actuators = [env.mj_model.actuator(name).id for name in env.joint_names]
    stiffness, damping = env.mj_model.actuator_gainprm[actuators, 0], -env.mj_model.actuator_biasprm[actuators, 2]
    return {"stiffness": stiffness.tolist(), "damping": damping.tolist()}


def _next_frame(setup: RunSetup) -> int:
    """Where in an observation the joint positions begin that the reference has at the end of the step."""
    lookahead, offset = setup.env.wrapping["lookahead"], setup.frames_per_step
    parts = setup.env.observation_parts()
    if AHEAD_JOINT_POS not in parts or offset not in lookahead:
        raise InputError(f"the observation of this run lacks frame {offset} ahead, to which an action is added")
    before = list(parts)[: list(parts).index(AHEAD_JOINT_POS)]
    return sum(parts[name] for name in before) + lookahead.index(offset) * setup.env.action_size


def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    """The session of onnxruntime, and the metadata."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError("running ONNX graphs needs onnxruntime: pip install 'cmg_jax[export]'") from None
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        if not {LAYOUT, ROBOT} & about.keys():
            raise ValueError("its metadata name no observation")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # onnxruntime raises many kinds
        raise InputError(f"{path}: not a policy that cmg-jax rl export wrote ({first_line(error)})") from None
    return session, about


def onnx_policy(path: Path, setup: RunSetup) -> _policy.Policy:
    """The policy of a file, run by onnxruntime, in place of that of `make_policy`; it ignores its parameters.

    Raises:
      InputError: onnxruntime is not installed, or the file is no policy for the observations of the run.
    """
    (session, about), parts, joints = _open(path), setup.env.observation_parts(), setup.env.action_size
    if LAYOUT not in about:
        raise InputError(f"{path}: it generates its own reference; export without --with-reference to run it here")
    if about[LAYOUT] != parts:
        raise InputError(f"{path}: its observation has the parts {about[LAYOUT]}, the run's {parts}")

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
    """Compare a graph with the policy, over 256 random observations.

    Where the graph generates the reference, it begins at frames of the model's pool, under random commands of the run.

    Returns:
      The largest difference of an action, and of a number of the next frame in units of the data's standard deviation.

    Raises:
      InputError: it is beyond `TOLERANCE`.
    """
    env, model, (session, about) = setup.env, setup.model, _open(path)
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    mean, std = (jnp.asarray(leaf) for leaf in (params[0].mean, params[0].std))
    obs = mean + std * jax.random.normal(keys[0], (CHECKED, *mean.shape))
    inputs, expected = {"observation": obs}, {}
    if ROBOT in about:
        frame, command = first_frames(model, keys[1], CHECKED), uniform(keys[2], setup.commands, CHECKED)
        inputs = {"robot": obs[:, : sum(about[ROBOT].values())], "frame": frame, "command": command}
        obs = jax.vmap(env.write_reference)(obs, _reference(setup, frame, command))
        held = jnp.repeat(command[:, None], setup.frames_per_step, axis=1)
        expected["next_frame"] = _rollout.generate(model, frame, held)[:, -1], model.stats.motion_std
    expected["action"] = _policy.make_policy(setup.network())(params, obs), 1.0
    outputs = session.run(list(expected), {name: np.asarray(value) for name, value in inputs.items()})
    pairs = zip(outputs, expected.values(), strict=True)
    difference = float(np.max([np.abs((found - value) / scale).max() for found, (value, scale) in pairs]))
    if not difference <= TOLERANCE:
        raise InputError(f"the graph differs from the policy by {difference:.1e}; please report this run")
    return difference


def _reference(setup: RunSetup, frame: jax.Array, command: jax.Array) -> Reference:
    """What an observation shows of the reference at a frame, whose next frames obey a command."""
    env, model = setup.env, setup.model
    lookahead = env.wrapping["lookahead"]
    generator = cmg_jax.streaming(setup.config.lookahead_frames)
    state = generator.init(model, jax.random.PRNGKey(0), command, frame, num_envs=len(frame))
    seen = root_ahead(generator, model, state, (0, *lookahead))
    now, ahead = seen.frames, jax.tree.map(lambda leaf: leaf[:, 1:], seen.frames)
    empty = empty_reference(num_joints=env.action_size, lookahead=len(lookahead), key_bodies=0)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(frame), *leaf.shape)), empty)._replace(
        joint_pos=now.joint_pos[:, 0],
        joint_vel=now.joint_vel[:, 0],
        root=jax.tree.map(lambda leaf: leaf[:, 0], seen.root),
        ahead=ahead._replace(root=None),
        command=command,
    )
