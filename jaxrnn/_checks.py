"""Checks what `step`, `unroll` and the others are given, and says what to give instead.

Shapes and types are known when a program is traced, so nothing of this is in what is compiled.
Sizes are Any: an int, or a symbol of `jax.export`.
"""

from collections.abc import Sized
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxrnn._types import AnyState, Cell, Params, accumulation_dtype


def check_cell(cell: Any) -> None:
    """Raise `TypeError` unless this is a `Cell`."""
    if isinstance(cell, str):
        raise TypeError(f"cell is {cell!r}; give the cell itself, jaxrnn.CELLS[{cell!r}]")
    if not isinstance(cell, Cell):
        raise TypeError(f"cell is {_named(cell)}; give a jaxrnn.Cell, jaxrnn.LSTM for example")


def check_key(key: Any) -> None:
    """Raise `TypeError` unless this is a key of `jax.random`."""
    if isinstance(key, int | np.integer):
        raise TypeError(f"key is {key}; give jax.random.key({key})")
    if not isinstance(key, jax.Array | np.ndarray):
        raise TypeError(f"key is {_named(key)}; give a jax.random.key")


def check_size(name: str, size: Any) -> None:
    """Raise unless this is a whole number, at least 1."""
    if not isinstance(size, int | np.integer):
        raise TypeError(f"{name} is {size!r}; it must be a whole number")
    if size < 1:
        raise ValueError(f"{name} is {size}; it must be at least 1")


def check_dtype(dtype: Any) -> None:
    """Raise `TypeError` unless weights can have this dtype."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"dtype is {jnp.dtype(dtype)}; weights are real numbers: float32, bfloat16, float16 or "
            "float64"
        )


def check_params(cell: Any, params: Any, name: str = "params") -> None:
    """Raise unless these are the weights of one layer of this cell."""
    check_cell(cell)
    _check_is_params(params, name)
    at = "" if name == "params" else f"{name}."
    for field, axes in (("wx", 2), ("wh", 2), ("bx", 1)):
        array = getattr(params, field)
        if getattr(array, "ndim", axes) != axes:
            raise ValueError(
                f"{at}{field} has shape {array.shape}; it needs {axes} axes "
                "(of several networks at once, use jax.vmap)"
            )
    units = params.wh.shape[0]
    columns = cell.gates * units
    wanted = {"wx": (params.wx.shape[0], columns), "wh": (units, columns), "bx": (columns,)}
    if cell.recurrent_bias:
        wanted["bh"] = (columns,)
    for field, shape in wanted.items():
        array = getattr(params, field)
        if array is None or array.shape != shape:
            given = "missing" if array is None else f"of shape {array.shape}"
            raise ValueError(
                f"{at}{field} is {given}; {cell.name} with {units} units expects {shape}"
            )
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{at}{field} has dtype {array.dtype}; weights are real numbers")
    if params.bh is not None and not cell.recurrent_bias:
        raise ValueError(f"{at}bh has shape {params.bh.shape}; {cell.name} has no recurrent bias")


def checked_params(cell: Any, params: Any) -> Params:
    """Give the weights as JAX's arrays, which Flax's variables and NumPy's arrays are not."""
    check_params(cell, params)
    others = {
        name: jnp.asarray(leaf)
        for name, leaf in zip(Params._fields, params, strict=True)
        if not (leaf is None or isinstance(leaf, jax.Array))
    }
    return params._replace(**others) if others else params


def _check_is_params(params: Any, name: str) -> None:
    if isinstance(params, Params):
        for field, array in params._asdict().items():
            if not hasattr(array, "shape") and not (field == "bh" and array is None):
                raise TypeError(f"{name}.{field} is {_named(array)}; give an array")
        return
    if isinstance(params, dict):
        instead = f"Params(**{name})" if "wx" in params else "one, from jaxrnn.init"
    elif isinstance(params, tuple | list) and all(hasattr(leaf, "shape") for leaf in params):
        instead = f"Params(*{name})"
    elif isinstance(params, tuple | list):
        raise TypeError(
            f"{name} is a stack of {len(params)} layers; run it with jaxrnn.unroll_stack, or give "
            f"one layer, {name}[0][0]"
        )
    else:
        instead = "one, from jaxrnn.init"
    raise TypeError(f"{name} is {_named(params)}; it must be a jaxrnn.Params: give {instead}")


def check_stack(cell: Any, params: Any) -> None:
    """Raise unless these are the weights of layers of this cell that fit on top of each other."""
    check_cell(cell)
    wanted = "give params[layer][direction], as jaxrnn.init_stack does"
    if isinstance(params, Params):
        raise TypeError(f"params is one Params; {wanted}: ((params,),)")
    if not isinstance(params, tuple | list):
        raise TypeError(f"params is {_named(params)}; {wanted}")
    if not params:
        raise ValueError(f"params has no layers; {wanted}")
    below = None
    for number, layer in enumerate(params):
        name = f"params[{number}]"
        if isinstance(layer, Params):
            raise TypeError(
                f"{name} is a Params; a layer has one for each direction: give ({name},)"
            )
        if not isinstance(layer, tuple | list):
            raise TypeError(f"{name} is {_named(layer)}; {wanted}")
        if len(layer) not in (1, 2):
            raise ValueError(f"{name} has {len(layer)} directions; a layer has one or two")
        for direction, weights in enumerate(layer):
            check_params(cell, weights, f"{name}[{direction}]")
            if below is not None and weights.wx.shape[0] != below:
                raise ValueError(
                    f"{name}[{direction}] reads {weights.wx.shape[0]} features; the layer below "
                    f"gives {below}"
                )
        below = sum(weights.wh.shape[0] for weights in layer)


def check_states_of_stack(states: Any, params: Any) -> None:
    """Raise unless there is a state for each layer and direction."""
    if hasattr(states, "_fields") or not isinstance(states, tuple | list):
        raise TypeError(f"states is {_named(states)}; give states[layer][direction]")
    if len(states) != len(params):
        raise ValueError(f"states has {len(states)} layers; params has {len(params)}")
    for number, (layer, weights) in enumerate(zip(states, params, strict=True)):
        if hasattr(layer, "_fields") or not isinstance(layer, tuple | list):
            raise TypeError(
                f"states[{number}] is {_named(layer)}; a layer has one for each direction"
            )
        if len(layer) != len(weights):
            raise ValueError(
                f"states[{number}] has {len(layer)} directions; params[{number}] has {len(weights)}"
            )


def checked_inputs(name: str, xs: Any, params: Params, axes: int) -> Array:
    """Give the inputs as an array; raise unless it has `axes` axes or more, the last one D."""
    if xs is None or isinstance(xs, dict | str) or hasattr(xs, "_fields"):
        raise TypeError(f"{name} is {_named(xs)}; give an array of inputs")
    try:
        if isinstance(xs, np.ndarray) and is_debugged():
            xs = jax.device_put(xs)  # where `jnp.asarray` raises for NaN in the padding
        elif not isinstance(xs, jax.Array):
            xs = jnp.asarray(xs)
    except (TypeError, ValueError):
        if isinstance(xs, list | tuple) and all(isinstance(row, Sized) for row in xs):
            steps = sorted({len(row) for row in xs})
            if len(steps) > 1:
                raise ValueError(
                    f"{name} is a list of sequences of {steps[0]} to {steps[-1]} steps; pad them "
                    "to one length, and give lengths"
                ) from None
        raise
    features = params.wx.shape[0]
    add_an_axis = f"; with one feature, add an axis: {name}[..., None]" if features == 1 else ""
    if xs.ndim < axes:
        needs = "a time and a feature axis" if axes == 2 else "a feature axis"
        raise ValueError(f"{name} has shape {xs.shape}; it needs {needs}{add_an_axis}")
    if xs.shape[-1] != features:
        raise ValueError(f"{name} has {xs.shape[-1]} features; wx expects {features}{add_an_axis}")
    _check_real(name, xs)
    return xs


def is_debugged() -> bool:
    """Whether JAX looks for NaN and Inf in the results of every operation."""
    config: Any = jax.config
    return bool(config.jax_debug_nans or config.jax_debug_infs)


def checked_state(
    cell: Cell, params: Params, state: Any, batch: tuple[Any, ...], name: str
) -> AnyState:
    """Give the state in the dtype of gates; raise unless it is one of this cell for this batch."""
    if type(state) is not cell.state:
        wanted = f"{cell.state.__name__}({', '.join(cell.state._fields)})"
        raise TypeError(
            f"state is a {type(state).__name__}; {cell.name} needs a {cell.state.__name__}: "
            f"give {wanted}"
        )
    shape = (*batch, params.wh.shape[0])
    for field, array in zip(state._fields, state, strict=True):
        if jnp.shape(array) != shape:
            raise ValueError(
                f"state.{field} has shape {jnp.shape(array)}; {name} and wh ask for {shape}"
            )
        _check_real(f"state.{field}", array)
    dtype = accumulation_dtype(params.wh.dtype)
    return cell.state(*[_cast(array, dtype) for array in state])


def checked_lengths(lengths: Any, batch: tuple[Any, ...], steps: Any) -> Array:
    """Give the lengths as int32; raise unless they are whole numbers in 0..T, one a sequence."""
    lengths = jnp.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths has dtype {lengths.dtype}; it counts steps and must be integer")
    if lengths.shape != batch:
        raise ValueError(f"lengths has shape {lengths.shape}; the batch of xs is {batch}")
    if not isinstance(lengths, jax.core.Tracer) and lengths.is_fully_addressable:
        # NumPy, as a constant inside somebody's jit cannot be inspected with jnp.
        values = np.asarray(lengths)
        for wrong in values[(values < 0) | (values > steps)].flat:
            raise ValueError(f"lengths holds {wrong}; xs has {steps} steps (0 to {steps} allowed)")
    return lengths.astype(jnp.int32)


def checked_resets(name: str, resets: Any, shape: tuple[Any, ...] | None, of: str) -> Array:
    """Give the resets as booleans, true where they are not zero."""
    resets = jnp.asarray(resets)
    _check_real(name, resets)
    if shape is not None and resets.shape != shape:
        raise ValueError(f"{name} has shape {resets.shape}; {of} asks for {shape}")
    return resets.astype(jnp.bool_)


def checked_mask(mask: Any, lengths: Any, shape: tuple[Any, ...]) -> Array:
    """Give the mask as booleans; raise unless it has this shape and stands alone."""
    if lengths is not None:
        raise ValueError("lengths and mask are both given; give one of them")
    return checked_resets("mask", mask, shape, "xs")


def _cast(array: Any, dtype: Any) -> Array:
    """As `jnp.asarray`, which takes microseconds also where nothing is to be done."""
    right = isinstance(array, jax.Array) and array.dtype == dtype
    return array if right else jnp.asarray(array, dtype)


def _check_real(name: str, array: Any) -> None:
    dtype = array.dtype if hasattr(array, "dtype") else jnp.result_type(array)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{name} has dtype {dtype}; it must be real")


def _named(value: Any) -> str:
    """The type with its article, as a sentence has it."""
    kind = type(value).__name__
    return f"an {kind}" if kind[0] in "aeiouAEIOU" else f"a {kind}"
