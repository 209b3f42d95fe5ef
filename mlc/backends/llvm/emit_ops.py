"""How each op of the llvm dialect is written; imported for its registrations."""

from __future__ import annotations

import re

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation

from mlc.backends.llvm.emit import CONSTANTS, EMITTERS, Emitter, convention_of, emits, fast_flags, ints, suffix, symbol
from mlc.backends.llvm.llvm_types import constant_text, quote
from mlc.dialects.llvm.intrinsics import (
    BINARY_FLOAT,
    BINARY_INT,
    DOT_UI8,
    PERMVAR,
    PERMVAR_TWO,
    REDUCE_FLOAT,
    REDUCE_INT,
    TILE_LOAD,
    TILE_MULF,
    TILE_MULI,
    TILE_STORE,
    TILE_ZERO,
    UNARY_FLOAT,
    UNARY_INT,
)
from mlc.dialects.llvm.ops import SwitchOp
from mlc.errors import UnsupportedError

# Constants have no instruction: they are written where they are used.


def _constant(e: Emitter, op: Operation) -> None:
    e.names[op.results[0]] = constant_text(op.properties["value"], op.results[0].type, e.types)


def _zero(e: Emitter, op: Operation) -> None:
    pointer = isinstance(op.results[0].type, llvm.LLVMPointerType)
    e.names[op.results[0]] = "null" if pointer else "zeroinitializer"


def _undef(e: Emitter, op: Operation) -> None:
    e.names[op.results[0]] = "undef"


def _poison(e: Emitter, op: Operation) -> None:
    e.names[op.results[0]] = "poison"


def _addressof(e: Emitter, op: Operation) -> None:
    e.names[op.results[0]] = f"@{quote(symbol(op.properties['global_name']))}"


CONSTANTS.update(
    {
        "llvm.mlir.constant": _constant,
        "llvm.mlir.zero": _zero,
        "llvm.mlir.undef": _undef,
        "llvm.mlir.poison": _poison,
        "llvm.mlir.addressof": _addressof,
    }
)

# Arithmetic


def _integer(e: Emitter, op: Operation) -> None:
    x, y = op.operands
    flags = op.properties.get("overflowFlags")
    words = op.name.removeprefix("llvm.")
    if isinstance(flags, IntegerAttr) and flags.value.data:
        words += (" nuw" if flags.value.data & 2 else "") + (" nsw" if flags.value.data & 1 else "")
    if "isExact" in op.properties:
        words += " exact"
    if "isDisjoint" in op.properties:
        words += " disjoint"
    e.result(op, f"{words} {e.typed(x)}, {e.value(y)}")


def _float(e: Emitter, op: Operation) -> None:
    x, y = op.operands
    e.result(op, f"{op.name.removeprefix('llvm.')} {fast_flags(op)}{e.typed(x)}, {e.value(y)}")


def _cast(e: Emitter, op: Operation) -> None:
    words = op.name.removeprefix("llvm.")
    flags = op.properties.get("overflowFlags")
    names = {str(f) for f in getattr(flags, "data", ())}
    words += "".join(f" {n}" for n in ("nuw", "nsw") if n in names)
    if "nonNeg" in op.properties:
        words += " nneg"
    if op.name in ("llvm.fpext", "llvm.fptrunc"):
        words += f" {fast_flags(op)}".rstrip()
    e.result(op, f"{words} {e.typed(op.operands[0])} to {e.types(op.results[0].type)}")


for _name in ("add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "and", "or", "xor", "shl", "lshr", "ashr"):
    EMITTERS[f"llvm.{_name}"] = _integer
for _name in ("fadd", "fsub", "fmul", "fdiv", "frem"):
    EMITTERS[f"llvm.{_name}"] = _float
for _name in (
    "trunc", "zext", "sext", "fptrunc", "fpext", "sitofp", "uitofp", "fptosi", "fptoui", "bitcast", "ptrtoint",
    "inttoptr", "addrspacecast",
):  # fmt: skip
    EMITTERS[f"llvm.{_name}"] = _cast


@emits("llvm.fneg", "llvm.freeze")
def _unary(e: Emitter, op: Operation) -> None:
    e.result(op, f"{op.name.removeprefix('llvm.')} {fast_flags(op)}{e.typed(op.operands[0])}")


_ICMP = tuple(str(flag) for flag in llvm.ALL_ICMP_FLAGS)
_FCMP = tuple(str(flag).removeprefix("_") for flag in llvm.ALL_FCMP_FLAGS)


@emits("llvm.icmp", "llvm.fcmp")
def _compare(e: Emitter, op: Operation) -> None:
    predicate = op.properties["predicate"]
    assert isinstance(predicate, IntegerAttr)
    x, y = op.operands
    if op.name == "llvm.icmp":
        e.result(op, f"icmp {_ICMP[predicate.value.data]} {e.typed(x)}, {e.value(y)}")
    else:
        e.result(op, f"fcmp {fast_flags(op)}{_FCMP[predicate.value.data]} {e.typed(x)}, {e.value(y)}")


@emits("llvm.select")
def _select(e: Emitter, op: Operation) -> None:
    c, x, y = op.operands
    e.result(op, f"select {fast_flags(op)}{e.typed(c)}, {e.typed(x)}, {e.typed(y)}")


# Memory


def _align(op: Operation) -> str:
    alignment = op.properties.get("alignment")
    return f", align {alignment.value.data}" if isinstance(alignment, IntegerAttr) and alignment.value.data else ""


def _ordering(op: Operation) -> str:
    ordering = op.properties.get("ordering")
    number = ordering.value.data if isinstance(ordering, IntegerAttr) else 0
    return llvm.ATOMIC_ORDERING_KEYWORDS[number] if number else ""


def _nontemporal(op: Operation) -> str:
    return ", !nontemporal !{i32 1}" if "nontemporal" in op.properties else ""


@emits("llvm.load")
def _load(e: Emitter, op: Operation) -> None:
    order = _ordering(op)
    volatile = " volatile" if "volatile_" in op.properties else ""
    head = f"load{' atomic' if order else ''}{volatile} {e.types(op.results[0].type)}, {e.typed(op.operands[0])}"
    e.result(op, f"{head}{' ' + order if order else ''}{_align(op)}{_nontemporal(op)}")


@emits("llvm.store")
def _store(e: Emitter, op: Operation) -> None:
    value, pointer = op.operands
    order = _ordering(op)
    volatile = " volatile" if "volatile_" in op.properties else ""
    head = f"store{' atomic' if order else ''}{volatile} {e.typed(value)}, {e.typed(pointer)}"
    e.line(f"{head}{' ' + order if order else ''}{_align(op)}{_nontemporal(op)}")


@emits("llvm.alloca")
def _alloca(e: Emitter, op: Operation) -> None:
    e.result(op, f"alloca {e.types(op.properties['elem_type'])}, {e.typed(op.operands[0])}{_align(op)}")


@emits("llvm.getelementptr")
def _gep(e: Emitter, op: Operation) -> None:
    dynamic = iter(op.operands[1:])
    indices: list[str] = []
    for raw in ints(op.properties["rawConstantIndices"]):
        indices.append(e.typed(next(dynamic)) if raw == llvm.GEP_USE_SSA_VAL else f"i32 {raw}")
    flags = op.properties.get("noWrapFlags")
    number = flags.value.data if isinstance(flags, IntegerAttr) else 0
    words = " inbounds" if number & 1 or "inbounds" in op.properties else (" nusw" if number & 2 else "")
    words += " nuw" if number & 4 else ""
    element = e.types(op.properties["elem_type"])
    e.result(op, f"getelementptr{words} {element}, {e.typed(op.operands[0])}, {', '.join(indices)}")


# Aggregates and vectors


@emits("llvm.extractvalue")
def _extractvalue(e: Emitter, op: Operation) -> None:
    position = ", ".join(str(i) for i in ints(op.properties["position"]))
    e.result(op, f"extractvalue {e.typed(op.operands[0])}, {position}")


@emits("llvm.insertvalue")
def _insertvalue(e: Emitter, op: Operation) -> None:
    position = ", ".join(str(i) for i in ints(op.properties["position"]))
    e.result(op, f"insertvalue {e.typed(op.operands[0])}, {e.typed(op.operands[1])}, {position}")


@emits("llvm.extractelement")
def _extractelement(e: Emitter, op: Operation) -> None:
    e.result(op, f"extractelement {e.typed(op.operands[0])}, {e.typed(op.operands[1])}")


@emits("llvm.insertelement")
def _insertelement(e: Emitter, op: Operation) -> None:
    vector, value, index = op.operands
    e.result(op, f"insertelement {e.typed(vector)}, {e.typed(value)}, {e.typed(index)}")


@emits("llvm.shufflevector")
def _shufflevector(e: Emitter, op: Operation) -> None:
    mask = ints(op.properties["mask"])
    if not any(mask) and mask:
        text = "zeroinitializer"
    else:
        text = "<" + ", ".join(f"i32 {'poison' if i < 0 else i}" for i in mask) + ">"
    e.result(op, f"shufflevector {e.typed(op.operands[0])}, {e.typed(op.operands[1])}, <{len(mask)} x i32> {text}")


# Control


@emits("llvm.br")
def _br(e: Emitter, op: Operation) -> None:
    e.line(f"br label %{e.targets[op][0]}")


@emits("llvm.cond_br")
def _cond_br(e: Emitter, op: Operation) -> None:
    then, other = e.targets[op]
    e.line(f"br {e.typed(op.operands[0])}, label %{then}, label %{other}")


@emits("llvm.switch")
def _switch(e: Emitter, op: Operation) -> None:
    assert isinstance(op, SwitchOp)
    ty = e.types(op.value.type)
    default, *targets = e.targets[op]
    cases = " ".join(f"{ty} {v}, label %{t}" for (v, _, _), t in zip(op.cases(), targets, strict=True))
    e.line(f"switch {e.typed(op.value)}, label %{default} [ {cases} ]")


@emits("llvm.return")
def _return(e: Emitter, op: Operation) -> None:
    e.line(f"ret {e.typed(op.operands[0])}" if op.operands else "ret void")


@emits("llvm.unreachable")
def _unreachable(e: Emitter, op: Operation) -> None:
    e.line("unreachable")


@emits("llvm.call")
def _call(e: Emitter, op: Operation) -> None:
    assert isinstance(op, llvm.CallOp)
    if op.op_bundle_operands:
        raise UnsupportedError("operand bundles on llvm.call")
    args = list(op.args)
    if op.callee is not None:
        target = f"@{quote(op.callee.string_value())}"
        if op.callee.string_value() not in e.defined:
            raise UnsupportedError(f"call of @{op.callee.string_value()}, which the module does not declare")
    else:
        target = e.value(args.pop(0))
    ty = e.types(op.results[0].type) if op.results else "void"
    if op.var_callee_type is not None:
        ty = e.types(op.var_callee_type)
    convention = convention_of(op)
    head = f"{convention} " if convention != "ccc" else ""
    tail = {"none": ""}.get(op.TailCallKind.data.value, f"{op.TailCallKind.data.value} ")
    text = f"{tail}call {fast_flags(op)}{head}{ty} {target}({', '.join(e.typed(a) for a in args)})"
    if op.results:
        e.result(op, text)
    else:
        e.line(text)


_GENERIC_INTRINSIC = re.compile(
    r"llvm\.(abs|assume|bitreverse|bswap|canonicalize|ceil|copysign|cos|ctlz|ctpop|cttz|exp|exp2|exp10|expect|fabs|floor|fma"
    r"|fmuladd|fptosi\.sat|fptoui\.sat|fshl|fshr|is\.fpclass|ldexp|lifetime\.(start|end)|log|log10|log2|lrint|lround|maximum"
    r"|maxnum|memcpy|memmove|memset|minimum|minnum|nearbyint|pow|powi|prefetch|rint|round|roundeven|[su](add|sub|mul)\.with\.overflow"
    r"|[su](add|sub|shl)\.sat|sin|smax|smin|sqrt|trap|trunc|umax|umin|vector\.(insert|extract|reverse|splice|reduce\.\w+))"
    r"(\.[a-z0-9.]+)?$"
)


_OF_TARGET = {
    **{DOT_UI8.format(bits=bits): "avx512vnni" for bits in (128, 256, 512)},
    PERMVAR: "avx512f",
    PERMVAR_TWO.format(bits=256): "avx512vl",
    **dict.fromkeys((TILE_ZERO, TILE_LOAD, TILE_STORE), "amx-tile"),
    TILE_MULF: "amx-bf16",
    **{TILE_MULI.format(signs=a + b): "amx-int8" for a in "su" for b in "su"},
}
"""Intrinsics of one target, with the feature that a machine must have."""


@emits("llvm.call_intrinsic")
def _call_intrinsic(e: Emitter, op: Operation) -> None:
    assert isinstance(op, llvm.CallIntrinsicOp)
    if not _GENERIC_INTRINSIC.match(op.intrin.data) and not e.has_feature(_OF_TARGET.get(op.intrin.data)):
        raise UnsupportedError(
            f"intrinsic '{op.intrin.data}'",
            hint="intrinsics of one target are refused on others, where LLVM ends the process",
        )
    ty = e.types(op.results[0].type) if op.results else "void"
    text = e.intrinsic(op.intrin.data, ty, op.args, fast=fast_flags(op) if op.results else "")
    if op.results:
        e.result(op, text)
    else:
        e.line(text)


# Intrinsics


def _intrinsic(e: Emitter, op: Operation) -> None:
    """Overloaded on the first operand's type; the result has that type, or its element type for a reduction."""
    base = op.name.removeprefix("llvm.intr.")
    name = f"llvm.{base}.{suffix(op.operands[0].type, e.types)}"
    e.result(op, e.intrinsic(name, e.types(op.results[0].type), op.operands, fast=fast_flags(op)))


for _name in (
    *UNARY_FLOAT, *BINARY_FLOAT, *BINARY_INT, *UNARY_INT, *(f"vector.reduce.{n}" for n in (*REDUCE_INT, *REDUCE_FLOAT)),
    "fabs", "ceil", "sqrt", "floor", "exp2", "exp", "log", "log2", "sin", "cos", "pow", "maxnum", "minnum", "copysign",
    "fma", "fmuladd",
):  # fmt: skip
    EMITTERS[f"llvm.intr.{_name}"] = _intrinsic


@emits("llvm.intr.vector.reduce.fadd", "llvm.intr.vector.reduce.fmul")
def _ordered_reduction(e: Emitter, op: Operation) -> None:
    name = f"llvm.{op.name.removeprefix('llvm.intr.')}.{suffix(op.operands[1].type, e.types)}"
    e.result(op, e.intrinsic(name, e.types(op.results[0].type), op.operands, fast=fast_flags(op)))


@emits("llvm.intr.powi")
def _powi(e: Emitter, op: Operation) -> None:
    name = f"llvm.powi.{suffix(op.operands[0].type, e.types)}.{suffix(op.operands[1].type, e.types)}"
    e.result(op, e.intrinsic(name, e.types(op.results[0].type), op.operands, fast=fast_flags(op)))


@emits("llvm.intr.abs", "llvm.intr.ctlz", "llvm.intr.cttz")
def _with_flag(e: Emitter, op: Operation) -> None:
    key = "is_int_min_poison" if op.name == "llvm.intr.abs" else "is_zero_poison"
    flag = op.properties[key]
    text = "i1 true" if isinstance(flag, IntegerAttr) and flag.value.data else "i1 false"
    name = f"llvm.{op.name.removeprefix('llvm.intr.')}.{suffix(op.operands[0].type, e.types)}"
    e.result(op, e.intrinsic(name, e.types(op.results[0].type), op.operands, (text,)))


@emits("llvm.intr.memcpy", "llvm.intr.memmove", "llvm.intr.memset")
def _memory_intrinsic(e: Emitter, op: Operation) -> None:
    base = op.name.removeprefix("llvm.intr.")
    types = [op.operands[0], op.operands[2]] if base == "memset" else op.operands
    name = ".".join(["llvm", base, *(suffix(v.type, e.types) for v in types)])
    volatile = op.properties["isVolatile"]
    flag = "i1 true" if isinstance(volatile, IntegerAttr) and volatile.value.data else "i1 false"
    e.line(e.intrinsic(name, "void", op.operands, (flag,)))


def _alignment(op: Operation) -> int:
    alignment = op.properties["alignment"]
    assert isinstance(alignment, IntegerAttr)
    return alignment.value.data


@emits("llvm.intr.masked.load")
def _masked_load(e: Emitter, op: Operation) -> None:
    pointer, mask, *rest = op.operands
    ty = e.types(op.results[0].type)
    other = e.typed(rest[0]) if rest else f"{ty} poison"
    name = f"llvm.masked.load.{suffix(op.results[0].type, e.types)}.p0"
    e.intrinsics.setdefault(name, f"declare {ty} @{name}(ptr, {e.types(mask.type)}, {ty})")
    e.result(op, f"call {ty} @{name}(ptr align {_alignment(op)} {e.value(pointer)}, {e.typed(mask)}, {other})")


@emits("llvm.intr.masked.store")
def _masked_store(e: Emitter, op: Operation) -> None:
    value, pointer, mask = op.operands
    name = f"llvm.masked.store.{suffix(value.type, e.types)}.p0"
    e.intrinsics.setdefault(name, f"declare void @{name}({e.types(value.type)}, ptr, {e.types(mask.type)})")
    e.line(f"call void @{name}({e.typed(value)}, ptr align {_alignment(op)} {e.value(pointer)}, {e.typed(mask)})")


@emits("llvm.intr.masked.gather")
def _gather(e: Emitter, op: Operation) -> None:
    pointers, mask, *rest = op.operands
    ty = e.types(op.results[0].type)
    other = e.typed(rest[0]) if rest else f"{ty} poison"
    name = f"llvm.masked.gather.{suffix(op.results[0].type, e.types)}.{suffix(pointers.type, e.types)}"
    vector = e.types(pointers.type)
    e.intrinsics.setdefault(name, f"declare {ty} @{name}({vector}, {e.types(mask.type)}, {ty})")
    e.result(op, f"call {ty} @{name}({vector} align {_alignment(op)} {e.value(pointers)}, {e.typed(mask)}, {other})")


@emits("llvm.intr.masked.scatter")
def _scatter(e: Emitter, op: Operation) -> None:
    value, pointers, mask = op.operands
    name = f"llvm.masked.scatter.{suffix(value.type, e.types)}.{suffix(pointers.type, e.types)}"
    vector = e.types(pointers.type)
    e.intrinsics.setdefault(name, f"declare void @{name}({e.types(value.type)}, {vector}, {e.types(mask.type)})")
    e.line(f"call void @{name}({e.typed(value)}, {vector} align {_alignment(op)} {e.value(pointers)}, {e.typed(mask)})")


@emits("llvm.intr.stacksave")
def _stacksave(e: Emitter, op: Operation) -> None:
    e.result(op, e.intrinsic("llvm.stacksave.p0", "ptr", ()))


@emits("llvm.intr.stackrestore")
def _stackrestore(e: Emitter, op: Operation) -> None:
    e.line(e.intrinsic("llvm.stackrestore.p0", "void", op.operands))


@emits("llvm.intr.assume")
def _assume(e: Emitter, op: Operation) -> None:
    e.line(e.intrinsic("llvm.assume", "void", op.operands))


@emits("llvm.intr.prefetch")
def _prefetch(e: Emitter, op: Operation) -> None:
    numbers = [op.properties[k] for k in ("rw", "hint", "cache")]
    extra = tuple(f"i32 {n.value.data}" for n in numbers if isinstance(n, IntegerAttr))
    e.line(e.intrinsic("llvm.prefetch.p0", "void", op.operands, extra))
