"""`cmg_jax.generate` beside PyTorch and onnxruntime: the same weights, the same frames, one process.

    pip install '.[bench]' torch
    python bench/peers.py [--envs 1 64 512 4096] [--steps 20] [--repeats 5]

Every peer feeds its frames back for T steps and keeps them, as `generate` does. Before it is timed, its frames
must be ours. The time of a peer is divided by ours, measured in turn with it: above 1, we are faster.
"""

# pyright: reportMissingImports=false
import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import torch

import cmg_jax
from cmg_jax import normalization
from cmg_jax.export.onnx_model import onnx_model
from cmg_jax.model import CMGModel
from cmg_jax.networks import unpack_experts
from cmg_jax.rollout import row_blocks

Step = Callable[[Any, Any], Any]
"""(motion [B, D], command [B, C]) -> motion [B, D], normalized."""

PER_SAMPLE_ROWS = 512
"""Beyond, one blended weight a row takes gigabytes."""
CORES = len(os.sched_getaffinity(0))


class Network(torch.nn.Module):
    """The CMG network in PyTorch; `blend` is how a layer mixes its experts."""

    def __init__(self, model: CMGModel, blend: Callable[..., torch.Tensor]):
        super().__init__()
        gate, self.blend = model.params["gating"], blend
        self.gate = [tuple(_tensor(gate[f"Dense_{i}"][part]) for part in ("kernel", "bias")) for i in range(len(gate))]
        self.experts = []
        for index in range(len(model.params) - 1):
            layer = model.params[f"layers_{index}"]
            weights = unpack_experts(np.asarray(layer["kernel"]), layer["bias"])
            self.experts.append((_tensor(weights), _tensor(layer["bias"])))

    def forward(self, motion: torch.Tensor, command: torch.Tensor) -> torch.Tensor:
        x = gate = torch.cat([motion, command], dim=-1)
        for index, (kernel, bias) in enumerate(self.gate):
            gate = torch.addmm(bias, gate, kernel)
            if index + 1 < len(self.gate):
                gate = torch.nn.functional.elu(gate)
        coefficients = torch.softmax(gate, dim=-1)
        for index, (kernel, bias) in enumerate(self.experts):
            x = self.blend(x, coefficients, kernel, bias)
            if index + 1 < len(self.experts):
                x = torch.nn.functional.elu(x)
        return x


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def blended_weights(x: torch.Tensor, c: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """One weight matrix a row, as the PyTorch original has it."""
    weights = torch.einsum("be,eio->bio", c, kernel)
    return torch.baddbmm((c @ bias)[:, None], x[:, None], weights)[:, 0]


def expert_sum(x: torch.Tensor, c: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Every expert's output, weighted and summed."""
    return sum(c[:, e, None] * torch.addmm(bias[e], x, kernel[e]) for e in range(kernel.shape[0]))  # pyright: ignore


def peers(model: CMGModel, envs: int) -> Iterator[tuple[str, Step]]:
    """Names and steps of what we are compared with."""
    if envs <= PER_SAMPLE_ROWS:
        yield "PyTorch, a blended weight per row", Network(model, blended_weights)
    eager = Network(model, expert_sum)
    yield "PyTorch, sum over experts", eager
    example = torch.zeros(envs, model.config.motion_dim), torch.zeros(envs, model.config.command_dim)
    yield "TorchScript, sum over experts", torch.jit.freeze(torch.jit.trace(eager.eval(), example))  # pyright: ignore
    yield "torch.compile, sum over experts", torch.compile(eager)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString(), options)

    def run(motion: np.ndarray, command: np.ndarray) -> np.ndarray:
        return session.run(None, {"prev_motion": motion, "command": command})[0]  # pyright: ignore

    yield "onnxruntime", run


def rollout(step: Step, motion: Any, commands: Any, frames: Any) -> np.ndarray:
    """Feed frames back under commands [T, B, C] and keep them in `frames` [T, B, D]."""
    for index, command in enumerate(commands):
        motion = step(motion, command)
        frames[index] = motion
    return np.asarray(frames)


def compare(model: CMGModel, envs: int, steps: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    assert model.initial_motion is not None
    first = model.initial_motion[rng.integers(len(model.initial_motion), size=envs)]
    low, high = np.asarray(model.stats.command_min), np.asarray(model.stats.command_max)
    command = rng.uniform(low, high, size=(envs, 1, len(low))).astype(np.float32)
    commands = jnp.asarray(np.broadcast_to(command, (envs, steps, len(low))))
    generate = jax.jit(cmg_jax.generate, static_argnames="time_major")

    def ours() -> np.ndarray:
        return np.asarray(generate(model, first, commands, time_major=True))

    expected = np.asarray(normalization.normalize_motion(model.stats, jnp.asarray(ours()[1:])))
    motion = np.array(normalization.normalize_motion(model.stats, first))
    orders = np.array(normalization.normalize_command(model.stats, commands).swapaxes(0, 1))
    for name, step in peers(model, envs):
        arrays: tuple[Any, ...] = (motion, orders, np.empty_like(expected))
        if name != "onnxruntime":
            arrays = tuple(torch.from_numpy(array) for array in arrays)

        def theirs(step: Step = step, arrays: tuple[Any, ...] = arrays) -> np.ndarray:
            with torch.inference_mode():
                return rollout(step, *arrays)

        np.testing.assert_allclose(theirs(), expected, atol=2e-3)  # rounding, fed back
        ratios, own = [], []
        for _ in range(repeats):
            own.append(seconds(ours))
            ratios.append(seconds(theirs) / own[-1])
        rate = envs * steps / statistics.median(own)
        print(
            f"{envs:6}  {name:34}  {statistics.median(ratios):8.2f}  ({min(ratios):.2f} .. {max(ratios):.2f})"
            f"   ours {rate:,.0f} frames/s",
            flush=True,
        )


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 64, 512, 4096])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(CORES)
    versions = f"jax {jax.__version__}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    print(f"{versions} on {jax.devices()[0].device_kind}, {CORES} cores; blocks of {row_blocks(4096)[1]} rows at most")
    print("  envs  peer                                its time / ours (median, range)")
    for envs in arguments.envs:
        compare(cmg_jax.default_model(), envs, arguments.steps, arguments.repeats)


if __name__ == "__main__":
    main()
