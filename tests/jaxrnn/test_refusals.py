"""What is given wrongly is named, with what came and what to give instead, in one line."""

import functools
import re

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from tables import all_cells, random_params, random_state, random_xs

import jaxrnn
from jaxrnn import GRU, LSTM, LSTMState, Params, SimpleRNN, State


@pytest.fixture(autouse=True)
def as_a_user_has_it():
    """Without the checks of annotations, which only tests have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


P, XS, X = random_params(GRU), random_xs(), random_xs()[:, 0]
S = random_state(GRU)
LSTM_P, LSTM_S = random_params(LSTM), random_state(LSTM)
ONE = random_params(GRU, inputs=1)
STACK = ((random_params(GRU),), (random_params(GRU, inputs=4),))
KEY = jax.random.key(0)
step, unroll, unroll_stack = jaxrnn.step, jaxrnn.unroll, jaxrnn.unroll_stack
COMPLEX = jnp.zeros((6, 7, 5), jnp.complex64)

# `step` and `unroll` alike: cell, params, state, error, message.
OF_BOTH = {
    "cell-name": (
        "gru",
        P,
        S,
        TypeError,
        "cell is 'gru'; give the cell itself, jaxrnn.CELLS['gru']",
    ),
    "cell-class": (
        dict,
        P,
        S,
        TypeError,
        "cell is a type; give a jaxrnn.Cell, jaxrnn.LSTM for example",
    ),
    "dict": (
        GRU,
        P._asdict(),
        S,
        TypeError,
        "params is a dict; it must be a jaxrnn.Params: give Params(**params)",
    ),
    "other-dict": (
        GRU,
        {"rnn": P._asdict()},
        S,
        TypeError,
        "params is a dict; it must be a jaxrnn.Params: give one, from jaxrnn.init",
    ),
    "tuple": (
        GRU,
        tuple(P),
        S,
        TypeError,
        "params is a tuple; it must be a jaxrnn.Params: give Params(*params)",
    ),
    "list": (
        GRU,
        list(P),
        S,
        TypeError,
        "params is a list; it must be a jaxrnn.Params: give Params(*params)",
    ),
    "stack": (
        GRU,
        STACK,
        S,
        TypeError,
        "params is a stack of 2 layers; run it with jaxrnn.unroll_stack, or give one layer, "
        "params[0][0]",
    ),
    "array": (
        GRU,
        P.wx,
        S,
        TypeError,
        "params is an ArrayImpl; it must be a jaxrnn.Params: give one, from jaxrnn.init",
    ),
    "lists": (GRU, P._replace(bx=[0.0] * 12), S, TypeError, "params.bx is a list; give an array"),
    "none": (GRU, P._replace(bx=None), S, TypeError, "params.bx is a NoneType; give an array"),
    "lstm-weights": (
        SimpleRNN,
        LSTM_P,
        S,
        ValueError,
        "wx is of shape (5, 16); rnn with 4 units expects (5, 4)",
    ),
    "complex-weights": (
        GRU,
        P._replace(wh=P.wh.astype("complex64")),
        S,
        TypeError,
        "wh has dtype complex64; weights are real numbers",
    ),
    "integer-weights": (
        GRU,
        P._replace(wx=P.wx.astype("int32")),
        S,
        TypeError,
        "wx has dtype int32; weights are real numbers",
    ),
    "ensemble": (
        GRU,
        jax.tree.map(lambda a: a[None], P),
        S,
        ValueError,
        "wx has shape (1, 5, 12); it needs 2 axes (of several networks at once, use jax.vmap)",
    ),
    "tuple-state": (
        LSTM,
        LSTM_P,
        tuple(LSTM_S),
        TypeError,
        "state is a tuple; lstm needs a LSTMState: give LSTMState(h, c)",
    ),
    "array-state": (
        GRU,
        P,
        S.h,
        TypeError,
        "state is a ArrayImpl; gru needs a State: give State(h)",
    ),
    "lstm-state": (
        GRU,
        P,
        LSTM_S,
        TypeError,
        "state is a LSTMState; gru needs a State: give State(h)",
    ),
    "complex-state": (
        GRU,
        P,
        State(S.h.astype("complex64")),
        TypeError,
        "state.h has dtype complex64; it must be real",
    ),
}


def said(call, error):
    """The message; inside a program JAX adds lines of its own to it."""
    with pytest.raises(error) as caught:
        call()
    first, *rest = str(caught.value).splitlines()
    assert not rest or rest[0].startswith("----"), "more than a line"
    return first


@pytest.mark.parametrize(
    ("cell", "params", "state", "error", "message"), OF_BOTH.values(), ids=OF_BOTH.keys()
)
@pytest.mark.parametrize("jitted", [False, True])
def test_step_and_unroll_refuse_alike(cell, params, state, error, message, jitted):
    for call in (
        lambda: step(cell, params, state, X),
        lambda: unroll(cell, params, XS, state),
    ):
        assert said(jax.jit(call) if jitted else call, error) == message


@all_cells
@pytest.mark.parametrize("shape", [(3, 1), (1, 4), (4,), (6, 3), (3, 4, 1), (1, 3, 4)])
def test_a_state_is_not_broadcast(cell, shape):
    params, x = random_params(cell), random_xs(batch=(3,))
    state = cell.state(*[jnp.zeros(shape) for _ in cell.state._fields])
    with pytest.raises(ValueError, match=re.escape(f"state.h has shape {shape}; x and wh ask for")):
        step(cell, params, state, x[:, 0])
    with pytest.raises(ValueError, match=re.escape(f"{shape}; xs and wh ask for (3, 4)")):
        unroll(cell, params, x, state)


def test_a_field_of_another_batch_is_named():
    state = LSTMState(h=jnp.zeros((6, 4)), c=jnp.zeros((1, 4)))
    message = re.escape("state.c has shape (1, 4); x and wh ask for (6, 4)")
    with pytest.raises(ValueError, match=message):
        step(LSTM, LSTM_P, state, X)


RAGGED = [[[0.0] * 5] * n for n in (3, 1, 2)]
CALLS = {
    "step-width": (lambda: step(GRU, P, S, X[:, :3]), ValueError, "x has 3 features; wx expects 5"),
    "step-scalar": (
        lambda: step(GRU, P, S, 1.0),
        ValueError,
        "x has shape (); it needs a feature axis",
    ),
    "step-one-feature": (
        lambda: step(GRU, ONE, S, jnp.ones(6)),
        ValueError,
        "x has 6 features; wx expects 1; with one feature, add an axis: x[..., None]",
    ),
    "step-swapped": (
        lambda: step(GRU, P, X, S),
        TypeError,
        "x is a State; give an array of inputs",
    ),
    "no-inputs": (
        lambda: unroll(GRU, P, None),
        TypeError,
        "xs is a NoneType; give an array of inputs",
    ),
    "batch-dict": (
        lambda: unroll(GRU, P, {"x": XS}),
        TypeError,
        "xs is a dict; give an array of inputs",
    ),
    "step-complex": (
        lambda: step(GRU, P, S, COMPLEX[:, 0]),
        TypeError,
        "x has dtype complex64; it must be real",
    ),
    "step-reset-shape": (
        lambda: step(GRU, P, S, X, reset=jnp.zeros((6, 1))),
        ValueError,
        "reset has shape (6, 1); x asks for (6,)",
    ),
    "step-reset-complex": (
        lambda: step(GRU, P, S, X, reset=COMPLEX[:, 0, 0]),
        TypeError,
        "reset has dtype complex64; it must be real",
    ),
    "one-feature": (
        lambda: unroll(GRU, ONE, jnp.ones((6, 7))),
        ValueError,
        "xs has 7 features; wx expects 1; with one feature, add an axis: xs[..., None]",
    ),
    "one-sequence": (
        lambda: unroll(GRU, ONE, jnp.ones(7)),
        ValueError,
        "xs has shape (7,); it needs a time and a feature axis; with one feature, add an axis: "
        "xs[..., None]",
    ),
    "ragged": (
        lambda: unroll(GRU, P, RAGGED),
        ValueError,
        "xs is a list of sequences of 1 to 3 steps; pad them to one length, and give lengths",
    ),
    "ragged-arrays": (
        lambda: unroll(GRU, P, [np.ones((2, 5)), np.ones((4, 5))]),
        ValueError,
        "xs is a list of sequences of 2 to 4 steps; pad them to one length, and give lengths",
    ),
    "ragged-stack": (
        lambda: unroll_stack(GRU, STACK, RAGGED),
        ValueError,
        "xs is a list of sequences of 1 to 3 steps; pad them to one length, and give lengths",
    ),
    "complex": (
        lambda: unroll(GRU, P, COMPLEX),
        TypeError,
        "xs has dtype complex64; it must be real",
    ),
    "stack-of-one": (
        lambda: unroll_stack(GRU, P, XS),
        TypeError,
        "params is one Params; give params[layer][direction], as jaxrnn.init_stack does: "
        "((params,),)",
    ),
    "stack-of-layers": (
        lambda: unroll_stack(GRU, (P, P), XS),
        TypeError,
        "params[0] is a Params; a layer has one for each direction: give (params[0],)",
    ),
    "stack-dict": (
        lambda: unroll_stack(GRU, {"0": P}, XS),
        TypeError,
        "params is a dict; give params[layer][direction], as jaxrnn.init_stack does",
    ),
    "stack-layer-dict": (
        lambda: unroll_stack(GRU, (P._asdict(),), XS),
        TypeError,
        "params[0] is a dict; give params[layer][direction], as jaxrnn.init_stack does",
    ),
    "stack-of-dicts": (
        lambda: unroll_stack(GRU, ((P._asdict(),),), XS),
        TypeError,
        "params[0][0] is a dict; it must be a jaxrnn.Params: give Params(**params[0][0])",
    ),
    "stack-empty": (
        lambda: unroll_stack(GRU, (), XS),
        ValueError,
        "params has no layers; give params[layer][direction], as jaxrnn.init_stack does",
    ),
    "stack-three": (
        lambda: unroll_stack(GRU, ((P, P, P),), XS),
        ValueError,
        "params[0] has 3 directions; a layer has one or two",
    ),
    "stack-widths": (
        lambda: unroll_stack(GRU, ((P,), (P,)), XS),
        ValueError,
        "params[1][0] reads 5 features; the layer below gives 4",
    ),
    "stack-cell": (
        lambda: unroll_stack("gru", STACK, XS),
        TypeError,
        "cell is 'gru'; give the cell itself, jaxrnn.CELLS['gru']",
    ),
    "stack-other-cell": (
        lambda: unroll_stack(GRU, ((LSTM_P,),), XS),
        ValueError,
        "params[0][0].wx is of shape (5, 16); gru with 4 units expects (5, 12)",
    ),
    "states-one": (
        lambda: unroll_stack(GRU, STACK, XS, S),
        TypeError,
        "states is a State; give states[layer][direction]",
    ),
    "states-layer": (
        lambda: unroll_stack(GRU, STACK, XS, (S, S)),
        TypeError,
        "states[0] is a State; a layer has one for each direction",
    ),
    "states-directions": (
        lambda: unroll_stack(GRU, STACK, XS, ((S, S), (S,))),
        ValueError,
        "states[0] has 2 directions; params[0] has 1",
    ),
    "dropout-traced": (
        lambda: jax.jit(lambda p: unroll_stack(GRU, STACK, XS, dropout=p, key=KEY))(0.5),
        TypeError,
        "dropout is traced; the rate decides what is compiled: give a Python number, "
        "as a static argument of your jit (static_argnames) for example",
    ),
    "dropout-seed": (
        lambda: unroll_stack(GRU, STACK, XS, dropout=0.5, key=3),
        TypeError,
        "key is 3; give jax.random.key(3)",
    ),
    "seed": (lambda: jaxrnn.init(0, GRU, 5, 4), TypeError, "key is 0; give jax.random.key(0)"),
    "no-key": (
        lambda: jaxrnn.init(None, GRU, 5, 4),
        TypeError,
        "key is a NoneType; give a jax.random.key",
    ),
    "stack-seed": (
        lambda: jaxrnn.init_stack(0, GRU, 5, 4),
        TypeError,
        "key is 0; give jax.random.key(0)",
    ),
    "init-cell": (
        lambda: jaxrnn.init(KEY, "lstm", 5, 4),
        TypeError,
        "cell is 'lstm'; give the cell itself, jaxrnn.CELLS['lstm']",
    ),
    "init-size": (
        lambda: jaxrnn.init(KEY, GRU, 5.0, 4),
        TypeError,
        "input_size is 5.0; it must be a whole number",
    ),
    "init-complex": (
        lambda: jaxrnn.init(KEY, GRU, 5, 4, dtype=jnp.complex64),
        TypeError,
        "dtype is complex64; weights are real numbers: float32, bfloat16, float16 or float64",
    ),
    "init-int": (
        lambda: jaxrnn.init(KEY, GRU, 5, 4, dtype=int),
        TypeError,
        "dtype is int64; weights are real numbers: float32, bfloat16, float16 or float64",
    ),
    "first-state-batch": (
        lambda: jaxrnn.initial_state(GRU, P, 8),
        TypeError,
        "batch_shape is 8; give a tuple: (8,)",
    ),
    "first-state-params": (
        lambda: jaxrnn.initial_state(LSTM, P, (8,)),
        ValueError,
        "wx is of shape (5, 12); lstm with 4 units expects (5, 16)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), CALLS.values(), ids=CALLS.keys())
def test_what_to_give_is_said(call, error, message):
    assert said(call, error) == message


@pytest.mark.parametrize("name", ["dict", "tuple"])
def test_what_is_said_to_give_is_right(name):
    given = {"dict": Params(**P._asdict()), "tuple": Params(*tuple(P))}[name]
    expected = unroll(GRU, P, XS)
    jax.tree.map(np.testing.assert_array_equal, unroll(GRU, given, XS), expected)


def test_checks_leave_nothing_in_the_program():
    """The compiled step is what it is without them: products, an update and nothing else."""
    program = jax.make_jaxpr(functools.partial(step, LSTM))(LSTM_P, LSTM_S, X)
    names = {equation.primitive.name for equation in program.jaxpr.eqns}
    assert not names & {"copy", "copy_p", "cond", "is_finite", "ne", "eq", "pcast"}
    convert = [e for e in program.jaxpr.eqns if e.primitive.name == "convert_element_type"]
    assert not convert
