"""Runs PyTorch's training step: the body of the script's loop, with its padded model."""

from typing import Any

import numpy as np
import torch

from experiments.benchmark import peers
from experiments.benchmark.peers import Arrays, Calls, Problem, torch_layer
from experiments.benchmark.peers.imdb_torch import Classifier

prepare = torch_layer.prepare


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """The script's model with these weights, and Adam with Keras's epsilon."""
    network = Classifier(len(arrays["kernel"]))
    state = {f"lstm.{name}": array for name, array in peers.weights(arrays).items()}
    state |= {"embedding.weight": arrays["embedding"], "dense.weight": arrays["kernel"].T.copy()}
    state |= {"dense.bias": arrays["bias"]}
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    loss_function = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=problem["learning_rate"], eps=1e-7)
    tokens = torch.from_numpy(arrays["tokens"].astype(np.int64))
    labels = torch.from_numpy(arrays["labels"].astype(np.float32)[:, None])

    def step() -> dict[str, Any]:
        optimizer.zero_grad()
        loss = loss_function(network(tokens), labels)
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    return {"step": step}
