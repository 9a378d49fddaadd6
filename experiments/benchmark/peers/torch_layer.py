"""Runs PyTorch: `nn.RNN`, `nn.LSTM`, `nn.GRU`, batch first.

Forward in inference mode, where its LSTM goes to oneDNN without keeping anything.
"""

from typing import Any

import torch

from experiments.benchmark import peers
from experiments.benchmark.peers import Arrays, Calls, Problem

MODULES = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def prepare(threads: int) -> bool:
    """Threads and denormals both have a switch."""
    torch.set_num_threads(threads)
    return bool(torch.set_flush_denormal(True))


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """Weights have the names of the module's `state_dict`."""
    _, _, features, units = problem["sizes"]
    module = MODULES[problem["cell"]](features, units, batch_first=True)
    module.load_state_dict({name: torch.from_numpy(w) for name, w in peers.weights(arrays).items()})
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
