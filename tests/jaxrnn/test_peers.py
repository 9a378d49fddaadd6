"""What Flax and Keras get wrong, each as a pair: an expected failure of theirs, and ours passing.

`docs/peers.md` has a row for each of these tests. Failures are strict: when a peer is mended its
test fails here, and the row goes.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import peers
import pytest
import torch_answers
from flax import nnx
from fronts import FRONTS, as_carry
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tables import assert_close, every_cell, random_params, random_state, random_xs

import jaxrnn
from jaxrnn import convert
from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

LENGTHS = np.array([7, 0, 1, 6, 3, 7, 2, 7])


def pair(reason, raises, fronts=tuple(FRONTS)):
    """The same check for Flax's module, expected to fail, and for ours."""
    rows = []
    for front in fronts:
        failure = pytest.mark.xfail(strict=True, reason=reason, raises=raises)
        rows.append(pytest.param(front, "theirs", marks=failure, id=f"flax.{front}"))
        rows.append(pytest.param(front, "ours", id=f"jaxrnn.flax.{front}"))
    return pytest.mark.parametrize(("front", "side"), rows)


def as_function(front, side, cell, **options):
    """A module as a function of its weights and inputs, and the weights."""
    modules = FRONTS[front](cell, **options)
    module = getattr(modules, side)
    if front == "linen":
        return module.func, module.args[0], modules.params
    graph, weights = nnx.split(module)

    def call(weights, xs, **options):
        return nnx.merge(graph, weights)(xs, **options)

    return call, weights, modules.params


@pair("the zero carry does not vary over the mesh, the carry of the loop does", TypeError)
@every_cell
def test_inside_default_shard_map(front, side, cell):
    call, weights, params = as_function(front, side, cell)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    specs = (PartitionSpec(), PartitionSpec("data"))
    xs = random_xs(batch=(8,))
    hs = jax.jit(jax.shard_map(call, mesh=mesh, in_specs=specs, out_specs=specs[1]))(weights, xs)
    assert_close(hs, jaxrnn.unroll(cell, params, xs)[1])


@pair("the zero carry is not sharded as the carry of the loop is", (TypeError, ValueError))
@every_cell
def test_on_an_explicit_mesh(front, side, cell):
    call, weights, params = as_function(front, side, cell)
    xs = random_xs(batch=(8,))
    expected = jaxrnn.unroll(cell, params, xs)[1]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        weights = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
        sharded = jax.device_put(xs, NamedSharding(mesh, PartitionSpec("data")))
        hs = jax.jit(call)(weights, sharded)
    assert_close(hs, expected)


@pytest.mark.parametrize("front", FRONTS)
@every_cell
@pytest.mark.parametrize("mesh_type", [AxisType.Auto, AxisType.Explicit])
def test_ragged_and_reversed_on_a_mesh(front, cell, mesh_type):
    """Ours with every option, which the two tests above leave out."""
    call, weights, _ = as_function(front, "ours", cell, return_carry=True, reverse=True)
    xs, lengths = random_xs(batch=(8,)), jnp.asarray(LENGTHS)
    expected = call(weights, xs, seq_lengths=lengths)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(mesh_type,))
    with jax.set_mesh(mesh):
        weights = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
        data = NamedSharding(mesh, PartitionSpec("data"))
        actual = jax.jit(call)(
            weights, jax.device_put(xs, data), seq_lengths=jax.device_put(lengths, data)
        )
    assert_close(actual, expected)


@pair("the carry of a sequence without steps is read at step -1, the last one", AssertionError)
@every_cell
def test_a_sequence_of_length_0_keeps_its_carry(front, side, cell):
    call, weights, _ = as_function(front, side, cell)
    start = as_carry(cell, random_state(cell, batch=(8,)))
    carry, _ = call(
        weights,
        random_xs(batch=(8,)),
        initial_carry=start,
        seq_lengths=jnp.asarray(LENGTHS),
        return_carry=True,
    )
    assert_close(jax.tree.map(lambda a: a[1], carry), jax.tree.map(lambda a: a[1], start))


def gradients_are_finite(run, weights, padding):
    """The gradient of the valid outputs with respect to weights and inputs."""
    valid = jnp.arange(7)[:, None] < LENGTHS[:, None, None]
    xs = jnp.where(valid, random_xs(batch=(8,)), padding)

    leaves, tree = jax.tree.flatten(weights)  # in Flax's RNN the keys of its generators too
    at = [k for k, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def loss(floats, xs):
        given = dict(zip(at, floats, strict=True))
        filled = [given.get(k, leaf) for k, leaf in enumerate(leaves)]
        return jnp.sum(jnp.where(valid, run(tree.unflatten(filled), xs), 0.0) ** 2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))([leaves[k] for k in at], xs)
    assert len(gradient[0]) >= 3
    for g in jax.tree.leaves(gradient):
        assert np.isfinite(g).all()


@pair("steps in the padding are computed, and 0 * NaN is NaN in the gradient", AssertionError)
@every_cell
def test_nan_in_the_padding(front, side, cell):
    call, weights, _ = as_function(front, side, cell)

    def run(weights, xs):
        return call(weights, xs, seq_lengths=jnp.asarray(LENGTHS))

    gradients_are_finite(run, weights, 0.0)  # the check itself is right
    gradients_are_finite(run, weights, np.nan)


@every_cell
@pytest.mark.parametrize(
    "library",
    [
        pytest.param("keras", marks=pytest.mark.xfail(
            strict=True, raises=AssertionError,
            reason="steps past the mask are computed, and 0 * NaN is NaN in the gradient",
        )),
        "jaxrnn",
    ],
)  # fmt: skip
def test_nan_in_the_padding_of_keras(library, cell):
    peer = peers.keras_peer(cell, inputs=5)

    def run(weights, xs):
        if library == "keras":
            return peer.run(weights, xs, LENGTHS)[1]
        return jaxrnn.unroll_stack(cell, peer.load(weights), xs, lengths=LENGTHS)[1]

    gradients_are_finite(run, peer.weights, 0.0)
    gradients_are_finite(run, peer.weights, np.nan)


@every_cell
@pytest.mark.parametrize(
    "library",
    [
        pytest.param("keras", marks=pytest.mark.xfail(
            strict=True, raises=(AssertionError, TypeError),
            reason="on the JAX backend tanh casts to float32",
        )),
        "jaxrnn",
    ],
)  # fmt: skip
def test_layers_of_float64_compute_in_float64(library, cell):
    with jax.enable_x64(True):
        peer = peers.keras_peer(cell, "float64", inputs=5, activation="tanh")

        def run(weights, xs):
            if library == "keras":
                return peer.run(weights, xs, None)[1]
            return jaxrnn.unroll_stack(cell, peer.load(weights), xs)[1]

        program = str(jax.make_jaxpr(run)(peer.weights, random_xs(dtype="float64")))
    assert "f64[" in program
    assert "f32[" not in program


@pair("the last carry is looked up with one batch index", (TypeError, ValueError, IndexError))
@every_cell
def test_lengths_with_a_carry_and_two_batch_axes(front, side, cell):
    call, weights, _ = as_function(front, side, cell, return_carry=True)
    xs, lengths = random_xs(batch=(8,)), jnp.asarray(np.maximum(LENGTHS, 1))
    carry, _ = call(weights, xs, seq_lengths=lengths)
    two, _ = call(weights, xs.reshape(2, 4, 7, 5), seq_lengths=lengths.reshape(2, 4))
    assert_close(two, jax.tree.map(lambda a: a.reshape(2, 4, 4), carry))


@pair("there is no bias at the recurrent product of the candidate", ValueError, ["nnx"])
def test_pytorchs_gru_weights_load(front, side):
    """Against what PyTorch itself answers."""
    case = next(c for c in torch_answers.CASES if c.cell == "gru" and c.bias and c.layers == 1)
    ((params,),) = convert.from_torch(jaxrnn.GRU, torch_answers.weights(case, "float32"))
    sizes = (torch_answers.INPUTS, case.units)
    if side == "theirs":
        cell = nnx.GRUCell(*sizes, rngs=nnx.Rngs(0))
        nnx.update(cell, convert.to_nnx(jaxrnn.GRU, params))
        rnn = nnx.RNN(cell)
    else:
        cell = our_nnx.GRUCell(*sizes, candidate_bias=True, rngs=nnx.Rngs(0))
        cell.set_params(params)
        rnn = our_nnx.RNN(cell)
    hs = rnn(jnp.asarray(torch_answers.inputs("float32")))
    assert_close(hs, torch_answers.stored(case)["hs"], 1e-5)


def test_no_weights_make_nnxs_gru_what_pytorchs_is():
    """With all else zero the candidate is tanh(bh_n / 2): none of NNX's arrays can stand in.

    Zero products leave r = z = 1/2 at any bias of theirs that is zero; the one bias they have at
    the candidate does not go through r. So two resets tell the two apart.
    """
    params = random_params(jaxrnn.GRU)
    params = jax.tree.map(jnp.zeros_like, params)._replace(bh=jnp.zeros(12).at[8:].set(1.0))
    closed = params._replace(bx=params.bx.at[:4].set(-50.0))  # r = 0: the bias is shut off
    one = jnp.ones((1, 1, 5))
    assert_close(jaxrnn.unroll(jaxrnn.GRU, params, one)[1][0, 0], np.full(4, np.tanh(0.5) / 2))
    assert_close(jaxrnn.unroll(jaxrnn.GRU, closed, one)[1][0, 0], np.zeros(4))
    leaves = jax.tree.leaves(nnx.state(nnx.GRUCell(5, 4, rngs=nnx.Rngs(0)), nnx.Param))
    assert sum(leaf.size for leaf in leaves) == 3 * 4 * (5 + 4 + 1)  # ours: 4 more


def keras_kernel(kind):
    layer = kind(16)
    layer.build((None, None, 5))
    return peers.get_weights(layer)[1]


def nnx_kernels(cell):
    """The recurrent kernels side by side, in any of NNX's layouts."""
    state = nnx.to_pure_dict(nnx.state(cell, nnx.Param))
    names = ("wh",) if "wh" in state else ()
    kernels = [state[n] for n in names]
    kernels += [v["kernel"] for n, v in state.items() if n in ("dense_h", "hi", "hf", "hg", "ho")]
    return np.concatenate(kernels, axis=1)


def linen_kernels(cell):
    carry = cell.initialize_carry(jax.random.key(0), (1, 5))
    tree = cell.init(jax.random.key(0), carry, jnp.ones((1, 5)))["params"]
    return tree["wh"] if "wh" in tree else np.concatenate(
        [v["kernel"] for name, v in sorted(tree.items()) if name.startswith("h")], axis=1
    )  # fmt: skip


WHOLE = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the [H, G*H] matrix is orthogonal, no gate's is"
)
RNGS = {"rngs": nnx.Rngs(0)}


@pytest.mark.parametrize(
    "kernels",
    [
        pytest.param(lambda: keras_kernel(keras.layers.LSTM), marks=WHOLE, id="keras.LSTM"),
        pytest.param(lambda: keras_kernel(keras.layers.GRU), marks=WHOLE, id="keras.GRU"),
        pytest.param(
            lambda: nnx_kernels(nnx.OptimizedLSTMCell(5, 16, **RNGS)), marks=WHOLE,
            id="flax.nnx.OptimizedLSTMCell",
        ),
        pytest.param(
            lambda: nnx_kernels(nnx.GRUCell(5, 16, **RNGS)), marks=WHOLE, id="flax.nnx.GRUCell"
        ),
        pytest.param(lambda: keras_kernel(keras.layers.SimpleRNN), id="keras.SimpleRNN is right"),
        pytest.param(
            lambda: nnx_kernels(nnx.LSTMCell(5, 16, **RNGS)), id="flax.nnx.LSTMCell is right"
        ),
        *[
            pytest.param(lambda c=c: linen_kernels(c), id=f"flax.linen.{type(c).__name__} is right")
            for c in (peers.LINEN["lstm"](16), peers.LINEN["gru"](16))
        ],
        *[
            pytest.param(
                lambda c=c: jaxrnn.init(jax.random.key(0), c, 5, 16).wh, id=f"jaxrnn.{c.name}"
            )
            for c in jaxrnn.CELLS.values()
        ],
        *[
            pytest.param(lambda k=k: nnx_kernels(k(5, 16, **RNGS)), id=f"jaxrnn.nnx.{k.__name__}")
            for k in (our_nnx.OptimizedLSTMCell, our_nnx.GRUCell)
        ],
        *[
            pytest.param(lambda k=k: linen_kernels(k(16)), id=f"jaxrnn.linen.{k.__name__}")
            for k in (our_linen.OptimizedLSTMCell, our_linen.GRUCell)
        ],
    ],
)  # fmt: skip
def test_recurrent_kernels_are_orthogonal_for_each_gate(kernels):
    """So that a fresh network neither shrinks nor grows what it remembers."""
    wh = np.asarray(kernels())
    assert wh.shape[0] == 16
    for gate in np.split(wh, wh.shape[1] // 16, axis=1):
        assert_close(gate @ gate.T, np.eye(16), 1e-5)  # float32 QR of 16 columns


@pair("the carry begins in float32 and comes back in bfloat16", TypeError)
def test_products_in_bfloat16_and_weights_in_float32(front, side):
    call, weights, params = as_function(front, side, jaxrnn.SimpleRNN, dtype=jnp.bfloat16)
    xs = random_xs()
    # Factors with 8 bits: h in [-1, 1] is right to about 2^-8 a step.
    assert_close(call(weights, xs), jaxrnn.unroll(jaxrnn.SimpleRNN, params, xs)[1], 0.05)


@pytest.mark.parametrize("side", ["theirs", "ours"])
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("cell", [jaxrnn.LSTM, jaxrnn.GRU], ids=lambda cell: cell.name)
def test_flaxs_other_cells_mix_their_dtypes_rightly(front, side, cell):
    call, weights, params = as_function(front, side, cell, dtype=jnp.bfloat16)
    xs = random_xs()
    assert_close(call(weights, xs), jaxrnn.unroll(cell, params, xs)[1], 0.05)
