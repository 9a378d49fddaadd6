"""Trains on IMDB in PyTorch, as its tutorials do: `Dataset`, `DataLoader`, a module, a loop.

    python -m experiments.benchmark.peers.imdb_torch --padding packed --data-dir DATA_DIR

A batch is padded to its own longest review: `packed` at the end, and packed so that padding
costs nothing; `padded` in front, as Keras does it, which keeps the LSTM on its fastest kernel.
"""

import dataclasses
import functools
import time
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

from experiments.benchmark.peers.reviews import BATCH, FEATURES, VOCABULARY, Settings, load, report
from experiments.config.cli import parse, run


@dataclasses.dataclass(frozen=True)
class Torch(Settings):
    """Train an LSTM on IMDB with PyTorch; a line of JSON for each epoch."""

    padding: Literal["packed", "padded"] = "packed"
    """What is done about reviews of different lengths."""
    learning_rate: float = 0.001
    """Of Adam."""


class Classifier(nn.Module):
    """Embedding, LSTM, one logit from the last state."""

    def __init__(self, units: int):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, FEATURES, padding_idx=0)
        self.lstm = nn.LSTM(FEATURES, units, batch_first=True)
        self.dense = nn.Linear(units, 1)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [B, 1] of ids [B, T]; with lengths, the padding past them is skipped."""
        xs: Any = self.embedding(tokens)
        if lengths is not None:
            xs = pack_padded_sequence(xs, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(xs)
        return self.dense(h[-1])


def collate(padding: str, examples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Any, ...]:
    """Ids [B, T], lengths or None, labels [B, 1]."""
    texts = [torch.from_numpy(text.astype(np.int64)) for text, _ in examples]
    labels = torch.from_numpy(np.stack([label for _, label in examples]))
    if padding == "packed":
        lengths = torch.tensor([len(text) for text in texts])
        return pad_sequence(texts, batch_first=True), lengths, labels
    return pad_sequence(texts, batch_first=True, padding_side="left"), None, labels


def right(logits: torch.Tensor, labels: torch.Tensor) -> int:
    """How many are on the right side."""
    return int(((logits > 0) == (labels > 0.5)).sum())


def main(args: list[str] | None = None) -> None:
    """Train, and print a line for each epoch."""
    settings = parse(Torch, args, prog="python -m experiments.benchmark.peers.imdb_torch")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    reviews = load(settings)

    def loader(texts: list[np.ndarray], labels: np.ndarray, shuffle: bool) -> Iterable[Any]:
        data: Any = list(zip(texts, labels, strict=True))
        batched = functools.partial(collate, settings.padding)
        return DataLoader(data, batch_size=BATCH, shuffle=shuffle, collate_fn=batched)

    train = loader(reviews.train, reviews.train_labels, True)
    validation = loader(reviews.validation, reviews.validation_labels, False)
    network, loss_function = Classifier(settings.units), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    parameters = sum(p.numel() for p in network.parameters())
    for epoch in range(settings.epochs):
        begun, correct, held = time.perf_counter(), 0, 0
        network.train()
        for tokens, lengths, labels in train:
            optimizer.zero_grad()
            logits = network(tokens, lengths)
            loss_function(logits, labels).backward()
            optimizer.step()
            correct += right(logits.detach(), labels)
        network.eval()
        with torch.inference_mode():
            for tokens, lengths, labels in validation:
                held += right(network(tokens, lengths), labels)
        seconds, accuracy = time.perf_counter() - begun, correct / len(reviews.train)
        held_out = held / len(reviews.validation)
        report(epoch + 1, seconds, parameters, accuracy=accuracy, val_accuracy=held_out)


if __name__ == "__main__":
    run(main)
