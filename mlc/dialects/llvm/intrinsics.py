"""LLVM intrinsics as llvm-dialect ops (`llvm.intr.*`) that xDSL does not define.

The families differ only in name and arity, so each is made from a table:

    %r = llvm.intr.maximum(%a, %b) : (vector<16xf32>, vector<16xf32>) -> vector<16xf32>
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import I1, I32, IntegerAttr, IntegerType, VectorType
from xdsl.dialects.llvm import FastMathAttr, LLVMPointerType
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

DOT_BF16 = "llvm.x86.avx512bf16.dpbf16ps.{bits}"
DOT_UI8 = "llvm.x86.avx512.vpdpbusd.{bits}"
"""Called by `llvm.call_intrinsic`, as upstream does; of one target, which must have `avx512bf16` or `avx512vnni`."""
PERMVAR = "llvm.x86.avx512.permvar.sf.512"
PERMVAR_TWO = "llvm.x86.avx512.vpermi2var.ps.{bits}"
"""Lanes of one register, or of two side by side, by index; the latter's operands: first half, index, second half."""
TILE_ZERO, TILE_LOAD, TILE_STORE, TILE_MULF = (
    f"llvm.x86.{name}.internal" for name in ("tilezero", "tileloadd64", "tilestored64", "tdpbf16ps")
)
TILE_MULI = "llvm.x86.tdpb{signs}d.internal"
"""Of AMX. `signs`: `s` or `u` for each factor."""

_FORMAT = "`(` operands `)` attr-dict `:` functional-type(operands, results)"

UNARY_FLOAT = (
    "acos", "asin", "atan", "cosh", "exp10", "log10", "nearbyint", "rint", "round", "roundeven", "sinh", "tan",
    "tanh", "trunc",
)  # fmt: skip
BINARY_FLOAT = ("atan2", "maximum", "minimum")
BINARY_INT = ("smax", "smin", "umax", "umin", "sadd.sat", "ssub.sat", "uadd.sat", "usub.sat")
UNARY_INT = ("bitreverse", "bswap", "ctpop")
ZERO_POISON = ("ctlz", "cttz")
REDUCE_INT = ("add", "mul", "and", "or", "xor", "smax", "smin", "umax", "umin")
REDUCE_FLOAT = ("fmax", "fmin", "fmaximum", "fminimum")


def _define(
    name: str,
    operands: tuple[str, ...],
    *,
    fast: bool = False,
    custom: bool = True,
    props: dict[str, Any] | None = None,
) -> type[IRDLOperation]:
    """An intrinsic's op class. `fast`: takes fast-math flags; `custom`: upstream has more than the generic form."""
    body: dict[str, Any] = {
        "name": f"llvm.intr.{name}",
        "__module__": __name__,
        "__doc__": f"LLVM intrinsic `llvm.{name}`.",
        "res": result_def(),
        "traits": traits_def(Pure()),
        **{operand: operand_def() for operand in operands},
        **(props or {}),
    }
    if custom:
        body["irdl_options"] = (ParsePropInAttrDict(),)
        body["assembly_format"] = _FORMAT
    if fast:
        body["fastmathFlags"] = prop_def(FastMathAttr, default_value=FastMathAttr(None))
    return irdl_op_definition(type("".join(p.title() for p in name.split(".")) + "Op", (IRDLOperation,), body))


_FLAG = prop_def(IntegerAttr[I1])

INTRINSICS: dict[str, type[IRDLOperation]] = {
    **{n: _define(n, ("arg",), fast=True) for n in UNARY_FLOAT},
    **{n: _define(n, ("lhs", "rhs"), fast=True) for n in BINARY_FLOAT},
    **{n: _define(n, ("lhs", "rhs")) for n in BINARY_INT},
    **{n: _define(n, ("arg",)) for n in UNARY_INT},
    **{n: _define(n, ("arg",), custom=False, props={"is_zero_poison": _FLAG}) for n in ZERO_POISON},
    "abs": _define("abs", ("arg",), custom=False, props={"is_int_min_poison": _FLAG}),
    "powi": _define("powi", ("base", "power"), fast=True),
    "fmuladd": _define("fmuladd", ("a", "b", "c"), fast=True),
    **{f"vector.reduce.{n}": _define(f"vector.reduce.{n}", ("arg",), custom=False) for n in REDUCE_INT},
    **{f"vector.reduce.{n}": _define(f"vector.reduce.{n}", ("arg",), fast=True) for n in REDUCE_FLOAT},
}


@irdl_op_definition
class MaskedLoadOp(IRDLOperation):
    """`%r = llvm.intr.masked.load %p, %mask, %pass {alignment = 4 : i32} : (…) -> vector<16xf32>`."""

    name = "llvm.intr.masked.load"
    data = operand_def(LLVMPointerType)
    mask = operand_def(VectorType[I1])
    pass_thru = var_operand_def()
    res = result_def(VectorType)
    alignment = prop_def(IntegerAttr[I32])
    nontemporal = opt_prop_def()
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "operands attr-dict `:` functional-type(operands, results)"


@irdl_op_definition
class MaskedStoreOp(IRDLOperation):
    """`llvm.intr.masked.store %v, %p, %mask {alignment = 4 : i32} : vector<…>, vector<…xi1> into !llvm.ptr`."""

    name = "llvm.intr.masked.store"
    value = operand_def(VectorType)
    data = operand_def(LLVMPointerType)
    mask = operand_def(VectorType[I1])
    alignment = prop_def(IntegerAttr[I32])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$value `,` $data `,` $mask attr-dict `:` type($value) `,` type($mask) `into` type($data)"


@irdl_op_definition
class MaskedGatherOp(IRDLOperation):
    """`%r = llvm.intr.masked.gather %ptrs, %mask, %pass {alignment = 4 : i32} : (…) -> vector<…>`."""

    name = "llvm.intr.masked.gather"
    ptrs = operand_def(VectorType)
    mask = operand_def(VectorType[I1])
    pass_thru = var_operand_def()
    res = result_def(VectorType)
    alignment = prop_def(IntegerAttr[I32])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "operands attr-dict `:` functional-type(operands, results)"


@irdl_op_definition
class MaskedScatterOp(IRDLOperation):
    """`llvm.intr.masked.scatter %v, %ptrs, %mask {alignment = 4 : i32} : vector<…>, vector<…xi1> into vector<…>`."""

    name = "llvm.intr.masked.scatter"
    value = operand_def(VectorType)
    ptrs = operand_def(VectorType)
    mask = operand_def(VectorType[I1])
    alignment = prop_def(IntegerAttr[I32])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$value `,` $ptrs `,` $mask attr-dict `:` type($value) `,` type($mask) `into` type($ptrs)"


class _Transfer(IRDLOperation):
    """Shared shape of memcpy and memmove: destination, source, bytes."""

    dst = operand_def(LLVMPointerType)
    src = operand_def(LLVMPointerType)
    len = operand_def(IntegerType)
    isVolatile = prop_def(IntegerAttr[I1])


@irdl_op_definition
class MemcpyOp(_Transfer):
    """Copy `len` bytes; the ranges do not overlap, or are equal."""

    name = "llvm.intr.memcpy"


@irdl_op_definition
class MemmoveOp(_Transfer):
    """Copy `len` bytes; the ranges may overlap."""

    name = "llvm.intr.memmove"


@irdl_op_definition
class MemsetOp(IRDLOperation):
    """Fill `len` bytes with `val`."""

    name = "llvm.intr.memset"
    dst = operand_def(LLVMPointerType)
    val = operand_def(IntegerType)
    len = operand_def(IntegerType)
    isVolatile = prop_def(IntegerAttr[I1])


@irdl_op_definition
class AssumeOp(IRDLOperation):
    """`llvm.intr.assume %cond : i1`."""

    name = "llvm.intr.assume"
    cond = operand_def(I1)
    assembly_format = "$cond attr-dict `:` type($cond)"


@irdl_op_definition
class PrefetchOp(IRDLOperation):
    """`llvm.prefetch`: rw 0 read 1 write, hint 0..3, cache 1 data."""

    name = "llvm.intr.prefetch"
    addr = operand_def(LLVMPointerType)
    rw = prop_def(IntegerAttr[I32])
    hint = prop_def(IntegerAttr[I32])
    cache = prop_def(IntegerAttr[I32])


OPS = (
    *INTRINSICS.values(),
    MaskedLoadOp,
    MaskedStoreOp,
    MaskedGatherOp,
    MaskedScatterOp,
    MemcpyOp,
    MemmoveOp,
    MemsetOp,
    AssumeOp,
    PrefetchOp,
)
