"""bf16 in LLVM IR: 16 bits of an integer, with arithmetic in float.

    %r = llvm.fadd %a, %b : vector<9xbf16>   -->   %0 = zext <9 x i16> %a to <9 x i32>      and so on for %b
                                                   %2 = bitcast <9 x i32> (%0 << 16) to <9 x float>
                                                   %6 = fadd <9 x float> %2, %5             rounded to <9 x i16>

LLVM's own bf16 is left alone: where the target has instructions for it, code generation ends the process on vectors of
9, 17, 25... lanes, flushes denormals and calls a library that nobody links. mlc's lowering computes in f32 itself
(`mlc/lowering/llvm/floats.py`); what is written here serves llvm-level files written by others. Only the instruction
for dot products (`x86vector.avx512.dot`) gets bf16 as LLVM has it.
"""

from __future__ import annotations

from xdsl.dialects import llvm
from xdsl.dialects.builtin import BFloat16Type, Float32Type, Float64Type, IntegerType, VectorType
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.backends.llvm import emit_ops  # noqa: F401  the emitters that are wrapped here
from mlc.backends.llvm.emit import EMITTERS, EmitFn, Emitter
from mlc.dialects.llvm.intrinsics import BINARY_FLOAT, DOT_BF16, REDUCE_FLOAT, UNARY_FLOAT
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location

_BY_FLOAT = (
    *("fadd", "fsub", "fmul", "fdiv", "frem", "fneg", "fcmp", "fpext", "fptrunc"),
    *("sitofp", "uitofp", "fptosi", "fptoui"),
    *(f"intr.{n}" for n in (*UNARY_FLOAT, *BINARY_FLOAT)),
    *(f"intr.vector.reduce.{n}" for n in REDUCE_FLOAT),
    *(
        f"intr.{n}"
        for n in ("fabs", "ceil", "sqrt", "floor", "exp2", "exp", "log", "log2", "sin", "cos", "pow", "powi")
    ),
    *(f"intr.{n}" for n in ("maxnum", "minnum", "copysign", "fma", "fmuladd")),
)
"""Ops whose result in f32, rounded, is their result in bf16."""
_REFUSED = ("intr.vector.reduce.fadd", "intr.vector.reduce.fmul")
_EXACT_INT_BITS = 32


def _element(ty: Attribute) -> Attribute:
    return ty.element_type if isinstance(ty, VectorType) else ty


def _is_bfloat16(ty: Attribute) -> bool:
    return isinstance(_element(ty), BFloat16Type)


def _like(ty: Attribute, element: Attribute) -> Attribute:
    return VectorType(element, ty.get_shape()) if isinstance(ty, VectorType) else element


def _touches(op: Operation) -> bool:
    return any(_is_bfloat16(v.type) for v in (*op.operands, *op.results))


class _Text:
    """Instructions on values of one shape, by name."""

    def __init__(self, e: Emitter, shape: Attribute) -> None:
        self.e, self.shape = e, shape

    def type(self, element: Attribute) -> str:
        return self.e.types(_like(self.shape, element))

    def number(self, value: int, bits: int) -> str:
        text = f"i{bits} {value}"
        return f"splat ({text})" if isinstance(self.shape, VectorType) else str(value)

    def line(self, text: str) -> str:
        name = self.e.fresh()
        self.e.line(f"{name} = {text}")
        return name

    def int(self, op: str, x: str, y: str | int, bits: int = 32) -> str:
        right = y if isinstance(y, str) else self.number(y, bits)
        return self.line(f"{op} {self.type(IntegerType(bits))} {x}, {right}")

    def cast(self, op: str, x: str, source: Attribute, target: Attribute) -> str:
        return self.line(f"{op} {self.type(source)} {x} to {self.type(target)}")

    def compare(self, how: str, x: str, y: str, kind: Attribute) -> str:
        return self.line(f"fcmp {how} {self.type(kind)} {x}, {y}")


_I1, _I16, _I32 = IntegerType(1), IntegerType(16), IntegerType(32)
_F32, _F64 = Float32Type(), Float64Type()


def _widened(t: _Text, x: str) -> str:
    """The float of the same value: the bits followed by zeros."""
    return t.cast("bitcast", t.int("shl", t.cast("zext", x, _I16, _I32), 16), _I32, _F32)


def _rounded(t: _Text, x: str) -> str:
    """A float to the nearest bf16, ties to even; a NaN stays a quiet NaN."""
    bits = t.cast("bitcast", x, _F32, _I32)
    odd = t.int("and", t.int("lshr", bits, 16), 1)
    up = t.int("add", t.int("add", bits, 0x7FFF), odd)
    nan = t.compare("uno", x, x, _F32)
    kind = t.type(_I32)
    chosen = t.line(f"select {t.type(_I1)} {nan}, {kind} {t.int('or', bits, 0x400000)}, {kind} {up}")
    return t.cast("trunc", t.int("lshr", chosen, 16), _I32, _I16)


def _float_towards_odd(t: _Text, x: str) -> str:
    """A double as the float next to zero, with the last bit set when inexact: rounding that again rounds once."""
    near = t.cast("fptrunc", x, _F64, _F32)
    back = t.cast("fpext", near, _F32, _F64)
    bits = t.cast("bitcast", near, _F32, _I32)
    inexact = t.cast("zext", t.compare("one", back, x, _F64), _I1, _I32)
    i64 = IntegerType(64)
    sizes = [t.int("and", t.cast("bitcast", v, _F64, i64), (1 << 63) - 1, 64) for v in (back, x)]
    larger = t.line(f"icmp ugt {t.type(i64)} {sizes[0]}, {sizes[1]}")
    step = t.int("and", t.cast("zext", larger, _I1, _I32), inexact)
    return t.cast("bitcast", t.int("or", t.int("sub", bits, step), inexact), _I32, _F32)


def _wide_type(op: Operation) -> Attribute:
    """What an op on bf16 is computed in: f32, which holds every bf16; an integer needs f64 to be rounded once."""
    return _F64 if op.name in ("llvm.sitofp", "llvm.uitofp") else _F32


def _replaced(e: Emitter, v: SSAValue) -> SSAValue:
    """For a bf16 operand, a value of type f32 whose name is that of the widened number; another operand as it is."""
    if not _is_bfloat16(v.type):
        return v
    wide = llvm.UndefOp(_like(v.type, _F32)).res  # holds the name, is never written
    e.names[wide] = _widened(_Text(e, v.type), e.value(v))
    return wide


def _by_float(fn: EmitFn) -> EmitFn:
    """`fn` for operands and results of bf16 too, computed in f32 and rounded once."""

    def emit(e: Emitter, op: Operation) -> None:
        if not _touches(op):
            fn(e, op)
            return
        source, result = op.operands[0], op.results[0]
        operands = [_replaced(e, v) for v in op.operands]
        text = _Text(e, result.type)
        match op.name, _element(source.type):
            case "llvm.fpext", _ if _element(result.type) == _F32:
                e.names[result] = e.value(operands[0])
                return
            case "llvm.fptrunc", Float64Type():
                e.names[result] = _rounded(text, _float_towards_odd(text, e.value(source)))
                return
            case "llvm.fptrunc", _:
                e.names[result] = _rounded(text, e.value(source))
                return
            case (("llvm.sitofp" | "llvm.uitofp"), IntegerType() as kind) if kind.width.data > _EXACT_INT_BITS:
                raise _refusal(op, f"an integer of more than {_EXACT_INT_BITS} bits", "convert it to f64, then to bf16")
            case _:
                pass
        narrow = _is_bfloat16(result.type)
        kind = _like(result.type, _wide_type(op)) if narrow else result.type
        # The same op on wider types; the operands' names stand for them.
        wide = type(op).create(operands=operands, result_types=[kind], properties=dict(op.properties))
        wide.location = op.location
        fn(e, wide)
        name = e.value(wide.results[0])
        if narrow:
            name = _rounded(text, _float_towards_odd(text, name) if _element(kind) == _F64 else name)
        e.names[result] = name
        wide.drop_all_references()

    return emit


def _refusal(op: Operation, what: str, hint: str) -> UnsupportedError:
    return UnsupportedError(
        f"'{op.name}' of {what} to or on bf16", where=format_location(op.location) or None, hint=hint
    )


def _refused(fn: EmitFn) -> EmitFn:
    def emit(e: Emitter, op: Operation) -> None:
        if _touches(op):
            raise _refusal(op, "values", "convert to f32 with llvm.fpext, and back with llvm.fptrunc")
        fn(e, op)

    return emit


_DOTS = {DOT_BF16.format(bits=bits) for bits in (128, 256, 512)}


def _dot_product(fn: EmitFn) -> EmitFn:
    """Calls of the one instruction that multiplies LLVM's own bf16: the bits are named so for it alone."""

    def emit(e: Emitter, op: Operation) -> None:
        assert isinstance(op, llvm.CallIntrinsicOp)
        name = op.intrin.data
        if name not in _DOTS:
            _refused(fn)(e, op)
            return
        if not e.has_feature("avx512bf16"):
            fn(e, op)
            return
        sums, *factors = op.args
        lanes = factors[0].type
        assert isinstance(lanes, VectorType)
        ty, narrow = e.types(sums.type), f"<{lanes.get_shape()[0]} x bfloat>"
        named = [e.fresh() for _ in factors]
        for new, factor in zip(named, factors, strict=True):
            e.line(f"{new} = bitcast {e.typed(factor)} to {narrow}")
        e.intrinsics.setdefault(name, f"declare {ty} @{name}({ty}, {narrow}, {narrow})")
        e.result(op, f"call {ty} @{name}({e.typed(sums)}, {', '.join(f'{narrow} {new}' for new in named)})")

    return emit


for _name in _BY_FLOAT:
    EMITTERS[f"llvm.{_name}"] = _by_float(EMITTERS[f"llvm.{_name}"])
for _name in _REFUSED:
    EMITTERS[f"llvm.{_name}"] = _refused(EMITTERS[f"llvm.{_name}"])
EMITTERS["llvm.call_intrinsic"] = _dot_product(EMITTERS["llvm.call_intrinsic"])
