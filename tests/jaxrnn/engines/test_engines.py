"""What an engine is as a value: its options, its layouts, its equality, its place in a `jit`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import ENGINES, assert_close, random_params, random_xs

import jaxrnn
from jaxrnn.engines import Engine, native, scan
from jaxrnn.engines._protocol import as_engine
from jaxrnn.flax import nnx as rnn

WAYS = {
    "with_options": lambda engine, **options: engine.with_options(**options),
    "partial": functools.partial,
}
every_way = pytest.mark.parametrize("given", WAYS.values(), ids=WAYS)
compiled = pytest.mark.skipif("native" not in ENGINES, reason="no C++ compiler, so no kernels")


def program(engine, **how):
    """The jaxpr of a batch-major call, as text."""
    params, xs = random_params(jaxrnn.LSTM), random_xs()
    resets = np.zeros(xs.shape[:-1], bool)

    def run(params, xs):
        return jaxrnn.unroll(jaxrnn.LSTM, params, xs, resets=resets, engine=engine, **how)

    return jax.jit(run).lower(params, xs).as_text()


@compiled
@every_way
def test_options_keep_the_layout(given):
    """A batch that lies as the kernels read it is not copied, with whatever options."""
    text = program(given(native, threads=1, vectors="portable"))
    assert "transpose" not in text
    assert "threads = 1 : i32" in text
    assert "batch_major = true" in text
    assert "transpose" in program(scan), "what is looked for must be found where it is"


@compiled
@every_way
def test_options_change_no_result(given):
    params, xs = random_params(jaxrnn.GRU), random_xs()
    expected = jaxrnn.unroll(jaxrnn.GRU, params, xs, engine=native)
    actual = jaxrnn.unroll(jaxrnn.GRU, params, xs, engine=given(native, threads=1))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@every_way
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("native", "native engine has no option 'thread'; its options are vectors, threads, keep"),
        ("scan", "scan engine has no option 'thread'; its options are unroll$"),
        ("cudnn", "cudnn engine has no option 'thread'; it has no options$"),
    ],
)
def test_an_unknown_option_is_refused_with_the_known_ones(given, name, message):
    params, xs = random_params(jaxrnn.LSTM), random_xs()
    with pytest.raises(TypeError, match=message):
        jaxrnn.unroll(
            jaxrnn.LSTM, params, xs, engine=given(getattr(jaxrnn.engines, name), thread=1)
        )


def test_what_is_no_engine_is_refused():
    with pytest.raises(TypeError, match=r"engine is a str; give one of jaxrnn\.engines"):
        as_engine("scan")


def test_engines_are_equal_by_value():
    assert native.with_options(threads=2) == native.with_options(threads=2) != native
    assert hash(native.with_options(threads=2)) == hash(native.with_options(threads=2))
    assert native.with_options(threads=2).with_options(threads=0) == native
    assert native.with_options(threads=1, vectors="avx2") == native.with_options(
        vectors="avx2"
    ).with_options(threads=1)


def test_as_a_static_argument_equal_engines_compile_once():
    traced = []

    @functools.partial(jax.jit, static_argnames="engine")
    def model(params, xs, engine):
        traced.append(engine)
        return jaxrnn.unroll(jaxrnn.GRU, params, xs, engine=engine)[1]

    for unroll in (2, 2, 3):
        model(random_params(jaxrnn.GRU), random_xs(), engine=scan.with_options(unroll=unroll))
    assert traced == [scan.with_options(unroll=2), scan.with_options(unroll=3)]


def test_in_a_tree_an_engine_is_static():
    assert jax.tree.leaves({"engine": scan, "w": jnp.ones(2)})[0].shape == (2,)
    assert jax.jit(lambda tree: tree)({"engine": scan})["engine"] == scan


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_a_function_of_ones_own_is_an_engine(time_major, partial):
    """It is called time-major, whatever the layout of the batch."""
    shapes = []

    def mine(cell, params, xs, state, *, lengths, resets, reverse, note="plain"):
        shapes.append((note, xs.shape, resets.shape))
        return scan(cell, params, xs, state, lengths=lengths, resets=resets, reverse=reverse)

    params, xs = random_params(jaxrnn.LSTM), random_xs()
    resets = np.zeros((6, 7), bool)
    expected = jaxrnn.unroll(jaxrnn.LSTM, params, xs, resets=resets, engine=scan)
    actual = jaxrnn.unroll(
        jaxrnn.LSTM,
        params,
        jnp.moveaxis(xs, 1, 0) if time_major else xs,
        resets=resets.T if time_major else resets,
        time_major=time_major,
        engine=functools.partial(mine, note="partial") if partial else mine,
    )
    assert shapes == [("partial" if partial else "plain", (7, 6, 5), (7, 6))]
    assert_close((actual[0], jnp.moveaxis(actual[1], 0, 1) if time_major else actual[1]), expected)


def test_an_engine_tells_of_itself():
    assert all(isinstance(engine, Engine) for engine in ENGINES.values())
    assert "threads" in native.__doc__
    assert repr(scan) == "Engine(name='scan', options=(('unroll', 1),), batch_major=False)"


# --- jaxrnn.flax ------------------------------------------------------------------------------


def flax_program(**options):
    cell = rnn.LSTMCell(5, 4, rngs=rnn.nnx.Rngs(0))
    return str(jax.make_jaxpr(rnn.RNN(cell, **options))(random_xs()))


@compiled
def test_unroll_of_flax_keeps_the_engine_that_is_chosen():
    cell = rnn.LSTMCell(5, 4, rngs=rnn.nnx.Rngs(0))
    lowered = [jax.jit(rnn.RNN(cell, unroll=n)).lower(random_xs()).as_text() for n in (1, 4)]
    assert "jaxrnn_forward" in lowered[0]
    assert lowered[0] == lowered[1]


@pytest.mark.parametrize("engine", [scan, functools.partial(scan), jaxrnn.engines.fused])
def test_unroll_of_flax_is_the_option_of_an_engine_that_has_it(engine):
    assert "unroll=4" in flax_program(unroll=4, engine=engine)
    assert "unroll=4" not in flax_program(engine=engine)
