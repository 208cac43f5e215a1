"""Robots: the Unitree G1 and others from an MJCF; their kinematics, feet and mirror images."""

from cmg_jax.robot._g1 import G1
from cmg_jax.robot._robot import Robot

__all__ = ["G1", "Robot"]
