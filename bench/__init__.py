"""The measurements of `cmg-jax bench`, and programs that each answer one question (`python -m bench.NAME --help`).

    import bench
    import cmg_jax

    for measurement in bench.plan("rollout", cmg_jax.default_model(), num_envs=(64,), repeats=2):
        print(bench.table_text(measurement.run(lambda done, section=None: None)))

Every time is a median; times that are compared are measured alternately in one process.
"""

from typing import TYPE_CHECKING

from cmg_jax._lazy import import_name

if TYPE_CHECKING:
    from bench._measure import Section
    from bench._plan import MODES, Measurement, plan
    from bench._report import as_json, table_text

__all__ = ["MODES", "Measurement", "Section", "as_json", "plan", "table_text"]

_MODULES = {
    "MODES": "_plan",
    "Measurement": "_plan",
    "Section": "_measure",
    "as_json": "_report",
    "plan": "_plan",
    "table_text": "_report",
}


def __getattr__(name: str) -> object:
    return import_name(__name__, name, _MODULES, extra="bench")
