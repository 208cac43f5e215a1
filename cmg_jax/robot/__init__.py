"""The Unitree G1: joints, mirror, model, kinematics."""
