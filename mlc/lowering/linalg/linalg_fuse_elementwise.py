"""Fuse elementwise `linalg.generic`s into the generics that read them.

    %m = linalg.generic ins(%a, %s) { mulf }               %r = linalg.generic ins(%a, %s, %b) { mulf; addf }
    %r = linalg.generic ins(%m, %b) { addf }        -->

What: a producer whose loops are all parallel moves into a consumer (elementwise, or a reduction of elementwise
terms), its indexing maps composed with the consumer's, so broadcasts and transposes go through. Splat constants
become scalars in the body. A producer with several readers is copied into all of them when it is cheap and has one
full-size input; expensive arithmetic is never computed twice. A producer that can be the epilogue of a contraction
or convolution stays whole where fusing would tear it away from it.
Runs after: linalg-hoist-constants (constant expressions are gone). Runs before: linalg-form-kernels.
Tests: tests/lowering/linalg/linalg_fuse_elementwise.mlir, tests/lowering/linalg/test_linalg_numerics.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import AffineMapAttr, IntegerAttr, ModuleOp
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp, YieldOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, OpResult, Region, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.structure import (
    body_cost,
    erase_dead,
    functions_to_lower,
    has_assert,
    is_elementwise,
    is_forwarding,
    is_identity,
    iterators_of,
    maps_of,
    nested_blocks,
    plain_dims,
    reads_output,
    shape_of,
    splat_value,
    users,
)

_MAX_COPIES = 4
_MAX_COST = 4
_MAX_INPUTS = 24


@dataclass(frozen=True)
class LinalgFuseElementwise(MlcPass):
    name = "linalg-fuse-elementwise"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-fusion",
        establishes=("no elementwise generic feeds only one other elementwise generic through a composable map",),
        nests=True,
        rules={
            "inline-splat": "an input that holds one value -> a scalar of the body",
            "fuse-elementwise": "an elementwise producer with one reader -> inside an elementwise reader",
            "fuse-into-reduction": "an elementwise producer with one reader -> inside a reduction",
            "copy-into-readers": "a cheap producer with several readers -> a copy inside each",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                _Fusion(ctx, self.name).run(block)


class _Fusion:
    def __init__(self, ctx: MlcContext, pass_name: str) -> None:
        self.remarks = ctx.remarks
        self.pass_name = pass_name

    def run(self, block: Block) -> None:
        erase_dead(block)  # a dead reader would keep its producer from fusing
        op = block.first_op
        while op is not None:
            following = op.next_op
            if isinstance(op, GenericOp) and op.results:
                plain = inline_splats(op)
                if plain is not op:
                    self.remarks.count(self.pass_name, "inline-splat")
                op = plain
                while (found := self._producer(op, block)) is not None:
                    op = self._fuse(op, found)
            op = following
        erase_dead(block)

    def _producer(self, consumer: GenericOp, block: Block) -> GenericOp | None:
        if not _may_absorb(consumer):
            return None
        for value in dict.fromkeys(consumer.inputs):
            if not isinstance(value, OpResult) or value.op.parent_block() is not block:
                continue
            producer = value.op
            if not isinstance(producer, GenericOp) or not is_elementwise(producer) or len(producer.results) != 1:
                continue
            reason = self._objection(producer, consumer, value, block)
            if reason is None:
                return producer
            self.remarks.missed(self.pass_name, consumer, "elementwise producer not fused", reason=reason)
        return None

    def _objection(self, producer: GenericOp, consumer: GenericOp, value: SSAValue, block: Block) -> str | None:
        """Why `producer` must stay, or None when it may move into `consumer`."""
        if reads_output(producer):
            return "producer reads its output"
        if has_assert(producer):
            return "producer holds a check"
        if any(v is value for v in consumer.outputs):
            return "consumer updates the producer's result"
        if any(use.operation.parent_op() is consumer for use in value.uses):
            return "the consumer takes elements of it by position, too"
        maps = maps_of(consumer)
        reads = [m for v, m in zip(consumer.inputs, maps, strict=False) if v is value]
        if any(not _composable(m) for m in reads):
            return "consumer reads through a window"
        forwarding = is_forwarding(producer)
        loops = maps[0].num_dims
        if not forwarding:
            if any(len(set(d for d in plain_or_empty(m))) < loops for m in reads) and not _unit_elsewhere(
                consumer, reads
            ):
                return "the value is broadcast: fusing would compute it again"
            if _is_epilogue(producer, block):
                if not is_elementwise(consumer) or any(not is_identity(m) for m in reads):
                    return "the producer is the epilogue of its root"
            elif any(m.results and m.results[-1] != AffineDimExpr(loops - 1) for m in reads):
                return "the value is read across its rows"
        readers = users(value, block)
        if len(readers) > 1 and not forwarding:
            cost = body_cost(producer)
            if cost is None:
                return "several readers and the arithmetic is expensive"
            if cost > _MAX_COST or len(readers) > _MAX_COPIES or _full_inputs(producer) > 1:
                return "several readers and computing it again costs more than reading it"
            if _is_epilogue(producer, block):
                return "several readers and the producer is the epilogue of its root"
            if any(not isinstance(r, GenericOp) or not _may_absorb(r) for r in readers):
                return "not every reader can take it"
        if len(readers) > 1 and forwarding and any(not isinstance(r, GenericOp) for r in readers):
            return "not every reader can take it"
        if len(consumer.inputs) + len(producer.inputs) > _MAX_INPUTS:
            return "too many inputs"
        if not _loops_stay_known(producer, consumer, value):
            return "the producer alone tells a loop's size"
        return None

    def _fuse(self, consumer: GenericOp, producer: GenericOp) -> GenericOp:
        rule = "fuse-elementwise" if is_elementwise(consumer) else "fuse-into-reduction"
        if len(users(producer.results[0], _block_of(consumer))) > 1:
            rule = "copy-into-readers"
        fused = fuse(producer, consumer)
        self.remarks.applied(self.pass_name, fused, "fused an elementwise producer", rule=rule)
        return fused


def plain_or_empty(map_: AffineMap) -> tuple[int, ...]:
    """The loops a composable map picks, unit dimensions aside."""
    return tuple(e.position for e in map_.results if isinstance(e, AffineDimExpr))


def _composable(map_: AffineMap) -> bool:
    dims = [e.position for e in map_.results if isinstance(e, AffineDimExpr)]
    rest = [e for e in map_.results if not isinstance(e, AffineDimExpr)]
    return len(dims) == len(set(dims)) and all(isinstance(e, AffineConstantExpr) and e.value == 0 for e in rest)


def _unit_elsewhere(consumer: GenericOp, reads: Sequence[AffineMap]) -> bool:
    """Whether every loop that a read skips runs once."""
    extents = loop_extents(consumer)
    return all(extents[d] == 1 for m in reads for d in range(m.num_dims) if d not in plain_or_empty(m))


def loop_extents(op: GenericOp) -> list[int]:
    """Size of each loop, -1 where it is dynamic."""
    maps = maps_of(op)
    extents = [-1] * maps[0].num_dims
    for value, map_ in zip(op.operands, maps, strict=True):
        if not map_.results:
            continue
        for size, expr in zip(shape_of(value), map_.results, strict=True):
            if isinstance(expr, AffineDimExpr) and size >= 0:
                extents[expr.position] = size
    return extents


def _may_absorb(op: GenericOp) -> bool:
    """Elementwise, or a reduction whose inputs are each read once per loop (no contraction, no window)."""
    if is_elementwise(op):
        return True
    maps = maps_of(op)
    inputs = maps[: len(op.inputs)]
    if "r" not in iterators_of(op) or any(plain_dims(m) is None and m.results for m in inputs):
        return False
    if any(plain_dims(m) is None for m in maps[len(op.inputs) :]):
        return False
    return not is_contraction(op)


def is_contraction(op: GenericOp) -> bool:
    """A sum of products of two inputs that each miss a loop the other has."""
    if len(op.inputs) < 2 or "r" not in iterators_of(op):
        return False
    loops = maps_of(op)[0].num_dims
    used = [m.used_dims() for m in maps_of(op)[: len(op.inputs)]]
    return sum(len(u) < loops for u in used) >= 2 and not any(len(u) == loops for u in used)


def _full_inputs(producer: GenericOp) -> int:
    """Inputs as large as the result."""
    loops = maps_of(producer)[0].num_dims
    return sum(len(m.results) == loops for m in maps_of(producer)[: len(producer.inputs)])


def _is_epilogue(producer: GenericOp, block: Block) -> bool:
    """Whether `producer` can be computed in place on the result of a root: a structured op that is not elementwise."""
    for value, map_ in zip(producer.inputs, maps_of(producer), strict=False):
        if not isinstance(value, OpResult) or not is_identity(map_) or len(users(value, block)) != 1:
            continue
        root = value.op
        if (
            root.name.startswith(("linalg.", "linalg_ext."))
            and not isinstance(root, FillOp)
            and not is_elementwise(root)
        ):
            return True
    return False


def _loops_stay_known(producer: GenericOp, consumer: GenericOp, value: SSAValue) -> bool:
    """Whether every loop of `consumer` still is a bare result of some map once `value` is gone."""
    known: set[int] = set()
    for operand, map_ in zip(consumer.operands, maps_of(consumer), strict=True):
        if operand is not value:
            known.update(plain_or_empty(map_))
        else:
            for composed in _composed(producer, map_):
                known.update(plain_or_empty(composed))
    return len(known) == maps_of(consumer)[0].num_dims


def _composed(producer: GenericOp, read: AffineMap) -> list[AffineMap]:
    """The producer's input maps over the consumer's loops (its output map is the identity)."""
    return [
        AffineMap(read.num_dims, 0, tuple(_substitute(e, read.results) for e in m.results))
        for m in maps_of(producer)[: len(producer.inputs)]
    ]


def _substitute(expr: AffineExpr, dims: Sequence[AffineExpr]) -> AffineExpr:
    if isinstance(expr, AffineDimExpr):
        return dims[expr.position]
    return expr.replace_dims_and_symbols(dims, ())


def fuse(producer: GenericOp, consumer: GenericOp) -> GenericOp:
    """`consumer` with every read of `producer`'s result replaced by the producer's body. The caller checked legality.

    The consumer is replaced; the producer is erased when nothing reads it any more.
    """
    value = producer.results[0]
    reads = [m for v, m in zip(consumer.inputs, maps_of(consumer), strict=False) if v is value]
    final_read = list(dict.fromkeys(reads))[-1]
    last_use = len(users(value, _block_of(consumer))) == 1
    operands = list(zip(consumer.inputs, maps_of(consumer), strict=False))
    region = consumer.detach_region(0)
    body = region.block
    first = body.first_op
    assert first is not None
    inputs: list[tuple[SSAValue, AffineMap]] = []
    argument: dict[tuple[SSAValue, AffineMap], BlockArgument] = {}
    results: dict[AffineMap, SSAValue] = {}
    for (operand, map_), arg in zip(operands, list(body.args), strict=False):
        if operand is not value:
            if (operand, map_) in argument:
                arg.replace_all_uses_with(argument[operand, map_])
                body.erase_arg(arg)
            else:
                argument[operand, map_] = arg
                inputs.append((operand, map_))
            continue
        if map_ not in results:
            values: dict[SSAValue, SSAValue] = {}
            for source, inner, read in zip(
                producer.inputs, producer.body.block.args, _composed(producer, map_), strict=False
            ):
                if (source, read) not in argument:
                    argument[source, read] = body.insert_arg(inner.type, arg.index)
                    inputs.append((source, read))
                values[inner] = argument[source, read]
            results[map_] = _inline_body(producer, values, map_, first, last_use and map_ == final_read)
        arg.replace_all_uses_with(results[map_])
        body.erase_arg(arg)
    location = fuse_locations([consumer.location, producer.location])
    fused = _rebuild(consumer, [v for v, _ in inputs], [m for _, m in inputs], region, location)
    if last_use:
        producer.detach()
        producer.erase()
    return fused


def _block_of(op: Operation) -> Block:
    block = op.parent_block()
    assert block is not None
    return block


def _inline_body(
    producer: GenericOp, values: dict[SSAValue, SSAValue], read: AffineMap, before: Operation, move: bool
) -> SSAValue:
    """Put the producer's body before `before`; returns what it yields. Moves the ops where the producer goes away."""
    source = producer.body.block
    target = _block_of(before)
    if move:
        for arg, new in values.items():
            arg.replace_all_uses_with(new)
    result: SSAValue | None = None
    for op in list(source.ops):
        if isinstance(op, YieldOp):
            result = op.operands[0]
            result = values.get(result, result)
            break
        if isinstance(op, IndexOp):
            index = _index(read.results[op.dim.value.data])
            index.location = op.location
            target.insert_op_before(index, before)
            if move:
                op.result.replace_all_uses_with(index.results[0])
            values[op.result] = index.results[0]
        elif move:
            op.detach()
            target.insert_op_before(op, before)
        else:
            copy = op.clone(values)
            values.update(zip(op.results, copy.results, strict=True))
            target.insert_op_before(copy, before)
    assert result is not None
    return values.get(result, result)


def _index(expr: AffineExpr) -> Operation:
    if isinstance(expr, AffineDimExpr):
        return IndexOp(expr.position)
    assert isinstance(expr, AffineConstantExpr)
    return arith.ConstantOp(IntegerAttr.from_index_int_value(expr.value))


def _rebuild(
    op: GenericOp, inputs: Sequence[SSAValue], maps: Sequence[AffineMap], region: Region, location: Attribute
) -> GenericOp:
    """`op` with other inputs and this body, in its place."""
    new = GenericOp(
        list(inputs),
        list(op.outputs),
        region,
        [*(AffineMapAttr(m) for m in maps), *op.indexing_maps.data[len(op.inputs) :]],
        op.iterator_types,
        [r.type for r in op.results],
    )
    new.attributes.update(op.attributes)
    new.location = location  # pyright: ignore[reportAttributeAccessIssue]
    block = _block_of(op)
    block.insert_op_before(new, op)
    for old, result in zip(op.results, new.results, strict=True):
        result.name_hint = old.name_hint
        old.replace_all_uses_with(result)
    op.detach()
    op.erase()
    return new


def inline_splats(op: GenericOp) -> GenericOp:
    """Inputs that hold one value everywhere become scalars of the body, unless a loop's size hangs on them."""
    maps = maps_of(op)
    splats = {i: s for i, v in enumerate(op.inputs) if (s := splat_value(v)) is not None}
    if not splats:
        return op
    known: set[int] = set()
    for i, map_ in enumerate(maps):
        if i not in splats:
            known.update(plain_or_empty(map_))
    if len(known) < maps[0].num_dims:
        return op
    region = op.detach_region(0)
    body = region.block
    first = body.first_op
    assert first is not None
    args = [body.args[i] for i in splats]
    for arg, scalar in zip(args, splats.values(), strict=True):
        if isinstance(scalar, Attribute):
            constant = arith.ConstantOp(scalar)  # pyright: ignore[reportArgumentType]
            constant.location = op.location
            body.insert_op_before(constant, first)
            scalar = constant.result
        arg.replace_all_uses_with(scalar)
        body.erase_arg(arg)
    keep = [i for i in range(len(op.inputs)) if i not in splats]
    return _rebuild(op, [op.inputs[i] for i in keep], [maps[i] for i in keep], region, op.location)
