"""Questions that every linalg pass asks of an op: is it elementwise, what does its body cost, where values come from.

Nothing here rewrites. Shapes and maps are read from attributes; nothing is printed or parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from xdsl.dialects import arith, cf, math, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AffineMapAttr,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    ShapedType,
    TensorType,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

_CHEAP = (
    arith.AddfOp,
    arith.SubfOp,
    arith.MulfOp,
    arith.NegfOp,
    arith.MaximumfOp,
    arith.MinimumfOp,
    arith.MaxnumfOp,
    arith.MinnumfOp,
    arith.CmpfOp,
    arith.CmpiOp,
    arith.SelectOp,
    arith.AddiOp,
    arith.SubiOp,
    arith.MuliOp,
    arith.AndIOp,
    arith.OrIOp,
    arith.XOrIOp,
    arith.ExtFOp,
    arith.TruncFOp,
    arith.ExtSIOp,
    arith.ExtUIOp,
    arith.TruncIOp,
    arith.IndexCastOp,
    arith.SIToFPOp,
    arith.UIToFPOp,
    math.AbsFOp,
    IndexOp,
)

VIEW_OPS = (tensor.ExpandShapeOp, tensor.CollapseShapeOp, tensor.CastOp)


def shape_of(value: SSAValue | Attribute) -> tuple[int, ...]:
    """Shape of a shaped value or type."""
    ty = value.type if isinstance(value, SSAValue) else value
    assert isinstance(ty, ShapedType)
    return tuple(ty.get_shape())


def is_tensor(value: SSAValue) -> bool:
    """Whether the value is a ranked tensor."""
    return isinstance(value.type, TensorType)


def is_static(value: SSAValue) -> bool:
    """Whether every dimension is known."""
    return DYNAMIC_INDEX not in shape_of(value)


def maps_of(op: LinalgStructuredOperation) -> list[AffineMap]:
    """Indexing maps of inputs and outputs, in order."""
    return [m.data for m in op.get_indexing_maps()]


def iterators_of(op: LinalgStructuredOperation) -> str:
    """`p` for each parallel loop, `r` for each reduction."""
    return "".join("p" if it.data == IteratorType.PARALLEL else "r" for it in op.get_iterator_types())


@lru_cache(maxsize=256)
def iterators(kinds: str) -> ArrayAttr[IteratorTypeAttr]:
    """`"ppr"`: two parallel loops and a reduction."""
    return ArrayAttr(IteratorTypeAttr.parallel() if k == "p" else IteratorTypeAttr.reduction() for k in kinds)


@lru_cache(maxsize=4096)
def dims_map(loops: int, dims: tuple[int, ...]) -> AffineMapAttr:
    """The map that picks loops: `dims_map(3, (0, 2))` is (d0, d1, d2) -> (d0, d2)."""
    return AffineMapAttr(AffineMap(loops, 0, tuple(AffineDimExpr(d) for d in dims)))


def identity_map(rank: int) -> AffineMapAttr:
    """(d0, …) -> (d0, …)."""
    return dims_map(rank, tuple(range(rank)))


def plain_dims(map_: AffineMap) -> tuple[int, ...] | None:
    """The loops a map picks when all its results are bare, distinct loops; otherwise None."""
    dims = tuple(e.position for e in map_.results if isinstance(e, AffineDimExpr))
    return dims if len(dims) == len(map_.results) == len(set(dims)) else None


def is_identity(map_: AffineMap) -> bool:
    """(d0, …, dn) -> (d0, …, dn)."""
    return plain_dims(map_) == tuple(range(map_.num_dims))


def is_elementwise(op: Operation) -> bool:
    """A `linalg.generic` on tensors, all loops parallel, every output written in identity order."""
    if not isinstance(op, GenericOp) or not op.results or "r" in iterators_of(op):
        return False
    return all(is_identity(m) for m in maps_of(op)[len(op.inputs) :])


def is_copy(op: Operation) -> bool:
    """An elementwise generic that only moves data: it yields its one input."""
    return is_elementwise(op) and is_forwarding(op)


def is_forwarding(op: Operation) -> bool:
    """A generic whose body yields an input as it is."""
    assert isinstance(op, GenericOp)
    block = op.body.block
    last = block.last_op
    return (
        len(op.results) == 1
        and block.first_op is last
        and isinstance(last, YieldOp)
        and last.operands[0] in block.args[: len(op.inputs)]
    )


def body_ops(op: GenericOp) -> list[Operation]:
    """Ops of a generic's body without the yield."""
    ops = list(op.body.block.ops)
    return ops[:-1]


def body_cost(op: GenericOp) -> int | None:
    """Cheap arithmetic ops per element, or None when the body holds an expensive or effectful one."""
    cost = 0
    for inner in body_ops(op):
        if isinstance(inner, arith.ConstantOp):
            continue
        if not isinstance(inner, _CHEAP):
            return None
        cost += 1
    return cost


def reads_output(op: LinalgStructuredOperation, index: int = 0) -> bool:
    """Whether the body reads what its output held before."""
    return bool(op.body.block.args[len(op.inputs) + index].uses)


def captured(op: Operation) -> list[SSAValue]:
    """Values from outside that the regions of `op` use, in order of first use."""
    found: dict[SSAValue, None] = {}
    for region in op.regions:
        for inner in region.walk():
            for operand in inner.operands:
                owner = operand.owner
                block = owner if isinstance(owner, Block) else owner.parent_block()
                if block is None or not _inside(block, op):
                    found[operand] = None
    return list(found)


def _inside(block: Block, op: Operation) -> bool:
    current: Operation | None = block.parent_op()
    while current is not None:
        if current is op:
            return True
        current = current.parent_op()
    return False


def inputs_of(op: Operation) -> list[SSAValue]:
    """Operands of `op` and what its regions capture, each once."""
    values = dict.fromkeys(op.operands)
    if op.regions:
        values.update(dict.fromkeys(captured(op)))
    return list(values)


def users(value: SSAValue, block: Block) -> list[Operation]:
    """Ops of `block` that use `value`, themselves or in their regions, each once."""
    found: dict[Operation, None] = {}
    for use in value.uses:
        op = block.find_ancestor_op_in_block(use.operation)
        if op is not None:
            found[op] = None
    return list(found)


def splat_value(value: SSAValue) -> Attribute | SSAValue | None:
    """The scalar that every element of `value` equals: a constant's attribute, or the scalar of a fill or splat."""
    if not isinstance(value, OpResult):
        return None
    op = value.op
    if isinstance(op, arith.ConstantOp):
        attr = op.value
        if not isinstance(attr, DenseIntOrFPElementsAttr):
            return None
        raw, size = attr.data.data, attr.type.element_type.compile_time_size
        return next(attr.iter_attrs()) if raw and raw == raw[:size] * (len(raw) // size) else None
    if isinstance(op, FillOp):
        return op.inputs[0]
    if isinstance(op, tensor.SplatOp):
        return op.input
    if isinstance(op, (tensor.ExpandShapeOp, tensor.CollapseShapeOp)):
        return splat_value(op.src)
    return None


def is_weight(value: SSAValue) -> bool:
    """Whether `value` is a constant tensor that lives in the weight store or is no splat."""
    if not isinstance(value, OpResult) or not isinstance(value.op, arith.ConstantOp) or not is_tensor(value):
        return False
    return isinstance(value.op.value, DenseResourceAttr) or splat_value(value) is None


def is_constant_tensor(value: SSAValue) -> bool:
    """Whether `value` is an `arith.constant` tensor, or a view of one."""
    while isinstance(value, OpResult) and isinstance(value.op, VIEW_OPS):
        value = value.op.operands[0]
    return isinstance(value, OpResult) and isinstance(value.op, arith.ConstantOp) and is_tensor(value)


def has_assert(op: Operation) -> bool:
    """Whether a check sits in the op's regions."""
    return any(isinstance(inner, cf.AssertOp) for inner in op.walk())


def is_pure(op: Operation) -> bool:
    """Whether `op` can go when its results are unused (ops of the linalg level, tensors only)."""
    if isinstance(op, (cf.AssertOp, scf.WhileOp)) or not op.results:
        return False
    if op.name.split(".", 1)[0] not in ("arith", "math", "tensor", "linalg", "linalg_ext", "scf"):
        return False
    return not op.regions or not has_assert(op)


def erase_dead(block: Block) -> int:
    """Erase pure ops of `block` without uses, last first; returns how many."""
    erased = 0
    op = block.last_op
    while op is not None:
        previous = op.prev_op
        if not any(r.first_use for r in op.results) and is_pure(op):
            op.detach()
            op.erase()
            erased += 1
        op = previous
    return erased


def functions_to_lower(ops: Iterable[Operation]) -> Iterator[Block]:
    """Entry blocks of the functions that hold the model: neither kernels nor derived constants."""
    for op in list(ops):
        if op.name != "func.func" or "kernel" in op.attributes or "constant" in op.attributes:
            continue
        region = op.regions[0]
        if len(region.blocks) == 1:
            yield region.block


def is_scalar_loop(op: Operation) -> bool:
    """An `scf.for` that computes on single elements of tensors only, and writes some: a kernel of its own."""
    if not isinstance(op, scf.ForOp) or any(r.uses and not is_tensor(r) for r in op.results):
        return False
    inner = [o for o in op.walk() if o is not op]
    return any(isinstance(o, tensor.InsertOp) for o in inner) and all(
        isinstance(o, (tensor.InsertOp, tensor.ExtractOp)) or o.name.startswith(("arith.", "math.", "scf."))
        for o in inner
        if not (isinstance(o, arith.ConstantOp) and is_tensor(o.result))
    )


def starts_loop(value: SSAValue, op: Operation) -> bool:
    """Whether a loop over single elements carries `value` on, once, and does not read it otherwise."""
    if not isinstance(op, scf.ForOp) or list(op.iter_args).count(value) != 1 or not is_scalar_loop(op):
        return False
    return not any(op.is_ancestor(use.operation) and use.operation is not op for use in value.uses)


def nested_blocks(block: Block) -> Iterator[Block]:
    """`block` and the blocks of `scf` ops in it, inner ones first."""
    for op in list(block.ops):
        if op.name.startswith("scf."):
            for region in op.regions:
                for inner in region.blocks:
                    yield from nested_blocks(inner)
    yield block
