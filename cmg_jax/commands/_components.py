"""Names of the three components of a velocity command, for all tables, plots and files."""

COMMAND_NAMES = ("vx", "vy", "yaw rate")
COMMAND_UNITS = ("m/s", "m/s", "rad/s")
COMMAND_LABELS = tuple(f"{name} [{unit}]" for name, unit in zip(COMMAND_NAMES, COMMAND_UNITS, strict=True))
"""Labels of axes, charts and table columns: vx [m/s], vy [m/s], yaw rate [rad/s]."""
