"""Arithmetic that a capture leaves out: what it records needs the shapes of results, hardly ever their values.

layer(layer(x))   -->   some ops of the first layer run; those of the second, called alike, get memory nobody fills

An op of `DEFERRED` checks no values, and what its results look like (sizes, strides, dtype) follows from what its
arguments look like. So a second call alike needs no arithmetic, a plain product never (`result_shapes.py`), and a call
whose arguments were left out may run on whatever is in their memory to show what it gives. Calls left out are kept;
they are made up for, in order, as soon as anything looks at a value: another op, or Python. Views are made for real.

Only what depends on the inputs is left out: its values are no part of a program.
Tests: tests/frontends/test_deferred.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from mlc.frontends.torch.emit import op_name
from mlc.frontends.torch.normalise import is_random
from mlc.frontends.torch.result_shapes import result_shape, row_by_row

HELD_LIMIT = 4 << 30
"""Bytes of address space for results left out; none of it becomes memory before somebody writes there."""

_FLOATS = """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    linear addmm mm bmm baddbmm addbmm matmul mv addmv dot scaled_dot_product_attention lstm gru rnn_tanh rnn_relu
    lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
    batch_norm layer_norm group_norm rms_norm softmax _softmax log_softmax _log_softmax
    relu relu6 gelu silu sigmoid tanh hardswish hardsigmoid hardtanh leaky_relu prelu elu selu celu softplus mish
    log_sigmoid max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    add sub rsub mul div neg abs exp exp2 expm1 log log1p log2 sqrt rsqrt reciprocal sin cos erf pow square
    maximum minimum clamp clamp_min clamp_max lerp addcmul addcdiv
    mean sum amax amin var std logsumexp linalg_vector_norm cumsum
    upsample_nearest2d upsample_bilinear2d upsample_bicubic2d pixel_shuffle channel_shuffle
"""
_ANY = """
    cat stack clone _to_copy where masked_fill constant_pad_nd roll flip repeat tril triu _unsafe_view copy
    argmax argmin max min topk eq ne lt le gt ge isnan isinf logical_not logical_and logical_or bitwise_and
    bitwise_or bitwise_not
"""
_FLOAT_KINDS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool})
_KINDS = _FLOAT_KINDS | {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
DEFERRED: dict[str, frozenset[torch.dtype]] = {
    **{f"aten.{name}": _FLOAT_KINDS for name in _FLOATS.split()},
    **{f"aten.{name}": _KINDS for name in _ANY.split()},
}
"""Ops that may be left out, whatever their overload, and the dtypes they take then: of integers some refuse values."""

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_C: Any = torch._C  # these names are not declared for type checkers
_ASKED_OF_ATTENTION = (
    _C._get_flash_sdp_enabled,
    _C._get_math_sdp_enabled,
    _C._get_math_sdp_allow_fp16_bf16_reduction,
    lambda: tuple(_C._get_sdp_priority_order()),
)


@dataclass(frozen=True)
class Results:
    """What a call gives: sizes, strides and dtype of new tensors, alone or in a `kind` of sequence; None for others."""

    layouts: tuple[tuple[tuple[int, ...], tuple[int, ...], torch.dtype], ...] | None = None
    kind: type[list[Any]] | type[tuple[Any, ...]] | None = None

    @classmethod
    def of(cls, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Results:
        kind = type(result)
        found: list[Any] = list(result) if kind in (list, tuple) else [result]
        if not all(map(_is_whole, found)):
            return cls()
        memory = [_memory(t) for t in (*found, *tensors(args, kwargs))]
        if len({*memory[: len(found)]} - {*memory[len(found) :]}) < len(found):
            return cls()
        return cls(tuple((t.shape, t.stride(), t.dtype) for t in found), kind if kind in (list, tuple) else None)

    @classmethod
    def dense(cls, shape: tuple[int, ...]) -> Results:
        """One tensor of float32, row by row."""
        return cls(((shape, row_by_row(shape), torch.float32),))

    def empty(self) -> Any:
        """Such tensors, whose memory nobody has touched."""
        assert self.layouts is not None
        found = [torch.empty_strided(shape, stride, dtype=dtype) for shape, stride, dtype in self.layouts]
        return found[0] if self.kind is None else self.kind(found)


@dataclass(eq=False, slots=True)
class _Call:
    """A call left out: `results` are there, their values are not."""

    number: int
    func: torch._ops.OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[torch.Tensor]


class Deferred:
    """The calls of one capture."""

    def __init__(self) -> None:
        self._known: dict[str, Results] = {}
        self._calls: dict[int, _Call] = {}  # by the memory of their results
        self._number = 0
        self._held = 0

    def run(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `func`, on tensors of which one depends on the inputs, or leave that out."""
        is_open = bool(self._calls) and any(_memory(t) in self._calls for t in tensors(args, kwargs))
        text = _signature(func, args, kwargs)
        if text is None:
            return self._seen(func, args, kwargs) if is_open else func(*args, **kwargs)
        known = self._known.get(text)
        if known is None and (shape := result_shape(func, args, kwargs)) is not None:
            known = self._known[text] = Results.dense(shape)
        if known is None:
            result = func(*args, **kwargs)
            known = self._known[text] = Results.of(result, args, kwargs)
            if not is_open:
                return result
        if known.layouts is None:
            return self._seen(func, args, kwargs)
        if self._held > HELD_LIMIT:
            self.settle(args, kwargs)
            return func(*args, **kwargs)
        return self._leave_out(func, args, kwargs, known.empty())

    def known_results(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Results | None:
        """What a call gives that was made before, where such a call may be left out."""
        text = _signature(func, args, kwargs)
        return None if text is None else self._known.get(text)

    def leave_out(self, func: torch._ops.OpOverload, args: tuple[Any, ...], known: Results) -> Any:
        """What `run` does with a call that gives `known`."""
        if self._held > HELD_LIMIT:
            self.settle(args)
            return func(*args)
        return self._leave_out(func, args, {}, known.empty())

    def settle(self, *values: Any) -> None:
        """Make up for what the values of these tensors need."""
        needed: dict[int, _Call] = {}
        waiting = list(tensors(values, {})) if self._calls else []
        while waiting:
            call = self._calls.get(_memory(waiting.pop()))
            if call is not None and call.number not in needed:
                needed[call.number] = call
                waiting += tensors(call.args, call.kwargs)
        functional = torch._C.DispatchKeySet(torch._C.DispatchKey.Functionalize)
        with torch._C._DisableTorchDispatch(), torch._C._ExcludeDispatchKeyGuard(functional):
            for number in sorted(needed):
                call = needed.pop(number)  # what nobody needs any more may go
                made = call.func(*call.args, **call.kwargs)
                for tensor, real in zip(call.results, tensors((made,), {}), strict=True):
                    torch.ops.aten.copy_.default(tensor, real)
                    self._held -= tensor.untyped_storage().nbytes()
                    del self._calls[_memory(tensor)]

    def forget(self) -> None:
        """Nobody asks any more."""
        self._calls.clear()

    def _seen(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an op that may look at values, or make a view."""
        if may_be_view(func):
            result = func(*args, **kwargs)
            own = {_memory(t) for t in tensors(args, kwargs)}
            if all(_memory(t) in own for t in tensors((result,), {})):
                return result
        self.settle(args, kwargs)
        return func(*args, **kwargs)

    def _leave_out(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Any:
        results = [result] if isinstance(result, torch.Tensor) else list(result)
        call = _Call(self._number, func, args, kwargs, results)
        self._number += 1
        for tensor in results:
            storage = tensor.untyped_storage()
            self._calls[storage._cdata] = call
            self._held += storage.nbytes()
        return result


def tensors(args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """All tensors among arguments, also those in lists."""
    for a in (*args, *kwargs.values()):
        if isinstance(a, torch.Tensor):
            yield a
        elif isinstance(a, list | tuple):
            yield from tensors(a, {})


@cache
def _kinds(func: torch._ops.OpOverload) -> frozenset[torch.dtype] | None:
    """With which dtypes an op may be left out; None: never."""
    name = op_name(func)
    if name.endswith(".padding"):  # warns of uneven padding
        return None
    return DEFERRED.get(".".join(name.split(".")[:2]))


@cache
def may_be_view(func: torch._ops.OpOverload) -> bool:
    return any(r.alias_info is not None for r in func._schema.returns)


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _is_whole(value: Any) -> bool:
    """Whether this is a plain tensor that all of its memory belongs to."""
    if not isinstance(value, torch.Tensor) or not is_plain(value) or value.storage_offset():
        return False
    reach = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True)) + 1
    return value.untyped_storage().nbytes() == (reach * value.itemsize if value.numel() else 0)


def is_plain(tensor: torch.Tensor) -> bool:
    usual = type(tensor) in _PLAIN and tensor.layout is torch.strided and tensor.device.type == "cpu"
    return usual and tensor.dtype in _KINDS and not tensor.is_neg()


def _signature(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What the results' looks follow from, as text; None where the call has to be made."""
    kinds = _kinds(func)
    if kinds is None or is_random(func, args, kwargs) or (func is torch.ops.aten.batch_norm.default and args[5]):
        return None
    parts = [op_name(func)]
    if not _describe((*args, *(v for item in kwargs.items() for v in item)), kinds, parts):
        return None
    return " ".join([*parts, str(settings())])


def _describe(values: Iterable[Any], kinds: frozenset[torch.dtype], parts: list[str]) -> bool:
    for value in values:
        if isinstance(value, torch.Tensor):
            if not is_plain(value) or value.dtype not in kinds:
                return False
            parts.append(f"{value.dtype}{tuple(value.shape)}{value.stride()}")
        elif isinstance(value, list | tuple):
            parts.append("[")
            if not _describe(value, kinds, parts):
                return False
            parts.append("]")
        else:
            parts.append(repr(value))
    return True


def settings() -> tuple[object, ...]:
    """What decides, beside the arguments, which kernel runs."""
    return (*few_settings(), *(ask() for ask in _ASKED_OF_ATTENTION))


def few_settings() -> tuple[object, ...]:
    """The same for all ops but attention."""
    autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    return torch.get_default_dtype(), autocast, torch.are_deterministic_algorithms_enabled(), _C._get_mkldnn_enabled()
