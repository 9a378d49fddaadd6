"""Which engine runs when none is asked for."""

from typing import Any

import jax

from jaxrnn.cells import Cell
from jaxrnn.engines.cudnn import why_not as no_cudnn
from jaxrnn.engines.library import why_not as no_native
from jaxrnn.engines.native import CELLS, DTYPES, native
from jaxrnn.engines.scan import scan


def available() -> dict[str, str]:
    """For every engine why it cannot run here; an empty string where it can.

    >>> available()["scan"]
    ''
    """
    where = "" if jax.default_backend() == "cpu" else "it runs on CPUs; JAX's default is another"
    return {
        "scan": "",
        "fused": "",
        "native": where or no_native(),
        "cudnn": no_cudnn(),
    }


def choose(cell: Cell, dtype: Any) -> Any:
    """The engine for weights of this dtype, where `unroll` is given none.

    On a CPU `native`, when it was compiled and has a kernel for the cell (SimpleRNN, LSTM, GRU in
    float32 or float64). On two AVX-512 cores, of (T, B, D, H) from (28, 32, 28, 128) to
    (100, 64, 512, 512), its best time of seven was 1.1 to 2.5 times shorter than that of `scan`
    forwards, and 1.4 to 4.7 times forwards and backwards. Otherwise `scan`.

    Never `fused`, which is made for GPUs and TPUs, nor `cudnn`: neither has been measured on one.
    """
    if cell in CELLS and str(dtype) in DTYPES and not available()["native"]:
        return native
    return scan
