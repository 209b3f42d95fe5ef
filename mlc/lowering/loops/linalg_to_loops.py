"""Any linalg op on memrefs into scalar loops: correct for every op, fast for none.

    linalg.matmul ins(%a, %b) outs(%c)  -->  scf.for %i … { scf.for %j … {
                                               %s = memref.load %c[%i, %j]
                                               %r = scf.for %k … iter_args(%t = %s) { … scf.yield }
                                               memref.store %r, %c[%i, %j] } }

Loops keep the order of the op's iterators, except that reductions go inside the parallel loops, so that each output
element is reduced in the same order as before, in a register. Also `linalg.softmax`, `broadcast`, `reduce` and
`memref.copy`.

What: the fallback for what vectorize-structured leaves. Runs after it; runs before convert-to-llvm.
Tests: tests/lowering/loops/linalg_to_loops.mlir, tests/lowering/loops/test_linalg_to_loops.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, math, memref
from xdsl.dialects.builtin import AnyFloat, FloatAttr, MemRefType, ModuleOp
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg.relayout_ops import SoftmaxOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass
from mlc.lowering.loops.nest import Nest

PARALLEL = "parallel"


@dataclass(frozen=True)
class LinalgToLoops(MlcPass):
    """Scalar loop nests for every linalg op and copy on memrefs."""

    name = "linalg-to-loops"
    contract = Contract(
        level_in="buffers",
        level_out="loops",
        preserves=Bitwise(),
        profile="buffers",
        establishes=("no linalg op and no memref.copy on memrefs is left",),
        nests=True,
        rules={
            "parallel": "a structured op without reductions -> loops",
            "reduction": "a structured op with reductions -> loops, the innermost carrying the sums",
            "softmax": "linalg.softmax -> four loops",
            "broadcast": "linalg.broadcast -> copying loops",
            "reduce": "linalg.reduce -> loops",
            "copy": "memref.copy -> copying loops",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            rule = _rule(op)
            if rule is None or not any(isinstance(v.type, MemRefType) for v in op.operands):
                continue
            kind = op.name.partition(".")[2]
            if isinstance(op, LinalgStructuredOperation):
                kind = "parallel" if all(t.data == PARALLEL for t in op.get_iterator_types()) else "reduction"
            rule(op)
            ctx.remarks.applied(self.name, op, f"{op.name} became scalar loops", rule=kind)
            op.detach()
            op.erase()


def _rule(op: Operation) -> Callable[[Operation], None] | None:
    if op.regions and isinstance(op, LinalgStructuredOperation):
        return _structured
    return _RULES.get(op.name)


@dataclass
class _Spec:
    """A structured computation: operands with maps, outputs last; `body` yields one value per output."""

    operands: Sequence[SSAValue]
    maps: Sequence[AffineMap]
    iterators: Sequence[str]
    outputs: int
    body: Block


def _structured(op: Operation) -> None:
    assert isinstance(op, LinalgStructuredOperation)
    maps = [m.data for m in op.get_indexing_maps()]
    iterators = [str(i.data) for i in op.get_iterator_types()]
    _lower(op, _Spec(list(op.operands), maps, iterators, len(op.outputs), op.body.block))


def _broadcast(op: Operation) -> None:
    assert isinstance(op, linalg.BroadcastOp) and isinstance(op.init.type, MemRefType)
    rank = op.init.type.get_num_dims()
    added = op.dimensions.get_values()
    kept = AffineMap(rank, 0, tuple(AffineDimExpr(d) for d in range(rank) if d not in added))
    maps = [kept, AffineMap.identity(rank)]
    _lower(op, _Spec(list(op.operands), maps, [PARALLEL] * rank, 1, op.hidden_region.block))


def _reduce(op: Operation) -> None:
    assert isinstance(op, linalg.ReduceOp) and isinstance(op.input.type, MemRefType)
    rank = op.input.type.get_num_dims()
    reduced = op.dimensions.get_values()
    kept = AffineMap(rank, 0, tuple(AffineDimExpr(d) for d in range(rank) if d not in reduced))
    iterators = ["reduction" if d in reduced else PARALLEL for d in range(rank)]
    _lower(op, _Spec(list(op.operands), [AffineMap.identity(rank), kept], iterators, 1, op.region.block))


def _copy(op: Operation) -> None:
    assert isinstance(op, memref.CopyOp) and isinstance(op.source.type, MemRefType)
    rank = op.source.type.get_num_dims()
    t = op.source.type.element_type
    body = Block(arg_types=[t, t])
    body.add_op(linalg.YieldOp(body.args[0]))
    maps = [AffineMap.identity(rank)] * 2
    _lower(op, _Spec(list(op.operands), maps, [PARALLEL] * rank, 1, body))


def _dims(map_: AffineMap) -> set[int]:
    return set().union(*(e.used_dims() for e in map_.results)) if map_.results else set()


def _lower(op: Operation, spec: _Spec) -> None:
    """Emit the nest of `spec` before `op`. The body's ops are moved into it."""
    nest = Nest(op)
    count = len(spec.iterators)
    bounds = [_bound(nest, spec, d) for d in range(count)]
    parallel = [d for d in range(count) if spec.iterators[d] == PARALLEL]
    reductions = [d for d in range(count) if spec.iterators[d] != PARALLEL]
    first = len(spec.operands) - spec.outputs
    written = [_dims(m) for m in spec.maps[first:]]
    in_register = bool(reductions) and all(not dims & set(reductions) for dims in written)
    order = [*parallel, *reductions] if in_register else list(range(count))
    ivs: list[SSAValue | None] = [None] * count
    depth = len(parallel) if in_register else count
    for d in order[:depth]:
        ivs[d], _ = nest.loop(bounds[d])
    outs = spec.operands[first:]
    places = [_indices(nest, m, ivs) for m in spec.maps[first:]]
    values = [
        nest.emit(memref.LoadOp.get(out, place)) if arg.uses or in_register else None
        for out, place, arg in zip(outs, places, spec.body.args[first:], strict=True)
    ]
    if in_register:
        carried = [v for v in values if v is not None]
        for d in reductions:
            ivs[d], carried = nest.loop(bounds[d], carried)
        values = list(carried)
    results = _inline(nest, spec, ivs, values)
    if in_register:
        for _ in reductions:
            results = nest.close(results)
    for value, out, place in zip(results, outs, places, strict=True):
        nest.insert(memref.StoreOp.get(value, out, place))
    for _ in range(depth):
        nest.close()


def _bound(nest: Nest, spec: _Spec, dim: int) -> SSAValue:
    """The trip count of loop `dim`, from an operand dimension that it indexes alone, a static one if there is."""
    found: list[tuple[SSAValue, int]] = []
    for operand, m in zip(spec.operands, spec.maps, strict=True):
        for i, expr in enumerate(m.results):
            if isinstance(expr, AffineDimExpr) and expr.position == dim:
                assert isinstance(operand.type, MemRefType)
                if operand.type.get_shape()[i] >= 0:
                    return nest.size(operand, i)
                found.append((operand, i))
    return nest.size(*found[0])


def _indices(nest: Nest, m: AffineMap, ivs: Sequence[SSAValue | None]) -> list[SSAValue]:
    known = [iv for iv in ivs if iv is not None]
    full = known if len(known) == len(ivs) else [iv if iv is not None else nest.constant(0) for iv in ivs]
    return [nest.index(e, full) for e in m.results]


def _inline(
    nest: Nest, spec: _Spec, ivs: Sequence[SSAValue | None], values: Sequence[SSAValue | None]
) -> list[SSAValue]:
    """The body at one point of the nest; what it yields."""
    first = len(spec.operands) - spec.outputs
    for operand, m, arg in zip(spec.operands[:first], spec.maps, spec.body.args, strict=False):
        if not arg.uses:
            continue
        scalar = not isinstance(operand.type, MemRefType)
        arg.replace_all_uses_with(operand if scalar else nest.emit(memref.LoadOp.get(operand, _indices(nest, m, ivs))))
    for arg, value in zip(spec.body.args[first:], values, strict=True):
        if value is not None:
            arg.replace_all_uses_with(value)
    for inner in list(spec.body.walk()):
        if isinstance(inner, linalg.IndexOp) and not _in_other_nest(inner, spec.body):
            iv = ivs[inner.dim.value.data]
            assert iv is not None
            inner.result.replace_all_uses_with(iv)
            inner.detach()
            inner.erase()
    last = spec.body.last_op
    assert last is not None
    results = list(last.operands)
    for inner in list(spec.body.ops):
        if inner is not last:
            location = inner.location
            inner.detach()
            nest.insert(inner)
            inner.location = location
    return results


def _in_other_nest(op: Operation, body: Block) -> bool:
    """Whether a linalg op inside `body` is nearer to `op` than `body` is."""
    block = op.parent_block()
    while block is not None and block is not body:
        parent = block.parent_op()
        if isinstance(parent, LinalgStructuredOperation):
            return True
        block = parent.parent_block() if parent is not None else None
    return False


def _softmax(op: Operation) -> None:
    """Per row: the maximum, the exponentials and their sum, the products with its reciprocal."""
    assert isinstance(op, SoftmaxOp)
    source, out = op.input, op.output
    assert isinstance(source.type, MemRefType)
    element = source.type.element_type
    assert isinstance(element, AnyFloat)
    rank, axis = source.type.get_num_dims(), op.dimension.value.data
    nest = Nest(op)
    bounds = [nest.size(source, d) for d in range(rank)]
    outer = [nest.loop(b)[0] for d, b in enumerate(bounds) if d != axis]
    start = nest.emit(arith.ConstantOp(FloatAttr(float("-inf"), element)))
    zero = nest.emit(arith.ConstantOp(FloatAttr(0.0, element)))

    def at(k: SSAValue) -> list[SSAValue]:
        return [*outer[:axis], k, *outer[axis:]]

    k, (peak,) = nest.loop(bounds[axis], [start])
    value = nest.emit(memref.LoadOp.get(source, at(k)))
    (peak,) = nest.close([nest.emit(arith.MaximumfOp(peak, value))])
    k, (total,) = nest.loop(bounds[axis], [zero])
    value = nest.emit(memref.LoadOp.get(source, at(k)))
    power = nest.emit(math.ExpOp(nest.emit(arith.SubfOp(value, peak))))
    nest.insert(memref.StoreOp.get(power, out, at(k)))
    (total,) = nest.close([nest.emit(arith.AddfOp(total, power))])
    reciprocal = nest.emit(arith.DivfOp(nest.emit(arith.ConstantOp(FloatAttr(1.0, element))), total))
    k, _ = nest.loop(bounds[axis])
    power = nest.emit(memref.LoadOp.get(out, at(k)))
    nest.insert(memref.StoreOp.get(nest.emit(arith.MulfOp(power, reciprocal)), out, at(k)))
    nest.close()
    for _ in outer:
        nest.close()


_RULES: dict[str, Callable[[Operation], None]] = {
    "linalg.softmax": _softmax,
    "linalg.broadcast": _broadcast,
    "linalg.reduce": _reduce,
    "memref.copy": _copy,
}
