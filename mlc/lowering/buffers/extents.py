"""Sizes and offsets as comparable facts: an int when static, otherwise a small expression over IR values.

    %d = tensor.dim %x, %c0        dim_of(%r, 0), %r computed in the shape of %x  ->  ("dim", %x, 0)
    %s = arith.addi %d, %c16       extent_of(%s)                                  ->  ("arith.addi", ("dim", %x, 0), 16)

Two equal extents are equal at run time, so that slices of dynamic tensors can be compared without canonical IR, and an
extent can be written out again at another place (`Materializer`), for instance at the call of a kernel that needs it.
An i64 is as good as an index (torch-mlir computes sizes in it); other scalar arithmetic on sizes alone is kept as it is
(`Scalar`). Sizes are not negative, which decides most of the comparisons that guard against negative ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects import arith, func, memref, scf, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, AnyFloat, IndexType, IntegerAttr, IntegerType, ShapedType, i64
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, BlockArgument, Operation, OpResult, SSAValue


@dataclass(frozen=True)
class Scalar:
    """A scalar op on sizes that is no index arithmetic: a comparison, a conversion."""

    op: type[Operation]
    properties: tuple[tuple[str, Attribute], ...]
    operands: tuple[Attribute, ...]
    result: Attribute


Extent: TypeAlias = int | SSAValue | tuple["str | Scalar | Extent", ...]
MAX_NODES = 300  # of an extent written out as a tree

_FOLDED = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.minsi": min,
    "arith.maxsi": max,
}
_INDEX_OPS: dict[str, type[Operation]] = {
    op.name: op
    for op in (
        arith.AddiOp,
        arith.SubiOp,
        arith.MuliOp,
        arith.MinSIOp,
        arith.MaxSIOp,
        arith.DivSIOp,
        arith.DivUIOp,
        arith.RemSIOp,
        arith.FloorDivSIOp,
        arith.CeilDivSIOp,
        arith.CeilDivUIOp,
    )
}


def combine(op: str, a: Extent, b: Extent) -> Extent:
    """`a op b`, folded where both are known or one is neutral."""
    if isinstance(a, int) and isinstance(b, int) and op in _FOLDED:
        return _FOLDED[op](a, b)
    if op == "arith.maxsi" and 0 in (a, b) and _not_negative(other := b if a == 0 else a):
        return other
    if op in ("arith.addi", "arith.subi") and b == 0:
        return a
    if op == "arith.addi" and a == 0:
        return b
    if op == "arith.muli" and 1 in (a, b):
        return b if a == 1 else a
    return (op, a, b)


def product(extents: Sequence[Extent]) -> Extent:
    """All of `extents` multiplied."""
    total: Extent = 1
    for e in extents:
        total = combine("arith.muli", total, e)
    return total


def extent_of(value: SSAValue) -> Extent:
    """What is known of an index value."""
    if not isinstance(value, OpResult):
        return value
    op = value.op
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    if isinstance(op, tensor.DimOp | memref.DimOp):
        index = extent_of(op.index)
        return dim_of(op.source, index) if isinstance(index, int) else value
    if op.name in _INDEX_OPS and isinstance(value.type, IndexType):
        return combine(op.name, extent_of(op.operands[0]), extent_of(op.operands[1]))
    found = _scalar_extent(value, {})
    return value if found is None else found[0]


def _scalar_extent(value: SSAValue, known: dict[SSAValue, tuple[Extent, int] | None]) -> tuple[Extent, int] | None:
    """A scalar as an extent, and its number of nodes; None when it depends on more than sizes, indices and
    constants."""
    if value not in known:
        known[value] = None
        known[value] = _scalar_of(value, known)
    return known[value]


def _scalar_of(value: SSAValue, known: dict[SSAValue, tuple[Extent, int] | None]) -> tuple[Extent, int] | None:
    if isinstance(value, BlockArgument) and isinstance(value.type, IndexType):
        return value, 1
    if not isinstance(value, OpResult) or not isinstance(value.type, IndexType | IntegerType | AnyFloat):
        return None
    op = value.op
    if isinstance(op, arith.ConstantOp):
        if _is_size(value.type) and isinstance(op.value, IntegerAttr):
            return op.value.value.data, 1
        return (_node(op),), 1
    if isinstance(op, tensor.DimOp | memref.DimOp):
        index = extent_of(op.index)
        return (dim_of(op.source, index), 1) if isinstance(index, int) else None
    if op.name.partition(".")[0] not in ("arith", "math") or op.regions or len(op.results) != 1:
        return None
    parts = [_scalar_extent(o, known) for o in op.operands]
    if any(p is None for p in parts) or not parts:
        return None
    args = [p[0] for p in parts if p is not None]
    nodes = 1 + sum(p[1] for p in parts if p is not None)
    return (_folded(op, value.type, args), nodes) if nodes <= MAX_NODES else None


def _folded(op: Operation, t: Attribute, args: list[Extent]) -> Extent:
    """The extent of `op` on `args`."""
    if _is_size(t):
        if op.name in _INDEX_OPS:
            return combine(op.name, args[0], args[1])
        if isinstance(op, arith.IndexCastOp) and _is_size(op.input.type):
            return args[0]
        if isinstance(op, arith.ExtUIOp) and args[0] == _FALSE:
            return 0
        if isinstance(op, arith.SelectOp) and args[0] == _FALSE:
            return args[2]
    below_zero = isinstance(op, arith.CmpiOp) and op.predicate.value.data == _SIGNED_LESS and args[1] == 0
    return _FALSE if below_zero and _not_negative(args[0]) else (_node(op), *args)


def _node(op: Operation) -> Scalar:
    return Scalar(type(op), tuple(sorted(op.properties.items())), tuple(op.operand_types), op.results[0].type)


_SIGNED_LESS = 2
_FALSE: Extent = (_node(arith.ConstantOp.from_int_and_width(0, 1)),)


def _is_size(t: Attribute) -> bool:
    return isinstance(t, IndexType) or t == i64


def _not_negative(extent: Extent) -> bool:
    """Whether a size computed so cannot be negative."""
    if isinstance(extent, int):
        return extent >= 0
    if not isinstance(extent, tuple):
        return False
    match extent:
        case ("dim", _, _):
            return True
        case ("arith.addi" | "arith.muli" | "arith.minsi" | "arith.divsi" | "arith.floordivsi", a, b):
            return (
                not isinstance(a, str | Scalar)
                and not isinstance(b, str | Scalar)
                and (_not_negative(a) and _not_negative(b))
            )
        case _:
            return False


def mixed_extents(static: Sequence[int], dynamic: Sequence[SSAValue]) -> tuple[Extent, ...]:
    """A static array with its holes filled from `dynamic`."""
    rest = iter(dynamic)
    return tuple(extent_of(next(rest)) if s == DYNAMIC_INDEX else s for s in static)


def kept_dims(static_sizes: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Dimensions that a rank-reducing slice keeps: unit dimensions are dropped from the front, as upstream does."""
    kept: list[int] = []
    for i, size in enumerate(static_sizes):
        if len(kept) == len(shape):
            break
        want = shape[len(kept)]
        if size == want or (size != 1 and DYNAMIC_INDEX in (size, want)):
            kept.append(i)
    return tuple(kept)


def dims_of(value: SSAValue) -> tuple[Extent, ...]:
    """Every dimension of a shaped value."""
    assert isinstance(value.type, ShapedType)
    return tuple(dim_of(value, i) for i in range(len(value.type.get_shape())))


def dim_of(value: SSAValue, dim: int) -> Extent:
    """The size of dimension `dim` of a tensor or memref, traced back as far as it goes."""
    assert isinstance(value.type, ShapedType)
    size = value.type.get_shape()[dim]
    if size != DYNAMIC_INDEX:
        return size
    if isinstance(value, BlockArgument):
        origin = _carried_from(value)
        return ("dim", value, dim) if origin is None else dim_of(origin, dim)
    assert isinstance(value, OpResult)
    match op := value.op:
        case tensor.EmptyOp() | memref.AllocOp() | memref.AllocaOp():
            holes = [i for i, d in enumerate(value.type.get_shape()) if d == DYNAMIC_INDEX]
            return extent_of(op.dynamic_sizes[holes.index(dim)])
        case LinalgStructuredOperation():
            return dim_of(op.outputs[value.index], dim)
        case func.CallOp():
            return dim_of(op.arguments[len(op.arguments) - len(op.results) + value.index], dim)
        case tensor.InsertSliceOp() | tensor.InsertOp():
            return dim_of(op.dest, dim)
        case tensor.CastOp() | memref.CastOp():
            return dim_of(op.source, dim)
        case tensor.ExtractSliceOp() | memref.SubviewOp():
            sizes = mixed_extents(op.static_sizes.get_values(), op.sizes)
            return sizes[kept_dims(op.static_sizes.get_values(), value.type.get_shape())[dim]]
        case tensor.ExpandShapeOp():
            return mixed_extents(op.static_output_shape.get_values(), op.dynamic_output_shape)[dim]
        case tensor.ReshapeOp() if isinstance(elements := op.shape.owner, tensor.FromElementsOp):
            size = extent_of(elements.elements[dim])
            return size if not isinstance(size, SSAValue) else ("dim", value, dim)
        case scf.ForOp():
            return dim_of(op.iter_args[value.index], dim)
        case scf.WhileOp():
            last = op.before_region.block.last_op
            assert isinstance(last, scf.ConditionOp)
            return dim_of(last.args[value.index], dim)
        case scf.IfOp():
            return _branch_dim(op, value, dim)
        case memref.ExpandShapeOp():
            return mixed_extents(op.static_output_shape.get_values(), op.output_shape)[dim]
        case tensor.CollapseShapeOp() | memref.CollapseShapeOp():
            return product([dim_of(op.src, d.value.data) for d in op.reassociation.data[dim]])
        case _ if op.name.partition(".")[0] in ("arith", "math") and op.operands:
            return dim_of(op.operands[-1], dim)
        case _:
            return ("dim", value, dim)


def _carried_from(arg: BlockArgument) -> SSAValue | None:
    """What a loop's block argument starts from; a carried tensor keeps its size (`bufferize` checks that)."""
    op = arg.block.parent_op()
    if isinstance(op, scf.ForOp) and arg.index:
        return op.iter_args[arg.index - 1]
    if isinstance(op, scf.WhileOp):
        if arg.block is op.before_region.block:
            return op.arguments[arg.index]
        last = op.before_region.block.last_op
        assert isinstance(last, scf.ConditionOp)
        return last.args[arg.index]
    return None


def _branch_dim(op: scf.IfOp, value: OpResult, dim: int) -> Extent:
    found: list[Extent] = []
    for region in (op.true_region, op.false_region):
        last = region.block.last_op
        assert last is not None
        found.append(dim_of(last.operands[value.index], dim))
    return found[0] if found[0] == found[1] else ("dim", value, dim)


class Materializer:
    """Writes extents out as index values, through `insert`; each distinct one once per materializer."""

    def __init__(self, insert: Callable[[Operation], None], dim: Callable[[SSAValue, int], SSAValue]) -> None:
        self._insert = insert
        self._dim = dim
        self._made: dict[Extent, SSAValue] = {}

    def __call__(self, extent: Extent) -> SSAValue:
        if isinstance(extent, SSAValue):
            return extent
        if extent not in self._made:
            self._made[extent] = self._make(extent)
        return self._made[extent]

    def _make(self, extent: int | tuple[str | Scalar | Extent, ...]) -> SSAValue:
        if isinstance(extent, int):
            op: Operation = arith.ConstantOp.from_int_and_width(extent, IndexType())
        elif extent[0] == "dim":
            value, dim = extent[1:]
            assert isinstance(value, SSAValue) and isinstance(dim, int)
            return self._dim(value, dim)
        else:
            name, *args = extent
            operands = [self(a) for a in args if not isinstance(a, str | Scalar)]
            if isinstance(name, Scalar):
                return self._scalar(name, operands)
            assert isinstance(name, str)
            op = _INDEX_OPS[name].create(operands=operands, result_types=[IndexType()])
        self._insert(op)
        return op.results[0]

    def _scalar(self, node: Scalar, operands: list[SSAValue]) -> SSAValue:
        """The op itself; its i64 operands and result are index values here."""
        typed = [self._cast(o, i64) if t == i64 else o for o, t in zip(operands, node.operands, strict=True)]
        op = node.op.create(operands=typed, result_types=[node.result], properties=dict(node.properties))
        self._insert(op)
        result = op.results[0]
        return self._cast(result, IndexType()) if node.result == i64 else result

    def _cast(self, value: SSAValue, t: Attribute) -> SSAValue:
        op = arith.IndexCastOp(value, t)
        self._insert(op)
        return op.result


def leaves(extent: Extent) -> list[SSAValue]:
    """The IR values an extent is made of."""
    if isinstance(extent, SSAValue):
        return [extent]
    if isinstance(extent, int):
        return []
    return [leaf for part in extent if not isinstance(part, str | Scalar) for leaf in leaves(part)]


def substitute(extent: Extent, replace: Callable[[SSAValue], Extent]) -> Extent:
    """`extent` with each IR value in it replaced."""
    if isinstance(extent, SSAValue):
        return replace(extent)
    if isinstance(extent, int):
        return extent
    return tuple(part if isinstance(part, str | Scalar) else substitute(part, replace) for part in extent)
