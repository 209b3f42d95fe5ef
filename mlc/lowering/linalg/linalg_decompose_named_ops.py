"""Turn named linalg ops into `linalg.generic`, softmax into its four steps, packs and tensor.reshape into views.

    %r = linalg.softmax dimension(1) ins(%x) outs(%o)   -->   %m = max of rows, %e = exp(%x - %m),
                                                              %s = 1 / sum of rows of %e, %r = %e * %s

What: after the passes that want to see names (layouts, packing), the rest of the pipeline knows one structured op.
`linalg.fill` stays.
Runs after: linalg-block-layouts, linalg-pack-matmul, linalg-hoist-constants (the functions of derived constants keep
their named ops). Runs before: linalg-fuse-elementwise.
Tests: tests/lowering/linalg/linalg_decompose_named_ops.mlir
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.dialects import arith, math, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, AnyFloat, FloatAttr, IndexType, ModuleOp, TensorType
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import BroadcastOp, FillOp, GenericOp, ReduceOp, TransposeOp
from xdsl.dialects.utils.fast_math import FastMathFlag
from xdsl.ir import Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp, SoftmaxOp, UnPackOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, Body, element_type
from mlc.lowering.linalg.structure import dims_map, functions_to_lower, identity_map, iterators, shape_of
from mlc.lowering.linalg.unfold_packs import is_foldable, transposed_copy, unfold_pack, unfold_unpack


@dataclass(frozen=True)
class LinalgDecomposeNamedOps(MlcPass):
    name = "linalg-decompose-named-ops"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-named",
        establishes=("structured ops of the model are linalg.generic or linalg.fill",),
        nests=True,
        rules={
            "transpose": "linalg.transpose -> a copying generic",
            "structured": "any named structured op -> generic",
            "softmax": "linalg.softmax -> maximum, exp, reciprocal of the sum, product",
            "pack": "linalg.pack -> pad, expand, copying generic",
            "unpack": "linalg.unpack -> copying generic, collapse, slice",
            "broadcast": "linalg.broadcast -> a copying generic",
            "reduce": "linalg.reduce -> generic",
            "reshape": "tensor.reshape of a computed shape -> collapse to a row, then expand",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for op in list(entry.walk()):
                if rule := _generalize(op):
                    ctx.remarks.applied(self.name, op, "made generic", rule=rule)


def _generalize(op: Operation) -> str:
    """Replace a named op; the rule that did it, empty when none fits."""
    if isinstance(op, (GenericOp, FillOp)):
        return ""
    if isinstance(op, TransposeOp) and op.res:
        _replace(op, [transposed_copy(At(op), op.inputs[0], op.permutation.get_values())])
        return "transpose"
    if isinstance(op, LinalgStructuredOperation):
        new = GenericOp(
            list(op.inputs),
            list(op.outputs),
            op.detach_region(0),
            op.get_indexing_maps(),
            op.get_iterator_types(),
            [r.type for r in op.res],
        )
        for inner in new.body.block.ops:
            inner.location = op.location
        _replace(op, list(At(op).add(new).results))
        return "structured"
    if isinstance(op, SoftmaxOp):
        _replace(op, [_softmax(op)])
        return "softmax"
    if isinstance(op, (PackOp, UnPackOp)):
        if not is_foldable(op):
            return ""
        _replace(op, [unfold_pack(op) if isinstance(op, PackOp) else unfold_unpack(op)])
        return "pack" if isinstance(op, PackOp) else "unpack"
    if isinstance(op, BroadcastOp):
        added = set(op.dimensions.get_values())
        rank = len(shape_of(op.init))
        read = dims_map(rank, tuple(d for d in range(rank) if d not in added))
        value = At(op).generic([(op.input, read)], [(op.init, identity_map(rank))], "p" * rank, lambda body, x, out: x)
        _replace(op, [value])
        return "broadcast"
    if isinstance(op, tensor.ReshapeOp):
        _replace(op, [_reshape(op)])
        return "reshape"
    if isinstance(op, ReduceOp):
        _replace(op, [_reduce(op)])
        return "reduce"
    return ""


def _replace(op: Operation, values: list[SSAValue]) -> None:
    for old, new in zip(op.results, values, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    op.detach()
    op.erase()


def _reshape(op: tensor.ReshapeOp) -> SSAValue:
    """All elements in one row, then taken apart into the sizes that the shape operand holds."""
    at = At(op)
    result = op.result.type
    assert isinstance(result, TensorType)
    row = op.source
    rank = len(shape_of(row))
    if rank == 0:
        row = at.expand(row, [], [1])
    elif rank > 1:
        row = at.collapse(row, [range(rank)])
    if not shape_of(op.result):
        return at.collapse(at.cast(row, TensorType(result.element_type, [1])), [])
    sizes = [d if d != DYNAMIC_INDEX else _size(at, op.shape, i) for i, d in enumerate(shape_of(op.result))]
    if len(sizes) == 1:
        return at.cast(row, result)
    if DYNAMIC_INDEX not in shape_of(op.result):  # a view of static sizes is made of a row of static size
        row = at.cast(row, TensorType(result.element_type, [prod(result.get_shape())]))
    return at.expand(row, [range(len(sizes))], sizes)


def _size(at: At, shape: SSAValue, i: int) -> SSAValue:
    """Element i of a shape tensor as an index."""
    elements = shape.owner
    if isinstance(elements, tensor.FromElementsOp):
        size = elements.elements[i]
    else:
        size = at.add(tensor.ExtractOp(shape, [at.index(i)], element_type(shape))).result
    return size if isinstance(size.type, IndexType) else at.add(arith.IndexCastOp(size, IndexType())).result


def _reduce(op: ReduceOp) -> SSAValue:
    reduced = set(op.dimensions.get_values())
    rank = len(shape_of(op.input))
    kinds = "".join("r" if d in reduced else "p" for d in range(rank))
    generic = GenericOp(
        [op.input],
        [op.init],
        op.detach_region(0),
        [identity_map(rank), dims_map(rank, tuple(d for d in range(rank) if d not in reduced))],
        iterators(kinds),
        [r.type for r in op.result],
    )
    return At(op).add(generic).results[0]


def _softmax(op: SoftmaxOp) -> SSAValue:
    at = At(op)
    x, dim = op.input, op.dimension.value.data
    rank = len(shape_of(x))
    kept = tuple(d for d in range(rank) if d != dim)
    full, rows = identity_map(rank), dims_map(rank, kept)
    kinds = "".join("r" if d == dim else "p" for d in range(rank))
    element = element_type(x)
    assert isinstance(element, AnyFloat)
    sizes = at.sizes(x)
    row_sizes = [sizes[d] for d in kept]

    def start(value: float) -> SSAValue:
        return at.fill(at.scalar(value, element), at.empty(row_sizes, element))

    def exp_shifted(body: Body, value: SSAValue, largest: SSAValue, _: SSAValue) -> SSAValue:
        """The difference is at most zero; said so, exp takes fewer steps."""
        zero = body.op(arith.ConstantOp, FloatAttr(0.0, element))
        return body.op(math.ExpOp, body.op(arith.MinimumfOp, body.op(arith.SubfOp, value, largest), zero))

    # the sign of a zero is lost in the difference, and looking at it takes half of the maximum's time
    largest = at.generic(
        [(x, full)],
        [(start(float("-inf")), rows)],
        kinds,
        lambda body, v, acc: body.op(arith.MaximumfOp, v, acc, arith.FastMathFlagsAttr([FastMathFlag.NO_SIGNED_ZEROS])),
    )
    powers = at.generic([(x, full), (largest, rows)], [(at.empty(sizes, element), full)], "p" * rank, exp_shifted)
    total = at.generic(
        [(powers, full)], [(start(0.0), rows)], kinds, lambda body, v, acc: body.op(arith.AddfOp, v, acc)
    )
    each = identity_map(rank - 1)
    reciprocal = at.generic(
        [(total, each)],
        [(at.empty(row_sizes, element), each)],
        "p" * (rank - 1),
        lambda body, s, _: body.op(arith.DivfOp, body.op(arith.ConstantOp, FloatAttr(1.0, element)), s),
    )
    return at.generic(
        [(powers, full), (reciprocal, rows)],
        [(op.output, full)],
        "p" * rank,
        lambda body, v, r, _: body.op(arith.MulfOp, v, r),
    )
