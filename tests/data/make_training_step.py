"""Writes training_step.npz: one step of the PyTorch original's training formula on a small network.

    python make_training_step.py        (needs torch; run once)

The formula, from the original's trainer: predict each frame from the last one, mean squared error per
step, averaged over the steps; a step starts from the data's frame if `teacher` is set, else from
the detached prediction. The network is written out here: a gate, then layers of experts whose outputs are blended.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

MOTION, COMMAND, EXPERTS, HIDDEN, STEPS, BATCH = 6, 2, 3, 8, 5, 4


def main() -> None:
    torch.manual_seed(0)
    double = torch.float64
    sizes = [MOTION + COMMAND, HIDDEN, HIDDEN, MOTION]
    weights = {
        "gate0": torch.randn(HIDDEN, MOTION + COMMAND, dtype=double) * 0.4,
        "gate0_bias": torch.randn(HIDDEN, dtype=double) * 0.1,
        "gate1": torch.randn(EXPERTS, HIDDEN, dtype=double) * 0.4,
        "gate1_bias": torch.randn(EXPERTS, dtype=double) * 0.1,
    }
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weights[f"layer{index}"] = torch.randn(EXPERTS, fan_in, fan_out, dtype=double) * 0.3
        weights[f"layer{index}_bias"] = torch.randn(EXPERTS, fan_out, dtype=double) * 0.1
    for weight in weights.values():
        weight.requires_grad_(True)
    motion = torch.randn(STEPS + 1, BATCH, MOTION, dtype=double)
    command = torch.rand(STEPS, BATCH, COMMAND, dtype=double) * 2 - 1
    teacher = torch.tensor([True, False, False, True, False])

    def network(motion: torch.Tensor, command: torch.Tensor) -> torch.Tensor:
        x = torch.cat([motion, command], dim=-1)
        hidden = torch.nn.functional.elu(x @ weights["gate0"].T + weights["gate0_bias"])
        gate = torch.softmax(hidden @ weights["gate1"].T + weights["gate1_bias"], dim=-1)
        for index in range(3):
            outputs = torch.einsum("bi,eio->beo", x, weights[f"layer{index}"]) + weights[f"layer{index}_bias"]
            x = (gate[:, :, None] * outputs).sum(dim=1)
            if index < 2:
                x = torch.nn.functional.elu(x)
        return x

    out = {name: weight.detach().numpy() for name, weight in weights.items()}
    out |= {"motion": motion.numpy(), "command": command.numpy(), "teacher": teacher.numpy()}
    for name, detach in (("cut", True), ("through", False)):
        loss, last = torch.zeros((), dtype=double), motion[0]
        for step in range(STEPS):
            frame = network(last, command[step])
            loss = loss + torch.nn.functional.mse_loss(frame, motion[step + 1])
            last = motion[step + 1] if teacher[step] else (frame.detach() if detach else frame)
        loss = loss / STEPS
        gradients = torch.autograd.grad(loss, list(weights.values()))
        out[f"{name}_loss"] = loss.detach().numpy()
        out |= {f"{name}_{key}": g.numpy() for key, g in zip(weights, gradients, strict=True)}
    np.savez_compressed(Path(__file__).with_name("training_step.npz"), **out)


if __name__ == "__main__":
    main()
