"""The G1 as a simulation: `g1.xml` with position actuators, and a floating base over a floor or a fixed base."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from cmg_jax.robot import G1

NATURAL_FREQUENCY, DAMPING_RATIO = 10.0, 2.0
"""Hz, and no unit. Gains follow from a motor's reflected inertia a: stiffness a w^2, damping 2 r a w. The rule and its
two numbers are those of mjlab (Apache-2.0)."""

HANGING_HEIGHT = 1.0
"""Height in m of the pelvis of a fixed base: the feet do not reach the floor."""


def build(
    *,
    floating: bool,
    sim_dt: float,
    solver: tuple[int, int] = (3, 5),
    friction: float = 1.0,
    natural_frequency: float = NATURAL_FREQUENCY,
    damping_ratio: float = DAMPING_RATIO,
    sensor_bodies: Sequence[str] | None = None,
) -> Any:
    """The compiled `mujoco.MjModel`; its controls are PD targets [29] rad, its torques stay within the motors' limits.

    Args:
      floating: a floating base over a floor, with contacts of the eight soles and joint limits; else a fixed base
        without contacts and limits, which is several times as fast to simulate.
      sim_dt: seconds of a physics step.
      solver: iterations of the solver of contacts, and of its line search; a fixed base has no constraints.
      friction: sliding, between the soles and the floor.
      natural_frequency: Hz, of the gains.
      damping_ratio: of the gains.
      sensor_bodies: where given, the model has sensors: the torques of the actuators [29], the positions of these
        bodies, and those of the soles [8].
    """
    spec = mujoco.MjSpec.from_string(G1.mjcf)
    joints = [joint for joint in spec.joints if joint.name != "root"]
    names = [joint.name for joint in joints]
    inertia = G1.mj_model.dof_armature[6:]
    for name, armature, limit in zip(names, inertia, G1.joint_limits, strict=True):
        pulsation = 2 * np.pi * natural_frequency
        stiffness, damping = armature * pulsation**2, 2 * damping_ratio * armature * pulsation
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
        actuator.gainprm[0] = stiffness
        actuator.biasprm[1:3] = -stiffness, -damping
        actuator.ctrlrange, actuator.ctrllimited = limit, True
    if sensor_bodies is not None:
        _add_sensors(spec, names, sensor_bodies)
    for key in list(spec.keys):
        spec.delete(key)  # it is for the floating base, and lacks controls
    option = spec.option
    option.timestep = sim_dt
    # The actuators' damping is stiff against small inertias: an explicit step would have to be much shorter.
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    if floating:
        floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05])
        floor.contype, floor.conaffinity = 1, 0
        floor.friction[0], floor.priority = friction, 1  # the soles have no say
        option.iterations, option.ls_iterations = solver
    else:
        spec.delete(spec.joint("root"))
        spec.body("pelvis").pos = [0, 0, HANGING_HEIGHT]
        option.disableflags = mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_LIMIT
        option.iterations, option.ls_iterations = 1, 1
    return spec.compile()


def _add_sensors(spec: Any, actuators: Sequence[str], bodies: Sequence[str]) -> None:
    soles = [
        geom.name for foot in G1.feet for geom in spec.body(foot).geoms if geom.type == mujoco.mjtGeom.mjGEOM_SPHERE
    ]
    kind, thing = mujoco.mjtSensor, mujoco.mjtObj
    for sensor, target, names in (
        (kind.mjSENS_ACTUATORFRC, thing.mjOBJ_ACTUATOR, actuators),
        (kind.mjSENS_FRAMEPOS, thing.mjOBJ_XBODY, bodies),
        (kind.mjSENS_FRAMEPOS, thing.mjOBJ_GEOM, soles),
    ):
        for name in names:
            spec.add_sensor(name=f"{name}_sensor", type=sensor, objtype=target, objname=name)
