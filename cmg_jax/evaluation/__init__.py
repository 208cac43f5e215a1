"""How well a model obeys its commands, in figures that need no reference motion.

    report = cmg_jax.evaluation.evaluate(cmg_jax.default_model())
    print(cmg_jax.evaluation.report_text(report))

The velocity of a robot is measured at its stance foot. With a root channel it is the root's own, over legs that may
not walk: the report then has the velocity of the feet, their slip and a verdict beside it. The robot's feet must be
known.
"""

from cmg_jax.evaluation._evaluate import STAGES, evaluate
from cmg_jax.evaluation._measure import COMPONENTS, MOVING, STILL, STRIDE_SECONDS, Settings, default_grid
from cmg_jax.evaluation._report import report_json, report_text

__all__ = [
    "COMPONENTS",
    "MOVING",
    "STAGES",
    "STILL",
    "STRIDE_SECONDS",
    "Settings",
    "default_grid",
    "evaluate",
    "report_json",
    "report_text",
]
