"""PyTorch's modules as they come: themselves, cells, tensors with a gradient and in bfloat16.

Its package is gigabytes (see `torch_answers`), so a stand-in does here what NumPy meets in its
tensors; with PyTorch there the last test asks it.
"""

import jax
import ml_dtypes
import numpy as np
import pytest
import torch_answers
from safetensors.numpy import load_file, save_file
from tables import assert_close, every_cell, random_params, random_xs

import jaxrnn
from jaxrnn import GRU, LSTM, ReLURNN, SimpleRNN, convert


class Tensor:
    """What a `torch.Tensor` lets NumPy do: nothing with a gradient, on a GPU, or in bfloat16."""

    def __init__(self, values, dtype="torch.float32", requires_grad=True, device="cuda"):
        self.values, self.dtype = values, dtype
        self.requires_grad, self.device = requires_grad, device

    def detach(self):
        return Tensor(self.values, self.dtype, False, self.device)

    def cpu(self):
        return Tensor(self.values, self.dtype, self.requires_grad, "cpu")

    def float(self):
        return Tensor(self.values.astype(np.float32), "torch.float32", self.requires_grad, "cpu")

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.array(self.values, dtype, copy=copy)

    def __len__(self):
        return len(self.values)


class Module:
    def __init__(self, **arrays):
        self.arrays = arrays

    def state_dict(self):
        return self.arrays


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    assert [a.dtype for a in jax.tree.leaves(actual)] == [
        a.dtype for a in jax.tree.leaves(expected)
    ]


def test_a_module_and_its_parameters_on_a_gpu_with_gradients():
    arrays = torch_answers.weights(torch_answers.CASES[7], "float32")
    expected = convert.from_torch(LSTM, arrays)
    tensors = {name: Tensor(a) for name, a in arrays.items()}
    assert_same(convert.from_torch(LSTM, tensors), expected)
    assert_same(convert.from_torch(LSTM, Module(**tensors)), expected)
    larger = Module(**{f"encoder.rnn.{name}": a for name, a in tensors.items()}, head=1)
    assert_same(convert.from_torch(LSTM, larger, "encoder.rnn."), expected)


def test_bfloat16_stays_bfloat16_bit_for_bit(tmp_path):
    arrays = convert.to_torch(GRU, ((random_params(GRU),),))
    narrow = {name: a.astype(ml_dtypes.bfloat16) for name, a in arrays.items()}
    tensors = {name: Tensor(a, "torch.bfloat16") for name, a in narrow.items()}
    loaded = convert.from_torch(GRU, tensors)
    assert {a.dtype.name for a in jax.tree.leaves(loaded)} == {"bfloat16"}
    np.testing.assert_array_equal(loaded[0][0].wx, narrow["weight_ih_l0"].T)
    np.testing.assert_array_equal(loaded[0][0].bh, narrow["bias_hh_l0"])
    save_file(narrow, tmp_path / "model.safetensors")
    assert_same(convert.from_torch(GRU, load_file(tmp_path / "model.safetensors")), loaded)


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorchs_cells_take_the_same_step(cell, dtype):
    state_dict, x, expected = torch_answers.stored_cell(cell.name)
    assert set(state_dict) == {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    with jax.enable_x64(dtype == "float64"):
        state_dict = {name: a.astype(dtype) for name, a in state_dict.items()}
        (params,) = convert.from_torch(cell, state_dict)[0]
        start = jaxrnn.initial_state(cell, params, (len(x),))
        state, _ = jaxrnn.step(cell, params, start, x.astype(dtype))
        assert {a.dtype.name for a in state} == {dtype}
        assert_close(list(state), expected, 1e-6 if dtype == "float32" else 1e-14)


@every_cell
def test_cells_have_names_without_a_layer(cell):
    stack = ((random_params(cell),),)
    arrays = convert.to_torch(cell, stack, "cell.", single_step=True)
    assert set(arrays) == {
        f"cell.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    assert arrays["cell.weight_ih"].shape == (cell.gates * 4, 5)
    assert_same(convert.from_torch(cell, arrays, "cell."), stack)


def test_relu_and_tanh_have_the_same_weights_and_the_caller_says_which():
    arrays, xs = convert.to_torch(ReLURNN, ((random_params(ReLURNN),),)), random_xs()
    (weights,) = convert.from_torch(ReLURNN, arrays)[0]
    hs = np.zeros((6, 4))
    for x in np.moveaxis(np.asarray(xs), 1, 0):
        pre = x @ arrays["weight_ih_l0"].T + hs @ arrays["weight_hh_l0"].T + arrays["bias_ih_l0"]
        hs = np.maximum(pre, 0)
    state, _ = jaxrnn.unroll(ReLURNN, weights, xs)
    assert_close(state.h, hs, 1e-5)
    (weights,) = convert.from_torch(SimpleRNN, arrays)[0]
    assert np.max(np.abs(jaxrnn.unroll(SimpleRNN, weights, xs)[0].h - hs)) > 0.1
    first_lines = convert.from_torch.__doc__[:250]
    assert "Weights do not show it" in first_lines
    assert "relu" in first_lines


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@every_cell
def test_pytorchs_own_cells_and_tensors(cell, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: extra `peers`")
    options = {"nonlinearity": "relu"} if cell is ReLURNN else {}
    kind = {"rnn": "RNN", "relu_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[cell.name]
    module = getattr(torch.nn, f"{kind}Cell")(5, 4, dtype=getattr(torch, dtype), **options)
    (params,) = convert.from_torch(cell, module)[0]
    assert {a.dtype.name for a in jax.tree.leaves(params)} == {dtype}
    x = random_xs()[:, 0]
    state, _ = jaxrnn.step(cell, params, jaxrnn.initial_state(cell, params, (6,)), x)
    answer = module(torch.from_numpy(np.array(x)).to(getattr(torch, dtype)))
    answer = answer if cell is LSTM else (answer,)
    for ours, theirs in zip(state, answer, strict=True):
        assert_close(ours, theirs.detach().float().numpy(), 1e-5 if dtype == "float32" else 2e-2)
