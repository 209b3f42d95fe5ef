"""What is read of equal steps after they are done: the last step's values, and values of all steps collected in one
tensor.

%l = ListConstruct %h1, …, %h50; stack %l, dim        collected along dim, one row a step
%l = ListConstruct %h50, …, %h1; stack %l, dim        the same, the last step's row first
%u1 = unsqueeze %h1, dim …; cat [%u1, …, %u50], dim   the same as the first
func.return %h50                                      the last step's
mul %h3, %h7                                          single steps': of all steps' values, kept in one tensor
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from math import prod

from xdsl.ir import Operation, SSAValue, Use

from mlc.dialects.torch.build import create, list_construct
from mlc.dialects.torch.prim import PrimListConstructOp
from mlc.dialects.torch.types import VTensorType
from mlc.dialects.torch.values import constant_value
from mlc.lowering.torch.repeats import Place, Repeat

JOINS = ("torch.aten.stack", "torch.aten.cat")
MOST_STORED = 1 << 24
"""Elements kept of all steps where less than half of them are read."""


@dataclass
class Collected:
    """One value of every step, joined along a dim. `first`: position in the list of the first of these rows, which is
    the last step's where they are `turned`. `type`: of the tensor of all steps' rows. `squeezed`: the type of a row
    without the dim, where the step's value has it."""

    place: Place
    steps: int
    first: int
    turned: bool
    join: Operation
    dim: SSAValue
    type: VTensorType
    squeezed: VTensorType | None

    def overlaps(self, other: Collected) -> bool:
        """Whether both are rows of one list, and some row is in both."""
        return self.join is other.join and abs(self.first - other.first) < self.steps

    @property
    def list(self) -> Operation:
        """What makes the list that is joined."""
        made = self.join.operands[0].owner
        assert isinstance(made, PrimListConstructOp)
        return made


def replace_joins(wholes: Sequence[tuple[Collected, SSAValue]], inside: Container[Operation]) -> None:
    """Readers of each join read the tensors of the steps' rows, with what else the list held before, between and behind
    them. `inside`: the ops of the steps, which others remove."""
    of_join: dict[Operation, dict[int, tuple[Collected, SSAValue]]] = {}
    for c, whole in wholes:
        of_join.setdefault(c.join, {})[c.first] = (c, whole)
    for join, runs in of_join.items():
        _Join(join, runs).replace(inside)


class _Join:
    """A join of a list, with the runs of rows in it that a loop makes, by their first positions."""

    def __init__(self, join: Operation, runs: dict[int, tuple[Collected, SSAValue]]) -> None:
        self.join, self.runs = join, runs
        self.some = next(iter(runs.values()))[0]

    def replace(self, inside: Container[Operation]) -> None:
        """See `replace_joins`."""
        made = self.some.list
        rows, parts, at = list(made.operands), list[SSAValue](), 0
        while at < len(rows):
            if at in self.runs:
                collected, whole = self.runs[at]
                parts.append(whole)
                at += collected.steps
            else:
                parts.append(self._whole_row(rows[at]))
                at += 1
        result, new = self.join.results[0], parts[0]
        if len(parts) > 1:
            elements = {part.type.element_type for part in parts if isinstance(part.type, VTensorType)}
            joined = self._put(
                list_construct(parts, VTensorType.get(None, elements.pop() if len(elements) == 1 else None))
            )
            new = self._put(create("aten.cat", (joined, self.some.dim), (result.type,)))
        result.replace_all_uses_with(new)
        for op in (self.join, made):
            op.detach()
            op.erase()
        for row in rows:
            made_by = row.owner
            if not isinstance(made_by, Operation) or made_by in inside or row.first_use:
                continue
            if made_by.name == "torch.aten.unsqueeze":
                made_by.detach()
                made_by.erase()

    def _whole_row(self, row: SSAValue) -> SSAValue:
        if self.join.name != "torch.aten.stack":
            return row
        assert isinstance(row.type, VTensorType)
        shape, element = list(self.some.type.shape or ()), row.type.element_type
        shape[_dim(self.some.dim, len(shape))] = 1
        return self._put(create("aten.unsqueeze", (row, self.some.dim), (VTensorType.get(shape, element),)))

    def _put(self, op: Operation) -> SSAValue:
        op.location = self.join.location
        block = self.join.parent_block()
        assert block is not None
        block.insert_op_before(op, self.join)
        return op.results[0]


@dataclass
class Stored:
    """Values of single steps that are read. `type`: of the tensor of all steps' values, one a row; `uses`: of each
    step's."""

    place: Place
    type: VTensorType
    uses: list[list[Use]]

    def replace(self, whole: SSAValue, number: Callable[[int], SSAValue]) -> None:
        """Readers read their step's row of `whole`. `number`: an integer constant."""
        shape, element = list(self.type.shape or ()), self.type.element_type
        for step, uses in enumerate(self.uses):
            rows: dict[Operation, SSAValue] = {}
            for use in uses:
                reader = use.operation
                if reader not in rows:
                    row = create(
                        "aten.select.int", (whole, number(0), number(step)), (VTensorType.get(shape[1:], element),)
                    )
                    row.location = reader.location
                    block = reader.parent_block()
                    assert block is not None
                    block.insert_op_before(row, reader)
                    rows[reader] = row.results[0]
                reader.operands[use.index] = rows[reader]


@dataclass
class Results:
    """`lasts`: places whose value in the last step alone is read; `collected`, `stored`: see there."""

    lasts: list[Place] = field(default_factory=list)
    collected: list[Collected] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)


def results_of(found: Repeat) -> Results | str:
    """What is read after the steps, or why the steps cannot become a loop."""
    all_steps = found.all_steps
    inside = set(all_steps)
    out = Results()
    for j in range(found.period):
        for r in range(len(found.op(0, j).results)):
            made = [op.results[r] for op in all_steps[j :: found.period]]
            uses = [_uses_outside(value, inside) for value in made]
            if not any(uses):
                continue
            for use in list(uses[0]):
                collected = _collected((j, r), found, use)
                if collected is not None and not any(collected.overlaps(c) for c in out.collected):
                    out.collected.append(collected)
                    uses = [[u for u in row if not _feeds(u, collected)] for row in uses]
            if any(uses[:-1]):
                kind = found.op(0, j).results[r].type
                shape = kind.shape if isinstance(kind, VTensorType) else None
                if not isinstance(kind, VTensorType) or shape is None or None in shape:
                    return "values of single steps, of sizes known only at run time, are read after the loop"
                if prod(n or 0 for n in shape) * found.steps > MOST_STORED and sum(map(bool, uses)) < found.steps // 2:
                    return "few steps' values are read after the loop, and keeping those of all takes much memory"
                out.stored.append(Stored((j, r), VTensorType.get([found.steps, *shape], kind.element_type), uses))
            elif uses[-1]:
                out.lasts.append((j, r))
    kinds = [found.op(0, j).results[r].type for j, r in out.lasts] + [c.type for c in out.collected]
    if not all(isinstance(t, VTensorType) and t.shape is not None and None not in t.shape for t in kinds):
        return "the results have sizes known only at run time"
    return out


def _uses_outside(value: SSAValue, inside: Container[Operation]) -> list[Use]:
    found: list[Use] = []
    use = value.first_use
    while use is not None:
        if use._operation not in inside:  # pyright: ignore[reportPrivateUsage]
            found.append(use)
        use = use._next_use  # pyright: ignore[reportPrivateUsage]
    return found


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
    if row is None or row[0] is not collected.list:
        return False
    return collected.first <= row[1] < collected.first + collected.steps


def _collected(place: Place, found: Repeat, use: Use) -> Collected | None:
    """The tensor that collects this place's values of all steps, if `use` of the first step begins or ends one."""
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
    if all(_is_row(found, place, k, made, first + k, unsqueezed) for k in range(found.steps)):
        turned = False
    elif all(_is_row(found, place, k, made, first - k, unsqueezed) for k in range(found.steps)):
        first, turned = first - found.steps + 1, True
    else:
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
            squeezed = VTensorType.get([n for d, n in enumerate(row_shape) if d != dim], value.element_type)
    whole = VTensorType.get(shape, value.element_type)
    return Collected(place, found.steps, first, turned, join, join.operands[1], whole, squeezed)


def _is_row(found: Repeat, place: Place, step: int, made: Operation, at: int, unsqueezed: SSAValue | None) -> bool:
    """Whether the list `made` holds, at `at`, the value of `place` in `step`."""
    rows = (_row_use(u) for u in found.op(step, place[0]).results[place[1]].uses)
    return any(r is not None and r[:2] == (made, at) and _same(r[2], unsqueezed) for r in rows)


def _same(a: SSAValue | None, b: SSAValue | None) -> bool:
    return a is b or (a is not None and b is not None and constant_value(a) == constant_value(b))


def _dim(value: SSAValue, rank: int) -> int:
    number = constant_value(value)
    assert isinstance(number, int)
    return number + rank if number < 0 else number
