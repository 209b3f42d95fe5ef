"""What the recorder refuses or warns of, with the line of the model."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlc.errors import DTypeError, ExecutionError, UnsupportedError
from mlc.frontends.torch import capture
from mlc.ir.resources import ResourceStore
from tests.frontends.modules import Counting
from tests.frontends.replay import recorded

torch.manual_seed(0)
V = torch.randn(4, 6)


class Refused(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, x)


def _keep(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.cache = x + 1
    return x


def _append(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.items = [x * 2]
    return x


def _grad(self: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad((x * 2).sum(), x)[0]


def _double_input(self: Any, x: torch.Tensor) -> torch.Tensor:
    x.data = x * 2
    return x


OUTSIDE = torch.zeros(4, 6)

REFUSED = {
    "item": (lambda s, x: x * x.sum().item(), "aten.item"),
    "bool": (lambda s, x: x if x.sum() > 0 else -x, "aten.is_nonzero"),
    "float": (lambda s, x: x * float(x.max()), "aten.item"),
    "tolist": (lambda s, x: x * x.tolist()[0][0], "tolist"),
    "numpy": (lambda s, x: x + torch.from_numpy(x.numpy()), "numpy"),
    "asarray": (lambda s, x: x * float(np.asarray(x).sum()), "numpy"),
    "nonzero": (lambda s, x: x.nonzero(), "size depends on the values of another: aten.nonzero"),
    "split": (lambda s, x: torch.tensor_split(x, x[0, :2].long(), dim=1), "tolist"),
    "mask": (lambda s, x: x[x > 0], "size depends on the values of another: aten.index.Tensor"),
    "repeats": (
        lambda s, x: x.repeat_interleave((x[:, 0] > 0).long() + 1, 0),
        "size depends .*: aten.repeat_interleave",
    ),
    "classes": (lambda s, x: F.one_hot(x[0].long().abs()), "size depends on the values of another: aten.one_hot"),
    "equal": (lambda s, x: x if torch.equal(x, x) else -x, "aten.equal"),
    "unique": (lambda s, x: torch.unique(x), "unique"),
    "format": (lambda s, x: (f"{x.sum()}", x)[1], "prints or formats a tensor"),
    "print": (lambda s, x: (repr(x), x)[1], "prints or formats a tensor"),
    "list of numbers in tensors": (lambda s, x: torch.tensor([x[0, 0], x[0, 1]]), "reads the memory of a tensor"),
    "data of an input": (_double_input, "assigns to Tensor.data"),
    "data_ptr": (lambda s, x: x * (x.data_ptr() % 2), "data_ptr"),
    "rand": (lambda s, x: x + torch.rand(6), "random numbers: aten.rand"),
    "dropout": (lambda s, x: F.dropout(x, 0.5), "random numbers: aten.dropout"),
    "attribute": (_keep, "attribute 'cache'"),
    "list attribute": (_append, "attribute 'items'"),
    "strides of a transpose": (lambda s, x: (x.t() + 1).as_strided((2,), (1,)) * 2, "as_strided"),
    "tensor from outside": (lambda s, x: OUTSIDE.add_(x), "in place"),
    "gradient": (_grad, "autograd"),
    "nested": (lambda s, x: torch.nested.nested_tensor([x, x]).to_padded_tensor(0.0), "makes a nested tensor"),
    "jagged": (lambda s, x: torch.nested.as_nested_tensor([x], layout=torch.jagged), "makes a nested tensor"),
    "complex number": (lambda s, x: (x * 1j).abs(), "the complex number 1j"),
    "device": (lambda s, x: x.to("meta"), "device 'meta'"),
    "sparse": (lambda s, x: x.to_sparse(), "dense"),
    "instance norm": (
        lambda s, x: F.instance_norm(x[None], torch.zeros(4), torch.ones(4), use_input_stats=True),
        "running statistics",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_captured_is_refused_with_its_line(name: str):
    body, text = REFUSED[name]
    with pytest.raises(UnsupportedError, match=text) as info:
        capture(Refused(body), (V.clone(),), {}, ResourceStore())
    assert "test_record_refusals.py:" in str(info.value) or name in ("attribute", "list attribute")
    assert info.value.hint
    assert torch.equal(OUTSIDE, torch.zeros(4, 6))


@pytest.mark.parametrize(
    ("body", "way"),
    [
        (lambda s, x: x + torch.rand(6), "draw the numbers outside"),
        (lambda s, x: torch.bernoulli(x.sigmoid()), "draw the numbers outside"),
        (lambda s, x: F.dropout(x, 0.5), "training=False"),
        (lambda s, x: nn.Dropout(0.5)(x), r"model\.eval\(\)"),
    ],
)
def test_the_way_out_of_random_numbers_fits_where_they_come_from(body: Any, way: str):
    with pytest.raises(UnsupportedError, match="random numbers") as info:
        capture(Refused(body), (V,), {}, ResourceStore())
    assert info.value.hint and re.search(way, info.value.hint)


def test_packed_sequences_draw_no_random_numbers():
    def model(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0]

    layer = nn.GRU(6, 3, batch_first=True)
    with pytest.raises(UnsupportedError, match=r"aten\.item") as info:
        capture(model, (torch.randn(2, 4, 6), torch.tensor([4, 2])), {}, ResourceStore())
    assert "random" not in str(info.value)


@pytest.mark.filterwarnings("ignore")
def test_packed_weights_are_named_with_the_way_out():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 3)), {nn.Linear}, torch.qint8)
    with pytest.raises(UnsupportedError, match="packed weights of PyTorch's quantisation") as info:
        capture(model, (V.clone(),), {}, ResourceStore())
    assert "test_record_refusals.py:" in str(info.value)
    assert info.value.hint and 'precision="int8"' in info.value.hint


def test_all_refusals_are_listed_at_once():
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = x * x.max().item()
        return x + torch.rand(6)

    with pytest.raises(UnsupportedError, match="3 things in this model cannot be compiled") as info:
        capture(model, (V.abs(),), {}, ResourceStore())
    for text in ("aten.is_nonzero", "aten.item", "aten.rand"):
        assert text in str(info.value)


COUNTS = {
    "read after it was changed": lambda s, x: (s.count.add_(1), x * int(s.count))[1],
    "read before it is changed": lambda s, x: (x * int(s.count), s.count.add_(1))[0],
    "computed from it": lambda s, x: (s.count.add_(1), x * int(s.count * 2))[1],
    "a mask made of it": lambda s, x: (s.count.add_(1), x[torch.arange(4) > s.count])[1],
    "classes": lambda s, x: (s.count.add_(1), F.one_hot(s.count))[1],
    "repeats": lambda s, x: (s.count.add_(1), x.repeat_interleave(s.count, 0))[1],
}


@pytest.mark.parametrize("name", COUNTS)
def test_python_may_not_read_a_buffer_that_each_call_changes(name: str):
    model = Refused(COUNTS[name])
    model.register_buffer("count", torch.tensor(1))
    with pytest.raises(UnsupportedError, match="reads the value of the buffer 'count' in Python and also changes it"):
        capture(model, (V.clone(),), {}, ResourceStore())
    assert int(model.get_buffer("count")) == 1


def test_a_cumulative_average_of_batches_is_refused():
    """Its factor is 1 / (number of calls), which Python computes."""
    with pytest.raises(UnsupportedError, match=r"buffer '0\.num_batches_tracked' in Python and also changes it"):
        capture(nn.Sequential(nn.BatchNorm1d(6, momentum=None)).train(), (V,), {}, ResourceStore())


def test_a_failing_model_names_its_line():
    with pytest.raises(ExecutionError, match="the model itself failed") as info:
        capture(Refused(lambda s, x: x @ x), (V,), {}, ResourceStore())
    assert "test_record_refusals.py:" in str(info.value)


def test_exotic_inputs_are_refused():
    with pytest.raises(DTypeError, match="'x' is on device 'meta'"):
        capture(lambda x: x, (V.to("meta"),), {}, ResourceStore())
    with pytest.raises(UnsupportedError, match="is a sparse tensor"):
        capture(lambda x: x, (V.to_sparse(),), {}, ResourceStore())
    with pytest.raises(UnsupportedError, match="argument 'x' is an object"):
        capture(lambda x: x, (object(),), {}, ResourceStore())
    with pytest.raises(DTypeError, match="float8"):
        capture(lambda x: x + 0, (V.to(torch.float8_e4m3fn),), {}, ResourceStore())


def test_a_cache_of_keys_and_values_names_both_ways():
    class SomeCache:
        def __init__(self, keys: torch.Tensor) -> None:
            self.keys = keys

    with pytest.raises(UnsupportedError, match="tensors inside of a SomeCache") as info:
        capture(lambda x: SomeCache(x + 1), (V,), {}, ResourceStore())
    assert info.value.hint and "use_cache=False" in info.value.hint and "register_dynamic_cache" in info.value.hint


def test_scripted_modules_are_refused():
    scripted = torch.jit.trace(nn.Linear(6, 2), (V,))
    with pytest.raises(UnsupportedError, match="TorchScript"):
        capture(nn.Sequential(scripted), (V,), {}, ResourceStore())


def test_python_random_numbers_are_warned_of():
    import random

    with pytest.warns(UserWarning, match="random numbers from Python"):
        capture(lambda x: x * random.random(), (V,), {}, ResourceStore())


def test_python_counters_are_warned_of():
    class Counter(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * 2

    with pytest.warns(UserWarning, match=r"Python values \(calls\)"):
        capture(Counter(), (V,), {}, ResourceStore())


def test_a_capture_leaves_no_hooks_or_wrappers():
    model = Counting()
    buffer = model.mean
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capture(model, (V,), {}, ResourceStore())
    assert model.mean is buffer and torch.equal(buffer, torch.zeros(6))
    assert not nn.modules.module._global_forward_hooks and not nn.modules.module._global_forward_pre_hooks
    with pytest.raises(UnsupportedError):
        capture(Refused(REFUSED["rand"][0]), (V,), {}, ResourceStore())
    assert not nn.modules.module._global_forward_hooks


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (lambda x: x.mul_(2), [torch.tensor([True])], "can't be cast to the desired output type Bool"),
        (lambda x: x.mul_(2.5), [torch.tensor([3])], "can't be cast to the desired output type Long"),
        (lambda x: x.cumsum_(0), [torch.tensor([True])], "not implemented for 'Bool'"),
        (lambda x: F.one_hot(x, 3), [torch.tensor([1], dtype=torch.int32)], "index tensor of type LongTensor"),
        (lambda x: F.huber_loss(x, x), [torch.tensor([1])], "not implemented for 'Long'"),
    ],
)
def test_what_eager_refuses_is_refused(model: Any, inputs: list[torch.Tensor], message: str):
    """Though the functional form of an op, or its definition, would take it."""
    with pytest.raises(RuntimeError, match=message):
        model(*(x.clone() for x in inputs))
    with pytest.raises(ExecutionError, match=message):
        recorded(model, *inputs)


class Halves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.weight.data = self.weight.data * 0.5
        return x + self.weight


def test_a_weight_given_other_data_is_refused():
    """PyTorch would end the process."""
    model = Halves().eval()
    with pytest.raises(UnsupportedError, match=r"assigns to Tensor\.data") as info:
        capture(model, (V,), {}, ResourceStore())
    assert "test_record_refusals.py" in str(info.value) and torch.equal(model.weight, torch.ones(4, 6))
