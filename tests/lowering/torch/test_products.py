"""Matrix products, convolutions, pooling, attention, recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mlc
from tests.lowering.torch.single_op import check

torch.manual_seed(0)
A, B = torch.randn(3, 4), torch.randn(4, 5)
BA, BB = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
X1, X2, X3 = torch.randn(2, 4, 9), torch.randn(2, 4, 9, 8), torch.randn(2, 4, 5, 6, 5)
BIAS = torch.randn(6)
Q, K, V = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 6, 4), torch.randn(2, 3, 6, 7)
MASK = torch.ones(5, 6).tril().bool()


def w(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


PRODUCTS: list[tuple[str, tuple[Any, ...]]] = [
    ("mm", (A, B)),
    ("bmm", (BA, BB)),
    ("mm", (A, torch.randn(4, 0))),
    ("mm", (torch.randn(3, 0), torch.randn(0, 2))),
    ("mm", (A.double(), B.double())),
    ("mm", (A.half(), B.half())),
    ("matmul", (A, B)),
    ("matmul", (BA, B)),
    ("matmul", (A, BB)),
    ("matmul", (torch.randn(2, 1, 3, 4), torch.randn(5, 4, 2))),
    ("matmul", (A[0], B)),
    ("matmul", (A, B[:, 0])),
    ("matmul", (A[0], B[:, 0])),
    ("matmul", (BA, B[:, 0])),
    ("matmul", (A[0], BB)),
    ("matmul", (BA[:1], BB)),
    ("matmul", (BA, BB[:1])),
    ("mv", (A, B[:, 0])),
    ("dot", (A[0], B[:, 0])),
    ("outer", (A[0], B[0])),
    ("linear", (A, torch.randn(6, 4), BIAS)),
    ("linear", (BA, torch.randn(6, 4))),
    ("linear", (A[0], torch.randn(6, 4), BIAS)),
    ("linear", (torch.randn(0, 4), torch.randn(6, 4), BIAS)),
    ("addmm", (torch.randn(5), A, B)),
    ("addmm", (torch.randn(3, 5), A, B)),
    ("baddbmm", (torch.randn(2, 1, 5), BA, BB)),
    ("addmv", (torch.randn(3), A, B[:, 0])),
    ("addbmm", (torch.randn(3, 5), BA, BB)),
    ("addr", (torch.randn(3, 5), torch.randn(3), torch.randn(5))),
]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("name", "args"), PRODUCTS, ids=[f"{i}-{n}" for i, (n, _) in enumerate(PRODUCTS)])
def test_products(name: str, args: tuple[Any, ...], dynamic: bool) -> None:
    check(f"aten.{name}", *args, reassociates=True, dynamic=dynamic)


def test_scaled_sums() -> None:
    check("aten.addmm", torch.full((5,), math.nan), A, B, beta=0, alpha=2, reassociates=True)
    check("aten.addmm", torch.randn(5), A, B, beta=0.5, alpha=2.0, reassociates=True)
    check("aten.mm", torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]]))


CONVOLUTIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("conv2d", (X2, w(6, 4, 3, 3), BIAS)),
    ("conv2d", (X2, w(6, 4, 3, 2), BIAS, [2, 1], [1, 0])),
    ("conv2d", (X2, w(6, 4, 3, 3), None, [1, 1], [2, 2], [2, 2])),
    ("conv2d", (X2[0], w(6, 4, 1, 1))),
    ("conv2d", (X2, w(4, 1, 3, 3), None, [1, 1], [1, 1], [1, 1], 4)),
    ("conv2d", (X2, w(8, 1, 3, 3), None, [2, 2], [1, 1], [1, 1], 4)),
    ("conv2d", (X2, w(6, 2, 3, 3), BIAS, [1, 1], [0, 0], [1, 1], 2)),
    ("conv2d.padding", (X2, w(6, 4, 2, 3), None, [1, 1], "same")),
    ("conv2d.padding", (X2, w(6, 4, 3, 3), None, [1, 1], "valid")),
    ("conv1d", (X1, w(6, 4, 3), BIAS, [2], [1])),
    ("conv1d", (X1, w(4, 1, 3), None, [1], [1], [1], 4)),
    ("conv1d", (X1[0], w(6, 2, 3), None, [1], [1], [2], 2)),
    ("conv3d", (X3, w(6, 4, 2, 3, 2), BIAS, [1, 2, 1], [1, 1, 0])),
    ("conv3d", (X3, w(4, 2, 2, 2, 2), None, [1, 1, 1], [0, 0, 0], [1, 1, 1], 2)),
    ("conv_transpose2d.input", (X2, w(4, 6, 3, 3), BIAS)),
    ("conv_transpose2d.input", (X2, w(4, 6, 3, 2), BIAS, [2, 3], [1, 0], [1, 2])),
    ("conv_transpose2d.input", (X2, w(4, 3, 3, 3), BIAS, [2, 2], [1, 1], [0, 0], 2)),
    ("conv_transpose1d", (X1, w(4, 3, 4), None, [2], [1], [1], 1, [2])),
    ("conv_transpose2d.input", (X2, w(4, 1, 2, 2), None, [2, 2], [0, 0], [0, 0], 4)),
    ("conv_transpose2d.input", (X2, w(4, 2, 1, 1), None, [1, 1], [1, 1])),
    ("conv_transpose2d.input", (X2, w(4, 6, 4, 4), BIAS, [2, 2], [1, 1])),
    ("conv_transpose2d.input", (X2, w(4, 3, 6, 2), BIAS, [3, 1], [5, 2], [2, 0], 2)),
    ("conv_transpose1d", (X1, w(4, 2, 4), None, [4], [0], [3], 1)),
    ("conv_transpose3d.input", (X3, w(4, 2, 2, 4, 1), None, [2, 2, 1], [0, 3, 0], [1, 0, 0])),
    ("conv_transpose2d.input", (X2, w(4, 6, 5, 2), BIAS, [2, 3], [2, 0], [1, 2])),
    ("conv_transpose2d.input", (X2.half(), w(4, 6, 5, 4).half(), BIAS.half(), [2, 3], [2, 0], [1, 2])),
    ("convolution", (X2, w(6, 4, 3, 3), BIAS, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)),
    ("convolution", (X2, w(4, 6, 3, 3), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1)),
    ("conv2d", (X2.bfloat16(), w(6, 4, 3, 3).bfloat16(), BIAS.bfloat16())),
    ("conv2d", (torch.randn(0, 4, 5, 5), w(6, 4, 3, 3), BIAS)),
]


@pytest.mark.parametrize(("name", "args"), CONVOLUTIONS, ids=[f"{i}-{n}" for i, (n, _) in enumerate(CONVOLUTIONS)])
def test_convolutions(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, reassociates=True)


@pytest.mark.parametrize("kernel", [2, 4, 5])
def test_transposed_convolution_multiplies_no_zeros_between(kernel: int) -> None:
    model = torch.nn.ConvTranspose2d(4, 6, kernel, 2, kernel // 3)
    compiled = mlc.compile(model, (X2,), dynamic_shapes=({2: "height", 3: "width"},))
    assert "tensor.insert_slice" not in compiled.ir("linalg")
    infinite = torch.randn(2, 4, 5, 7)
    infinite[1, 2, 2, 3] = math.inf
    for image in (X2, infinite):
        torch.testing.assert_close(compiled(image), model(image), equal_nan=True)


NANS = X2.clone()
NANS[0, 0, 3, 3] = math.nan

POOLS: list[tuple[str, tuple[Any, ...]]] = [
    ("max_pool2d", (X2, [3, 3], [2, 2], [1, 1])),
    ("max_pool2d", (X2, [3, 2])),
    ("max_pool2d", (X2, [3, 3], [2, 2], [1, 1], [1, 1], True)),
    ("max_pool2d", (X2, [2, 2], [1, 1], [0, 0], [2, 2])),
    ("max_pool2d", (NANS, [3, 3], [2, 2], [1, 1])),
    ("adaptive_max_pool2d", (X2, [3, 2])),
    ("adaptive_max_pool2d", (X2, [0, 2])),
    ("adaptive_avg_pool2d", (X2, [0, 2])),
    ("adaptive_avg_pool2d", (X2[0], [2, 0])),
    ("adaptive_max_pool2d", (NANS, [2, 2])),
    ("adaptive_max_pool2d", (X2[0], [3, 3])),
    ("adaptive_max_pool1d", (X1, [2])),
    ("max_pool2d", (X2[0], [2])),
    ("max_pool1d", (X1, [3], [2], [1])),
    ("max_pool3d", (X3, [2, 2, 2])),
    ("max_pool2d_with_indices", (X2, [3, 3], [2, 2], [1, 1])),
    ("max_pool2d_with_indices", (X2[0], [2, 3])),
    ("max_pool3d_with_indices", (X3, [2, 2, 2], [1, 1, 1], [1, 1, 1])),
    ("avg_pool2d", (X2, [3, 3], [2, 2], [1, 1])),
    ("avg_pool2d", (X2, [3, 3], [2, 2], [1, 1], False, False)),
    ("avg_pool2d", (X2, [3, 3], [2, 2], [1, 1], True)),
    ("avg_pool2d", (X2, [3, 3], [2, 2], [1, 1], True, False)),
    ("avg_pool2d", (X2, [2, 2], [1, 1], [0, 0], False, True, 3)),
    ("avg_pool1d", (X1, [3], [2], [1])),
    ("avg_pool3d", (X3, [2, 2, 2])),
    ("avg_pool2d", (X2[0], [2])),
    ("adaptive_avg_pool2d", (X2, [1, 1])),
    ("adaptive_avg_pool2d", (X2, [3, 4])),
    ("adaptive_avg_pool2d", (X2, [4, 3])),
    ("adaptive_avg_pool2d", (X2, [9, 8])),
    ("adaptive_avg_pool2d", (X2, [12, 5])),
    ("adaptive_avg_pool1d", (X1, [4])),
    ("adaptive_avg_pool3d", (X3, [2, 3, 1])),
    ("_adaptive_avg_pool2d", (X2[0], [2, 2])),
]


@pytest.mark.parametrize(("name", "args"), POOLS, ids=[f"{i}-{n}" for i, (n, _) in enumerate(POOLS)])
def test_pools(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, reassociates=True)


def test_unknown_sizes() -> None:
    check("aten.conv2d", X2, w(6, 4, 3, 3), BIAS, [2, 2], [1, 1], reassociates=True)
    check("aten.max_pool2d", X2, [3, 3], [2, 2], [1, 1], dynamic=True)
    check("aten.avg_pool2d", X2, [3, 3], [2, 2], [1, 1], False, False, reassociates=True, dynamic=True)
    check("aten.adaptive_avg_pool2d", X2, [1, 1], reassociates=True, dynamic=True)


ATTENTION: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((Q, K, V), {}),
    ((Q, K, V, MASK), {}),
    ((Q, K, V, torch.randn(2, 1, 5, 6)), {}),
    ((Q, K, V, torch.randn(1, 3, 1, 6)), {"scale": 0.3}),
    ((Q, Q, Q, None, 0.0, True), {}),
    ((Q[0], K[0], V[0]), {}),
    ((Q[:1], K[:1], V[:1], torch.ones(1, 1, 1, 6).bool()), {}),
    ((Q, K, V, torch.zeros(5, 6).bool()), {}),
    ((torch.randn(2, 4, 5, 4), torch.randn(2, 2, 6, 4), torch.randn(2, 2, 6, 4)), {"enable_gqa": True}),
    ((Q, K, V, torch.full((5, 6), -math.inf)), {}),
]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("case", range(len(ATTENTION)))
def test_attention(case: int, dynamic: bool) -> None:
    args, kwargs = ATTENTION[case]
    dynamic = dynamic and "enable_gqa" not in kwargs  # the number of heads must be known
    check("aten.scaled_dot_product_attention", *args, reassociates=True, dynamic=dynamic, **kwargs)


def _recurrent(gates: int, layers: int, both: bool, biased: bool) -> list[torch.Tensor]:
    out: list[torch.Tensor] = []
    for layer in range(layers):
        for _ in range(2 if both else 1):
            width = 3 if layer == 0 else (10 if both else 5)
            out += [w(gates * 5, width) * 0.5, w(gates * 5, 5) * 0.5]
            out += [w(gates * 5), w(gates * 5)] if biased else []
    return out


@pytest.mark.parametrize(
    ("layers", "both", "biased", "batch_first"),
    [(1, False, True, False), (2, True, True, True), (1, True, False, False)],
)
def test_recurrent_layers(layers: int, both: bool, biased: bool, batch_first: bool) -> None:
    x = torch.randn(4, 2, 3).transpose(0, 1).contiguous() if batch_first else torch.randn(4, 2, 3)
    state = torch.randn(layers * (2 if both else 1), 2, 5)
    rest = (biased, layers, 0.0, False, both, batch_first)
    check("aten.lstm.input", x, [state, state + 1], _recurrent(4, layers, both, biased), *rest, reassociates=True)
    check("aten.gru.input", x, state, _recurrent(3, layers, both, biased), *rest, reassociates=True)
    check("aten.rnn_tanh.input", x, state, _recurrent(1, layers, both, biased), *rest, reassociates=True)


@pytest.mark.parametrize(("both", "biased"), [(False, True), (True, False)])
def test_recurrent_layers_with_many_rows(both: bool, biased: bool) -> None:
    """Both products of a step are one sum; a GRU needs them apart."""
    x, state = torch.randn(3, 16, 3), torch.randn(2 if both else 1, 16, 5)
    rest = (biased, 1, 0.0, False, both, False)
    check("aten.lstm.input", x, [state, state + 1], _recurrent(4, 1, both, biased), *rest, reassociates=True)
    check("aten.gru.input", x, state, _recurrent(3, 1, both, biased), *rest, reassociates=True)
    check("aten.rnn_relu.input", x, state, _recurrent(1, 1, both, biased), *rest, reassociates=True)


def test_cells() -> None:
    x, h = torch.randn(2, 3), torch.randn(2, 5)
    check("aten.lstm_cell", x, [h, h + 1], w(20, 3), w(20, 5), w(20), w(20), reassociates=True)
    check("aten.gru_cell", x, h, w(15, 3), w(15, 5), w(15), w(15), reassociates=True)
    check("aten.rnn_relu_cell", x, h, w(5, 3), w(5, 5), reassociates=True)


PRODUCTS_OF_WEIGHTS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "as it is": lambda x, w: x @ (w @ w),
    "twice": lambda x, w: x @ (w @ w @ w),
    "turned": lambda x, w: x @ (w @ w).t(),
    "in a function": lambda x, w: x @ torch.relu(w @ w),
    "merged": lambda x, w: x @ (w + 0.5 * (w[:, :4] @ w[:4])).t(),
    "read elsewhere": lambda x, w: x @ (w @ w) + (w @ w).sum(0),
}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("way", PRODUCTS_OF_WEIGHTS)
def test_products_of_weights(way: str, rows: int) -> None:
    w, x = torch.randn(48, 48), torch.randn(rows, 48)

    def model(x: torch.Tensor) -> torch.Tensor:
        return PRODUCTS_OF_WEIGHTS[way](x, w)

    compiled = mlc.compile(model, (x,), num_threads=1)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=2e-3)
