"""Which ops of a block become one kernel.

    fill, conv, bias+relu, add      ->  one group: a root and its elementwise epilogue
    sum, /n, sum of squares, norm   ->  one group: reductions over the same rows and what joins them
    scf.for over single elements    ->  a group of its own (a sort, a scatter)
    h, a copy of h elsewhere        ->  one group, though others read h too: what is in registers is stored twice
    anything else                   ->  a group of its own

A group is emitted where its last op stands. An op may join only when nothing outside the group reads the group's values
before that place, so the order of everything else is untouched and every operand is defined at the call.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects import arith, cf, func, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, bf16, f32
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import Block, Operation, OpResult, SSAValue
from xdsl.traits import IsTerminator

from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.lowering.linalg.build import element_type
from mlc.lowering.linalg.linalg_fuse_elementwise import is_contraction
from mlc.lowering.linalg.structure import (
    inputs_of,
    is_copy,
    is_elementwise,
    is_identity,
    is_scalar_loop,
    is_tensor,
    iterators_of,
    maps_of,
    plain_dims,
    shape_of,
    starts_loop,
    users,
)

PRODUCTS = (GenericOp, PreparedMatmulOp)
"""Ops that go on with what their destinations hold."""
_VIEWS = (
    tensor.ExpandShapeOp,
    tensor.CollapseShapeOp,
    tensor.CastOp,
    tensor.ExtractSliceOp,
    tensor.InsertSliceOp,
    tensor.DimOp,
    tensor.EmptyOp,
    tensor.ReshapeOp,
)


@dataclass(eq=False)
class Group:
    """Ops of one kernel in program order; `rows`: it is a row-wise group (it holds a plain reduction)."""

    ops: list[Operation] = field(default_factory=list)
    rows: bool = False
    # full shape of the loops of a row-wise group's first reduction
    domain: tuple[int, ...] = ()

    @property
    def last(self) -> Operation:
        return self.ops[-1]

    def outputs(self, block: Block) -> list[OpResult]:
        """Results that something outside the group reads."""
        inside = set(self.ops)
        return [r for op in self.ops for r in op.results if any(u not in inside for u in users(r, block))]


def stays(op: Operation) -> bool:
    """Whether `op` remains in the calling function: constants, views, index arithmetic, control flow, scalars."""
    if isinstance(op, (*_VIEWS, cf.AssertOp, func.CallOp, arith.ConstantOp)) or op.has_trait(IsTerminator):
        return True
    if op.name.startswith("scf."):
        return not is_scalar_loop(op)
    return not any(is_tensor(r) for r in op.results)


class Grouping:
    """Groups of one block, found in one walk. `apart`: why an op does not join those who make what it reads."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.position = {op: i for i, op in enumerate(block.ops)}
        self.group_of: dict[Operation, Group] = {}
        self.groups: list[Group] = []
        self.apart: dict[Operation, str] = {}
        for op in block.ops:
            if not stays(op) and not isinstance(op, FillOp):
                self._place(op)
        for op in block.ops:
            if isinstance(op, FillOp) and self._fill_stands_alone(op):
                self._new(op)

    def _fill_stands_alone(self, op: FillOp) -> bool:
        return any(user not in self.group_of or not _is_init(op.res[0], user) for user in users(op.res[0], self.block))

    def _new(self, op: Operation, *, rows: bool = False, domain: tuple[int, ...] = ()) -> Group:
        group = Group([op], rows, domain)
        self.groups.append(group)
        self.group_of[op] = group
        return group

    def _place(self, op: Operation) -> None:
        elementwise = is_elementwise(op)
        reduction = isinstance(op, GenericOp) and not elementwise and is_plain_reduction(op)
        for value in sorted(inputs_of(op), key=self._defined_at, reverse=True):
            if not isinstance(value, OpResult) or value.op not in self.group_of:
                continue
            group = self.group_of[value.op]
            why_not = self._objection(op, value, group, elementwise=elementwise, reduction=reduction)
            if not why_not:
                self.apart.pop(op, None)
                group.ops.append(op)
                self.group_of[op] = group
                return
            if (
                elementwise or reduction or is_scalar_loop(op)
            ):  # that products read what others make goes without saying
                self.apart.setdefault(op, why_not)
        if reduction:
            assert isinstance(op, GenericOp)
            group = self._new(op, rows=True, domain=loop_shape(op))
        else:
            group = self._new(op)
        self._take_initial_value(op, group)

    def _take_initial_value(self, op: Operation, group: Group) -> None:
        """A structured op takes in the elementwise op that made its initial value (a broadcast bias, say), a product
        also the product whose sums it goes on with."""
        if not isinstance(op, PRODUCTS):
            return
        for init in op.outputs:
            if not isinstance(init, OpResult):
                continue
            other = self.group_of.get(init.op)
            if other is None or other.outputs(self.block) != [init] or users(init, self.block) != [op]:
                continue
            if (other.ops == [init.op] and is_elementwise(init.op)) or _goes_on(other.ops[0], op):
                group.ops[:0] = other.ops
                self.group_of.update(dict.fromkeys(other.ops, group))
                self.groups.remove(other)

    def _defined_at(self, value: SSAValue) -> int:
        return self.position.get(value.op, -1) if isinstance(value, OpResult) else -1

    def _objection(self, op: Operation, value: OpResult, group: Group, *, elementwise: bool, reduction: bool) -> str:
        """Why `op` cannot join `group`, which makes its operand `value`; nothing where it can."""
        if not isinstance(op, GenericOp) or not (elementwise or reduction):
            return "a loop over single elements is a kernel of its own" if is_scalar_loop(op) else "it starts a kernel"
        if reduction and not group.rows:
            return "a sum joins only sums over the same rows"
        if group.rows:
            if not self._same_rows(op, group):
                return "its loops are not those of the rows that are summed"
        elif not is_copy(op) and users(value, self.block) != [op]:
            return "others read the value, too"
        elif not _in_place(op, value):
            return "it does not read the value once, in order, and in the type of its result"
        inside = set(group.ops)
        here = self.position[op]
        early = any(
            user not in inside and self.position[user] < here
            for member in group.ops
            for result in member.results
            for user in users(result, self.block)
        )
        return "something between reads what the kernel makes" if early else ""

    def _same_rows(self, op: GenericOp, group: Group) -> bool:
        """Loops of `op` are the group's, or only its rows."""
        shape = loop_shape(op)
        first = group.ops[0]
        for member in group.ops:
            if isinstance(member, GenericOp) and "r" in iterators_of(member):
                first = member
                break
        assert isinstance(first, GenericOp)
        kinds = iterators_of(first)
        rows = tuple(n for n, kind in zip(group.domain, kinds, strict=True) if kind == "p")
        if "r" in iterators_of(op):
            return shape == group.domain and iterators_of(op) == kinds
        return shape in (group.domain, rows)


def _goes_on(first: Operation, then: GenericOp | PreparedMatmulOp) -> bool:
    """Whether both are products that write their sums in the same order."""
    if isinstance(then, PreparedMatmulOp):
        return type(first) is type(then)
    return (
        isinstance(first, GenericOp)
        and is_contraction(first)
        and is_contraction(then)
        and maps_of(first)[-1] == maps_of(then)[-1]
        and iterators_of(first) == iterators_of(then)
    )


def _is_init(value: SSAValue, user: Operation) -> bool:
    if starts_loop(value, user):
        return True
    return isinstance(user, PRODUCTS) and value in user.outputs and value not in user.inputs


def _in_place(op: GenericOp, value: OpResult) -> bool:
    """Whether `op` can overwrite `value` with its (only) result, or narrow it on its way from registers: read once, in
    order, of the same type, or a sum or window of f32 that becomes bf16."""
    if len(op.results) == 1 and _is_init(value, op):
        return True
    reads = [m for v, m in zip(op.inputs, maps_of(op), strict=False) if v is value]
    if len(op.results) != 1 or len(reads) != 1 or not is_identity(reads[0]):
        return False
    return op.results[0].type == value.type or (_narrows(value, op.results[0]) and _stays_in_registers(value.op))


def _narrows(value: SSAValue, result: SSAValue) -> bool:
    return (element_type(value), element_type(result)) == (f32, bf16)


def _stays_in_registers(op: Operation) -> bool:
    """Whether what `op` makes need not be stored for who reads it in order: sums of products and windows, of static
    sizes (their memory is scratch, of a size known at the call)."""
    return isinstance(op, GenericOp) and "r" in iterators_of(op) and DYNAMIC_INDEX not in shape_of(op.results[0])


def is_plain_reduction(op: GenericOp) -> bool:
    """A reduction that reads each input element once: no window, no contraction."""
    maps = maps_of(op)
    if "r" not in iterators_of(op) or is_contraction(op):
        return False
    return all(plain_dims(m) is not None for m in maps) and any(
        len(m.results) == m.num_dims for m in maps[: len(op.inputs)]
    )


def loop_shape(op: GenericOp) -> tuple[int, ...]:
    """Extents of the loops, -1 where dynamic."""
    maps = maps_of(op)
    extents = [-1] * maps[0].num_dims
    for value, map_ in zip(op.operands, maps, strict=True):
        dims = plain_dims(map_)
        if dims is None or not isinstance(value, SSAValue) or not is_tensor(value):
            continue
        for size, d in zip(shape_of(value), dims, strict=True):
            if size >= 0:
                extents[d] = size
    return tuple(extents)
