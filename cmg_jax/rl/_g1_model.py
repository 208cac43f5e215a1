"""The G1 as a simulation: `g1.xml` with position actuators, and a floating base over a floor or a fixed base."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

from typing import Any

import mujoco
import numpy as np

from cmg_jax.robot import G1

NATURAL_FREQUENCY = 10.0 * 2 * np.pi
DAMPING_RATIO = 2.0
"""Gains from the motors' reflected inertia a: stiffness a w^2, damping 2 r a w. The rule and its two numbers
are those of mjlab (Apache-2.0)."""

HANGING_HEIGHT = 1.0
"""Height in m of the pelvis of a fixed base: the feet do not reach the floor."""


def build(*, floating: bool, sim_dt: float) -> Any:
    """The compiled `mujoco.MjModel`; its controls are PD targets [29] rad, its torques stay within the motors' limits.

    Args:
      floating: a floating base over a floor, with contacts of the eight soles and joint limits; else a fixed base
        without contacts and limits, which is several times as fast to simulate.
      sim_dt: seconds of a physics step.
    """
    spec = mujoco.MjSpec.from_string(G1.mjcf)
    joints = [joint for joint in spec.joints if joint.name != "root"]
    names = [joint.name for joint in joints]
    inertia = G1.mj_model.dof_armature[6:]
    for name, armature, limit in zip(names, inertia, G1.joint_limits, strict=True):
        stiffness = armature * NATURAL_FREQUENCY**2
        damping = 2 * DAMPING_RATIO * armature * NATURAL_FREQUENCY
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
        actuator.gainprm[0] = stiffness
        actuator.biasprm[1:3] = -stiffness, -damping
        actuator.ctrlrange, actuator.ctrllimited = limit, True
    for key in list(spec.keys):
        spec.delete(key)  # it is for the floating base, and lacks controls
    option = spec.option
    option.timestep = sim_dt
    # The actuators' damping is stiff against small inertias: an explicit step would have to be much shorter.
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    if floating:
        floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05])
        floor.contype, floor.conaffinity = 1, 0
        option.iterations, option.ls_iterations = 3, 5
    else:
        spec.delete(spec.joint("root"))
        spec.body("pelvis").pos = [0, 0, HANGING_HEIGHT]
        option.disableflags = mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_LIMIT
        option.iterations, option.ls_iterations = 1, 1
    return spec.compile()
