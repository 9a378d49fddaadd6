"""Gives the cells as Flax modules: `jaxrnn.flax.nnx` and `jaxrnn.flax.linen`.

They take Flax's arguments and keep its conventions, so that a program changes an import:

    from flax import nnx               from jaxrnn.flax import nnx as rnn
    nnx.RNN(nnx.LSTMCell(3, 4, ...))   rnn.RNN(rnn.LSTMCell(3, 4, ...))

What is different: past a sequence's length outputs are zero and nothing in the padding has any
effect; `wx`, `wh`, `bx` and (GRU) `bh` are the parameters, from Flax's through `jaxrnn.convert`;
fresh weights are those of `jaxrnn.init`; gates and carries are at least float32. Activations other
than tanh and sigmoid are other cells.
"""

import importlib.util

if importlib.util.find_spec("flax") is None:
    raise ModuleNotFoundError(
        "jaxrnn.flax needs Flax; install it with: pip install 'jaxrnn[flax]'", name="flax"
    )
