"""Arithmetic and memory traffic of a kernel of the buffers level, counted from its structured ops.

    linalg.generic #matmul ins(%a, %b : memref<4x8xf32>, memref<8x2xf32>) outs(%c : memref<4x2xf32>)
 -->
    Cost(flops=128, bytes=224, done={"f32": 128})

A float op of a body counts once per point of the iteration space, one in loops once per known trip (a fused
multiply-add twice, whatever `exp` costs once). Each argument's bytes count once per kernel where it is read and once
where it is written, as if caches were perfect, scratch memory not at all; a table read by index counts one element per
access, what loops go through element by element counts once (`accesses`). Ops in an `scf.for` with known bounds count
per trip. A Winograd convolution counts the operations of the direct one, which is what the model asks for, and products
of bytes count like those of floats; `done` holds what the kernel really does, by the arithmetic that it does it in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import partial
from math import prod

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import (
    AffineMapAttr,
    AnyFloat,
    IntegerType,
    MemRefType,
    VectorType,
    bf16,
    f64,
)
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr

from mlc.arrays.winograd import TAPS, Program
from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.dialects.linalg_ext.split_matmul_ops import LANES, PRODUCTS, SplitMatmulOp, filled
from mlc.dialects.linalg_ext.winograd_matmul_ops import GROUP, WinogradMatmulOp, padded
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.explain.accesses import nest_around, touched, trips
from mlc.ir.scratch import is_scratch
from mlc.ir.values import byte_size

Sizes = Mapping[SSAValue, tuple[int, ...]]

_SOFTMAX_FLOPS = 5
"""Of a score: scaled, compared, its distance from the greatest, the power of that, added up."""
_FREE = (arith.ConstantOp, arith.SelectOp, arith.CmpfOp, arith.TruncFOp, arith.ExtFOp)


@dataclass(frozen=True)
class Cost:
    """`flops`: float operations; `bytes`: least traffic between the kernel and memory; `done`: operations by kind.

    Of the bytes, `written` are written and `weights` are of arguments that are the model's weights.
    """

    flops: int
    bytes: int
    done: Mapping[str, int]
    written: int = 0
    weights: int = 0


def kernel_cost(kernel: FuncOp, sizes: Sizes, weights: Set[int] = frozenset()) -> Cost:
    """Cost of one call. `sizes` gives the sizes of arguments whose type leaves them open; `weights`: the numbers of
    arguments that are weights."""
    read: dict[SSAValue, int] = {}
    written: dict[SSAValue, int] = {}
    arguments = {arg for arg in kernel.body.block.args if not is_scratch(arg)}
    flops = 0
    done: Counter[str] = Counter()
    for op in kernel.walk():
        if isinstance(op, LinalgStructuredOperation):
            points = trips(op) * prod(_extents(op, sizes))
            for inner in op.body.walk():
                if count := points * _flops(inner):
                    flops += count
                    done[_kind(inner)] += count
            for value in op.inputs:
                _note(read, value, sizes)
            for value in op.outputs:
                if not isinstance(op, FillOp) and _is_read(op, value) and value not in written:
                    _note(read, value, sizes)
                _note(written, value, sizes)
        elif isinstance(op, WinogradConv2DOp):
            flops += _direct_flops(op)
            done["f32"] += _winograd_flops(op)
            for value in (op.input, op.filters if op.transformed else op.filter):
                _note(read, value, sizes)
            _note(written, op.output, sizes)
        elif isinstance(op, PreparedMatmulOp):
            flops += trips(op) * 2 * _size_of(op.output, {}) * op.terms()
            done.update({kind: trips(op) * count for kind, count in _prepared_flops(op).items()})
            for value in (*op.inputs, *([op.output] if op.output not in written else [])):
                _note(read, value, sizes)
            _note(written, op.output, sizes)
        elif isinstance(op, AttentionOp):
            heads, rows, keys, width, columns = op.sizes()
            scores = heads * (rows * (rows + 1) // 2 if op.causal is not None else rows * keys)
            flops += trips(op) * scores * (2 * width + 2 * columns + _SOFTMAX_FLOPS)
            done["f32"] += trips(op) * scores * (2 * width + 2 * columns + _SOFTMAX_FLOPS)
            for value in op.inputs:
                _note(read, value, sizes)
            _note(written, op.output, sizes)
        elif isinstance(op, memref.LoadOp | memref.StoreOp) and isinstance(op.memref.type, MemRefType):
            side = read if isinstance(op, memref.LoadOp) else written
            if _root(op.memref) not in arguments or (side is read and op.memref in written):
                continue
            count = touched(op, partial(_shape, sizes=sizes), lambda nest: prod(_extents(nest, sizes)))
            side[op.memref] = max(side.get(op.memref, 0), count * byte_size(op.memref.type.element_type))
        elif (count := _flops(op)) and nest_around(op) is None:
            flops += trips(op) * count
            done[_kind(op)] += trips(op) * count
    into, out = ({v: n for v, n in side.items() if _root(v) in arguments} for side in (read, written))
    total = sum(into.values()) + sum(out.values())
    given = {arg for n, arg in enumerate(kernel.body.block.args) if n in weights}
    return Cost(flops, total, done, sum(out.values()), sum(n for v, n in into.items() if _root(v) in given))


def _direct_flops(op: WinogradConv2DOp) -> int:
    _, channels, _, _, lanes = _shape(op.input, {})
    return trips(op) * 2 * TAPS * TAPS * channels * lanes * _size_of(op.output, {})


def _winograd_flops(op: WinogradConv2DOp) -> int:
    """Multiply-adds between transformed tiles and filters, and the transforms."""
    filter_blocks, channel_blocks, _, _, in_lanes, lanes = _shape(op.filter, {})
    channels, filters = channel_blocks * in_lanes, filter_blocks * lanes
    rows, columns = op.filterings()
    into = _both_ways(rows.input, columns.input) * channels
    unscaled = rows.tile * columns.tile * (not op.transformed and rows.scale * columns.scale != 1)
    back = (_both_ways(rows.output, columns.output) + unscaled) * filters
    blocks = prod(n // b for n, b in zip(op.grid(), op.block.get_values(), strict=True))
    often = 0 if op.transformed else blocks
    of_filters = _both_ways(rows.filter, columns.filter) * channels * filters
    products = 2 * op.positions() * channels * filters
    return trips(op) * (prod(op.grid()) * (products + into + back) + often * of_filters)


def _prepared_flops(op: PreparedMatmulOp) -> Mapping[str, int]:
    """Multiply-adds and additions of pairs of terms, or multiply-adds of parts in whole tiles."""
    sums, rows = _size_of(op.output, {}), prod(op.grid())
    if isinstance(op, WinogradMatmulOp):
        return {"f32": sums * op.pieces() * padded(op.piece()) // GROUP * 12}
    assert isinstance(op, SplitMatmulOp)
    return {"bf16": PRODUCTS * 2 * -(-rows // LANES) * LANES * filled(op.terms()) * (sums // rows)}


def _both_ways(rows: Program, columns: Program) -> int:
    """Operations of the rows' program down every column, then of the columns' along every row of what that gives."""
    once = [sum(2 if step.kind == "fma" else 1 for step in program.steps) for program in (rows, columns)]
    return once[0] * columns.inputs + once[1] * len(rows.outputs)


def _note(side: dict[SSAValue, int], value: SSAValue, sizes: Sizes) -> None:
    if isinstance(value.type, MemRefType):
        side[value] = _size_of(value, sizes) * byte_size(value.type.element_type)


def _size_of(value: SSAValue, sizes: Sizes) -> int:
    return prod(_shape(value, sizes))


def _shape(value: SSAValue, sizes: Sizes) -> tuple[int, ...]:
    if value in sizes:
        return sizes[value]
    assert isinstance(value.type, MemRefType)
    return tuple(max(1, n) for n in value.type.get_shape())  # an open size inside a kernel counts as one


def _root(value: SSAValue) -> SSAValue:
    """The argument or allocation that a view looks at."""
    while isinstance(value.owner, memref.SubviewOp | memref.CastOp | memref.ExpandShapeOp | memref.CollapseShapeOp):
        value = value.owner.operands[0]
    return value


def _extents(op: LinalgStructuredOperation, sizes: Sizes) -> list[int]:
    maps = [m.data if isinstance(m, AffineMapAttr) else m for m in op.get_indexing_maps()]
    extents = [1] * maps[0].num_dims
    for map_, value in zip(maps, op.operands, strict=False):
        if isinstance(value.type, MemRefType):
            for expr, n in zip(map_.results, _shape(value, sizes), strict=True):
                if isinstance(expr, AffineDimExpr):
                    extents[expr.position] = n
    return extents


def _flops(op: Operation) -> int:
    if not op.results or isinstance(op, _FREE):
        return 0
    if not _is_float(op.results[0].type):
        return int(_adds_products(op, IntegerType(8)))
    if op.name == "math.fma":
        return 2
    return int(op.name.startswith(("arith.", "math.")))


def _kind(op: Operation) -> str:
    """The arithmetic that a counted op is done in, where the machine has it: a key of `Limits.flops_of`."""
    if not _is_float(op.results[0].type):
        return "int8"
    if _adds_products(op, bf16):
        return "bf16"
    return "f64" if _element(op.results[0].type) == f64 else "f32"


def _adds_products(op: Operation, of: Attribute) -> bool:
    """Whether this is part of a sum of products of such numbers, widened: the product, or the addition."""
    if isinstance(op, arith.AddfOp | arith.AddiOp):
        return any(
            isinstance(v.owner, arith.MulfOp | arith.MuliOp) and _adds_products(v.owner, of) for v in op.operands
        )
    return isinstance(op, arith.MulfOp | arith.MuliOp) and all(
        isinstance(v.owner, arith.ExtFOp | arith.ExtSIOp | arith.ExtUIOp) and v.owner.operands[0].type == of
        for v in op.operands
    )


def _element(t: Attribute) -> Attribute:
    return t.element_type if isinstance(t, VectorType) else t


def _is_float(t: Attribute) -> bool:
    return isinstance(_element(t), AnyFloat)


def _is_read(op: LinalgStructuredOperation, output: SSAValue) -> bool:
    position = len(op.inputs) + list(op.outputs).index(output)
    return bool(op.body.block.args[position].first_use)
