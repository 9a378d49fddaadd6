"""Every derivative of engines that bring a gradient: cells x engines x ways to differentiate."""

import itertools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from tables import COMMON, assert_close, random_params, random_state, random_xs

import jaxrnn
from jaxrnn.engines import fused, native, scan
from jaxrnn.engines._native import operation

pytestmark = [
    pytest.mark.usefixtures("strict_dtypes"),
    pytest.mark.skipif(
        bool(jaxrnn.engines.available()["native"]) and shutil.which("c++") is None,
        reason="no C++ compiler, so no kernels",
    ),
]

LENGTHS = np.array([3, 0, 1])
RESETS = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]], bool)


def make(cell, engine):
    """A vector of all that `unroll` gives, by a vector of its bias and by one of its inputs."""
    params, xs = random_params(cell), random_xs(batch=(3,), steps=4)
    state = random_state(cell, batch=(3,))

    def f(bx, scale):
        moved = params._replace(bx=bx)
        results = [
            jaxrnn.unroll(
                cell, moved, xs * scale, state, lengths=LENGTHS, resets=resets, reverse=reverse,
                engine=engine,
            )
            for resets, reverse in ((None, False), (RESETS, True))
        ]  # fmt: skip
        return sum(jnp.sum(jnp.sin(leaf), 0).reshape(-1)[:4] for leaf in jax.tree.leaves(results))

    return f, params.bx, jnp.linspace(0.5, 1.5, xs.shape[-1])


def along(x):
    return jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)


def total(f):
    return lambda bx, scale: jnp.sum(f(bx, scale) ** 2)


def mapped(f, bx, scale):
    """Three weights and three inputs, for `vmap` of both."""
    return jnp.stack([bx, 0 * bx, -bx]), jnp.stack([scale, 2 * scale, -scale])


WAYS = {
    "jvp": lambda f, b, s: jax.jvp(f, (b, s), (along(b), along(s))),
    "jvp-of-inputs": lambda f, b, s: jax.jit(lambda s: jax.jvp(lambda s: f(b, s), (s,), (s,)))(s),
    "jacfwd": lambda f, b, s: jax.jacfwd(f, argnums=(0, 1))(b, s),
    "jacrev": lambda f, b, s: jax.jacrev(f, argnums=(0, 1))(b, s),
    "linearize": lambda f, b, s: jax.linearize(f, b, s)[1](along(b), along(s)),
    "transposed": lambda f, b, s: jax.linear_transpose(jax.linearize(f, b, s)[1], b, s)(f(b, s)),
    "hessian": lambda f, b, s: jax.jit(jax.hessian(total(f)))(b, s),
    "reverse-over-reverse": lambda f, b, s: jax.jacrev(jax.grad(total(f)))(b, s),
    "reverse-over-forward": lambda f, b, s: jax.grad(
        lambda b: jnp.sum(jax.jvp(lambda b: f(b, s), (b,), (along(b),))[1] ** 2)
    )(b),
    "forward-over-forward": lambda f, b, s: jax.jvp(
        lambda b: jax.jvp(lambda b: f(b, s), (b,), (along(b),))[1], (b,), (b,)
    ),
    "third": lambda f, b, s: jax.jvp(
        lambda b: jax.grad(lambda b: jnp.vdot(jax.grad(total(f))(b, s), along(b)))(b), (b,), (b,)
    ),
    "grad-of-vmap": lambda f, b, s: jax.grad(
        lambda b, s: jnp.sum(jax.vmap(f)(b, s) ** 2), argnums=(0, 1)
    )(*mapped(f, b, s)),
    "grad-of-vmap-over-inputs": lambda f, b, s: jax.grad(
        lambda b: jnp.sum(jax.vmap(f, (None, 0))(b, mapped(f, b, s)[1]) ** 2)
    )(b),
    "vmap-of-grad": lambda f, b, s: jax.vmap(jax.grad(total(f)))(*mapped(f, b, s)),
    "jvp-of-vmap-of-vmap": lambda f, b, s: jax.jvp(
        lambda b: jax.vmap(jax.vmap(f, (None, 0)), (0, None))(b, mapped(f, b, s)[1]),
        (mapped(f, b, s)[0],), (along(mapped(f, b, s)[0]),),
    ),
    "grad-of-vmap-of-vmap": lambda f, b, s: jax.grad(
        lambda b: jnp.sum(jax.vmap(jax.vmap(f, (None, 0)), (0, None))(b, mapped(f, b, s)[1]))
    )(mapped(f, b, s)[0]),
    "vmap-of-hessian": lambda f, b, s: jax.vmap(jax.hessian(total(f)), (None, 0))(
        b, mapped(f, b, s)[1]
    ),
    "checkpoint": lambda f, b, s: jax.grad(jax.checkpoint(total(f)))(b, s),
}  # fmt: skip
KINDS = list(itertools.product(COMMON, (native, fused)))
# Each way with one cell and one engine, in turn; by hand with all.
ROWS = [
    pytest.param(
        cell, engine, way, id=f"{cell}-{engine.name}-{way}",
        marks=[] if KINDS[n % len(KINDS)] == (cell, engine) else [pytest.mark.slow],
    )
    for n, way in enumerate(WAYS)
    for cell, engine in KINDS
]  # fmt: skip


@pytest.mark.parametrize(("cell", "engine", "way"), ROWS)
def test_it_is_the_scans(cell, engine, way):
    cell = jaxrnn.CELLS[cell]
    actual = WAYS[way](*make(cell, engine))
    # Third derivatives of sums of 12 sines reach 100: float32 rounding of that is 1e-5.
    assert_close(actual, WAYS[way](*make(cell, scan)), 1e-4 if way == "third" else 2e-5)


def test_the_gradient_is_the_kernels_and_its_derivatives_are_not():
    f, bx, scale = make(jaxrnn.LSTM, native)

    def calls(g, *args):
        text = jax.jit(g).lower(*args).as_text()
        return text.count("@jaxrnn_forward("), text.count("@jaxrnn_backward(")

    assert calls(f, bx, scale) == (2, 0)
    assert calls(jax.grad(total(f)), bx, scale) == (2, 2)
    # The value is the kernels', the tangent a scan's.
    assert calls(lambda b: jax.jvp(lambda b: f(b, scale), (b,), (b,)), bx) == (2, 0)


def test_nothing_is_kept_for_inputs_that_have_no_derivative():
    """Zeros as large as the inputs would be kept for the gradient of the weights alone."""
    f, bx, scale = make(jaxrnn.GRU, native)
    kept = jax.tree.leaves(jax.eval_shape(lambda b: jax.vjp(lambda b: f(b, scale), b)[1], bx))
    both = jax.tree.leaves(jax.eval_shape(lambda b, s: jax.vjp(f, b, s)[1], bx, scale))
    assert sum(leaf.size for leaf in kept) <= sum(leaf.size for leaf in both)


# --- the platform that is compiled for ---------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch):
    """What other platforms run, on this one."""
    for program in (operation.Forward, operation.Backward):
        monkeypatch.setattr(program, "on_cpu", program.elsewhere)
    return native.with_options(threads=97)  # compiled anew, and by no other test


@pytest.mark.pairs
@pytest.mark.parametrize("cell", COMMON)
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_what_other_platforms_run_is_the_scans(elsewhere, cell, time_major, reverse, ragged):
    cell = jaxrnn.CELLS[cell]
    params, state = random_params(cell), random_state(cell, batch=(3,))
    xs = random_xs(batch=(3,), steps=4)
    masks = {"lengths": LENGTHS, "resets": RESETS} if ragged else {}
    if time_major:
        xs = jnp.moveaxis(xs, 1, 0)
        masks |= {"resets": RESETS.T} if ragged else {}

    def run(engine):
        def loss(params, xs, state):
            results = jaxrnn.unroll(
                cell, params, xs, state, **masks, reverse=reverse, time_major=time_major,
                engine=engine,
            )  # fmt: skip
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

        return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, xs, state)

    assert_close(run(elsewhere), run(scan), 1e-5)


@pytest.mark.pairs
@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
@pytest.mark.parametrize("cell", COMMON)
@pytest.mark.parametrize(
    "derivative",
    [lambda f: f, lambda f: jax.grad(total(f)), lambda f: jax.hessian(total(f))],
    ids=["value", "grad", "hessian"],
)
def test_a_program_for_another_platform_calls_no_kernel_of_this_one(cell, platform, derivative):
    f, bx, scale = make(jaxrnn.CELLS[cell], None)
    program = jax.jit(derivative(f)).trace(bx, scale)
    text = program.lower(lowering_platforms=(platform,)).as_text()
    assert ("jaxrnn_" in text) == (platform == "cpu")


def test_a_program_is_exported_for_platforms_without_the_kernel():
    f, bx, scale = make(jaxrnn.LSTM, None)
    gradient = jax.jit(jax.grad(total(f)))
    exported = export.export(gradient, platforms=("cuda", "tpu"))(bx, scale)
    assert exported.platforms == ("cuda", "tpu")
    assert export.deserialize(exported.serialize()).in_avals == exported.in_avals


def test_for_a_cpu_the_kernels_call_is_allowed_or_the_scan_taken():
    f, bx, scale = make(jaxrnn.LSTM, None)
    with pytest.raises(ValueError, match="jaxrnn_forward"):
        export.export(jax.jit(f), platforms=("cpu", "cuda"))(bx, scale)
    allowed = [export.DisabledSafetyCheck.custom_call("jaxrnn_forward")]
    with_kernel = export.export(jax.jit(f), platforms=("cpu", "cuda"), disabled_checks=allowed)(
        bx, scale
    )
    assert_close(with_kernel.call(bx, scale), f(bx, scale), 1e-6)
    plain = make(jaxrnn.LSTM, scan)[0]
    without = export.export(jax.jit(plain), platforms=("cpu", "cuda"))(bx, scale)
    assert_close(without.call(bx, scale), f(bx, scale), 1e-5)
