"""What only the fused engine has: products outside its loops, any cell, sums in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from tables import assert_close, every_cell, random_params, random_state, random_xs

import jaxrnn
from jaxrnn import diagnose
from jaxrnn.engines import fused, scan

LENGTHS = np.array([7, 0, 1, 6, 3, 7])
RESETS = np.random.default_rng(4).random((6, 7)) < 0.3


def _leaky(gx, gh, state):
    return jaxrnn.State(0.9 * state.h + 0.1 * jnp.tanh(gx + gh))


def _two_fields(gx, gh, state):
    """Reads gx and gh apart, though there is no recurrent bias."""
    c = state.c * jax.nn.sigmoid(gx) + gh
    return jaxrnn.LSTMState(h=jnp.tanh(c) * jnp.cos(gx), c=c)


LEAKY = jaxrnn.Cell("leaky", gates=1, state=jaxrnn.State, update=_leaky)
TWO_FIELDS = jaxrnn.Cell("two fields", gates=1, state=jaxrnn.LSTMState, update=_two_fields)


def weighted(cell, engine, dtype="float32", inputs=None, **options):
    """Value and gradient of a loss in which every number has a weight of its own."""
    params, start = random_params(cell, dtype=dtype), random_state(cell)
    xs = random_xs() if inputs is None else inputs

    def loss(params, xs, start):
        result = jaxrnn.unroll(cell, params, xs, start, engine=engine, **options)
        rng = np.random.default_rng(0)
        return sum(
            jnp.sum(rng.normal(size=a.shape).astype(a.dtype) * a) for a in jax.tree.leaves(result)
        )

    return jax.value_and_grad(loss, (0, 2) if inputs is not None else (0, 1, 2))(params, xs, start)


@pytest.mark.parametrize("cell", [LEAKY, TWO_FIELDS], ids=lambda cell: cell.name)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_cell_of_ones_own(cell, reverse):
    options = {"lengths": LENGTHS, "resets": RESETS, "reverse": reverse}
    # Sums of 200 terms in float32, in another order.
    assert_close(weighted(cell, fused, **options), weighted(cell, scan, **options), 1e-5)


@every_cell
def test_a_probed_cell(cell):
    """Its input has more columns than its state's product."""
    params, xs = random_params(cell), random_xs()

    def loss(engine):
        state, hs = jaxrnn.unroll(cell, params, xs, lengths=LENGTHS, engine=engine)
        return jnp.sum(jnp.sin(hs)) + jnp.sum(state.h)

    result = diagnose.state_gradients(loss, engine=fused)
    assert_close(result, diagnose.state_gradients(loss), 1e-5)


def programs(of):
    """This program and all that stand in it."""
    yield of
    for equation in of.eqns:
        for inner in jaxprs_in_params(equation.params):
            yield from programs(inner)


def products_in_loops(cell, engine):
    """For each loop of value and gradient, how many products a step has, and how many it stacks."""

    def loss(params, xs):
        state, hs = jaxrnn.unroll(cell, params, xs, lengths=LENGTHS, engine=engine)
        return jnp.sum(hs) + jnp.sum(state.h)

    program = jax.make_jaxpr(jax.value_and_grad(loss, (0, 1)))(random_params(cell), random_xs())
    loops = [e for p in programs(program.jaxpr) for e in p.eqns if e.primitive.name == "scan"]
    bodies = [e.params["jaxpr"].jaxpr for e in loops]
    counts = [
        sum(e.primitive.name == "dot_general" for p in programs(body) for e in p.eqns)
        for body in bodies
    ]
    # What is stacked over the steps has batch and features besides; weights and states have not.
    return counts, [sum(v.aval.ndim > 2 for v in e.outvars) for e in loops]


@every_cell
def test_one_product_a_step_and_all_others_outside(cell):
    """Forwards h @ wh, backwards dz @ wh^T; the scan has two, and four."""
    assert products_in_loops(cell, fused)[0] == [1, 1]
    assert products_in_loops(cell, scan)[0] == [2, 4]


@pytest.mark.parametrize(
    ("cell", "forwards", "backwards"),
    [(jaxrnn.SimpleRNN, 3, 1), (jaxrnn.LSTM, 4, 1), (LEAKY, 3, 1), (jaxrnn.GRU, 3, 2),
     (TWO_FIELDS, 4, 2)],
    ids=lambda value: getattr(value, "name", ""),
)  # fmt: skip
def test_what_is_kept(cell, forwards, backwards):
    """Outputs, states before and pre-activations; where gx and gh are only added, one dz for both.

    Without that an LSTM would keep and write twice as much.
    """
    assert products_in_loops(cell, fused)[1] == [forwards, backwards]


@every_cell
def test_bfloat16_gradients_are_summed_in_float32(cell):
    """Over 200 steps: nearer to float32's on the same numbers than those of the scan."""
    weights = jaxrnn.init(jax.random.key(0), cell, 32, 64, dtype="bfloat16")
    xs = jax.random.normal(jax.random.key(1), (8, 200, 32), jnp.bfloat16)
    direction = jax.random.normal(jax.random.key(2), (8, 200, 64))

    def gradient(params, engine):
        def loss(params):
            return jnp.sum(direction * jaxrnn.unroll(cell, params, xs, engine=engine)[1])

        return jax.tree.map(np.float64, jax.grad(loss)(params))

    exact = gradient(jax.tree.map(lambda a: a.astype("float32"), weights), scan)

    def errors(engine):
        result = gradient(weights, engine)
        return {
            name: np.linalg.norm(getattr(result, name) - wanted) / np.linalg.norm(wanted)
            for name, wanted in exact._asdict().items()
            if wanted is not None
        }

    ours, theirs = errors(fused), errors(scan)
    for name, error in ours.items():
        # One rounding to 8 bits is 2e-3 rms; dz and the h in products are rounded once, too.
        assert error < 1e-2, (name, error)
        assert error < theirs[name], (name, error, theirs[name])


@pytest.mark.parametrize("unroll", [2, 7])
def test_steps_unrolled(unroll):
    engine = functools.partial(fused, unroll=unroll)
    options = {"lengths": LENGTHS, "resets": RESETS}
    assert_close(
        weighted(jaxrnn.LSTM, engine, **options), weighted(jaxrnn.LSTM, scan, **options), 1e-5
    )


def test_integer_inputs():
    inputs = {"inputs": jnp.arange(6 * 7 * 5).reshape(6, 7, 5) % 3, "lengths": LENGTHS}
    assert_close(weighted(jaxrnn.GRU, fused, **inputs), weighted(jaxrnn.GRU, scan, **inputs), 1e-5)


@every_cell
def test_what_is_not_a_number_stays_so(cell):
    params, xs = random_params(cell), random_xs().at[2, 3].set(np.nan)
    _, hs = jaxrnn.unroll(cell, params, xs, engine=fused)
    assert np.isnan(hs[2, 3:]).all()
    assert np.isfinite(np.delete(hs, 2, 0)).all()


def test_jacobian():
    """Here `vmap` goes over the backward pass alone."""
    params, xs = random_params(jaxrnn.GRU), random_xs()

    def run(engine):
        def end(xs):
            return jaxrnn.unroll(jaxrnn.GRU, params, xs, lengths=LENGTHS, engine=engine)[0].h[3]

        return jax.jacrev(end)(xs)

    assert_close(run(fused), run(scan), 1e-5)


def test_hessian():
    """Forward mode of the gradient, which is made of plain operations."""
    params, xs = random_params(jaxrnn.GRU), random_xs(batch=(2,), steps=3)

    def run(engine):
        def loss(bx):
            return jnp.sum(jnp.sin(jaxrnn.unroll(
                jaxrnn.GRU, params._replace(bx=bx), xs, lengths=np.array([3, 1]), engine=engine
            )[1]))  # fmt: skip

        return jax.hessian(loss)(params.bx)

    assert_close(run(fused), run(scan), 1e-5)


# --- what is refused -------------------------------------------------------------------------


def test_a_cell_with_products_of_its_own_is_refused():
    cell = jaxrnn.ResetBeforeGRU
    params = jaxrnn.init(jax.random.key(0), cell, 5, 4)
    with pytest.raises(ValueError, match=r"'gru_reset_before' has its own; use engine=jaxrnn\.eng"):
        jaxrnn.unroll(cell, params, random_xs(), engine=fused)


def test_it_is_chosen_nowhere():
    """Until it has been measured on what it is made for."""
    for cell in (*jaxrnn.CELLS.values(), LEAKY):
        for dtype in ("float32", "bfloat16"):
            assert jaxrnn.engines.choose(cell, jnp.dtype(dtype)) is not fused
