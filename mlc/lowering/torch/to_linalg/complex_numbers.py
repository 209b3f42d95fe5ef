"""Complex tensors inside a model: two real tensors each, until a real one comes out.

    %z = torch.aten.view_as_complex %x        -->   (%x[..., 0], %x[..., 1])
    %w = torch.aten.mul.Tensor %z, %u         -->   (re re - im im, re im + im re)
    %a = torch.aten.abs %w                    -->   hypot

Ops that only move elements are those of real tensors, done twice. Arguments and results of a model are real.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects import math
from xdsl.dialects.builtin import ComplexType
from xdsl.ir import Attribute

from mlc.dialects.torch.types import VTensorType
from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.registry import LOWERINGS, Conversion, Lowering
from mlc.lowering.torch.to_linalg.structured import Operand, broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor
from mlc.lowering.torch.to_linalg.view import sliced, unsqueeze


@dataclass(frozen=True, eq=False)
class Complex:
    """Real and imaginary parts, of one shape."""

    re: Tensor
    im: Tensor

    @property
    def dtype(self) -> DType:
        return self.re.dtype


COMPLEX_LOWERINGS: dict[str, Lowering] = {}
_MOVES = (
    "alias clone contiguous detach expand flatten.using_ints flip index_select movedim.int movedim.intlist narrow "
    "permute roll select.int slice.Tensor squeeze squeeze.dim squeeze.dims t transpose.int unflatten.int unsqueeze "
    "view _unsafe_view reshape constant_pad_nd"
)


def complex_lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Register what an op does when an operand or a result is complex."""

    def register(fn: Lowering) -> Lowering:
        for name in names:
            COMPLEX_LOWERINGS[f"torch.{name}"] = fn
        return fn

    return register


def is_complex(operands: Sequence[Any], results: Sequence[Attribute]) -> bool:
    """Whether an op works on complex numbers."""
    flat = [v for o in operands for v in (o if isinstance(o, list) else [o])]
    kinds = [r.element_type for r in results if isinstance(r, VTensorType)]
    return any(isinstance(v, Complex) for v in flat) or any(isinstance(k, ComplexType) for k in kinds)


def lower_complex(c: Conversion, name: str, operands: Sequence[Any]) -> Any:
    """The lowering of an op for which `is_complex` holds."""
    fn = COMPLEX_LOWERINGS.get(name)
    if fn is None:
        raise c.refuse(
            "this op on complex numbers has no lowering", hint="compute on the parts: torch.view_as_real, .real, .imag"
        )
    return fn(c, *operands)


def _parts(x: Complex | Operand) -> tuple[Operand, Operand]:
    """Both parts of an operand; the imaginary one of a real number is zero."""
    return (x.re, x.im) if isinstance(x, Complex) else (x, 0.0)


def _move(name: str) -> None:
    def lower(c: Conversion, x: Complex, *rest: Any) -> Complex:
        declared = c.result_types
        c.result_types = [_real_type(r) for r in declared]
        out = Complex(*(LOWERINGS[f"torch.aten.{name}"](c, part, *rest) for part in (x.re, x.im)))
        c.result_types = declared
        return out

    complex_lowers(f"aten.{name}")(lower)


def _real_type(t: Attribute) -> Attribute:
    if isinstance(t, VTensorType) and isinstance(t.element_type, ComplexType):
        return VTensorType.get(t.shape, t.element_type.element_type)
    return t


for _name in _MOVES.split():
    if f"torch.aten.{_name}" in LOWERINGS:
        _move(_name)


# -- to and from real numbers ------------------------------------------------------------------------------------


@complex_lowers("aten.complex")
def complex_(c: Conversion, re: Tensor, im: Tensor) -> Complex:
    shape = broadcast_shape(c, [re.shape, im.shape])
    return Complex(*(elementwise(c, [part], part.dtype, lambda b, v: v, shape=shape) for part in (re, im)))


@complex_lowers("aten.polar")
def polar(c: Conversion, size: Tensor, angle: Tensor) -> Complex:
    t = size.dtype.compute
    return Complex(
        elementwise(c, [size, angle], size.dtype, lambda b, r, a: b.mul(r, b.op(math.CosOp, a), t)),
        elementwise(c, [size, angle], size.dtype, lambda b, r, a: b.mul(r, b.op(math.SinOp, a), t)),
    )


@complex_lowers("aten.view_as_complex")
def view_as_complex(c: Conversion, x: Tensor) -> Complex:
    d = x.rank - 1
    return Complex(*(c.viewed(sliced(c, x, d, at, 1), x.shape[:-1]) for at in (0, 1)))


@complex_lowers("aten.view_as_real")
def view_as_real(c: Conversion, x: Complex) -> Tensor:
    both = [unsqueeze(c, part, part.rank) for part in (x.re, x.im)]
    return LOWERINGS["torch.aten.cat"](c, both, both[0].rank - 1)


@complex_lowers("aten.real")
def real(c: Conversion, x: Complex) -> Tensor:
    return x.re


@complex_lowers("aten.imag")
def imag(c: Conversion, x: Complex) -> Tensor:
    return x.im


@complex_lowers("aten.abs")
def abs_(c: Conversion, x: Complex) -> Tensor:
    return LOWERINGS["torch.aten.hypot"](c, x.re, x.im)


@complex_lowers("aten.angle")
def angle(c: Conversion, x: Complex) -> Tensor:
    t = x.dtype.compute
    return elementwise(c, [x.im, x.re], x.dtype, lambda b, y, v: b.op(math.Atan2Op, y, v), compute=t)


@complex_lowers("aten.to.dtype", "aten._to_copy")
def to(c: Conversion, x: Complex | Tensor, *_: object) -> Complex:
    if isinstance(x, Complex):
        return x
    return Complex(x, c.full(x.shape, x.dtype, 0))


# -- arithmetic --------------------------------------------------------------------------------------------------


@complex_lowers("aten._conj", "aten.conj", "aten.conj_physical", "aten._conj_physical")
def conj(c: Conversion, x: Complex) -> Complex:
    t = x.dtype
    return Complex(x.re, elementwise(c, [x.im], t, lambda b, v: b.neg(v, t.compute)))


@complex_lowers("aten.resolve_conj", "aten.resolve_neg")
def resolve(c: Conversion, x: Complex) -> Complex:
    return x


@complex_lowers("aten.neg")
def neg(c: Conversion, x: Complex) -> Complex:
    t = x.dtype
    return Complex(*(elementwise(c, [part], t, lambda b, v: b.neg(v, t.compute)) for part in (x.re, x.im)))


def _both(c: Conversion, name: str, a: Complex | Operand, b: Complex | Operand, alpha: object = 1) -> Complex:
    known = a if isinstance(a, Complex) else b
    assert isinstance(known, Complex)
    if alpha != 1:
        raise c.refuse("a scaled sum of complex numbers has no lowering", hint="multiply before")
    (p, q), (r, s) = _parts(a), _parts(b)
    re, im = binary(c, name, p, r, known.dtype), binary(c, name, q, s, known.dtype)
    return Complex(re, elementwise(c, [im], known.dtype, lambda b, v: v, shape=re.shape))


@complex_lowers("aten.add.Tensor", "aten.add.Scalar")
def add(c: Conversion, a: Complex | Operand, b: Complex | Operand, alpha: object = 1) -> Complex:
    return _both(c, "add", a, b, alpha)


@complex_lowers("aten.sub.Tensor", "aten.sub.Scalar")
def sub(c: Conversion, a: Complex | Operand, b: Complex | Operand, alpha: object = 1) -> Complex:
    return _both(c, "sub", a, b, alpha)


@complex_lowers("aten.mul.Tensor", "aten.mul.Scalar")
def mul(c: Conversion, a: Complex | Operand, b: Complex | Operand) -> Complex:
    if not isinstance(a, Complex):
        a, b = b, a
    assert isinstance(a, Complex)
    t, k = a.dtype, a.dtype.compute
    if not isinstance(b, Complex):
        return Complex(binary(c, "mul", a.re, b, t), binary(c, "mul", a.im, b, t))
    factors = [a.re, a.im, b.re, b.im]
    return Complex(
        elementwise(c, factors, t, lambda o, p, q, r, s: o.sub(o.mul(p, r, k), o.mul(q, s, k), k)),
        elementwise(c, factors, t, lambda o, p, q, r, s: o.add(o.mul(p, s, k), o.mul(q, r, k), k)),
    )


@complex_lowers("aten.div.Tensor", "aten.div.Scalar")
def div(c: Conversion, a: Complex | Operand, b: Complex | Operand) -> Complex:
    if isinstance(b, Complex) or not isinstance(a, Complex):
        raise c.refuse("division by complex numbers has no lowering", hint="multiply by conj() / abs() ** 2")
    if isinstance(b, Scalar):
        raise c.refuse("division of complex numbers by a number known only at run time has no lowering")
    return Complex(binary(c, "div", a.re, b, a.dtype), binary(c, "div", a.im, b, a.dtype))


@complex_lowers("aten.exp")
def exp(c: Conversion, x: Complex) -> Complex:
    return polar(c, elementwise(c, [x.re], x.dtype, lambda b, v: b.op(math.ExpOp, v)), x.im)
