"""The gated MLP against its formula, and what tells its halves apart."""

import torch
from torch.testing import assert_close

from vitreous.layers.mlp import SwiGLU


def test_the_first_half_of_the_hidden_layer_is_the_gate() -> None:
    """arXiv:2002.05202, eq. 6: (Swish(x W) * x V) W_2, with biases."""
    mlp = SwiGLU(width=6, mlp_width=10)
    tokens = torch.randn(2, 3, 6)
    weight, bias = mlp.expand.weight, mlp.expand.bias
    gate = tokens @ weight[:10].T + bias[:10]
    passing = tokens @ weight[10:].T + bias[10:]
    hidden = gate * torch.sigmoid(gate) * passing
    assert_close(mlp(tokens), hidden @ mlp.contract.weight.T + mlp.contract.bias, atol=1e-6, rtol=1e-5)


def test_a_closed_gate_lets_nothing_pass() -> None:
    mlp = SwiGLU(width=4, mlp_width=8)
    with torch.no_grad():
        mlp.expand.weight[:8] = 0
        mlp.expand.bias[:8] = -200.0
    assert_close(mlp(torch.randn(1, 2, 4)), mlp.contract.bias.expand(1, 2, 4))
