"""Result types of matrix products and other sums of products."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ComplexType

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.promotion import CannotInfer, result_type, tensor_dtype
from mlc.dialects.torch.shapes import (
    Size,
    add,
    broadcast2,
    dims,
    known,
    like,
    reduced,
    tensor,
)
from mlc.errors import ShapeError


def _ranks(a: Any, b: Any, *, wanted: tuple[int, int]) -> None:
    """ShapeError where the factors are no vectors, matrices or batches as the op takes them."""
    given = len(dims(a)), len(dims(b))
    if given != wanted:
        raise ShapeError(f"factors of rank {given[0]} and {given[1]}", expected=f"rank {wanted[0]} and {wanted[1]}")


@infers(*aten("mm"))
def mm(a: Any, b: Any) -> Any:
    """[n,k] x [k,m] = [n,m]."""
    _ranks(a, b, wanted=(2, 2))
    return like(a, (dims(a)[0], dims(b)[1]))


@infers(*aten("bmm"))
def bmm(a: Any, b: Any) -> Any:
    """[b,n,k] x [b,k,m] = [b,n,m]."""
    _ranks(a, b, wanted=(3, 3))
    batch = dims(a)[0] if dims(a)[0] is not None else dims(b)[0]
    return like(a, (batch, dims(a)[1], dims(b)[2]))


@infers(*aten("mv"))
def mv(a: Any, b: Any) -> Any:
    """[n,k] x [k] = [n]."""
    _ranks(a, b, wanted=(2, 1))
    return like(a, (dims(a)[0],))


@infers(*aten("dot vdot"))
def dot(a: Any, b: Any) -> Any:
    """A number."""
    _ranks(a, b, wanted=(1, 1))
    return like(a, ())


@infers(*aten("outer ger"))
def outer(a: Any, b: Any) -> Any:
    """[n] x [m] = [n,m]."""
    _ranks(a, b, wanted=(1, 1))
    return tensor((dims(a)[0], dims(b)[0]), result_type((a, b)))


@infers(*aten("matmul linalg_matmul"))
def matmul(a: Any, b: Any) -> Any:
    """Vectors, matrices, and batches of these that broadcast."""
    left, right = dims(a), dims(b)
    if not left or not right:
        raise ShapeError(
            f"factors of rank {len(left)} and {len(right)}", expected="vectors, matrices or batches of these"
        )
    if len(left) == 1 and len(right) == 1:
        return like(a, ())
    if len(left) == 1:
        return like(a, (*right[:-2], right[-1]))
    if len(right) == 1:
        return like(a, left[:-1])
    return like(a, (*broadcast2(left[:-2], right[:-2]), left[-2], right[-1]))


@infers(*aten("addmm"))
def addmm(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + a x b."""
    return mm(a, b)


@infers(*aten("addmv"))
def addmv(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + a x b."""
    return mv(a, b)


@infers(*aten("addbmm"))
def addbmm(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + the sum of all products."""
    _ranks(a, b, wanted=(3, 3))
    return like(a, (dims(a)[1], dims(b)[2]))


@infers(*aten("baddbmm"))
def baddbmm(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + a x b."""
    return bmm(a, b)


@infers(*aten("linear"))
def linear(x: Any, weight: Any, _bias: Any = None) -> Any:
    """The last size becomes the weight's first."""
    out = dims(weight)
    if not dims(x) or len(out) not in (1, 2):
        given = f"an input of rank {len(dims(x))}, a weight of rank {len(out)}"
        raise ShapeError(given, expected="rank 1 or more, rank 2 (or 1)")
    return like(x, (*dims(x)[:-1], *out[:-1]))


@infers(*aten("bilinear"))
def bilinear(a: Any, _b: Any, weight: Any, _bias: Any = None) -> Any:
    """The last size becomes the weight's first."""
    return like(a, (*dims(a)[:-1], dims(weight)[0]))


@infers(*aten("einsum"))
def einsum(equation: Any, tensors: Any, *_: Any, **__: Any) -> Any:
    """Sizes of the letters of the result."""
    if not isinstance(tensors, list) or "." in known(equation):
        raise CannotInfer("ellipsis")
    left, arrow, right = equation.replace(" ", "").partition("->")
    sizes: dict[str, Size] = {}
    for letters, t in zip(left.split(","), tensors, strict=True):
        for letter, size in zip(letters, dims(t), strict=True):
            if sizes.get(letter) in (None, 1):
                sizes[letter] = size
    if not arrow:
        flat = left.replace(",", "")
        right = "".join(sorted(c for c in set(flat) if flat.count(c) == 1))
    return tensor([sizes[c] for c in right], result_type(tensors))


@infers(*aten("_trilinear"))
def trilinear(a: Any, b: Any, c: Any, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, _unroll: Any = 1) -> Any:
    """The common shape after new dimensions, without those summed over."""
    shape: tuple[Size, ...] = ()
    for t, places in ((a, expand1), (b, expand2), (c, expand3)):
        grown = list(dims(t))
        for place in known(places):
            grown.insert(place, 1)
        shape = broadcast2(shape, grown)
    return like(a, reduced(shape, known(sumdim), False))


@infers(*aten("cdist"))
def cdist(a: Any, b: Any, *_: Any) -> Any:
    """All pairs of rows."""
    left, right = dims(a), dims(b)
    return like(a, (*broadcast2(left[:-2], right[:-2]), left[-2], right[-2]))


@infers(*aten("_fft_r2c"))
def fft_r2c(x: Any, dim: Any, _normalization: Any, onesided: Any) -> Any:
    """Half of the last transformed dimension."""
    shape = list(dims(x))
    last = known(dim)[-1]
    if known(onesided):
        size = shape[last]
        shape[last] = None if size is None else add(size // 2, 1)
    return like(x, shape, ComplexType(tensor_dtype(x)))  # pyright: ignore[reportArgumentType]


@infers(*aten("_grouped_mm"))
def grouped_mm(a: Any, b: Any, *_: Any) -> Any:
    """Rows of the left side, columns of the right ones."""
    if len(dims(a)) != 2 or len(dims(b)) != 3:
        raise CannotInfer("groups of another kind")
    return like(a, (dims(a)[0], dims(b)[2]))
