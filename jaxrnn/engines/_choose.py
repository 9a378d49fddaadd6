"""Chooses the engine where `unroll` is given none, and tells which ones can run here."""

from typing import Any

from jaxrnn._cells import Cell
from jaxrnn.engines._cudnn import cudnn
from jaxrnn.engines._fused import fused
from jaxrnn.engines._native.engine import CELLS, DTYPES, native
from jaxrnn.engines._protocol import Engine
from jaxrnn.engines._scan import scan


def available() -> dict[str, str]:
    """Tell for every engine why it cannot run here; an empty string where it can.

    >>> available()["scan"]
    ''
    """
    return {engine.name: engine.why_not() for engine in (scan, fused, native, cudnn)}


def choose(cell: Cell, dtype: Any) -> Engine:
    """Choose the engine for weights of this dtype, where `unroll` is given none.

    `native`, when it was compiled and has a kernel for the cell (SimpleRNN, LSTM, GRU, ReLURNN in
    float32, float64, bfloat16 or float16), otherwise `scan`. Where its program is lowered for a GPU
    or TPU, on whatever host, it runs the loops of `fused`. On two AVX-512 cores, at nine sizes from
    (T, B, D, H) = (37, 1, 19, 33) to (100, 64, 512, 512), it is 1.3 to 6.6 times as fast as `scan`
    forwards and 1.6 to 8.7 times forwards and backwards (docs/benchmark/layer.md).

    Never `cudnn`, which has not been measured.
    """
    if cell in CELLS and str(dtype) in DTYPES and not native.why_not():
        return native
    return scan
