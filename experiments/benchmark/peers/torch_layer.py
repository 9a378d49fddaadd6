"""PyTorch: `nn.RNN`, `nn.LSTM`, `nn.GRU`, batch first.

Forward in inference mode, where its LSTM goes to oneDNN without keeping anything.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

MODULES = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def prepare(threads: int) -> bool:
    """Both have a switch."""
    torch.set_num_threads(threads)
    return bool(torch.set_flush_denormal(True))


def build(
    option: str, problem: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Weights have the names of the module's `state_dict`."""
    _, _, features, units = problem["sizes"]
    module = MODULES[problem["cell"]](features, units, batch_first=True)
    weights = {k[2:]: torch.from_numpy(a) for k, a in arrays.items() if k.startswith("w:")}
    module.load_state_dict(weights)
    xs, dhs = torch.from_numpy(arrays["xs"]), torch.from_numpy(arrays["dhs"])
    watched = xs.clone().requires_grad_()
    names, parameters = zip(*module.named_parameters(), strict=True)

    def forward() -> dict[str, Any]:
        with torch.inference_mode():
            return {"hs": module(xs)[0]}

    def both() -> dict[str, Any]:
        hs, _ = module(watched)
        dxs, *dweights = torch.autograd.grad(hs, (watched, *parameters), grad_outputs=dhs)
        gradients = {f"d:{name}": d for name, d in zip(names, dweights, strict=True)}
        return {"hs": hs.detach(), "dxs": dxs, **gradients}

    return {"forward": forward, "both": both}
