"""Turn structured ops on memrefs into loops over vectors: register tiles, rows, collapsed elementwise loops.

    linalg.fill ins(%zero) outs(%out)                        scf.parallel (%n0) {
    linalg.generic #packed_matmul ins(%x, %w) outs(%out)       scf.for %m step 14 {
    linalg.generic #relu outs(%out)                    -->       %acc:28 = scf.for %k step 4 iter_args(...) {
                                                                   vector.load, broadcast, vector.fma ...
                                                                 }
                                                                 arith.maximumf ..., vector.store
                                                               } }

Neighbouring ops over the same outer points become one nest (`nests.py`), scheduled from the machine model
(`schedule.py`) and written by `codegen.py`. Every layout works as long as the indexing is linear; what cannot be
done stays for convert-linalg-to-loops, with a `missed` remark; so has a loop that was over single elements before.

Runs after memrefs are final, before convert-linalg-to-loops and expand-math.
Tests: tests/lowering/vector
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.dialects import memref, scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Block, Operation, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass, Span, option
from mlc.ir.scratch import is_scratch
from mlc.lowering.vector.bodies import check_body
from mlc.lowering.vector.dot_products import take_dot
from mlc.lowering.vector.emitter import Emitter
from mlc.lowering.vector.matrix_tiles import TileRegisters
from mlc.lowering.vector.nest_writer import NestWriter
from mlc.lowering.vector.nests import Nest, form_nests
from mlc.lowering.vector.schedule import Plan, check_plan, make_plan
from mlc.lowering.vector.space import Refusal, Space, Stage
from mlc.lowering.vector.stages import stage_of, tie_sizes
from mlc.lowering.vector.sum_pieces import LEAST_CHAIN
from mlc.lowering.vector.target import Target, target_of

VIEWS = (memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp, memref.CastOp)


@dataclass(frozen=True)
class VectorizeStructured(MlcPass):
    """See the module. The options override the machine model of the context. `row_tiles`: in a block of a product whose
    rows stay in a cache (`row_blocks.py`; 0: no blocks). `chain`: the most terms of a float sum one after the other
    (`sum_pieces.py`). `twice`: rows of which one may be computed twice (`last_tiles.py`)."""

    name = "vectorize-structured"
    contract = Contract(
        level_in="buffers",
        level_out="loops",
        preserves=Reassociates("sums run in vector lanes and unrolled accumulators; products and sums contract to fma"),
        profile="memref-structured",
        options=(
            {"dot_products": True, "matrix_tiles": False, "twice": 1},
            {"dot_products": True, "matrix_tiles": True, "twice": 1},
            {"vector_bits": 256, "vector_registers": 16, "dot_products": True, "twice": 1},
            {"vector_bits": 128, "dot_products": True, "chain": 5, "twice": 1},
            {"vector_bits": 128, "vector_registers": 8, "row_tiles": 2, "twice": 1},
        ),
        establishes=("structured ops it took are scf loops over vector ops",),
        nests=True,
        rules={
            "elementwise": "elementwise nests -> lanes along one outer loop",
            "crossed": "elementwise nests that transpose -> square tiles turned in registers",
            "contraction": "sums of products -> register tiles of accumulators",
            "panels": "products of panels of rows -> accumulators across rows, turned into vectors along the results",
            "dot": "sums of products of pairs of bf16, or fours of i8 -> tiles of dot products, or a matrix unit's",
            "outer-reduction": "other reductions -> lanes across results",
            "rows": "reductions along rows -> lanes along the row, reduced at the end",
            "turned-rows": "products of rows -> lanes along the row, the sums of several rows reduced into one vector",
            "last-tile": "a few rows left over -> the last tile moves back over the one before",
            "scalar": "nests without a loop for lanes -> one element at a time",
        },
    )

    vector_bits: int | None = option(None, Span(64, 2048, power_of_two=True))
    vector_registers: int | None = option(None, Span(8, 256))
    dot_products: bool | None = None
    matrix_tiles: bool | None = None
    row_tiles: int | None = option(None, Span(0, 1 << 20))
    chain: int | None = option(None, Span(LEAST_CHAIN, 1 << 40))
    twice: int | None = option(None, Span(1, 1 << 40))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        target = target_of(ctx.machine, self.vector_bits, self.vector_registers, self.dot_products, self.matrix_tiles)
        target = replace(target, row_tiles=self.row_tiles)
        if self.chain is not None:
            target = replace(target, chain=self.chain)
        if self.twice is not None:
            target = replace(target, twice=self.twice)
        functions = [op for op in module.walk() if isinstance(op, FuncOp) and "constant" not in op.attributes]
        blocks = [
            (function, block)
            for function in functions
            for op in function.walk()
            if not isinstance(op, LinalgStructuredOperation)
            for region in op.regions
            for block in region.blocks
        ]
        for loop in (op for function in functions for op in function.body.walk() if _is_scalar_nest(op)):
            ctx.remarks.missed(self.name, loop, "left to scalar loops", reason="it goes through single elements")
        registers = {function: TileRegisters() for function in functions}
        for function, block in blocks:
            if any(isinstance(op, LinalgStructuredOperation) for op in block.ops):
                self._block(ctx, block, target, registers[function])
        allocas = [op for f in functions for op in f.walk() if op.name == memref.AllocaOp.name]
        for op in allocas:
            if not op.results[0].uses:  # its values live in registers now
                op.detach()
                op.erase()

    def _block(self, ctx: MlcContext, block: Block, target: Target, registers: TileRegisters) -> None:
        """Vectorise each run of structured ops in `block`; views and pure ops between them do not end a run."""
        space = Space()
        ops = list(block.ops)
        try:
            tie_sizes(space, ops)
        except Refusal as refusal:
            first = next(op for op in ops if isinstance(op, LinalgStructuredOperation))
            ctx.remarks.missed(self.name, first, "left to scalar loops", reason=str(refusal))
            return
        run: list[Stage] = []
        for op in ops:
            if isinstance(op, LinalgStructuredOperation):
                try:
                    stage = stage_of(op, space)
                    check_body(stage)
                    if space.overlapping([stage]):
                        raise Refusal("it writes into memory that it reads at another run-time offset")
                    take_dot(stage, space, target)
                    run.append(stage)
                    continue
                except Refusal as refusal:
                    ctx.remarks.missed(self.name, op, "left to scalar loops", reason=str(refusal))
            elif _transparent(op):
                continue
            self._run(ctx, run, space, target, registers)
            run = []
        self._run(ctx, run, space, target, registers)
        for op in reversed(ops):
            if op.parent is block and isinstance(op, VIEWS) and not op.results[0].uses:
                op.detach()
                op.erase()

    def _run(self, ctx: MlcContext, run: list[Stage], space: Space, target: Target, registers: TileRegisters) -> None:
        runs = [[stage] for stage in run] if space.overlapping(run) else [run]
        for nest in [nest for part in runs for nest in form_nests(part, space)]:
            self._nest(ctx, nest, target, registers)

    def _nest(self, ctx: MlcContext, nest: Nest, target: Target, registers: TileRegisters) -> None:
        ops = [s.op for s in nest.stages]
        last = max(ops, key=_position)
        em = Emitter(nest.space, fuse_locations(op.location for op in ops), fma=target.fma)
        try:
            plan = make_plan(nest, target)
            if plan.matrix is not None and not registers.take(plan.matrix):
                ctx.remarks.missed(self.name, last, "not by tiles", reason="those before it take the registers")
                plan = make_plan(nest, replace(target, tile_bf16=False, tile_int8=False))
            check_plan(nest, plan)
            writer = NestWriter(em, nest, plan, target, _outlives(nest))
            writer.write()
        except Refusal as refusal:
            ctx.remarks.missed(self.name, last, "left to scalar loops", reason=str(refusal))
            return
        em.finish_views()
        body = [op for op in em.top.ops]
        for op in body:
            op.detach()
        block = last.parent
        assert block is not None
        block.insert_ops_before([*em.prologue, *body], last)
        ctx.remarks.applied(
            self.name,
            last,
            f"vectorised {len(ops)} ops",
            rule=_rule(nest, plan),
            tile={str(d): t for d, t in plan.tile.items()},
            width=plan.width,
            **({"matrix_tiles": [plan.matrix.down, plan.matrix.across]} if plan.matrix is not None else {}),
            ops=len(em.prologue) + sum(1 for op in body for _ in op.walk()),
        )
        if writer.moved_back:
            ctx.remarks.count(self.name, "last-tile", len(writer.moved_back))
        for op in reversed(ops):
            op.detach()
            op.erase()


def _is_scalar_nest(op: Operation) -> bool:
    """Whether this is an outermost loop over loads and stores of single elements, with no structured op to take."""
    if not isinstance(op, scf.ForOp | scf.WhileOp) or not isinstance(op.parent_op(), FuncOp):
        return False
    inner = list(op.walk())
    return any(isinstance(o, memref.LoadOp | memref.StoreOp) for o in inner) and not any(
        isinstance(o, LinalgStructuredOperation) or o.name.startswith(("vector.", "linalg_ext.")) for o in inner
    )


def _rule(nest: Nest, plan: Plan) -> str:
    """Which of the schedules the plan is."""
    if any(s.dot is not None for s in nest.stages):
        return "dot"
    if plan.panels is not None:
        return "panels"
    if plan.contraction:
        return "contraction"
    if plan.cross is not None:
        return "crossed"
    if plan.lanes_dim is not None and not plan.turned:
        return "outer-reduction" if any(s.reduction for s in nest.stages) else "elementwise"
    if plan.turned:
        return "turned-rows"
    return "rows" if any(dim is not None for dim in plan.stage_lanes.values()) else "scalar"


def _position(op: Operation) -> int:
    assert op.parent is not None
    return op.parent.get_operation_index(op)


def _transparent(op: Operation) -> bool:
    """Ops that a nest may be moved across: they touch no memory."""
    return isinstance(op, (*VIEWS, memref.AllocaOp, memref.DimOp)) or (op.name.startswith("arith.") and not op.regions)


def _outlives(nest: Nest) -> set[SSAValue]:
    """Roots that something outside the nest may read: all but local buffers and scratch whose every use is in the
    nest."""
    inside = {s.op for s in nest.stages}
    kept: set[SSAValue] = set()
    for root in nest.written():
        todo, local = [root], isinstance(root.owner, memref.AllocaOp | memref.AllocOp) or is_scratch(root)
        while todo and local:
            for use in todo.pop().uses:
                if isinstance(use.operation, VIEWS):
                    todo.append(use.operation.results[0])
                elif use.operation not in inside:
                    local = False
        if not local:
            kept.add(root)
    return kept
