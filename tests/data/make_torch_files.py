"""Write the PyTorch files in this folder. Needs torch; the tests do not.

    python tests/data/make_torch_files.py

One small CMG (2 joints, command of 2, 3 experts, widths 7 and 5) in every format that the converter
reads, and `expected.npz`: its stats and what PyTorch computes, blending weights per row as the original
network does.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
D, C, E, GATE, HIDDEN = 4, 2, 3, 6, (7, 5)


class Layer(nn.Module):
    def __init__(self, features_in: int, features_out: int):
        super().__init__()
        self.expert_weights = nn.ParameterList(nn.Parameter(torch.randn(features_in, features_out)) for _ in range(E))
        self.expert_biases = nn.ParameterList(nn.Parameter(torch.randn(features_out)) for _ in range(E))

    def forward(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        weight = torch.einsum("be,eio->bio", gate, torch.stack(list(self.expert_weights)))
        bias = torch.einsum("be,eo->bo", gate, torch.stack(list(self.expert_biases)))
        return torch.einsum("bi,bio->bo", x, weight) + bias


class Gating(nn.Module):
    def __init__(self):
        super().__init__()
        self.gating_network = nn.Sequential(nn.Linear(D + C, GATE), nn.ELU(), nn.Linear(GATE, E))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gating_network(x).softmax(-1)


class CMG(nn.Module):
    def __init__(self):
        super().__init__()
        self.gating = Gating()
        widths = (D + C, *HIDDEN, D)
        self.layers = nn.ModuleList(Layer(a, b) for a, b in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.gating(x)
        for layer in self.layers[:-1]:
            x = nn.functional.elu(layer(x, gate))
        return self.layers[-1](x, gate)


def main() -> None:
    torch.manual_seed(7)
    random = np.random.default_rng(7)
    model = CMG()
    stats = {
        "motion_mean": random.normal(size=D).astype(np.float32),
        "motion_std": random.uniform(0.1, 2, size=D).astype(np.float32),
        "command_min": np.array([-0.5, -1], np.float32),
        "command_max": np.array([1.5, 1], np.float32),
        "motion_dim": D,
        "command_dim": C,
        "num_joints": D // 2,
    }
    samples = [
        {"motion": random.normal(size=(21, D)).astype(np.float32), "command": np.zeros((20, C), np.float32)}
        for _ in range(9)
    ]
    x = torch.tensor(random.normal(size=(5, D + C)).astype(np.float32))
    optimizer = torch.optim.Adam(model.parameters())
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    state = model.state_dict()
    checkpoint = {
        "epoch": 3,
        "model_state_dict": state,
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": 0.125,
        "stats": stats,
    }
    final = {"model_state_dict": state, "stats": stats}

    torch.save(state, HERE / "best.pt")
    torch.save(checkpoint, HERE / "ckpt_4.pt")
    torch.save(final, HERE / "final.pt")
    torch.save(final, HERE / "final_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(nn.DataParallel(model).state_dict(), HERE / "best_data_parallel.pt")
    torch.save({"samples": samples, "stats": stats}, HERE / "training_data.pt")
    for name, dtype in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
        torch.save({**final, "model_state_dict": {k: v.to(dtype) for k, v in state.items()}}, HERE / f"final_{name}.pt")
    lines = [
        f"{key}: {value}" if isinstance(value, int) else "\n".join([f"{key}:", *(f"- {float(v)!r}" for v in value)])
        for key, value in stats.items()
    ]
    (HERE / "stats.yaml").write_text("\n".join(lines) + "\n")
    with torch.no_grad():
        arrays = {key: value for key, value in stats.items() if isinstance(value, np.ndarray)}
        first_frames = np.stack([sample["motion"][0] for sample in samples])
        np.savez(HERE / "expected.npz", x=x.numpy(), y=model(x).numpy(), first_frames=first_frames, **arrays)


if __name__ == "__main__":
    main()
