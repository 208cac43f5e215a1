"""Generators: reference motion for a batch of environments, one frame a step."""
