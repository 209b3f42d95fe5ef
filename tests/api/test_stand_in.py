"""A compiled model in the place of the model: what it answers for it; models that `torch.compile` was applied to."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import mlc
from mlc.errors import UnsupportedError

torch.manual_seed(0)
X = torch.randn(3, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.scale = 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.lin(x)) * self.scale

    def helper(self) -> str:
        return "mine"


@pytest.mark.filterwarnings("ignore:precision=")
def test_it_shows_what_it_was_made_for(captures: list[Any]):
    compiled = mlc.compile(Net().eval(), precision="bfloat16")
    assert repr(compiled) == "CompiledModel(Net, target='native', precision='bfloat16'): nothing is compiled yet"
    compiled(X)
    compiled(X[:2])
    assert repr(compiled).splitlines()[1:] == ["  version 0: x: float32[3, 4]", "  version 1: x: float32[2, 4]"]


def test_state_and_parameters_are_those_of_the_model(captures: list[Any]):
    model = Net().eval()
    compiled = mlc.compile(model, (X,))
    assert [n for n, _ in compiled.named_parameters()] == ["lin.weight", "lin.bias"]
    assert next(compiled.parameters()) is model.lin.weight
    compiled.load_state_dict({k: v * 3 for k, v in model.state_dict().items()})
    torch.testing.assert_close(compiled(X), model(X))
    assert compiled.helper() == "mine" and compiled.lin is model.lin and compiled.training is False


def test_methods_that_return_the_model_return_the_compiled_one(captures: list[Any]):
    model = Net()
    compiled = mlc.compile(model)
    with pytest.raises(UnsupportedError, match="random numbers"):
        compiled(X)
    assert compiled.eval() is compiled and not model.training
    assert torch.equal(compiled.forward(X), compiled(X)) and len(captures) == 1
    assert compiled.to(torch.float64) is compiled and compiled.requires_grad_(False) is compiled
    assert compiled(X.double()).dtype is torch.float64
    assert compiled.train() is compiled and model.training


def test_attributes_are_set_on_the_model(captures: list[Any]):
    model = Net().eval()
    compiled = mlc.compile(model, (X,))
    compiled.scale = 5.0
    assert model.scale == 5.0
    torch.testing.assert_close(compiled(X), model(X))


def test_what_neither_has_is_told(captures: list[Any]):
    with pytest.raises(AttributeError, match="neither the compiled model nor its Net has an attribute 'export'"):
        _ = mlc.compile(Net().eval()).export
    with pytest.raises(
        AttributeError, match="neither the compiled model nor function 'double' has an attribute 'eval'"
    ):

        def double(x: torch.Tensor) -> torch.Tensor:
            return x * 2

        mlc.compile(double).eval()
    assert not hasattr(mlc.compile(Net()), "__len__")


def test_copies_stand_for_copies(captures: list[Any]):
    compiled = mlc.compile(Net().eval(), (X,))
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert other.lin is not compiled.lin
        assert torch.equal(other(X), compiled(X))


@pytest.mark.filterwarnings("ignore:precision=")
def test_a_compiled_model_is_compiled_from_its_model(captures: list[Any]):
    model = Net().eval()
    again = mlc.compile(mlc.compile(model), precision="bfloat16")
    assert again.lin is model.lin and "bfloat16" in repr(again)


WITH_DYNAMO = """
import torch, mlc
class Part(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.compile(torch.nn.Linear(4, 4))
        self.b = torch.nn.Linear(4, 4)
        self.b.compile()
    def forward(self, x):
        return double(self.b(self.a(x)))
@torch.compile
def double(x):
    return x * 2
x = torch.randn(2, 4)
for model in (torch.compile(torch.nn.Linear(4, 4)), double, Part()):
    print(mlc.compile(model, cache_dir="")(x).shape)
"""


def test_torch_compile_leaves_no_trace():
    """Its parts run as they are: nothing is compiled by it, nothing said."""
    done = subprocess.run([sys.executable, "-c", WITH_DYNAMO], capture_output=True, text=True, check=True)
    assert done.stdout == "torch.Size([2, 4])\n" * 3
    assert done.stderr == ""


@pytest.mark.parametrize("warm", [False, True])
def test_tracers_that_would_keep_results_as_constants_are_refused(captures: list[Any], warm: bool):
    compiled = mlc.compile(nn.Linear(4, 4))
    with torch.no_grad():
        if warm:
            compiled(X)
        with pytest.raises(UnsupportedError, match=r"inside of torch\.jit\.trace"):
            torch.jit.trace(lambda x: compiled(x) * 2, (X,), check_trace=False)
        with pytest.raises(UnsupportedError, match="inside of make_fx"):
            make_fx(lambda x: compiled(x) * 2)(X)
        assert compiled(X).shape == X.shape
