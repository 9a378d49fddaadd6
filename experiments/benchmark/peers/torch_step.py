"""PyTorch's training step: what stands in the script's loop, with its padded model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.benchmark.peers import torch_layer
from experiments.benchmark.peers.imdb_torch import Classifier

prepare = torch_layer.prepare


def build(
    option: str, problem: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, Callable[[], dict[str, Any]]]:
    """The script's model with these weights, and Adam with Keras's epsilon."""
    network = Classifier(len(arrays["kernel"]))
    given = {f"lstm.{k[2:]}": a for k, a in arrays.items() if k.startswith("w:")}
    given |= {"embedding.weight": arrays["embedding"], "dense.weight": arrays["kernel"].T.copy()}
    given |= {"dense.bias": arrays["bias"]}
    network.load_state_dict({name: torch.from_numpy(a) for name, a in given.items()})
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
