"""Arguments that no compiled code can take: named as the caller's, with the way out, in first and later calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

import mlc
from mlc.errors import DTypeError, ExecutionError, ShapeError, UnsupportedError, UsageError

V = torch.randn(4, 6)


class Net(nn.Module):
    """One argument by position, two by name."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, *, scale: float = 1.0) -> torch.Tensor:
        y = self.head(x) * scale
        return y if mask is None else y * mask


class Tagged(torch.Tensor):
    """A subclass."""


def _freed() -> torch.Tensor:
    x = V.clone()
    x.untyped_storage().resize_(0)
    return x


ODD: dict[str, tuple[Callable[[], Any], type[mlc.MlcError], str, str]] = {
    "coo": (V.to_sparse, UnsupportedError, "is a sparse tensor", "x.to_dense()"),
    "csr": (V.to_sparse_csr, UnsupportedError, "is a sparse tensor", "x.to_dense()"),
    "mkldnn": (V.to_mkldnn, UnsupportedError, "is an MKL-DNN tensor", "x.to_dense()"),
    "nested": (lambda: torch.nested.nested_tensor([V, V[:2]]), UnsupportedError, "is a nested", "to_padded_tensor(x"),
    "jagged": (
        lambda: torch.nested.nested_tensor([V, V[:2]], layout=torch.jagged),
        UnsupportedError,
        "is a nested",
        "to_padded_tensor(x",
    ),
    "quantized": (
        lambda: torch.quantize_per_tensor(V, 0.1, 0, torch.quint8),
        UnsupportedError,
        "is a quantized tensor",
        "x.dequantize()",
    ),
    "meta": (lambda: V.to("meta"), DTypeError, "is on device 'meta'", "with data"),
    "subclass": (lambda: V.as_subclass(Tagged), UnsupportedError, "is a Tagged, a subclass", "as_subclass(torch.T"),
    "complex half": (lambda: torch.ones(3, dtype=torch.complex32), DTypeError, "dtype torch.complex32", "x.to"),
    "float8": (lambda: V.to(torch.float8_e4m3fn), DTypeError, "dtype torch.float8_e4m3fn", "x.to"),
    "byte order": (lambda: V.numpy().astype(">f4"), DTypeError, "an array of >f4", "x.astype('float32')"),
    "objects": (lambda: np.array([None, 1], object), DTypeError, "an array of object", "float32"),
    "strings": (lambda: np.array(["a"]), DTypeError, "an array of <U1", "float32"),
    "records": (lambda: np.zeros(2, [("a", "f4")]), DTypeError, "an array of", "float32"),
    "dates": (lambda: np.zeros(2, "M8[s]"), DTypeError, "an array of datetime64", "float32"),
    "masked": (lambda: np.ma.masked_array([1.0, 2.0], [0, 1]), UnsupportedError, "masked array", "x.filled(0)"),
    "any object": (object, UnsupportedError, "is an object", "arguments of their own"),
    "freed": (_freed, UsageError, "has no memory", "with data"),
    "gradient": (lambda: V.clone().requires_grad_(), UnsupportedError, "requires a gradient", "x.detach()"),
}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_odd_values_are_named(kind: str, later: bool, captures: list[Any]):
    make, error, text, way = ODD[kind]
    compiled = mlc.compile(lambda x: x * 2)
    if later:
        compiled(V)
    with pytest.raises(error) as info:
        compiled(make())
    assert f"'x' {text}" in str(info.value) or text in str(info.value)
    assert "'x'" in str(info.value) and way in str(info.value)
    assert torch.equal(compiled(V), V * 2), "and the model still works"


def test_several_odd_values_are_named_at_once(captures: list[Any]):
    with pytest.raises(UnsupportedError, match="2 arguments cannot be compiled") as info:
        mlc.compile(lambda x, y: x + y)(V.to_sparse(), V.to("meta"))
    assert "'x' is a sparse tensor" in str(info.value) and "'y' is on device 'meta'" in str(info.value)


def test_transforms_and_tangents_are_refused(captures: list[Any]):
    compiled = mlc.compile(lambda x: x * 2)
    compiled(V[0])
    for transformed in (torch.func.vmap(compiled), torch.func.vmap(mlc.compile(lambda x: x * 3))):
        with pytest.raises(UnsupportedError, match="inside a transform"):
            transformed(V)
    with pytest.raises(UnsupportedError, match="inside a transform"):
        torch.func.grad(lambda x: compiled(x).sum())(V[0])
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(V[0], V[1])
        with pytest.raises(UnsupportedError, match="carries a tangent"):
            compiled(dual)
        assert torch.equal(compiled(V[0]), V[0] * 2)


@pytest.mark.parametrize("later", [False, True])
def test_wrong_calls_name_the_signature(later: bool, captures: list[Any]):
    compiled = mlc.compile(Net())
    if later:
        compiled(V)
    for call, text in (
        (lambda: compiled(), "missing a required argument: 'x'"),
        (lambda: compiled(V, None, 2.0), "too many positional arguments"),
        (lambda: compiled(V, x=V), "multiple values for argument 'x'"),
        (lambda: compiled(V, msk=V), "unexpected keyword argument 'msk'"),
    ):
        with pytest.raises(UsageError, match=text) as info:
            call()
        assert "Net.forward(x, mask=None, *, scale=1.0)" in str(info.value)
    assert "did you mean 'mask'?" in str(info.value)


def test_values_that_the_model_cannot_take(captures: list[Any]):
    with pytest.raises(ExecutionError, match=r"x\[0\]: a float, x\[1\]: a float") as info:
        mlc.compile(Net())([1.0, 2.0])
    assert "arguments that fit Net.forward(x" in str(info.value) and "test_bad_arguments.py:" in str(info.value)
    with pytest.raises(UsageError, match="'weight' is not initialised") as info:
        mlc.compile(nn.LazyLinear(3))(V)
    assert "once, then compile" in str(info.value)


def test_wrong_dynamic_shapes(captures: list[Any]):
    dim = torch.export.Dim("n", max=10)
    for shapes in (({0: dim}, {0: dim}), {"y": {0: dim}}, ({7: dim},), 3, ({0: "1n"},), ({0: -1},)):
        with pytest.raises((ShapeError, UnsupportedError, UsageError)) as info:
            mlc.compile(lambda x: x + 1, (V,), dynamic_shapes=shapes)
        assert "dynamic_shapes" in str(info.value)
    both = mlc.compile(lambda x, y: x + y, (V, V), dynamic_shapes=({0: dim}, {0: dim}))
    with pytest.raises(ShapeError, match=r"dimension 0 of 'y' is 3, but 'x.shape\[0\]' is 4 elsewhere"):
        both(V, V[:3])
    with pytest.raises(UsageError, match="too many positional"):
        both(V, V, V)


@dataclasses.dataclass
class Answer:
    """Not known to PyTorch's pytrees."""

    value: torch.Tensor


@pytest.mark.parametrize(
    "model",
    [lambda x: {"a": Answer(x + 1)}, lambda x: {x + 1}, lambda x: (y for y in (x + 1,))],
    ids=["dataclass", "set", "generator"],
)
def test_tensors_in_containers_that_cannot_be_built_again_are_refused(model: Any):
    with pytest.raises(UnsupportedError, match="forward returns tensors inside of a"):
        mlc.compile(model)(torch.ones(2))


def test_eager_in_the_same_autocast_block_is_left_alone():
    model, x = torch.nn.Linear(8, 8), torch.ones(1, 8)
    compiled = mlc.compile(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.inference_mode():
            compiled(x)
        y = model(x)
    y.float().sum().backward()
    assert model.weight.grad is not None


def test_a_packed_sequence_is_refused():
    """A container that cannot be made of anything but tensors."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(5, 2, 3), torch.tensor([5, 3]))
    with pytest.raises(UnsupportedError, match=r"reads the value of a tensor in Python: aten\.item"):
        mlc.compile(torch.nn.LSTM(3, 4).eval())(packed)
