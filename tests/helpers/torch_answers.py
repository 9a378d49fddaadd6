"""Asks what PyTorch answers to some weights and inputs, stored in `torch_answers.npz`.

PyTorch's package is gigabytes where pip takes the CUDA build, so the tests do not install it: they
compare with these answers. With PyTorch there, one more test asks it again, and

    python tests/helpers/torch_answers.py

writes the file anew, and `torch_cells.npz`, what its cells answer to one step.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

FILE = Path(__file__).with_name("torch_answers.npz")
CELLS_FILE = Path(__file__).with_name("torch_cells.npz")
CELLS = {"rnn": "RNNCell", "relu_rnn": "RNNCell", "lstm": "LSTMCell", "gru": "GRUCell"}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
INPUTS, STEPS = 3, 6
LENGTHS = np.array([6, 1, 4, 5])


class Case(NamedTuple):
    cell: str
    units: int = 5
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    bias: bool = True

    def __str__(self):
        return "-".join(f"{name}={value}" for name, value in self._asdict().items())


CASES = [
    case
    for cell in GATES
    for case in (
        Case(cell),
        Case(cell, units=1, bias=False),
        Case(cell, units=7, ragged=True),
        Case(cell, layers=2, bidirectional=True, ragged=True),
    )
]


def suffixes(case):
    directions = ("", "_reverse") if case.bidirectional else ("",)
    return [[f"l{layer}{direction}" for direction in directions] for layer in range(case.layers)]


def weights(case, dtype="float64"):
    """A state_dict of random arrays; the same on every machine."""
    rng = np.random.default_rng(CASES.index(case))
    columns, size, state_dict = GATES[case.cell] * case.units, INPUTS, {}
    for layer in suffixes(case):
        for suffix in layer:
            shapes = {"weight_ih": (columns, size), "weight_hh": (columns, case.units)}
            if case.bias:
                shapes |= {"bias_ih": (columns,), "bias_hh": (columns,)}
            for name, shape in shapes.items():
                state_dict[f"{name}_{suffix}"] = rng.normal(0, 0.5, shape).astype(dtype)
        size = len(layer) * case.units
    return state_dict


def inputs(dtype="float64"):
    return np.random.default_rng(99).normal(size=(len(LENGTHS), STEPS, INPUTS)).astype(dtype)


def module(case):
    import torch

    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell]
    return kind(
        INPUTS,
        case.units,
        case.layers,
        bias=case.bias,
        batch_first=True,
        bidirectional=case.bidirectional,
        dtype=torch.float64,
    )


def ask(case, state_dict=None):
    """Outputs, final states, and the gradients of the sum of their sines, from PyTorch itself."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    network = module(case)
    given = weights(case) if state_dict is None else state_dict
    network.load_state_dict({name: torch.from_numpy(a) for name, a in given.items()})
    xs = torch.from_numpy(inputs()).requires_grad_()
    if case.ragged:
        packed = pack_padded_sequence(xs, LENGTHS, batch_first=True, enforce_sorted=False)
        hs, final = network(packed)
        hs, _ = pad_packed_sequence(hs, batch_first=True, total_length=STEPS)
    else:
        hs, final = network(xs)
    states = final if case.cell == "lstm" else (final,)
    sum(torch.sum(torch.sin(a)) for a in (hs, *states)).backward()
    answers = {"hs": hs, "xs.grad": xs.grad}
    answers |= dict(zip("hc", states, strict=False))
    answers |= {f"{name}.grad": p.grad for name, p in network.named_parameters()}
    return {name: tensor.detach().numpy() for name, tensor in answers.items()}


def stored(case):
    start = f"{case}/"
    with np.load(FILE) as file:
        return {name[len(start) :]: file[name] for name in file if name.startswith(start)}


def ask_cells():
    """Of each of PyTorch's cells its state_dict, an input, and the states after it, from zeros."""
    import torch

    torch.manual_seed(0)
    answers = {}
    for name, kind in CELLS.items():
        options = {"nonlinearity": "relu"} if name == "relu_rnn" else {}
        cell = getattr(torch.nn, kind)(INPUTS, 5, dtype=torch.float64, **options)
        x = torch.randn(len(LENGTHS), INPUTS, dtype=torch.float64)
        states = cell(x) if name == "lstm" else (cell(x),)
        answers[f"{name}/x"] = x.numpy()
        for field, state in zip("hc", states, strict=False):
            answers[f"{name}/{field}"] = state.detach().numpy()
        for part, array in cell.state_dict().items():
            answers[f"{name}/state_dict/{part}"] = array.numpy()
    return answers


def stored_cell(name):
    """The state_dict, the input and the states after it, as PyTorch 1.13 gave them."""
    with np.load(CELLS_FILE) as file:
        start = f"{name}/state_dict/"
        state_dict = {n.removeprefix(start): file[n] for n in file if n.startswith(start)}
        states = [file[f"{name}/{field}"] for field in "hc" if f"{name}/{field}" in file]
        return state_dict, file[f"{name}/x"], states


if __name__ == "__main__":
    np.savez_compressed(CELLS_FILE, **ask_cells())
    np.savez_compressed(
        FILE, **{f"{case}/{name}": a for case in CASES for name, a in ask(case).items()}
    )
