"""amx -> intrinsics on `!llvm.x86_amx`; code generation gives tiles their registers and configures these.

%a = amx.tile_load %m[%i, %j] : memref<64x512xbf16> into !amx.tile<16x32xbf16>
  -->   llvm.call_intrinsic "llvm.x86.tileloadd64.internal"(16, 64, %pointer, 1024) : … -> !llvm.x86_amx
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, IntegerType, i8, i64
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.amx.ops import REGISTERS, ROW_BYTES, ROWS, TileLoadOp, TileMulFOp, TileMulIOp, TileType
from mlc.dialects.llvm.intrinsics import TILE_LOAD, TILE_MULF, TILE_MULI, TILE_STORE, TILE_ZERO
from mlc.dialects.llvm.tile_type import X86AMXType
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.intrinsic_calls import call_intrinsic, do_intrinsic
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import element_bytes

_AMX = X86AMXType()
_CHOICES = ("arith.select", "scf.if", "scf.index_switch")


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
    second = b.value(op.rhs) if _differ(op.lhs, op.rhs) else _copied(b, b.value(op.rhs), rhs)
    args = [*sizes, b.value(op.acc), b.value(op.lhs), second]
    b.values[op.results[0]] = call_intrinsic(b, name, args, _AMX)


def _differ(lhs: SSAValue, rhs: SSAValue) -> bool:
    """Whether two tiles are sure to have a register each: the processor refuses a product of a register with itself.
    (LLVM makes one of equal values, but two of two loads.)"""
    return lhs is not rhs and isinstance(lhs.owner, TileLoadOp) and isinstance(rhs.owner, TileLoadOp)


def _copied(b: FunctionBuilder, value: SSAValue, ty: Attribute) -> SSAValue:
    """The same tile in a register of its own, by way of memory."""
    line: dict[str, Attribute] = {"alignment": IntegerAttr(64, i64), "elem_type": IntegerType(8)}
    args = [*_sizes(b, ty), b.entry_alloca(Linear(ROWS * ROW_BYTES), line), b.int_const(ROW_BYTES)]
    do_intrinsic(b, TILE_STORE, [*args, value])
    return call_intrinsic(b, TILE_LOAD, args, _AMX)


def check_tiles(function: FuncOp) -> None:
    """Refuse what LLVM cannot compile, and would end the process over: a choice between tiles, tiles that are passed to
    other functions or blocks, and more shapes of tiles than registers."""
    if any(isinstance(t, TileType) for t in (*function.function_type.inputs, *function.function_type.outputs)):
        raise _refusal(function, f"function @{function.sym_name.data} takes or returns tiles", "pass memory")
    shapes: set[Attribute] = set()
    for op in function.walk():
        tiles = [r.type for r in op.results if isinstance(r.type, TileType)]
        shapes.update(TileType.of(t.sizes[0], t.row_bytes, i8) for t in tiles)
        if tiles and op.name in _CHOICES:
            raise _refusal(op, f"'{op.name}' chooses between tiles", "store a tile in each case, load it afterwards")
    if any(isinstance(a.type, TileType) for block in function.body.blocks for a in block.args):
        raise _refusal(function, f"blocks of @{function.sym_name.data} take tiles", "carry them through scf.for")
    if len(shapes) > REGISTERS:
        what = f"function @{function.sym_name.data} has tiles of {len(shapes)} shapes"
        raise _refusal(function, what, f"a register has one shape throughout a function, and there are {REGISTERS}")


def _refusal(op: Operation, what: str, hint: str) -> UnsupportedError:
    return UnsupportedError(what, where=format_location(op.location) or None, hint=hint)
