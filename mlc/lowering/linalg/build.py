"""Builders shared by the linalg passes: each makes one op (or a few), with a location, before a given op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from xdsl.dialects import arith, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AffineMapAttr,
    AnyFloat,
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    TensorType,
    i64,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import FillOp, GenericOp, TransposeOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, OpResult, Region, SSAValue
from xdsl.ir.affine import AffineMap

from mlc.dialects.linalg.relayout_ops import PackOp, SoftmaxOp, UnPackOp
from mlc.lowering.linalg.structure import identity_map, iterators, shape_of

OpT = TypeVar("OpT", bound=Operation)
Groups = Sequence[Sequence[int]]


class At:
    """An insertion point: new ops go before `op` and get `location` (by default the op's)."""

    def __init__(self, op: Operation, location: LocationAttr | None = None) -> None:
        block = op.parent_block()
        assert block is not None
        self.block, self.op = block, op
        self.location = op.location if location is None else location

    def add(self, op: OpT) -> OpT:
        op.location = self.location
        self.block.insert_op_before(op, self.op)
        return op

    def index(self, value: int) -> SSAValue:
        return self.add(arith.ConstantOp(IntegerAttr.from_index_int_value(value))).result

    def scalar(self, value: float, ty: Attribute) -> SSAValue:
        """A number of a float or integer type."""
        if isinstance(ty, AnyFloat):
            return self.add(arith.ConstantOp(FloatAttr(value, ty))).result
        assert isinstance(ty, IntegerType)
        return self.add(arith.ConstantOp(IntegerAttr(int(value), ty))).result

    def dim(self, value: SSAValue, dim: int) -> SSAValue:
        """Size of a dynamic dimension: the value that was given for it, or a `tensor.dim` of where it came from."""
        known = size_given(value, dim)
        if isinstance(known, tuple):
            return self.add(tensor.DimOp(known[0], self.index(known[1]))).result
        return known

    def empty(self, shape: Sequence[int | SSAValue], element: Attribute) -> SSAValue:
        static = [d if isinstance(d, int) else DYNAMIC_INDEX for d in shape]
        ty = TensorType(element, static)
        return self.add(tensor.EmptyOp([d for d in shape if isinstance(d, SSAValue)], ty)).tensor

    def sizes(self, value: SSAValue) -> list[int | SSAValue]:
        """All sizes of a tensor, dynamic ones as values."""
        return [d if d != DYNAMIC_INDEX else self.dim(value, i) for i, d in enumerate(shape_of(value))]

    def empty_like(self, value: SSAValue) -> SSAValue:
        assert isinstance(value.type, TensorType)
        return self.empty(self.sizes(value), value.type.element_type)

    def fill(self, scalar: SSAValue, dest: SSAValue) -> SSAValue:
        return self.add(FillOp([scalar], [dest])).res[0]

    def generic(
        self,
        ins: Sequence[tuple[SSAValue, AffineMapAttr]],
        outs: Sequence[tuple[SSAValue, AffineMapAttr]],
        kinds: str,
        body: Callable[..., SSAValue],
    ) -> SSAValue:
        """`linalg.generic` with one result; `body(builder, *scalars)` makes the body and returns what it yields."""
        operands = [v for v, _ in (*ins, *outs)]
        block = Block(arg_types=[element_type(v) for v in operands])
        inner = Body(block, self.location)
        inner.add(YieldOp(body(inner, *block.args)))
        return self.add(
            GenericOp(
                [v for v, _ in ins],
                [v for v, _ in outs],
                Region(block),
                [m for _, m in (*ins, *outs)],
                iterators(kinds),
                [v.type for v, _ in outs],
            )
        ).results[0]

    def transpose(self, value: SSAValue, permutation: Sequence[int]) -> SSAValue:
        sizes = self.sizes(value)
        out = self.empty([sizes[p] for p in permutation], element_type(value))
        return self.add(TransposeOp(value, out, DenseArrayBase.from_list(i64, list(permutation)))).res[0]

    def pad(self, op: tensor.PadOp, source: SSAValue, value: SSAValue) -> SSAValue:
        """`source` padded as `op` pads its own, with `value`."""
        element = element_type(source)
        block = Block(arg_types=[a.type for a in op.region.block.args])
        Body(block, self.location).add(tensor.YieldOp(value))
        result = TensorType(element, shape_of(op.result))
        low, high = op.static_low.get_values(), op.static_high.get_values()
        return self.add(
            tensor.PadOp(source, list(op.low), list(op.high), Region(block), low, high, result, op.nofold)
        ).result

    def concat(self, op: tensor.ConcatOp, inputs: Sequence[SSAValue]) -> SSAValue:
        """`inputs` joined as `op` joins its own."""
        result = TensorType(element_type(inputs[0]), shape_of(op.result))
        return self.add(
            tensor.ConcatOp.build(operands=[list(inputs)], properties={"dim": op.dim}, result_types=[result])
        ).result

    def cast(self, value: SSAValue, ty: TensorType) -> SSAValue:
        """The same tensor under a type that knows more or fewer of its sizes."""
        return value if value.type == ty else self.add(tensor.CastOp(value, ty)).dest

    def collapse(self, value: SSAValue, groups: Groups) -> SSAValue:
        """Merge neighbouring dimensions; `groups` may be empty for a 0-d result."""
        shape = shape_of(value)
        merged: list[int] = []
        for g in groups:
            size = 1
            for d in g:
                size = DYNAMIC_INDEX if DYNAMIC_INDEX in (size, shape[d]) else size * shape[d]
            merged.append(size)
        return self.add(
            tensor.CollapseShapeOp.build(
                operands=[value],
                properties={"reassociation": reassociation(groups)},
                result_types=[TensorType(element_type(value), merged)],
            )
        ).result

    def expand(self, value: SSAValue, groups: Groups, shape: Sequence[int | SSAValue]) -> SSAValue:
        """Split dimensions: dimension i of `value` becomes the dimensions `groups[i]` of `shape`."""
        static = [d if isinstance(d, int) else DYNAMIC_INDEX for d in shape]
        dynamic = [d for d in shape if isinstance(d, SSAValue)]
        ty = TensorType(element_type(value), static)
        return self.add(tensor.ExpandShapeOp(value, dynamic, reassociation(groups), static, ty)).result


class Body:
    """Builds into a body block."""

    def __init__(self, block: Block, location: LocationAttr) -> None:
        self.block, self.location = block, location

    def add(self, op: OpT) -> OpT:
        op.location = self.location
        self.block.add_op(op)
        return op

    def number(self, value: int, ty: IntegerType) -> SSAValue:
        """An integer constant."""
        return self.add(arith.ConstantOp(IntegerAttr(value, ty))).result

    def op(self, cls: Callable[..., Operation], *operands: SSAValue | Attribute) -> SSAValue:
        """`cls(*operands)` and its result."""
        return self.add(cls(*operands)).results[0]


def behind(value: SSAValue, location: LocationAttr | None = None) -> At:
    """Where ops on `value` may stand first: right behind what makes it, outside of loops around those that read it.
    `location`: of the ops; left out, that of what makes `value`."""
    owner = value.owner
    following = owner.next_op if isinstance(owner, Operation) else owner.first_op
    assert following is not None
    return At(following, owner.location if location is None and isinstance(owner, Operation) else location)


def pads_with_zeros(op: tensor.PadOp) -> bool:
    """Whether the padding is +0.0."""
    last = op.region.block.last_op
    return last is not None and is_zero(last.operands[0])


def is_zero(value: SSAValue | None) -> bool:
    """Whether `value` is the constant +0.0."""
    constant = value.owner if value is not None else None
    return (
        isinstance(constant, arith.ConstantOp)
        and isinstance(constant.value, FloatAttr)
        and str(constant.value.value.data) == "0.0"  # not -0.0
    )


def converted(at: At, value: SSAValue, kind: type[Operation], element: Attribute) -> SSAValue:
    """`value` with `kind`, a cast to `element`, of each of its elements."""
    same = identity_map(len(shape_of(value)))
    out = at.empty(at.sizes(value), element)
    kinds = "p" * len(shape_of(value))
    return at.generic([(value, same)], [(out, same)], kinds, lambda body, x, _: body.op(kind, x, element))


def size_given(value: SSAValue, dim: int) -> SSAValue | tuple[SSAValue, int]:
    """A dynamic size as the index value it was made with, or as a dimension of the first tensor that has it.

    Asking the result of an op for its size would count as a reader of it.
    """
    while isinstance(value, OpResult):
        op = value.op
        match op:
            case tensor.EmptyOp():
                holes = [d for d, n in enumerate(shape_of(value)) if n == DYNAMIC_INDEX]
                return op.dynamic_sizes[holes.index(dim)]
            case tensor.ExpandShapeOp():
                holes = [d for d, n in enumerate(shape_of(value)) if n == DYNAMIC_INDEX]
                return op.dynamic_output_shape[holes.index(dim)]
            case LinalgStructuredOperation():
                value = op.outputs[value.index]
            case tensor.InsertSliceOp() | tensor.InsertOp() | PackOp() | UnPackOp():
                value = op.dest
            case scf.ForOp():
                value = op.iter_args[value.index]  # a carried tensor keeps its size
            case SoftmaxOp():
                value = op.output
            case TransposeOp():
                value = op.operands[1]
            case tensor.CollapseShapeOp() if len(group := groups_of(op)[dim]) == 1:
                value, dim = op.src, group[0]
            case tensor.CastOp():
                if shape_of(op.source)[dim] != DYNAMIC_INDEX:
                    break
                value = op.source
            case _ if op.name.partition(".")[0] in ("arith", "math") and op.operands:
                value = op.operands[-1]  # elementwise on whole tensors; a condition stands first
            case _:
                break
    return value, dim


def element_type(value: SSAValue) -> Attribute:
    """Element type of a tensor, the type itself of a scalar."""
    return value.type.element_type if isinstance(value.type, TensorType) else value.type


def reassociation(groups: Groups) -> ArrayAttr[ArrayAttr[IntegerAttr]]:
    """The attribute of expand_shape and collapse_shape."""
    return ArrayAttr(ArrayAttr(IntegerAttr(d, i64) for d in g) for g in groups)


def groups_of(op: tensor.ExpandShapeOp | tensor.CollapseShapeOp) -> list[tuple[int, ...]]:
    """Reassociation of a reshape as plain numbers."""
    return [tuple(i.value.data for i in group) for group in op.reassociation]  # pyright: ignore[reportGeneralTypeIssues]


def map_attr(map_: AffineMap) -> AffineMapAttr:
    """The attribute of a map."""
    return AffineMapAttr(map_)
