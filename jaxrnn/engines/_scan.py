"""Runs a cell by plain `jax.lax.scan` over `step`, differentiated by JAX: the reference engine.

It is the oracle of every other engine. The input product stays inside the loop: hoisted out of
it, XLA fuses the slice of the big array into the gate arithmetic, which then no longer runs in
whole vectors on a CPU.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from jaxrnn._cells import AnyState, Cell, Params, step
from jaxrnn.engines._protocol import Engine


@functools.partial(jax.jit, static_argnames=("cell", "reverse", "unroll"))
def _scan(
    cell: Cell,
    params: Params,
    xs: Num[Array, "T *batch D"],
    state: AnyState,
    *,
    lengths: Int[Array, "*batch"] | None,
    resets: Bool[Array, "T *batch"] | None,
    reverse: bool,
    unroll: int = 1,
) -> tuple[AnyState, Float[Array, "T *batch H"]]:
    """Run `cell` over the leading axis of `xs`; the signature that all engines share.

    Padding is frozen: where `t >= length` the state stays as it is and the output is zero, so
    that the final state is the last valid one in either direction. The input is cleaned before
    the step too: NaN in the padding would otherwise come back as 0 * NaN in the gradient.

    `unroll` steps are compiled into one turn of the loop: `scan.with_options(unroll=4)`.

    It is jitted here so that a second eager call compiles nothing: `body` is a new function each
    time.
    """

    def body(state: AnyState, now: tuple[Array, Array, Array | None]) -> tuple[AnyState, Array]:
        t, x, reset = now
        before = state
        if reset is not None:
            before = select(reset, jax.tree.map(jnp.zeros_like, state), state)
        if lengths is None:
            return step(cell, params, before, x)
        valid = t < lengths
        x = select(valid, x, jnp.zeros_like(x))
        after, h = step(cell, params, before, x)
        return select(valid, after, state), select(valid, h, jnp.zeros_like(h))

    times = jnp.arange(xs.shape[0], dtype=jnp.int32)
    return jax.lax.scan(body, state, (times, xs, resets), reverse=reverse, unroll=unroll)


scan = Engine("scan", _scan, options=(("unroll", 1),))


def select(where: Array, a: Any, b: Any) -> Any:
    """`a` where `where` [...] holds, else `b`; for trees of arrays [..., F]."""
    return jax.tree.map(lambda a, b: jnp.where(where[..., None], a, b), a, b)
