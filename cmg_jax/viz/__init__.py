"""Pictures of motion. Needs the extra `viz`."""
