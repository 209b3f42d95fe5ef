"""amx -> intrinsics on `!llvm.x86_amx`; code generation gives tiles their registers and configures these.

%a = amx.tile_load %m[%i, %j] : memref<64x512xbf16> into !amx.tile<16x32xbf16>
  -->   llvm.call_intrinsic "llvm.x86.tileloadd64.internal"(16, 64, %pointer, 1024) : … -> !llvm.x86_amx
"""

from __future__ import annotations

from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.amx.ops import TileMulFOp, TileMulIOp, TileType
from mlc.dialects.llvm.intrinsics import TILE_LOAD, TILE_MULF, TILE_MULI, TILE_STORE, TILE_ZERO
from mlc.dialects.llvm.tile_type import X86AMXType
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.intrinsic_calls import call_intrinsic, do_intrinsic
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import element_bytes

_AMX = X86AMXType()


def _sizes(b: FunctionBuilder, ty: Attribute) -> list[SSAValue]:
    """Rows, and bytes of a row."""
    assert isinstance(ty, TileType)
    return [b.int_const(ty.sizes[0], 16), b.int_const(ty.row_bytes, 16)]


def _place(b: FunctionBuilder, op: Operation) -> list[SSAValue]:
    """Where a tile's first row is in memory, and the bytes from one to the next."""
    ref = b.memref(op.operands[0])
    pointer = b.address(ref, b.element_index(ref, op.operands[1:3]))
    return [pointer, b.materialize(b.product(ref.strides[0], Linear(element_bytes(ref.element))))]


@converts("amx.tile_zero")
def tile_zero(b: FunctionBuilder, op: Operation) -> None:
    b.values[op.results[0]] = call_intrinsic(b, TILE_ZERO, _sizes(b, op.results[0].type), _AMX)


@converts("amx.tile_load")
def tile_load(b: FunctionBuilder, op: Operation) -> None:
    args = [*_sizes(b, op.results[0].type), *_place(b, op)]
    b.values[op.results[0]] = call_intrinsic(b, TILE_LOAD, args, _AMX)


@converts("amx.tile_store")
def tile_store(b: FunctionBuilder, op: Operation) -> None:
    value = op.operands[3]
    do_intrinsic(b, TILE_STORE, [*_sizes(b, value.type), *_place(b, op), b.value(value)])


@converts("amx.tile_mulf", "amx.tile_muli")
def tile_mul(b: FunctionBuilder, op: Operation) -> None:
    assert isinstance(op, TileMulFOp | TileMulIOp)
    lhs, rhs, acc = op.lhs.type, op.rhs.type, op.acc.type
    assert isinstance(lhs, TileType) and isinstance(rhs, TileType) and isinstance(acc, TileType)
    rows, columns, terms = acc.sizes[0], acc.row_bytes, lhs.row_bytes
    name = TILE_MULF
    if isinstance(op, TileMulIOp):
        signs = "".join("s" if flag is None else "u" for flag in (op.is_zext_lhs, op.is_zext_rhs))
        name = TILE_MULI.format(signs=signs)
    sizes = [b.int_const(n, 16) for n in (rows, columns, terms)]
    args = [*sizes, *(b.value(v) for v in (op.acc, op.lhs, op.rhs))]
    b.values[op.results[0]] = call_intrinsic(b, name, args, _AMX)
