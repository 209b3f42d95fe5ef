"""A small language for elementwise formulas on floats: one formula serves scalars and vectors of every width.

    m = MathBuilder(emit, constants, kind, fma=True)      # kind: f32 or vector<16xf32>
    x = m.value(ssa)
    y = m.fma(x, x, 1.0) * 0.5                            # math.fma, arith.mulf

Plain numbers become constants of the kind at hand. Ints of the same width (`bits`) are for exponents and signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, math, scf, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    DenseIntOrFPElementsAttr,
    IntegerType,
    VectorType,
    f32,
    f64,
    i1,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.dialects.arith import shaped_ops
from mlc.dialects.x86vector.ops import PermvarOp
from mlc.lowering.vector.emitter import number

Emit = Callable[[Operation], SSAValue]
Constants = Callable[[Attribute], SSAValue]

# per float type: bits, explicit mantissa bits, exponent bias, 1.5 * 2**mantissa (adding it rounds to an integer)
FORMATS = {32: (23, 127, 1.5 * 2.0**23), 64: (52, 1023, 1.5 * 2.0**52)}
LONG = 6  # coefficients of polynomials whose terms are paired


@dataclass(frozen=True)
class Val:
    """A value in a formula."""

    m: MathBuilder
    ssa: SSAValue

    def _with(self, other: Val | float) -> Val:
        return other if isinstance(other, Val) else self.m.const(other, self.kind)

    @property
    def kind(self) -> Attribute:
        return self.ssa.type

    def __add__(self, other: Val | float) -> Val:
        return self.m.binary(arith.AddfOp, self, self._with(other))

    def __radd__(self, other: float) -> Val:
        return self._with(other) + self

    def __sub__(self, other: Val | float) -> Val:
        return self.m.binary(arith.SubfOp, self, self._with(other))

    def __rsub__(self, other: float) -> Val:
        return self._with(other) - self

    def __mul__(self, other: Val | float) -> Val:
        return self.m.binary(arith.MulfOp, self, self._with(other))

    def __rmul__(self, other: float) -> Val:
        return self * other

    def __truediv__(self, other: Val | float) -> Val:
        return self.m.binary(arith.DivfOp, self, self._with(other))

    def __rtruediv__(self, other: float) -> Val:
        return self._with(other) / self

    def __neg__(self) -> Val:
        return self.m.unary(arith.NegfOp, self)

    def __abs__(self) -> Val:
        return self.m.unary(math.AbsFOp, self)

    def is_(self, predicate: str, other: Val | float) -> Val:
        """Float comparison by arith's predicate names (`olt`, `une`, ...)."""
        op = shaped_ops.CmpfOp(self.ssa, self._with(other).ssa, predicate)
        return Val(self.m, self.m.emit(op))

    def int(self, name: str, other: Val | int) -> Val:
        """Integer arithmetic by arith's op names (`addi`, `shrsi`, ...)."""
        return self.m.binary(_INT[name], self, self._with(other))

    def int_is(self, predicate: str, other: Val | int) -> Val:
        """Integer comparison by arith's predicate names."""
        return Val(self.m, self.m.emit(shaped_ops.CmpiOp(self.ssa, self._with(other).ssa, predicate)))

    def pick(self, yes: Val | float, no: Val | float) -> Val:
        """`yes` where this i1 holds, else `no`."""
        kind = yes.kind if isinstance(yes, Val) else no.kind if isinstance(no, Val) else self.m.kind
        a, b = (v if isinstance(v, Val) else self.m.const(v, kind) for v in (yes, no))
        return Val(self.m, self.m.emit(shaped_ops.SelectOp(self.ssa, a.ssa, b.ssa)))


_INT: dict[str, type[Operation]] = {
    "addi": arith.AddiOp,
    "subi": arith.SubiOp,
    "muli": arith.MuliOp,
    "andi": arith.AndIOp,
    "ori": arith.OrIOp,
    "xori": arith.XOrIOp,
    "shli": arith.ShLIOp,
    "shrsi": arith.ShRSIOp,
    "shrui": arith.ShRUIOp,
    "maxsi": arith.MaxSIOp,
    "minsi": arith.MinSIOp,
}


class MathBuilder:
    """Emits the ops of formulas. `kind` is the float type, or vector of it, that formulas start from."""

    def __init__(self, emit: Emit, constants: Constants, kind: Attribute, *, fma: bool) -> None:
        self.emit, self.constants, self.kind, self.has_fma = emit, constants, kind, fma

    def value(self, ssa: SSAValue) -> Val:
        return Val(self, ssa)

    def like(self, element: Attribute, kind: Attribute | None = None) -> Attribute:
        """`element`, in the shape that formulas work on."""
        return shaped_ops.like(kind or self.kind, element)

    def const(self, value: float, kind: Attribute) -> Val:
        """`value` in every lane of `kind`."""
        element = _element(kind)
        scalar = number(value, element)
        if not isinstance(kind, VectorType):
            return Val(self, self.constants(scalar))
        return Val(self, self.constants(DenseIntOrFPElementsAttr.from_list(kind, [scalar.value.data])))  # pyright: ignore[reportArgumentType, reportCallIssue]

    def unary(self, op: type[Operation], a: Val) -> Val:
        return Val(self, self.emit(op.create(operands=[a.ssa], result_types=[a.kind], properties=_flags(op))))

    def binary(self, op: type[Operation], a: Val, b: Val) -> Val:
        return Val(self, self.emit(op.create(operands=[a.ssa, b.ssa], result_types=[a.kind], properties=_flags(op))))

    def fma(self, a: Val, b: Val | float, c: Val | float) -> Val:
        """a * b + c, fused where the target can; formulas must not rely on the single rounding."""
        if not self.has_fma:
            return a * b + c
        b, c = (v if isinstance(v, Val) else self.const(v, a.kind) for v in (b, c))
        return Val(self, self.emit(math.FmaOp(a.ssa, b.ssa, c.ssa)))

    def poly(self, x: Val, coefficients: Sequence[float]) -> Val:
        """c0 + c1 x + c2 x^2 + ..., by Horner's rule; of long ones all but the first two terms in pairs of neighbours,
        which do not wait for each other. The first two, which decide how the sum is rounded, stay last."""
        coefficients = list(coefficients)
        if len(coefficients) < LONG:
            return self._horner(x, [self.const(c, x.kind) for c in coefficients])
        head, tail = coefficients[:2], coefficients[2:]
        square = x * x
        pairs = [
            self.fma(self.const(tail[i + 1], x.kind), x, tail[i]) if i + 1 < len(tail) else self.const(tail[i], x.kind)
            for i in range(0, len(tail), 2)
        ]
        inner = self._horner(square, pairs)
        return self.fma(self.fma(inner, x, head[1]), x, head[0])

    def _horner(self, x: Val, coefficients: Sequence[Val]) -> Val:
        *rest, total = coefficients
        for c in reversed(rest):
            total = self.fma(total, x, c)
        return total

    def sqrt(self, x: Val) -> Val:
        return self.unary(math.SqrtOp, x)

    def floor(self, x: Val) -> Val:
        return self.unary(math.FloorOp, x)

    def copysign(self, magnitude: Val, sign: Val) -> Val:
        return self.binary(math.CopySignOp, magnitude, sign)

    def clamp(self, x: Val, low: float, high: float) -> Val:
        """`x` within bounds; NaN stays NaN."""
        x = x.is_("olt", low).pick(low, x)
        return x.is_("ogt", high).pick(high, x)

    # Types

    def width(self, kind: Attribute) -> int:
        element = _element(kind)
        assert isinstance(element, AnyFloat | IntegerType)
        return element.bitwidth

    def bits(self, x: Val) -> Val:
        """The float's bits as an integer of its width."""
        return self._cast(arith.BitcastOp, x, IntegerType(self.width(x.kind)))

    def from_bits(self, x: Val) -> Val:
        return self._cast(arith.BitcastOp, x, f32 if self.width(x.kind) == 32 else f64)

    def to_float(self, x: Val, element: Attribute) -> Val:
        return self._cast(shaped_ops.SIToFPOp, x, element)

    def to_int(self, x: Val, element: Attribute) -> Val:
        """Truncated to an integer; the value must fit."""
        return self._cast(shaped_ops.FPToSIOp, x, element)

    def widen(self, x: Val, element: Attribute = f64) -> Val:
        return self._cast(arith.ExtFOp, x, element)

    def narrow(self, x: Val, element: Attribute = f32) -> Val:
        return self._cast(arith.TruncFOp, x, element)

    def resize_int(self, x: Val, bits: int) -> Val:
        """A signed integer of another width."""
        op = shaped_ops.ExtSIOp if bits > self.width(x.kind) else shaped_ops.TruncIOp
        return self._cast(op, x, IntegerType(bits))

    def zero_extend(self, x: Val, bits: int) -> Val:
        return self._cast(shaped_ops.ExtUIOp, x, IntegerType(bits))

    def _cast(self, op: type[Operation], x: Val, element: Attribute) -> Val:
        return Val(self, self.emit(op.create(operands=[x.ssa], result_types=[self.like(element, x.kind)])))

    # Exponents

    def round(self, x: Val, factor: float | None = None) -> tuple[Val, Val]:
        """`x`, times `factor`, to the nearest integer: as float and as integer of its width (far below 2**mantissa)."""
        _, _, magic = FORMATS[self.width(x.kind)]
        shifted = x + magic if factor is None else self.fma(x, factor, magic)
        return shifted - magic, self.bits(shifted).int("subi", self.bits(self.const(magic, x.kind)))

    def round_to_power(self, x: Val, factor: float | None = None, up: int = 0) -> tuple[Val, Val]:
        """n, `x` times `factor` to the nearest integer, and 2**(n + `up`), a normal number; its low bits as an integer,
        shifted to the place of an exponent, are that."""
        mantissa, bias, magic = FORMATS[self.width(x.kind)]
        magic += bias + up
        shifted = x + magic if factor is None else self.fma(x, factor, magic)
        return shifted - magic, self.from_bits(self.bits(shifted).int("shli", mantissa))

    def power_of_two(self, n: Val) -> Val:
        """2**n for a normal exponent `n`."""
        mantissa, bias, _ = FORMATS[self.width(n.kind)]
        return self.from_bits(n.int("addi", bias).int("shli", mantissa))

    # Tables

    def lookup(self, table: Sequence[float], index: Val) -> Val:
        """`table[index mod 16]`, where the machine has an instruction for that (`can_look_up`)."""
        values = DenseIntOrFPElementsAttr.from_list(VectorType(f32, [16]), [number(v, f32).value.data for v in table])
        kind = index.kind
        lanes = index.ssa if isinstance(kind, VectorType) else self._repeated(index)
        assert isinstance(lanes.type, VectorType)
        op = PermvarOp.create(
            operands=[self.constants(values), lanes], result_types=[VectorType(f32, lanes.type.get_shape())]
        )
        found = self.emit(op)
        if isinstance(kind, VectorType):
            return Val(self, found)
        return Val(self, self.emit(vector.ExtractOp(found, [0], f32)))

    def _repeated(self, x: Val) -> SSAValue:
        return self.emit(vector.BroadcastOp(x.ssa, VectorType(x.kind, [4])))

    # Control

    def where_any(self, lanes: Val, then: Callable[[], Sequence[Val]], otherwise: Sequence[Val]) -> list[Val]:
        """`then()` where some lane of `lanes` (i1) holds, else `otherwise`: skips rare, costly work."""
        condition = lanes.ssa
        if isinstance(lanes.kind, VectorType):
            kind = vector.CombiningKindAttr(vector.CombiningKindFlag.OR)
            properties: dict[str, Attribute] = {"kind": kind, "fastmath": arith.FastMathFlagsAttr("none")}
            condition = self.emit(
                vector.ReductionOp.create(operands=[condition], result_types=[i1], properties=properties)
            )
        block = Block()
        outer = self.emit

        def inside(op: Operation) -> SSAValue:
            block.add_op(op)
            return op.results[0]

        self.emit = inside
        results = then()
        self.emit = outer
        block.add_op(scf.YieldOp(*(v.ssa for v in results)))
        other = Block([scf.YieldOp(*(v.ssa for v in otherwise))])
        op = scf.IfOp(condition, [v.kind for v in otherwise], Region(block), Region(other))
        self.emit(op)
        return [Val(self, r) for r in op.results]


def can_look_up(kind: Attribute) -> bool:
    """Whether `MathBuilder.lookup` takes indices of this shape."""
    return not isinstance(kind, VectorType) or kind.get_shape() in ((4,), (8,), (16,))


def _element(kind: Attribute) -> Attribute:
    return kind.element_type if isinstance(kind, VectorType) else kind


def _flags(op: type[Operation]) -> dict[str, Attribute]:
    if op.name in ("arith.addi", "arith.subi", "arith.muli", "arith.shli"):
        return {"overflowFlags": arith.IntegerOverflowAttr("none")}
    if op.name.endswith("f") or op.name.startswith("math."):
        return {"fastmath": arith.FastMathFlagsAttr("none")}
    return {}
