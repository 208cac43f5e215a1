"""Programs compiled by XLA for a GPU that is not there, and what the machine code holds.

The extra `gpu-compile` installs what this needs. Nothing is run.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from bench._hlo import Costs, loop_costs

GPUS = {"h100": "H100", "a100": "A100", "rtx4090": "RTX 4090"}
"""GPUs to compile for. `NAME.txtpb` describes each to XLA."""
WHEELS = ("jax_cuda12_plugin", "jax_plugins.xla_cuda12", "nvidia.cuda_nvcc")


class Program(NamedTuple):
    """A function and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donated: tuple[int, ...] = ()
    """Places of the arguments whose memory the results may take."""


class Compiled(NamedTuple):
    """What was compiled."""

    costs: Costs
    temporary_mb: float
    ptx: Sequence[str]
    """The assembly of all kernels, if it was asked for."""


class Kernel(NamedTuple):
    """A kernel as ptxas assembles it."""

    name: str
    registers: int
    spilled: int
    """Bytes of registers that are written to memory because there are too few."""


def missing() -> str | None:
    """Why nothing can be compiled for a GPU here, and what to do; None where it can."""
    try:
        absent = any(find_spec(name) is None for name in WHEELS)
    except ModuleNotFoundError:
        absent = True
    if absent:
        return "programs for a GPU need its compiler: pip install 'cmg_jax[gpu-compile]'"
    if jax.config.jax_platforms != "cpu":  # pyright: ignore[reportAttributeAccessIssue]
        return "programs for a GPU that is not there need JAX_PLATFORMS=cpu: their compiler looks for the GPU otherwise"
    return None


def compile_for_gpu(program: Program, gpu: str = "h100", *, ptx: bool = False) -> Compiled:
    """`program` for one GPU of `GPUS`, with its assembly if `ptx`."""
    target = Path(__file__).with_name(f"{gpu}.txtpb").read_text()
    device = topologies.get_topology_desc(platform="cuda", target_config=target, topology="1x1x1").devices[0]
    sharding = jax.sharding.SingleDeviceSharding(device)

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype, sharding=sharding)

    lowered = jax.jit(program.function, donate_argnums=program.donated).lower(*jax.tree.map(place, program.arguments))
    with _nothing_cached(), tempfile.TemporaryDirectory() as directory:
        compiled = lowered.compile(compiler_options={"xla_dump_to": directory} if ptx else None)
        assembly = [path.read_text() for path in sorted(Path(directory).glob("*.ptx"))]
    memory: Any = compiled.memory_analysis()
    return Compiled(loop_costs(compiled.as_text() or ""), memory.temp_size_in_bytes / 1e6, assembly)


def product_types(ptx: Sequence[str]) -> Counter[str]:
    """Operand types of the tensor cores' instructions in the assembly, and how many there are of each."""
    pattern = r"\b(?:mma\.sync|wgmma\.mma_async)\.\S*?\.f32\.(\w+)\.\1\b"
    return Counter(match for text in ptx for match in re.findall(pattern, text))


def kernels(ptx: Sequence[str]) -> list[Kernel]:
    """Registers and spills of every kernel in the assembly."""
    found: list[Kernel] = []
    spec = find_spec("nvidia.cuda_nvcc")
    assert spec is not None
    ptxas = Path(next(iter(spec.submodule_search_locations or ()))) / "bin" / "ptxas"
    for text in ptx:
        target = re.search(r"^\.target (\w+)", text, re.MULTILINE)
        assert target is not None
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory) / "kernels.ptx"
            source.write_text(text)
            command = [ptxas, "-v", f"-arch={target[1]}", source, "-o", Path(directory) / "kernels.cubin"]
            report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        entries = r"entry function '(\S+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
        for name, stored, loaded, registers in re.findall(entries, report, re.DOTALL):
            found.append(Kernel(name, int(registers), int(stored) + int(loaded)))
    return found


@contextmanager
def _nothing_cached() -> Iterator[None]:
    """A program for a device that is not there cannot be read back from a compilation cache."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, float("inf"))
    try:
        yield
    finally:
        jax.config.update(name, before)
