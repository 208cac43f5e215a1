"""The CMG network in PyTorch, as the original computes it and in faster forms, for comparison."""
# pyright: reportMissingImports=false

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench._measure import cores
from cmg_jax.model._model import CMGModel
from cmg_jax.model._networks import unpack_experts


class Network(torch.nn.Module):
    """The network; `blend` is the way in which a layer mixes its experts."""

    def __init__(self, model: CMGModel, blend: Callable[..., torch.Tensor]):
        super().__init__()
        gate, self.blend = model.params["gating"], blend
        self.gate = [[_tensor(gate[f"Dense_{i}"][part]) for part in ("kernel", "bias")] for i in range(len(gate))]
        self.experts = []
        for index in range(len(model.params) - 1):
            layer = model.params[f"layers_{index}"]
            self.experts.append((_tensor(unpack_experts(layer["kernel"], layer["bias"])), _tensor(layer["bias"])))

    def forward(self, motion: torch.Tensor, command: torch.Tensor) -> torch.Tensor:
        x = gate = torch.cat([motion, command], dim=-1)
        for index, (kernel, bias) in enumerate(self.gate):
            gate = torch.nn.functional.linear(gate, kernel, bias)
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
    """The original's formula: [B, E, in, out] products, summed to one weight matrix a row, then applied to it."""
    weights = (c[:, :, None, None] * kernel[None]).sum(dim=1)
    return torch.bmm(x[:, None], weights)[:, 0] + (c[:, :, None] * bias[None]).sum(dim=1)


def blended_by_product(x: torch.Tensor, c: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """One weight matrix a row too, but blended by a matrix product."""
    weights = torch.einsum("be,eio->bio", c, kernel)
    return torch.baddbmm((c @ bias)[:, None], x[:, None], weights)[:, 0]


def expert_sum(x: torch.Tensor, c: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Every expert's output, weighted and summed."""
    return sum(c[:, e, None] * torch.addmm(bias[e], x, kernel[e]) for e in range(kernel.shape[0]))  # pyright: ignore


def torch_peers(model: CMGModel, num_envs: int, blended: bool) -> Iterator[tuple[str, Any, Any]]:
    """Name, step and rollout function of each way to run the network in PyTorch."""
    torch.set_num_threads(cores())
    if blended:
        yield "PyTorch, a blended weight per row (as the original)", Network(model, blended_weights), play
        yield "PyTorch, a blended weight per row, by a product", Network(model, blended_by_product), play
    eager = Network(model, expert_sum).eval()
    yield "PyTorch, sum over experts", eager, play
    example = torch.zeros(num_envs, model.config.motion_dim), torch.zeros(num_envs, model.config.command_dim)
    traced: Any = torch.jit.trace(eager, example)
    yield "TorchScript, sum over experts", torch.jit.freeze(traced), play
    yield "torch.compile, sum over experts", torch.compile(eager), play


def play(step: Any, motion: np.ndarray, commands: np.ndarray) -> np.ndarray:
    """Feed frames back under commands [T, B, C] and keep them, [T, B, D]."""
    with torch.inference_mode():
        frame = torch.from_numpy(motion)
        frames = torch.empty(*commands.shape[:2], motion.shape[-1])
        for index, command in enumerate(torch.from_numpy(commands)):
            frames[index] = frame = step(frame, command)
        return frames.numpy()
