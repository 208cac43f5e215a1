"""Velocity commands: vx, vy [m/s] and yaw rate [rad/s] in the robot's frame."""
