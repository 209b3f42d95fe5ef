"""Turn the equal steps that a Python loop left behind into a loop again.

    %x0 = torch.aten.select.int %x, %int1, %int0             %h, %all = torch.prim.Loop %int50, %true, init(%h0, %e) {
    %h1 = … torch.aten.linear %h0 …                          ^bb0(%t: !torch.int, %before: …, %so_far: …):
    %x1 = torch.aten.select.int %x, %int1, %int1                %xt = torch.aten.select.int %x, %int1, %t
    %h2 = … torch.aten.linear %h1 …                  -->        %now = … torch.aten.linear %before …
    …                                                           %next = … aten.select_scatter %so_far, %now, %int1, %t
    %l = torch.prim.ListConstruct %h1, …, %h50                  torch.prim.Loop.condition %true, iter(%now, %next)
    %all = torch.aten.stack %l, %int1                        }

What: kernels and code of a recurrent cell do not depend on the length of the sequence, its weights are packed once.
Steps must be equal but for what they carry on and for the index they select or write a row by (`repeats.py`). What is
read of them afterwards may be the last step's, all steps' in a row, forwards or backwards, or single ones'
(`step_results.py`). There must be `min-steps` of them with a product of matrices in each, or four times as many that
go through a sequence: loops of few or of cheap steps fuse better unrolled.
Runs after `torch-fold-batch-norm`. Runs before `torch-batch-projections` and `convert-torch-to-linalg`.
Tests: tests/lowering/torch/torch_roll_loops.mlir, tests/lowering/torch/test_torch_roll_loops.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects import func
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue

from mlc.dialects.torch.build import constant, create, list_construct
from mlc.dialects.torch.control_flow import PrimLoopConditionOp, PrimLoopOp
from mlc.dialects.torch.promotion import scalar_type_number
from mlc.dialects.torch.types import INT, VTensorType
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.torch.repeats import Place, Repeat, Source, find_repeat
from mlc.lowering.torch.step_order import discard, in_order, is_constant, ops_of, put_in_order
from mlc.lowering.torch.step_results import Collected, Results, replace_joins, results_of

PRODUCTS = frozenset(
    f"torch.aten.{name}"
    for name in (
        *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d"),
        *("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    )
)
MOST_LOOPS = 64  # of one block: every one found starts the search anew
MANY = 4  # times `min_steps`: of steps without a product


@dataclass(frozen=True)
class TorchRollLoops(MlcPass):
    """Equal steps to `torch.prim.Loop`. `min_steps`: loops of fewer stay unrolled."""

    name = "torch-roll-loops"
    contract: ClassVar[Contract] = Contract(
        level_in="torch",
        level_out="torch",
        preserves=Bitwise(),
        profile="torch-steps",
        options=({}, {"min_steps": 3}),
        establishes=("no run of min-steps equal steps with a product is left in a straight line",),
    )

    min_steps: int = option(8, Span(2, 1 << 20))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for function in [op for op in module.walk() if isinstance(op, func.FuncOp) and op.body.blocks]:
            if self.may_roll(function.body.block):
                self.roll(ctx, function.body.block)

    def may_roll(self, block: Block) -> bool:
        """Whether there are products enough for a loop."""
        return sum(op.name in PRODUCTS for op in ops_of(block)) >= self.min_steps

    def find(self, ops: Sequence[Operation]) -> Repeat | None:
        """The longest run of equal steps in ops that stand in order."""
        return find_repeat(ops, self.min_steps)

    def roll(self, ctx: MlcContext, block: Block, found: Repeat | None = None) -> int:
        """Turn the steps of a block into loops; how many that are. `found`: the first to look at, where it is known and
        the block is in order."""
        refused: set[Operation] = set()
        loops = 0
        ops = _in_place(block) if found is None else list(found.line.ops)
        for _ in range(MOST_LOOPS):
            found = found or self.find([op for op in ops if op not in refused] if refused else ops)
            if found is None:
                break
            reason = "" if self._pays(found) else "no product of matrices in a step"
            results = reason or results_of(found)
            if refused and not reason and not _given_before(found):
                results = "a step reads what is made between the steps"
            if isinstance(results, str):
                ctx.remarks.missed(self.name, found.op(0, 0), f"{found.steps} steps stay unrolled", reason=results)
                refused.update(found.all_steps if reason else found.first_step)
            else:
                loop = _Roll(found, results).run()
                ops = _in_place(block)
                ctx.remarks.applied(self.name, loop, f"{found.steps} steps of {found.period} ops became a loop")
                loops += 1
            found = None
        return loops

    def _pays(self, found: Repeat) -> bool:
        """Whether a step holds a product, or many steps go through a sequence: code for each would take its time."""
        if any(op.name in PRODUCTS for op in found.first_step):
            return True
        walks = any(source.kind == "affine" for row in found.sources for source in row)
        return walks and found.steps >= MANY * self.min_steps


def _given_before(found: Repeat) -> bool:
    """Whether what all steps read, or the first starts with, is there before it: ops left unrolled may be between."""
    first = found.op(0, 0)
    given = {s.value.owner for row in found.sources for s in row if s.value is not None}
    return all(
        op.is_before_in_block(first)
        for op in given
        if isinstance(op, Operation) and op.parent_block() is first.parent_block()
    )


def _in_place(block: Block) -> list[Operation]:
    """Put a block in order; its ops but for constants and the last."""
    constants, ops = in_order(block)
    put_in_order(block, [*constants, *ops])
    return ops[:-1]


def _first_of_others(block: Block) -> Operation:
    """The first op that is no constant."""
    return next(op for op in block.ops if not is_constant(op))


class _Roll:
    """Builds the loop of one repeat and removes its steps."""

    def __init__(self, found: Repeat, results: Results) -> None:
        self.found, self.results = found, results
        self.first = found.op(0, 0)
        self.location: LocationAttr = self.first.location
        self.carried = found.carried()
        self.lasts = [p for p in results.lasts if p not in self.carried]
        self.numbers: dict[int, SSAValue] = {}
        block = self.first.parent_block()
        assert block is not None
        self.first_of_others = _first_of_others(block)

    def run(self) -> Operation:
        """The loop, with everything replaced."""
        block = self.first.parent_block()
        assert block is not None
        trips, go_on = self._before(constant(self.found.steps)), self._before(constant(True))
        held = [*self.carried, *self.lasts]
        starts = [self.carried[p] if p in self.carried else self._empty(self._type(p)) for p in held]
        starts += [self._empty(c.type) for c in (*self.results.collected, *self.results.stored)]
        body = Block(arg_types=[INT, *(v.type for v in starts)])
        at, *arguments = body.args
        before: dict[Place, SSAValue] = dict(zip(held, arguments, strict=False))
        made = self._step(body, at, before)
        rows = [
            (
                c.type,
                self._row(body, c, made),
                c.dim,
                self._affine(body, at, self.found.steps - 1, -1) if c.turned else at,
            )
            for c in self.results.collected
        ]
        rows += [(s.type, made[s.place], self._number(0), at) for s in self.results.stored]
        wholes = [
            self._add(body, create("aten.select_scatter", (so_far, row, dim, place), (kind,)))
            for (kind, row, dim, place), so_far in zip(rows, arguments[len(held) :], strict=True)
        ]
        body.add_op(
            PrimLoopConditionOp.create(operands=(go_on, *(made[p] for p in held), *wholes), location=self.location)
        )
        loop = PrimLoopOp.create(
            operands=(trips, go_on, *starts),
            result_types=[v.type for v in starts],
            regions=(Region(body),),
            location=self.location,
        )
        self._insert(loop)
        self._replace(loop, held)
        return loop

    def _type(self, place: Place) -> VTensorType:
        found = self.found.op(0, place[0]).results[place[1]].type
        assert isinstance(found, VTensorType)
        return found

    def _before(self, op: Operation) -> SSAValue:
        """Put `op` before the steps."""
        op.location = self.location
        block = self.first.parent_block()
        assert block is not None
        if is_constant(op):
            block.insert_op_before(op, self.first_of_others)  # where the next run of the pass puts it
        else:
            self._insert(op)
        return op.results[0]

    def _insert(self, op: Operation) -> None:
        """Put an op that is no constant before the steps."""
        block = self.first.parent_block()
        assert block is not None
        block.insert_op_before(op, self.first)
        if self.first_of_others is self.first:
            self.first_of_others = op

    def _empty(self, kind: VTensorType) -> SSAValue:
        """A tensor whose contents nobody reads."""
        sizes = [self._before(constant(n)) for n in kind.shape or () if n is not None]
        shape = self._before(list_construct(sizes, INT))
        none = self._before(constant(None))
        assert kind.element_type is not None
        number = self._before(constant(scalar_type_number(kind.element_type)))
        return self._before(create("aten.empty.memory_format", (shape, number, *[none] * 4), (kind,)))

    def _add(self, body: Block, op: Operation, location: LocationAttr | None = None) -> SSAValue:
        op.location = location or self.location
        body.add_op(op)
        return op.results[0]

    def _step(self, body: Block, at: SSAValue, before: dict[Place, SSAValue]) -> dict[Place, SSAValue]:
        """One step inside the loop; what each of its results is there."""
        made: dict[Place, SSAValue] = {}
        for j, (op, sources) in enumerate(zip(self.found.first_step, self.found.sources, strict=True)):
            operands = [self._operand(body, at, s, made, before) for s in sources]
            new = type(op).create(
                operands=operands,
                result_types=op.result_types,
                properties=dict(op.properties),
                attributes=dict(op.attributes),
                location=op.location,
            )
            body.add_op(new)
            for r, result in enumerate(new.results):
                result.name_hint = op.results[r].name_hint
                made[j, r] = result
        return made

    def _operand(
        self, body: Block, at: SSAValue, source: Source, made: dict[Place, SSAValue], before: dict[Place, SSAValue]
    ) -> SSAValue:
        match source.kind:
            case "internal":
                assert source.place is not None
                return made[source.place]
            case "carried":
                assert source.place is not None
                return before[source.place]
            case "invariant":
                assert source.value is not None
                return source.value
            case "affine":
                return self._affine(body, at, source.base, source.slope)

    def _affine(self, body: Block, at: SSAValue, base: int, slope: int) -> SSAValue:
        """base + at * slope"""
        value = at
        if slope != 1:
            value = self._add(body, create("aten.mul.int", (at, self._before(constant(slope))), (INT,)))
        if base:
            value = self._add(body, create("aten.add.int", (value, self._before(constant(base))), (INT,)))
        return value

    def _number(self, n: int) -> SSAValue:
        """An integer constant, made once."""
        if n not in self.numbers:
            self.numbers[n] = self._before(constant(n))
        return self.numbers[n]

    def _row(self, body: Block, c: Collected, made: dict[Place, SSAValue]) -> SSAValue:
        """What one step adds to a collected tensor, without the dim that is collected along."""
        value = made[c.place]
        if c.squeezed is None:
            return value
        return self._add(body, create("aten.squeeze.dim", (value, c.dim), (c.squeezed,)))

    def _replace(self, loop: Operation, held: Sequence[Place]) -> None:
        """Readers of the steps read the loop; the steps and the lists made of their results go."""
        last = self.found.steps - 1
        for place, result in zip(held, loop.results, strict=False):
            self.found.op(last, place[0]).results[place[1]].replace_all_uses_with(result)
        collected = self.results.collected
        wholes = loop.results[len(held) :]
        for s, whole in zip(self.results.stored, wholes[len(collected) :], strict=True):  # lists hold some of these
            s.replace(whole, self._number)
        replace_joins(list(zip(collected, wholes[: len(collected)], strict=True)), set(self.found.all_steps))
        discard(self.found.all_steps)
