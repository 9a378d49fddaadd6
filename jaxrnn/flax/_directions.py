"""Runs two recurrent modules over the same inputs, one of them from the last step to the first."""

from collections.abc import Callable
from typing import Any

from jaxrnn._stack import _mirrored
from jaxrnn.flax._common import as_booleans


def refuse_directions(reverse: bool | None, keep_order: bool | None) -> None:
    """Raise for what a bidirectional module could only ignore."""
    for name, value in (("reverse", reverse), ("keep_order", keep_order)):
        if value:
            raise ValueError(f"{name} is {value}; Bidirectional runs both directions: leave it out")


def both_ways(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any, *,
    seq_lengths: Any, resets: Any, time_major: bool, each: tuple[dict[str, Any], dict[str, Any]],
) -> tuple[Any, tuple[Any, Any]]:  # fmt: skip
    """Run both directions; `each` holds the arguments that are of one of them.

    A reset begins a sequence: the backward direction is reset at the last step of the one before.
    """
    call = {"seq_lengths": seq_lengths, "return_carry": True, "time_major": time_major}
    starts: dict[str, Any] = {}
    ends: dict[str, Any] = {}
    if resets is not None:  # any other recurrent module of Flax's has no such argument
        starts["resets"] = as_booleans(resets)
        ends["resets"] = _mirrored(starts["resets"], seq_lengths, time_major)
    ahead, forward_outputs = forward(inputs, reverse=False, **starts, **call, **each[0])
    back, backward_outputs = backward(
        inputs, reverse=True, keep_order=True, **ends, **call, **each[1]
    )
    return (ahead, back), (forward_outputs, backward_outputs)
