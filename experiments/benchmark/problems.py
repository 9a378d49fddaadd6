"""Says what is computed: sizes by name, random weights and data, and when two results agree."""

import itertools
import string
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.config.cli import UserError
from jaxrnn import CELLS, Params

# One sequence; three long ones; a last vector that is hardly filled, in every dimension; few steps
# of wide inputs. B, D and H are no multiples of 8.
ODD = ("37,1,19,33", "1000,3,1,47", "61,33,129,65", "200,7,5,17", "13,129,300,100")

# Of the sizes that they span, the grid has the corners, and others drawn from a seed: those whose
# forward pass is at most so many products.
SPAN = {"T": (1, 4, 16, 64, 256, 1000), "B": (1, 2, 4, 16, 64, 256), "H": (32, 128, 320, 512, 1024)}
GRID, ODD_ONES, MOST_FLOPS = 40, 4, 1e11

# Largest difference from float64, as a share of the quantity's largest magnitude. float32 rounds
# each operation by 6e-8; that adds up over H products, T steps and, in the weights' gradients, over
# up to B * T = 82,000 terms (the square root of that many roundings is 2e-5). Five steps leave 2e-6
# in every library; a largest weight that is off by 5 % is seen, which a test shows.
TOLERANCE = 1e-3


Arrays = Mapping[str, np.ndarray]


class Problem(NamedTuple):
    """A layer to be run: `sizes` are steps T, batch B, features D and units H."""

    name: str
    cell: str
    sizes: tuple[int, int, int, int]

    @property
    def gates(self) -> int:
        """Blocks of columns in a pre-activation."""
        return CELLS[self.cell].gates

    @property
    def product(self) -> tuple[int, int, int]:
        """The recurrent product of one step: [B, H] @ [H, G*H]."""
        _, batch, _, units = self.sizes
        return batch, units, self.gates * units

    def flops(self, call: str) -> int:
        """Of the products alone. Backward has two for each one of forward."""
        steps, batch, features, units = self.sizes
        forward = 2 * steps * batch * (features + units) * self.gates * units
        return forward * (3 if call == "both" else 1)

    def activations(self) -> int:
        """Sigmoids and hyperbolic tangents of one pass forward."""
        steps, batch, _, units = self.sizes
        return steps * batch * units * {"rnn": 1, "lstm": 5, "gru": 3}[self.cell]

    def bytes(self, call: str) -> int:
        """Inputs and outputs, and with `both` their gradients, each moved once."""
        steps, batch, features, units = self.sizes
        return 4 * steps * batch * (features + units) * (2 if call == "both" else 1)


def grid(seed: int = 0) -> list[str]:
    """Sizes that span short and long, few and many rows, small and large layers."""
    rng = np.random.default_rng(seed)
    spanned = [(t, b, d, h) for t, b, h in itertools.product(*SPAN.values()) for d in {h, 32}]
    affordable = [
        sizes for sizes in spanned if Problem("", "lstm", sizes).flops("forward") < MOST_FLOPS
    ]
    ends = [{values[0], values[-1]} for values in SPAN.values()]
    corners = [
        size
        for size in affordable
        if size[2] == size[3]
        and all(n in end for n, end in zip((*size[:2], size[3]), ends, strict=True))
    ]
    others = [
        affordable[n] for n in rng.permutation(len(affordable)) if affordable[n] not in corners
    ]
    odd = [tuple(int(n) for n in 2 ** rng.uniform(0, (9, 7, 8, 8))) for _ in range(ODD_ONES)]
    return [",".join(map(str, size)) for size in (*corners, *others[: GRID - len(corners)], *odd)]


def problems(sizes: Sequence[str], cells: Sequence[str]) -> list[Problem]:
    """Every cell at every size; sizes are named A, B, C and so on, and AA after Z.

    Raises:
        UserError: a size that is not four numbers of at least 1, or more sizes than letters.
    """
    letters = string.ascii_uppercase
    names = [*letters, *(first + second for first in letters for second in letters)]
    if len(sizes) > len(names):
        raise UserError(f"--sizes holds {len(sizes)}; give at most {len(names)}")
    if not sizes or not cells:
        raise UserError("--sizes and --cells hold nothing to measure; give at least one of each")
    parsed = dict(zip(names, map(_parsed, sizes), strict=False))
    pairs = itertools.product(parsed.items(), dict.fromkeys(cells))
    return [Problem(name, cell, size) for (name, size), cell in pairs]


def _parsed(text: str) -> tuple[int, int, int, int]:
    try:
        steps, batch, features, units = (int(part) for part in text.split(","))
    except ValueError:
        steps = batch = features = units = 0
    if min(steps, batch, features, units) < 1:
        raise UserError(f"--sizes holds {text!r}; give steps,batch,features,units, each at least 1")
    return steps, batch, features, units


def draw(problem: Problem, seed: int = 0) -> tuple[Params, dict[str, np.ndarray]]:
    """Weights as after an initialisation but with biases, and `xs` [B, T, D], `dhs` [B, T, H].

    GRU's `bh` is zero at the candidate gate, where Flax has no bias.
    """
    steps, batch, features, units = problem.sizes
    columns = problem.gates * units
    rng, bh = np.random.default_rng(seed), None
    wx, wh = (
        rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        * np.float32(np.sqrt(6 / (rows + columns)))
        for rows in (features, units)
    )
    bx = rng.uniform(-0.5, 0.5, columns).astype(np.float32)
    if CELLS[problem.cell].recurrent_bias:
        bh = rng.uniform(-0.5, 0.5, columns).astype(np.float32)
        bh[2 * units :] = 0
    xs, dhs = (
        rng.standard_normal((batch, steps, width), np.float32) for width in (features, units)
    )
    return Params(wx, wh, bx, bh), {"xs": xs, "dhs": dhs}


def deviations(results: Arrays, expected: Arrays) -> dict[str, float]:
    """Largest difference of each quantity, as a share of the expected one's largest magnitude.

    What `results` lack is left out; a shape or number that cannot be compared is infinitely off.
    """
    return {name: _far(results[name], array) for name, array in expected.items() if name in results}


def _far(results: np.ndarray, expected: np.ndarray) -> float:
    if results.shape != expected.shape or not np.all(np.isfinite(results)):
        return float("inf")
    scale = np.max(np.abs(expected), initial=0)
    largest = np.max(np.abs(results - expected), initial=0)
    return float(largest / scale) if scale else float(largest)


def agrees(deviation: Mapping[str, float]) -> bool:
    """Whether all that every library has is there, and everything lies within `TOLERANCE`."""
    complete = {"hs", "dxs", "dwx", "dwh", "dbx"} <= set(deviation)
    return complete and all(share <= TOLERANCE for share in deviation.values())
