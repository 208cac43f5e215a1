"""Training a CMG: loss, one jitted chunk of steps, checkpoints."""
