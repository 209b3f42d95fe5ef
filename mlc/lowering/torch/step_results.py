"""What is read of equal steps after they are done: the last step's values, and values of all steps collected in one
tensor.

%l = ListConstruct %h1, …, %h50; stack %l, dim        collected along dim, one row a step
%u1 = unsqueeze %h1, dim …; cat [%u1, …, %u50], dim   the same
func.return %h50                                      the last step's
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue, Use

from mlc.dialects.torch.build import create, list_construct
from mlc.dialects.torch.prim import PrimListConstructOp
from mlc.dialects.torch.types import VTensorType
from mlc.dialects.torch.values import constant_value
from mlc.lowering.torch.repeats import Place, Repeat

JOINS = ("torch.aten.stack", "torch.aten.cat")


@dataclass
class Collected:
    """One value of every step, joined along a dim. `type`: of the tensor of all steps' rows. `squeezed`: the type of a
    row without the dim, where the step's value has it."""

    place: Place
    steps: int
    first: int
    join: Operation
    dim: SSAValue
    type: VTensorType
    squeezed: VTensorType | None

    def replace(self, whole: SSAValue) -> None:
        """Readers of the join read `whole`, with what else the list held put before and behind it."""
        made = self.join.operands[0].owner
        assert isinstance(made, PrimListConstructOp)
        rows = list(made.operands)
        others = rows[: self.first], rows[self.first + self.steps :]
        result = self.join.results[0]
        new = whole
        if any(others):
            parts = [*map(self._whole_row, others[0]), whole, *map(self._whole_row, others[1])]
            element = VTensorType.get(None, self.type.element_type)
            joined = self._put(list_construct(parts, element))
            new = self._put(create("aten.cat", (joined, self.dim), (result.type,)))
        result.replace_all_uses_with(new)
        for op in (self.join, made):
            op.detach()
            op.erase()
        for row in rows:
            if isinstance(row.owner, Operation) and row.owner.name == "torch.aten.unsqueeze" and not row.first_use:
                row.owner.detach()
                row.owner.erase()

    def _whole_row(self, row: SSAValue) -> SSAValue:
        if self.join.name != "torch.aten.stack":
            return row
        shape = list(self.type.shape or ())
        shape[_dim(self.dim, len(shape))] = 1
        return self._put(create("aten.unsqueeze", (row, self.dim), (VTensorType.get(shape, self.type.element_type),)))

    def _put(self, op: Operation) -> SSAValue:
        op.location = self.join.location
        block = self.join.parent_block()
        assert block is not None
        block.insert_op_before(op, self.join)
        return op.results[0]


@dataclass
class Results:
    """`lasts`: places whose value in the last step is read; `collected`: see there."""

    lasts: list[Place] = field(default_factory=list)
    collected: list[Collected] = field(default_factory=list)


def results_of(found: Repeat) -> Results | str:
    """What is read after the steps, or why the steps cannot become a loop."""
    inside = {found.op(k, j) for k in range(found.steps) for j in range(found.period)}
    out = Results()
    for j in range(found.period):
        for r in range(len(found.op(0, j).results)):
            uses = [
                [u for u in found.op(k, j).results[r].uses if u.operation not in inside] for k in range(found.steps)
            ]
            if not any(uses):
                continue
            for use in list(uses[0]):
                collected = _collected((j, r), found, use)
                if collected is not None:
                    if any(c.join is collected.join for c in out.collected):
                        return "one list takes values of all steps twice"
                    out.collected.append(collected)
                    uses = [[u for u in row if not _feeds(u, collected)] for row in uses]
            if any(uses[:-1]):
                return "values of single steps are read after the loop"
            if uses[-1]:
                out.lasts.append((j, r))
    kinds = [found.op(0, j).results[r].type for j, r in out.lasts] + [c.type for c in out.collected]
    if not all(isinstance(t, VTensorType) and t.shape is not None and None not in t.shape for t in kinds):
        return "the results have sizes known only at run time"
    return out


def _row_use(use: Use) -> tuple[Operation, int, SSAValue | None] | None:
    """The list that a value is a row of, its position there, and the dim where an unsqueeze stands between."""
    op, at, dim = use.operation, use.index, None
    if op.name == "torch.aten.unsqueeze":
        dim = op.operands[1]
        following = list(op.results[0].uses)
        if len(following) != 1:
            return None
        op, at = following[0].operation, following[0].index
    return (op, at, dim) if isinstance(op, PrimListConstructOp) else None


def _feeds(use: Use, collected: Collected) -> bool:
    """Whether a use is one of the rows that `collected` stands for; a list may hold the value of a step once more."""
    row = _row_use(use)
    if row is None or row[0] is not collected.join.operands[0].owner:
        return False
    return collected.first <= row[1] < collected.first + collected.steps


def _collected(place: Place, found: Repeat, use: Use) -> Collected | None:
    """The tensor that collects this place's values of all steps in order, if `use` of the first step begins one."""
    row = _row_use(use)
    if row is None:
        return None
    made, first, unsqueezed = row
    joins = list(made.results[0].uses)
    if len(joins) != 1 or joins[0].operation.name not in JOINS:
        return None
    join = joins[0].operation
    kind, value = join.results[0].type, found.op(0, place[0]).results[place[1]].type
    if not isinstance(kind, VTensorType) or not isinstance(value, VTensorType) or None in (kind.shape, value.shape):
        return None
    shape = list(kind.shape or ())
    dim = _dim(join.operands[1], len(shape))
    for k in range(found.steps):
        rows = [_row_use(u) for u in found.op(k, place[0]).results[place[1]].uses]
        wanted = (made, first + k, unsqueezed)
        if not any(r is not None and r[:2] == wanted[:2] and _same(r[2], unsqueezed) for r in rows):
            return None
    shape[dim] = found.steps
    squeezed = None
    if join.name == "torch.aten.stack" and unsqueezed is not None:
        return None
    if join.name == "torch.aten.cat":
        if unsqueezed is not None and _dim(unsqueezed, len(shape)) != dim:
            return None
        if unsqueezed is None:
            row_shape = list(value.shape or ())
            if row_shape[dim] != 1:
                return None
            squeezed = VTensorType.get([n for d, n in enumerate(row_shape) if d != dim], kind.element_type)
    return Collected(
        place, found.steps, first, join, join.operands[1], VTensorType.get(shape, kind.element_type), squeezed
    )


def _same(a: SSAValue | None, b: SSAValue | None) -> bool:
    return a is b or (a is not None and b is not None and constant_value(a) == constant_value(b))


def _dim(value: SSAValue, rank: int) -> int:
    number = constant_value(value)
    assert isinstance(number, int)
    return number + rank if number < 0 else number
