"""One form for each thing: calls that mean the same are recorded the same.

    detach, alias, lift_fresh, clone, dropout in eval mode   -->   the operand itself
    _to_copy(dtype)                                          -->   to.dtype
    _unsafe_view, reshape                                    -->   view
    split, split_with_sizes, chunk, unbind                   -->   slice.Tensor, select.int
    conv2d(padding="same")                                   -->   conv2d with numbers, behind a pad where uneven
    x[mask] = value                                          -->   where
    x.copy_(y)                                               -->   y, converted and expanded

A rule gets the bound arguments and the real results; it returns the results' values, or None to record as is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mlc.frontends.torch.emit import op_name, sized, tensor_type
from mlc.frontends.torch.graph import Location, Value

if TYPE_CHECKING:
    from mlc.frontends.torch.recorder import Recorder

Rule = Callable[["Recorder", list[Any], list[torch.Tensor], Location], Sequence[Value] | None]

NORMALISERS: dict[str, Rule] = {}
LOOK_FURTHER = frozenset({"aten.index_put", "aten.index.Tensor", "aten.as_strided", "aten.as_strided_scatter"})
"""Ops whose rules look at more than how the arguments look: at values, or whose memory they are in."""

_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")

# name -> the arguments that switch its randomness on (all must be truthy)
_RANDOM_WHEN: dict[str, tuple[str, ...]] = {
    "aten.dropout": ("p", "train"),
    "aten.feature_dropout": ("p", "train"),
    "aten.alpha_dropout": ("p", "train"),
    "aten.feature_alpha_dropout": ("p", "train"),
    "aten.rrelu": ("training",),
    "aten.scaled_dot_product_attention": ("dropout_p",),
    **{f"aten.{n}.{kind}": ("dropout", "train") for n in _RECURRENT for kind in ("input", "data")},
}


def is_random(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this call draws random numbers."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    switches = _RANDOM_WHEN.get(op_name(func))
    if switches is None:
        return True
    names = [a.name for a in func._schema.arguments]
    defaults = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
    given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
    return all(given[s] for s in switches)


def is_switched(func: torch._ops.OpOverload) -> bool:
    """Whether this draws random numbers in training only."""
    return op_name(func) in _RANDOM_WHEN


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for these ops."""

    def register(fn: Rule) -> Rule:
        for name in names:
            NORMALISERS[name] = fn
        return fn

    return register


@rule(
    "aten.detach",
    "aten.alias",
    "aten.lift_fresh",
    "aten.lift_fresh_copy",
    "aten.lift",
    "aten.clone",
    "aten.contiguous",
    "aten.dropout",
    "aten.feature_dropout",
    "aten.alpha_dropout",
    "aten.feature_alpha_dropout",
)
def _identity(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    return [rec.value(args[0], loc)]


@rule("aten._to_copy")
def _to_copy(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    source = rec.value(args[0], loc)
    if out[0].dtype is args[0].dtype:
        return [source]
    return rec.emitter.call("aten.to.dtype", [source, out[0].dtype], [tensor_type(out[0])], loc)


@rule("aten.copy")
def _copy(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    """`x.copy_(y)`: y in the dtype and shape of x."""
    target, source = args[0], args[1]
    value = rec.value(source, loc)
    if source.dtype is not target.dtype:
        changed = sized(source.shape, target.dtype)
        (value,) = rec.emitter.call("aten.to.dtype", [value, target.dtype], [changed], loc)
    if source.shape != target.shape:
        (value,) = rec.emitter.call("aten.expand", [value, list(target.shape)], [tensor_type(out[0])], loc)
    return [value]


@rule("aten.rrelu")
def _rrelu(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    """Eval mode: leaky_relu with the mean slope."""
    slope = (args[1] + args[2]) / 2
    return rec.emitter.call("aten.leaky_relu", [rec.value(args[0], loc), slope], [tensor_type(out[0])], loc)


@rule("aten._unsafe_view", "aten.reshape")
def _view(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    source = rec.value(args[0], loc)
    return rec.emitter.call("aten.view", [source, list(args[1])], [tensor_type(out[0])], loc)


@rule("aten.split.Tensor", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split.sections")
def _split(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    source, dim = args[0], args[2]
    values: list[Value] = []
    start = 0
    for piece in out:
        end = start + piece.shape[dim]
        arguments = [rec.value(source, loc), dim % max(1, source.dim()), start, end, 1]
        values += rec.emitter.call("aten.slice.Tensor", arguments, [tensor_type(piece)], loc)
        start = end
    return values


@rule("aten.unbind.int")
def _unbind(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    source, dim = args[0], args[1]
    values: list[Value] = []
    for i, piece in enumerate(out):
        values += rec.emitter.call(
            "aten.select.int", [rec.value(source, loc), dim % source.dim(), i], [tensor_type(piece)], loc
        )
    return values


@rule("aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding")
def _conv_padding(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value] | None:
    x, weight, bias, stride, padding, dilation, groups = args
    rank = weight.dim() - 2
    dilation = _expand(dilation, rank)
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if padding == "valid":
        total = [0] * rank
    source = rec.value(x, loc)
    if any(t % 2 for t in total):  # the extra element goes to the end, as in eager
        extra = [n for t in reversed(total) for n in (0, t % 2)]
        sizes = list(x.shape)
        for i, t in enumerate(total):
            sizes[-rank + i] += t % 2
        padded = sized(sizes, x.dtype)
        (source,) = rec.emitter.call("aten.constant_pad_nd", [source, extra, 0], [padded], loc)
    arguments = [
        source,
        rec.value(weight, loc),
        None if bias is None else rec.value(bias, loc),
        _expand(stride, rank),
        [t // 2 for t in total],
        dilation,
        groups,
    ]
    return rec.emitter.call(f"aten.conv{rank}d", arguments, [tensor_type(out[0])], loc)


@rule("aten.index_put")
def _masked_assignment(
    rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location
) -> Sequence[Value] | None:
    x, indices, values, accumulate = args
    if accumulate or len(indices) != 1 or values.numel() != 1 or indices[0].dtype is not torch.bool:
        return _known_mask_assignment(rec, args, out, loc)
    mask = rec.value(indices[0], loc)
    sizes = list(indices[0].shape)
    for _ in range(x.dim() - indices[0].dim()):
        sizes.append(1)
        wider = sized(sizes, torch.bool)
        (mask,) = rec.emitter.call("aten.unsqueeze", [mask, len(sizes) - 1], [wider], loc)
    fill = rec.value(values, loc)
    if values.dim():
        scalar = sized((), values.dtype)
        (fill,) = rec.emitter.call("aten.view", [fill, []], [scalar], loc)
    return rec.emitter.call("aten.where.self", [mask, fill, rec.value(x, loc)], [tensor_type(out[0])], loc)


def _known_mask_assignment(
    rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location
) -> Sequence[Value] | None:
    positions = _positions(rec, args[1], loc)
    if positions is None:
        return None
    x, values = rec.value(args[0], loc), rec.value(args[2], loc)
    return rec.emitter.call("aten.index_put", [x, positions, values, args[3]], [tensor_type(out[0])], loc)


@rule("aten.index.Tensor")
def _known_mask(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value] | None:
    positions = _positions(rec, args[1], loc)
    if positions is None:
        return None
    return rec.emitter.call("aten.index.Tensor", [rec.value(args[0], loc), positions], [tensor_type(out[0])], loc)


def _positions(rec: Recorder, indices: Sequence[torch.Tensor | None], loc: Location) -> list[Any] | None:
    """Indices whose masks, which no input decides, became the positions they select; None for others."""
    masks = [i for i in indices if i is not None and i.dtype in (torch.bool, torch.uint8)]
    if not masks or any(rec.depends_on_inputs(mask) for mask in masks):
        return None
    positions: list[Any] = []
    for index in indices:
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            positions.append(None if index is None else rec.value(index, loc))
        else:
            rec.note_read(index)
            positions += [rec.emitter.small_literal(p.contiguous(), loc) for p in index.nonzero().unbind(1)]
    return positions


@rule("transformers.grouped_mm_fallback")
def _grouped_mm(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    """transformers' own op for dtypes in which PyTorch's has no kernel."""
    return rec.emitter.call("aten._grouped_mm", [rec.value(a, loc) for a in args], [tensor_type(out[0])], loc)


@rule("aten.as_strided")
def _as_strided(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> Sequence[Value]:
    """Strides count in memory: the op reads the tensor that owns the memory, not the view it is called on."""
    x, size, stride, offset = args
    entry = rec.entry(x)
    if x.is_contiguous() and x.storage_offset() == 0 and _reach(size, stride, offset or 0) < x.numel():
        return rec.emitter.call("aten.as_strided", [rec.value(x, loc), *args[1:]], [tensor_type(out[0])], loc)
    while entry.view is not None:
        entry = entry.view.base
    owner = x if entry.ref is None else entry.ref()
    _require_whole_memory(rec, owner, loc)
    arguments = [rec.value_of(entry, loc), size, stride, x.storage_offset() if offset is None else offset]
    return rec.emitter.call("aten.as_strided", arguments, [tensor_type(out[0])], loc)


@rule("aten.as_strided_scatter")
def _as_strided_scatter(rec: Recorder, args: list[Any], out: list[torch.Tensor], loc: Location) -> None:
    _require_whole_memory(rec, args[0], loc)


def _reach(size: Sequence[int], stride: Sequence[int], offset: int) -> int:
    """The last element in memory that a strided view sees."""
    return offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))


def _require_whole_memory(rec: Recorder, tensor: torch.Tensor | None, loc: Location) -> None:
    """Refuse to go by strides where the order of memory is not that of the elements."""
    if tensor is None or not tensor.is_contiguous() or tensor.storage_offset() != 0:
        rec.problems.fail(
            "takes a strided view (as_strided) of memory that is not in the order of its tensor's elements",
            loc,
            "call contiguous() or clone() before as_strided, or use slices, transposes and unfold",
        )


def _expand(value: Any, rank: int) -> list[int]:
    items = list(value) if isinstance(value, list | tuple) else [value]
    return items * rank if len(items) == 1 else items
