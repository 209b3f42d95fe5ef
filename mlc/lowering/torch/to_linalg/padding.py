"""Padding: constants by `tensor.pad`, reflection, repetition of the edge and wrapping by gathers."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.convolution import padded
from mlc.lowering.torch.to_linalg.creation import gathered
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor
from mlc.lowering.torch.to_linalg.view import sliced

Int = int | Scalar


def _amounts(c: Conversion, x: Tensor, pads: Sequence[Int]) -> tuple[list[Dim], list[Dim]]:
    """torch's list (last dim first, low and high in turn) as low and high per dim."""
    low: list[Dim] = [0] * x.rank
    high: list[Dim] = [0] * x.rank
    for i in range(len(pads) // 2):
        low[x.rank - 1 - i], high[x.rank - 1 - i] = c.size(pads[2 * i]), c.size(pads[2 * i + 1])
    return low, high


@lowers("aten.constant_pad_nd")
def constant_pad(c: Conversion, x: Tensor, pads: Sequence[Int], value: Number = 0) -> Tensor:
    return padded(c, x, *_amounts(c, x, pads), value)


@lowers("aten.pad")
def pad(c: Conversion, x: Tensor, pads: Sequence[Int], mode: str = "constant", value: float | None = None) -> Tensor:
    if mode == "constant":
        return constant_pad(c, x, pads, 0 if value is None else value)
    if mode == "circular":
        x, pads = _cropped(c, x, pads), [max(n, 0) if isinstance(n, int) else n for n in pads]
    return _mirrored(c, x, pads, mode)


def _cropped(c: Conversion, x: Tensor, pads: Sequence[Int]) -> Tensor:
    """`x` without what negative pads take away: what is left is what goes round."""
    for d, (low, high) in enumerate(zip(*_amounts(c, x, pads), strict=True)):
        before, behind = (max(-n, 0) if isinstance(n, int) else 0 for n in (low, high))
        if before or behind:
            x = sliced(c, x, d, before, c.dims.sub(x.shape[d], before + behind))
    return x


def _mirrored(c: Conversion, x: Tensor, pads: Sequence[Int], mode: str) -> Tensor:
    low, high = _amounts(c, x, pads)
    shape = tuple(c.dims.add(s, c.dims.add(a, b)) for s, a, b in zip(x.shape, low, high, strict=True))
    before = [c.dims.value(n) for n in low]
    sizes = [c.dims.value(s) for s in x.shape]
    ends = [c.dims.value(c.dims.sub(s, 1)) for s in x.shape]

    def place(b: Body, at: SSAValue, d: int) -> SSAValue:
        if low[d] == 0 and high[d] == 0:
            return at
        i = b.op(arith.SubiOp, at, before[d])
        zero = b.index(0)
        if mode == "replicate":
            return b.op(arith.MinSIOp, b.op(arith.MaxSIOp, i, zero), ends[d])
        if mode == "circular":
            i = b.select(b.index_compare("lt", i, zero), b.op(arith.AddiOp, i, sizes[d]), i)
            return b.select(b.index_compare("ge", i, sizes[d]), b.op(arith.SubiOp, i, sizes[d]), i)
        i = b.op(arith.MaxSIOp, i, b.op(arith.SubiOp, zero, i))
        beyond = b.op(arith.SubiOp, b.op(arith.AddiOp, ends[d], ends[d]), i)
        return b.op(arith.MinSIOp, i, beyond)

    return gathered(c, x, shape, lambda b, at: [place(b, i, d) for d, i in enumerate(at)])


def _named(mode: str) -> None:
    def lower(c: Conversion, x: Tensor, pads: Sequence[Int]) -> Tensor:
        return _mirrored(c, x, pads, {"reflection": "reflect", "replication": "replicate"}[mode])

    lowers(*(f"aten.{mode}_pad{n}d" for n in (1, 2, 3)))(lower)


_named("reflection")
_named("replication")
