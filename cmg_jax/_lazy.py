"""Public names that a package imports when they are first used, because they need an extra or take long to import."""

import importlib
from collections.abc import Mapping


def import_name(package: str, name: str, modules: Mapping[str, str], *, extra: str) -> object:
    """The body of a package's `__getattr__`.

    Args:
      package: name of the package.
      name: name of the attribute.
      modules: the private module of each name.
      extra: the extra of the project that these modules need.

    Raises:
      AttributeError: no such name.
      ImportError: the extra is not installed; the message says how to install it.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("cmg_jax", "bench"):
            raise
        raise ImportError(f"{package}.{name} needs {missing}: pip install 'cmg_jax[{extra}]'") from error
