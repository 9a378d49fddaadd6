"""Defines what an engine is: one value that `unroll` is given, compares and calls."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxrnn._cells import AnyState, Cell, Params


def _runs_anywhere() -> str:
    return ""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Engine:
    """A way of running a recurrence.

    It is called with time as the leading axis, as a function of your own may be in its place:

        engine(cell, params, xs, state, *, lengths, resets, reverse) -> (state, hs)

    with `xs` [T, ..., D], `state` of arrays [..., H], `lengths` [...] or None, `resets` [T, ...] or
    None, and `hs` [T, ..., H]. Engines with the same options are equal and have the same hash, so
    that `jit` compiles once for them.

    Attributes:
        name: the key in `available()`.
        function: what is called, with the options as further keyword arguments.
        options: the name and value of each.
        batch_major: whether `function` also reads `xs` [..., T, D]: it is then told which of the
            two it is given, as `batch_major=`.
        why_not: gives the reason why the engine cannot run here; an empty string where it can.
    """

    name: str
    function: Callable[..., tuple[AnyState, Array]] = dataclasses.field(repr=False)
    options: tuple[tuple[str, Any], ...] = ()
    batch_major: bool = False
    why_not: Callable[[], str] = dataclasses.field(default=_runs_anywhere, repr=False)

    def __post_init__(self) -> None:
        # So that `help` and the `?` of a notebook tell of this engine.
        object.__setattr__(self, "__doc__", self.function.__doc__)

    def with_options(self, **options: Any) -> "Engine":
        """The same engine with other values of some options.

        `functools.partial(engine, **options)` is understood as the same.

        Raises:
            TypeError: an option that this engine does not have.

        >>> import jaxrnn
        >>> jaxrnn.engines.scan.with_options(unroll=4).options
        (('unroll', 4),)
        """
        known = dict(self.options)
        for name in sorted(options.keys() - known.keys()):
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise TypeError(f"the {self.name} engine has no option {name!r}; {has}")
        return dataclasses.replace(self, options=tuple((known | options).items()))

    def __call__(
        self, cell: Cell, params: Params, xs: Array, state: AnyState, *,
        lengths: Array | None, resets: Array | None, reverse: bool, **options: Any,
    ) -> tuple[AnyState, Array]:  # fmt: skip
        """Run `cell` over the leading axis of `xs`."""
        return self.with_options(**options).run(
            cell, params, xs, state, lengths=lengths, resets=resets, reverse=reverse
        )

    def run(
        self, cell: Cell, params: Params, xs: Array, state: AnyState, *,
        lengths: Array | None, resets: Array | None, reverse: bool, batch_major: bool = False,
    ) -> tuple[AnyState, Array]:  # fmt: skip
        """Run `cell` over the leading axis of `xs`, or over the one before the features."""
        call = functools.partial(
            self.function, cell, params, lengths=lengths, reverse=reverse, **dict(self.options)
        )
        if self.batch_major:
            return call(xs, state, resets=resets, batch_major=batch_major)
        if not batch_major:
            return call(xs, state, resets=resets)
        # Two copies of all data, which an engine that reads batches as they lie saves.
        resets = None if resets is None else jnp.moveaxis(resets, -1, 0)
        state, hs = call(jnp.moveaxis(xs, -2, 0), state, resets=resets)
        return state, jnp.moveaxis(hs, 0, -2)


def as_engine(engine: Any) -> Engine:
    """An engine from what a user may give: one, one with options by `partial`, or a function."""
    if isinstance(engine, Engine):
        return engine
    partial = isinstance(engine, functools.partial) and not engine.args
    if partial and isinstance(engine.func, Engine):
        return engine.func.with_options(**engine.keywords)
    if not callable(engine):
        raise TypeError(
            f"engine is a {type(engine).__name__}; give one of jaxrnn.engines, or a function "
            "with their signature"
        )
    return Engine("custom", engine)
