"""Padding: constants by `tensor.pad`, reflection, repetition of the edge and wrapping by gathers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import gathered
from mlc.lowering.torch.to_linalg.dims import Dim, static
from mlc.lowering.torch.to_linalg.direct_convolution import cut, padded
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.scatter import inserted
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor, plain

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
        _need_one_round(c, x, pads)
        x, pads = _cropped(c, x, pads), [max(n, 0) if isinstance(n, int) else n for n in pads]
    return _mirrored(c, x, pads, mode)


def _need(c: Conversion, x: Tensor, d: int, low: Dim, high: Dim, mode: str) -> None:
    """Check that an open dimension has what the padding repeats; eager has looked at sizes that are known."""
    size = x.shape[d]
    if static((size, low, high)):
        if mode == "circular" and size == 0:
            raise c.refuse(f"dimension {d} has nothing left that could go round")
        return
    for n in (low, high):
        least = c.dims.add(n, 1) if mode == "reflect" else 1
        c.demand(size, "ge", c.dims.maximum(least, 1), f"dimension {d} is too small for its padding")


def _need_one_round(c: Conversion, x: Tensor, pads: Sequence[Int]) -> None:
    """Check that nothing goes round more than once, as eager does before it crops."""
    for d, ns in enumerate(zip(*_amounts(c, x, pads), strict=True)):
        for n in ns if not static((x.shape[d], *ns)) else ():
            c.demand(x.shape[d], "ge", n, f"dimension {d} would go round more than once")


def _cropped(c: Conversion, x: Tensor, pads: Sequence[Int]) -> Tensor:
    """`x` without what negative pads take away: what is left is what goes round."""
    for d, (low, high) in enumerate(zip(*_amounts(c, x, pads), strict=True)):
        before, behind = (max(-n, 0) if isinstance(n, int) else 0 for n in (low, high))
        if before or behind:
            x = cut(c, x, d, before, behind)
    return x


def _mirrored(c: Conversion, x: Tensor, pads: Sequence[Int], mode: str) -> Tensor:
    low, high = _amounts(c, x, pads)
    shape = tuple(
        s if c.dims.same(a, 0) and c.dims.same(b, 0) else c.dims.maximum(c.dims.add(s, c.dims.add(a, b)), 0)
        for s, a, b in zip(x.shape, low, high, strict=True)
    )
    before = [c.dims.value(n) for n in low]
    sizes = [c.dims.value(s) for s in x.shape]
    ends = [c.dims.value(c.dims.sub(s, 1)) for s in x.shape]
    ahead = [c.dims.value(c.dims.mul(n, c.dims.sub(s, 1))) for n, s in zip(low, x.shape, strict=True)]
    for d in range(x.rank):
        if (low[d], high[d]) != (0, 0):
            _need(c, x, d, low[d], high[d], mode)

    def place(b: Body, at: SSAValue, d: int) -> SSAValue:
        if low[d] == 0 and high[d] == 0:
            return at
        if mode == "circular":  # rounds ahead, so that no place is negative
            return b.op(arith.RemSIOp, b.op(arith.AddiOp, at, ahead[d]), sizes[d])
        i = b.op(arith.SubiOp, at, before[d])
        zero = b.index(0)
        if mode == "replicate":
            return b.op(arith.MinSIOp, b.op(arith.MaxSIOp, i, zero), ends[d])
        i = b.op(arith.MaxSIOp, i, b.op(arith.SubiOp, zero, i))
        beyond = b.op(arith.SubiOp, b.op(arith.AddiOp, ends[d], ends[d]), i)
        return b.op(arith.MinSIOp, i, beyond)

    def region(first: Sequence[Dim], sizes: Sequence[Dim]) -> Tensor:
        """The elements of the result from `first` on."""

        def source(b: Body, at: list[SSAValue]) -> list[SSAValue]:
            starts = [i if n == 0 else b.op(arith.AddiOp, i, c.dims.value(n)) for i, n in zip(at, first, strict=True)]
            return [place(b, i, d) for d, i in enumerate(starts)]

        return gathered(c, x, tuple(sizes), source)

    if not static((*x.shape, *low, *high)) or any(n < 0 for n in (*low, *high)) or 0 in x.shape:  # pyright: ignore[reportOperatorIssue]
        return region([0] * x.rank, shape)
    return _framed(c, x, low, high, shape, region)


def _framed(
    c: Conversion,
    x: Tensor,
    low: Sequence[Dim],
    high: Sequence[Dim],
    shape: Sequence[Dim],
    region: Callable[[Sequence[Dim], Sequence[Dim]], Tensor],
) -> Tensor:
    """`x`, which whoever makes it can write in place, between the strips around it, which alone are gathered."""
    whole = plain(c.empty(shape, x.dtype), x.dtype, tuple(shape))
    whole = inserted(c, whole, x, low, [1] * x.rank)
    for d in range(x.rank):
        for first, size in ((0, low[d]), (c.dims.add(low[d], x.shape[d]), high[d])):
            if size != 0:
                place = [*low[:d], first, *[0] * (x.rank - d - 1)]
                piece = region(place, (*x.shape[:d], size, *shape[d + 1 :]))
                whole = inserted(c, whole, piece, place, [1] * x.rank)
    return whole


def _named(mode: str) -> None:
    def lower(c: Conversion, x: Tensor, pads: Sequence[Int]) -> Tensor:
        return _mirrored(c, x, pads, {"reflection": "reflect", "replication": "replicate"}[mode])

    lowers(*(f"aten.{mode}_pad{n}d" for n in (1, 2, 3)))(lower)


_named("reflection")
_named("replication")
