"""The reference of an observation as nodes of an ONNX graph: a frame and a command in, the next frame out."""

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.export._graph import Graph
from cmg_jax.export._onnx_model import normalized_command, normalized_frame, normalized_motion, physical_motion
from cmg_jax.rl._g1_tracking import AHEAD_JOINT_POS, VELOCITY_SCALE, G1Tracking
from cmg_jax.rl._setup import RunSetup
from cmg_jax.robot import G1, RootMotion, indices

Quaternion = tuple[str, str, str, str]

LEAST_COSINE = 1e-6
"""Of a pitch: no root of a motion lies flat, but a frame is the user's, and a division by zero would spread."""


def robot_parts(env: G1Tracking) -> dict[str, int]:
    """The parts of an observation that are measured on the robot, and their sizes.

    Raises:
      InputError: the observation has no reference.
    """
    parts = env.observation_parts()
    if AHEAD_JOINT_POS not in parts:
        raise InputError("the observation of this run has no reference; export its policy without --with-reference")
    names = list(parts)
    return {name: parts[name] for name in names[: names.index("reference_joint_pos")]}


def add_reference(graph: Graph, setup: RunSetup, frame: str, command: str) -> tuple[list[str], str]:
    """The parts of an observation after the robot's, and the frame one control step later.

    The frames to come are those that follow `frame` under `command`, as a generator makes them for a new command.

    Args:
      graph: to which nodes are added.
      setup: of the run.
      frame: name of the reference's frame [batch, D].
      command: name of the active command [batch, 3].

    Raises:
      InputError: the observation has no reference, or the base is floating and the model has no root channel, or the
        generator of the run knows no frame ahead.
    """
    env, model = setup.env, setup.model
    config, joints = model.config, model.config.num_joints
    after_robot = list(env.observation_parts())[len(robot_parts(env)) :]
    if env.floating and not config.has_root:
        raise InputError("the model of this run has no root channel; export its policy without --with-reference")
    if env.floating and not setup.config.lookahead_frames:
        raise InputError("lookahead_frames 0: the reference has no vertical velocity; export without --with-reference")
    lookahead = env.wrapping["lookahead"]
    asked = normalized_command(graph, model, command)
    plan = graph.iterate(
        max((*lookahead, setup.frames_per_step)),
        normalized_motion(graph, model, frame),
        config.motion_dim,
        lambda inside, last: normalized_frame(inside, model, last, asked),
    )
    plan = physical_motion(graph, model, plan)

    def ahead(offset: int) -> str:
        return graph.add("Gather", plan, graph.constant(offset - 1), axis=0) if offset else frame

    standing = graph.constant(standing_joint_pos(env), "standing")
    now = graph.add("Sub", graph.columns(frame, 0, joints), standing)
    velocity = graph.columns(frame, joints, 2 * joints)
    poses = [graph.add("Sub", graph.columns(ahead(offset), 0, joints), standing) for offset in lookahead]
    parts = {
        "reference_joint_pos": now,
        "reference_joint_vel": graph.add("Mul", velocity, graph.constant(VELOCITY_SCALE)),
        AHEAD_JOINT_POS: graph.add("Concat", *poses, axis=1) if poses else graph.columns(now, 0, 0),
        "command": command,
    }
    if env.floating:
        parts |= _root(graph, frame, ahead(1), 2 * joints, config.fps)
    return [parts[name] for name in after_robot], ahead(setup.frames_per_step)


def frame_layout(setup: RunSetup) -> dict[str, int]:
    """The parts of a frame, and their sizes."""
    config = setup.model.config
    names = ["joint_pos", "joint_vel", *(f"root_{name}" for name in RootMotion._fields)]
    return {name: part.size for name, part in zip(names, config.frame_parts, strict=False)}


def standing_joint_pos(env: G1Tracking) -> np.ndarray:
    """rad, of the joints that the action drives."""
    return np.asarray(G1.standing_joint_pos)[indices(env.joint_names, G1.joint_names)]


def _root(graph: Graph, frame: str, following: str, begin: int, fps: float) -> dict[str, str]:
    """Height, lean, and the velocities in the heading frame that lead to the following frame, as `integrate_root`."""
    add, constant = graph.add, graph.constant

    def column(values: str, index: int) -> str:
        return graph.columns(values, begin + index, begin + index + 1)

    height, x, y = (column(frame, index) for index in range(3))
    next_height, next_x, next_y, forward, left, yaw_rate = (column(following, index) for index in range(6))
    half = add("Mul", yaw_rate, constant(0.5 / fps))
    sin, cos = add("Sin", half), add("Cos", half)
    # The chord of the arc, half-way through its turn.
    straight = add("Less", add("Abs", half), constant(1e-4))
    chord = add("Where", straight, constant(1.0), add("Div", sin, add("Where", straight, constant(1.0), half)))
    along, across = add("Mul", chord, forward), add("Mul", chord, left)
    linear = (
        add("Sub", add("Mul", along, cos), add("Mul", across, sin)),
        add("Add", add("Mul", along, sin), add("Mul", across, cos)),
        add("Mul", add("Sub", next_height, height), constant(fps)),
    )
    w, *now = _lean(graph, x, y)
    opposite: Quaternion = (w, *(add("Neg", part) for part in now))  # pyright: ignore
    zero = add("Mul", half, constant(0.0))
    turned = _product(graph, (cos, zero, zero, sin), _lean(graph, next_x, next_y))
    w, *axis = _product(graph, turned, opposite)
    # From a frame to the next one the root turns by far less than half a turn: w is positive.
    axis = add("Concat", *axis, axis=1)
    sine = add("Sqrt", add("ReduceSum", add("Mul", axis, axis), graph.sizes(1), keepdims=1))
    small = add("Less", sine, constant(1e-6))
    angle = add("Mul", add("Atan", add("Div", sine, w)), constant(2.0))
    factor = add("Where", small, constant(2.0), add("Div", angle, add("Where", small, constant(1.0), sine)))
    return {
        "reference_height": height,
        "reference_gravity": add("Concat", x, y, axis=1),
        "reference_linear_velocity": add("Concat", *linear, axis=1),
        "reference_angular_velocity": add("Mul", axis, add("Mul", factor, constant(fps))),
    }


def _lean(graph: Graph, x: str, y: str) -> Quaternion:
    """The rotation of a root without yaw, by half-angle formulas: `rotation_of` without inverse functions."""
    add, constant = graph.add, graph.constant

    def root_of(value: str) -> str:
        return add("Sqrt", add("Max", value, constant(0.0)))

    def halves(sine: str, cosine: str) -> tuple[str, str]:
        half_cosine = root_of(add("Mul", add("Add", cosine, constant(1.0)), constant(0.5)))
        return add("Div", sine, add("Mul", half_cosine, constant(2.0))), half_cosine

    x2, y2 = add("Mul", x, x), add("Mul", y, y)
    rest = add("Sub", constant(1.0), x2)
    level = add("Max", root_of(rest), constant(LEAST_COSINE))  # cosine of the pitch
    down = root_of(add("Sub", rest, y2))
    sp, cp = halves(x, level)
    sr, cr = halves(add("Neg", add("Div", y, level)), add("Div", down, level))
    return add("Mul", cp, cr), add("Mul", cp, sr), add("Mul", sp, cr), add("Neg", add("Mul", sp, sr))


def _product(graph: Graph, first: Quaternion, second: Quaternion) -> Quaternion:
    """The rotation `second`, then `first`."""

    def total(*terms: tuple[int, int, int]) -> str:
        """The sum of first[i] second[j], with signs."""
        out = graph.add("Mul", first[0], second[terms[0][2]])
        for sign, i, j in terms[1:]:
            out = graph.add("Add" if sign > 0 else "Sub", out, graph.add("Mul", first[i], second[j]))
        return out

    return (
        total((1, 0, 0), (-1, 1, 1), (-1, 2, 2), (-1, 3, 3)),
        total((1, 0, 1), (1, 1, 0), (1, 2, 3), (-1, 3, 2)),
        total((1, 0, 2), (-1, 1, 3), (1, 2, 0), (1, 3, 1)),
        total((1, 0, 3), (1, 1, 2), (-1, 2, 1), (1, 3, 0)),
    )
