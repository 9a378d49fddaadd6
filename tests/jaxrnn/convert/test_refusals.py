"""What weights of another library cannot be, said in one line that tells what to give instead."""

# ruff: noqa: E501
import numpy as np
import pytest
from tables import random_params

import jaxrnn
from jaxrnn import GRU, LSTM, ReLURNN, ResetBeforeGRU, SimpleRNN, convert

KERAS_GRU = [np.ones((3, 12)), np.ones((4, 12)), np.ones((2, 12))]
TORCH_LSTM = {"weight_ih_l0": np.ones((16, 3)), "weight_hh_l0": np.ones((16, 4))}
LINEN_GRU = convert.to_linen(GRU, random_params(GRU))
NNX_GRU = {"dense_i": {"kernel": np.ones((3, 12))}, "dense_h": {"kernel": np.ones((4, 12))}}
PROJECTED = {"e.weight_ih_l0": np.ones((16, 3)), "e.weight_hh_l0": np.ones((16, 2)),
             "e.weight_hr_l0": np.ones((2, 4))}  # fmt: skip
PREFIXED = {"encoder.weight_ih_l0": 1, "encoder.weight_ih_l0_reverse": 1, "conv.weight": 1,
            "encoder.weight_ih_l1": 1, "decoder.weight_ih_l0": 1, "cell.weight_ih": 1}  # fmt: skip
# As the older `.h5` lists an LSTM, by the alphabet.
LEGACY = [np.ones(16), np.ones((3, 16)), np.ones((4, 16))]
STACKED = [np.ones(shape) for inputs in (3, 4, 5) for shape in ((inputs, 16), (4, 16), (16,))]
LEAKY = jaxrnn.Cell("leaky", 1, jaxrnn.State, SimpleRNN.update)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: convert.from_keras(GRU, [[*KERAS_GRU[:2], np.ones(12)]]),
         r"bias has shape \(12,\), that of a GRU with reset_after=False; load it as jaxrnn.Reset"),
        (lambda: convert.from_keras(ResetBeforeGRU, [KERAS_GRU]),
         r"bias has shape \(2, 12\), that of a GRU with reset_after=True; load it as jaxrnn.GRU"),
        (lambda: convert.from_keras(GRU, KERAS_GRU), r"layer 0 holds 3 arrays.*get_weights\(\)\]"),
        (lambda: convert.from_keras(GRU, [[*KERAS_GRU] * 3]), "layer 0 holds 9 arrays"),
        (lambda: convert.from_keras(LSTM, [[*KERAS_GRU[:2], np.ones(12)]]),
         r"wx is of shape \(3, 12\); lstm with 4 units expects \(3, 16\)"),
        (lambda: convert.from_keras(GRU, [[np.ones((3, 16)), np.ones((4, 16))]]),
         "16 columns cannot be divided among 3 gates"),
        (lambda: convert.from_keras(LSTM, [LEGACY]),
         r"^layer 0 has arrays of shapes \(16,\), \(3, 16\), \(4, 16\); a Keras layer has kernel"),
        (lambda: convert.from_keras(LSTM, [[*LEGACY[1:], np.ones((2, 16))]]),
         r"^layer 0 has a bias of shape \(2, 16\); lstm has one of shape \(16,\): give kernel,"),
        (lambda: convert.from_keras(LSTM, [STACKED[:3] + STACKED[6:]]),
         r"^layer 0 has kernels for 3 and 5 features, as the two cells of a StackedRNNCells and not "
         r"the directions of a Bidirectional layer; give each as a layer of its own: weights\[:3\], "),
        (lambda: convert.from_keras(LSTM, [STACKED[3:6] * 2]),
         "^layer 0 may be Bidirectional or the two cells of a StackedRNNCells, as 4 units read 4 "
         "features; give bidirectional=True, or give each as a layer of its own"),
        (lambda: convert.from_keras(LSTM, [STACKED[3:6] * 2], bidirectional=False),
         "^layer 0 has kernels for 4 and 4 features, as the two cells of a StackedRNNCells"),
        (lambda: convert.from_keras(LSTM, [STACKED]),
         r"^layer 0 holds 9 arrays.*each cell of a StackedRNNCells as one of its own$"),
        (lambda: convert.from_keras(LEAKY, []), "Keras has no leaky; it has rnn, relu_rnn, lstm, gru"),
        (lambda: convert.to_keras(LEAKY, ()), "Keras has no leaky"),
        (lambda: convert.to_keras(GRU, ((random_params(LSTM),),)), "wx is of shape"),
        (lambda: convert.from_torch(LSTM, TORCH_LSTM | {"weight_hr_l0": np.ones((2, 4))}),
         "^weight_hr_l0 is the projection of an nn.LSTM with proj_size=2, which jaxrnn does not have"),
        (lambda: convert.from_torch(LSTM, PROJECTED, "e."),
         "^e.weight_hr_l0 is the projection of an nn.LSTM with proj_size=2, which jaxrnn does not"),
        (lambda: convert.from_torch(LSTM, TORCH_LSTM, "rnn."),
         '^prefix is "rnn.", which no weight_ih_l0 has before it; give prefix=""$'),
        (lambda: convert.from_torch(LSTM, PREFIXED),
         'prefix is "", which no .*; give prefix="cell." or prefix="decoder." or prefix="encoder."$'),
        (lambda: convert.from_torch(LSTM, {}), "^state_dict has no names, and no weight_ih_l0 or w"),
        (lambda: convert.from_torch(LSTM, dict.fromkeys("abcde", 1)),
         "^state_dict has a, b, c and 2 more, and no weight_ih_l0 or weight_ih; give that of an nn"),
        (lambda: convert.from_torch(LSTM, TORCH_LSTM | {"head": 1}),
         "^head: no part of a nn.LSTM; give the state_dict of that module alone"),
        (lambda: convert.to_torch(LSTM, ((random_params(LSTM),),) * 2, single_step=True),
         r"^params has 2 layers of 1, 1 directions; an nn.LSTMCell has one of one: give \(\(params"),
        (lambda: convert.from_torch(LSTM, TORCH_LSTM | {"weight_ih_l1": np.ones((16, 4))}),
         "no weight_hh_l1 among weight_ih_l1"),
        (lambda: convert.from_torch(GRU, TORCH_LSTM), r"gru with 4 units expects \(3, 12\)"),
        (lambda: convert.from_torch(ResetBeforeGRU, TORCH_LSTM), "PyTorch has no gru_reset_before"),
        (lambda: convert.to_torch(ResetBeforeGRU, ()), "PyTorch has no gru_reset_before"),
        (lambda: convert.to_torch(GRU, ((random_params(SimpleRNN),),)), "wx is of shape"),
        (lambda: convert.from_linen(LSTM, LINEN_GRU), "no ii/kernel among.*not a lstm cell"),
        (lambda: convert.from_linen(ResetBeforeGRU, LINEN_GRU), "Flax Linen has no gru_reset"),
        (lambda: convert.to_linen(ResetBeforeGRU, random_params(ResetBeforeGRU)), "Flax Linen has"),
        (lambda: convert.from_nnx(LSTM, NNX_GRU), r"lstm with 4 units expects \(3, 16\)"),
        (lambda: convert.from_nnx(LSTM, {}), "no ii/kernel"),
        (lambda: convert.to_nnx(GRU, random_params(GRU)),
         "bh of the candidate gate is up to .* nnx.GRUCell has no bias there"),
        (lambda: convert.to_nnx(ResetBeforeGRU, random_params(GRU)), "Flax NNX has no gru_reset"),
        (lambda: convert.from_haiku(GRU, {}), "Haiku has no gru; it has lstm, gru_reset_before"),
        (lambda: convert.from_haiku(ResetBeforeGRU, {"w_i": 1}),
         r"^no b, w_h among \['w_i'\]; give the parameters of an hk.GRU: params\[\"gru\"\]"),
        (lambda: convert.from_haiku(LSTM, {"lstm/linear": {}}),
         r"^no b, w among \['lstm/linear'\]; give the parameters of the linear layer of an hk.LSTM"),
        (lambda: convert.to_haiku(GRU, random_params(GRU)), "Haiku has no gru; it has lstm"),
        (lambda: convert.from_equinox(SimpleRNN, {}), "Equinox has no rnn; it has lstm, gru"),
        (lambda: convert.from_equinox(GRU, {"weight_hh": 1}),
         r"^no weight_ih among \['weight_hh'\]; give an eqx.nn.GRUCell"),
        (lambda: convert.to_equinox(ReLURNN, random_params(ReLURNN)), "Equinox has no relu_rnn"),
    ],
)  # fmt: skip
def test_what_cannot_be_represented_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
