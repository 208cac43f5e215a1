"""Libraries of gaits: from a few minutes of recorded clips to a data set of continuous locomotion.

    made = gaits.build([Path("walk.npz"), Path("run.npz")])
    data.save(Path("gaits.npz"), made.dataset)

Steady strides are cut from the clips at the contacts of the feet, made cyclic and symmetric, and averaged by speed
(`_strides`, `_table`). Clips are then synthesised along paths of any velocity, with starts, stops and changes
(`_plan`, `_catalogue`): the strides are looked up by speed and phase, the feet are locked to the floor (`_lock`), and
the legs are solved for them (`_ik`).
"""

from cmg_jax.gaits._build import Made, Options, Source, build

__all__ = ["Made", "Options", "Source", "build"]
