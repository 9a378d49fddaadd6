"""Gives the cells as Flax modules: `jaxrnn.flax.nnx` and `jaxrnn.flax.linen`.

The import changes and nothing else:

    from flax import nnx               from jaxrnn.flax import nnx
    from flax import linen as nn       from jaxrnn.flax import linen as nn

What is not recurrent is handed on from Flax as it is. Cells are Flax's own: its arguments, its
parameters by name, shape and dtype (a checkpoint of either loads into the other), its fresh weights
from the same keys, its dtypes. `RNN` runs them on the library's engines, Flax's own cells too, and
scans any other cell: one of your own, one of ours of which you override the step, `ConvLSTMCell`.

What is different: past a sequence's length outputs are zero, and nothing in the padding has any
effect; a sequence of length 0 keeps its first carry; `resets` begin a sequence anew; in
`nnx.GRUCell` and `nnx.OptimizedLSTMCell` each gate's recurrent block is orthogonal by itself;
inside `RNN` states are at least float32, and rounded at the end.
"""

import importlib.util

if importlib.util.find_spec("flax") is None:
    raise ModuleNotFoundError(
        "jaxrnn.flax needs Flax; install it with: pip install 'jaxrnn[flax]'", name="flax"
    )
