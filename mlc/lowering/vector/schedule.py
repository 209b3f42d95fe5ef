"""Decide how a nest is vectorised: which dim becomes lanes, the register tile, the order of loops.

Lanes along an outer dim (`lanes_dim`): each lane is its own output element: contractions, convolutions, pooling,
elementwise ops, reductions over other dims. Lanes along a private dim of each stage (`stage_lanes`): a row at a
time, its reductions end in a horizontal one: softmax, layer norm, sums over the innermost dim, products with a
transposed operand.

The costs are counts of vector instructions per outer point; a scattered operand costs a scalar load and an insert
per lane.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from mlc.lowering.vector.bodies import combiners, scattered_tables
from mlc.lowering.vector.contraction_tile import columns_spread, contraction_tile, extent_of
from mlc.lowering.vector.math_double import DOUBLE
from mlc.lowering.vector.math_single import SINGLE
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.row_blocks import bits, row_block
from mlc.lowering.vector.row_panels import RowPanels, row_panels
from mlc.lowering.vector.sizes import ONE, ZERO
from mlc.lowering.vector.space import Access, Refusal, Stage
from mlc.lowering.vector.target import Target
from mlc.lowering.vector.thread_shares import divided_dim

COLD = "mlc.cold"  # on a structured op that seldom runs: its code is to be short
OPS_BUDGET = 120  # vector ops in one unrolled reduction body: more costs compile time and gains nothing measurable
_EXPANDED = frozenset((*SINGLE, *DOUBLE))
MATH_WEIGHT = 20  # instructions of a polynomial, about
ROWS_AT_ONCE = 2  # of softmax, layer norm; four gain another hundredth for twice the code
CHAINED = 2  # math functions one after the other: four vectors at once leave units waiting for each other's results


@dataclass
class Plan:
    """The decisions for one nest."""

    width: int  # lanes of a full vector
    lanes_dim: int | None = None
    stage_lanes: dict[int, int | None] = field(default_factory=dict)  # stage number -> private lanes dim
    order: list[int] = field(default_factory=list)  # outer dims, outermost first
    tile: dict[int, int] = field(default_factory=dict)  # outer dim -> elements per register tile
    cross: int | None = None  # outer dim along which scattered inputs are contiguous: square tiles turned in registers
    divided: int | None = None  # outer dim that threads divide between them: it has the data, the others do not
    block: tuple[int, int] | None = None  # outer dim whose tiles are taken in blocks of so many elements, outermost
    in_step: int = 4  # points whose bodies are written op by op side by side
    contraction: bool = False  # vectors and scalars are multiplied: loads are shared across the tile
    panels: RowPanels | None = None  # accumulators run across rows and are turned into vectors along `lanes_dim`
    panel_rows: int = 1  # rows of weights that are multiplied at once there
    turned: bool = False  # rows are summed along `stage_lanes`, and their sums become the lanes of `lanes_dim`

    def across(self) -> Plan:
        """For the loops of a product over panels: lanes across rows."""
        assert self.panels is not None
        return replace(self, lanes_dim=self.panels.across)


def make_plan(nest: Nest, target: Target) -> Plan:
    if any(nest.space.static(d) == 0 for s in nest.stages for d in s.dims()):
        raise Refusal("a loop that never runs")
    width = target.lanes(max(bits(a.element_type) for a in nest.accesses()))
    plan = Plan(width)
    if any(s.dot is not None for s in nest.stages):
        plan.lanes_dim = _dot_lanes(nest, width)
        # A group is loaded by an instruction of its own; measured, such loads start three times in four cycles.
        target = replace(target, broadcast_load=False, loads_per_cycle=0.75 * target.loads_per_cycle)
    elif (panels := row_panels(nest, width)) is not None:
        _tile_panels(nest, plan, panels, target)
        return plan
    else:
        _choose_lanes(nest, plan)
    heavy = max(range(len(nest.stages)), key=lambda i: _trip(nest, nest.stages[i]))
    stage = nest.stages[heavy]
    if plan.lanes_dim is not None:
        if stage.reduction:
            _tile_reduction(nest, plan, stage, target)
        else:
            _tile_elementwise(nest, plan, target)
    else:
        _tile_rows(nest, plan, stage, plan.stage_lanes.get(heavy))
    if plan.block is None:
        plan.divided = divided_dim(nest, plan.order, plan.tile, plan.lanes_dim, stage if plan.contraction else None)
    return plan


def _dot_lanes(nest: Nest, width: int) -> int:
    """The outer dim along which every dot product of the nest reads whole vectors of groups."""
    for dim in nest.outer:
        extent = nest.space.static(dim)
        wide = [s.ins[s.dot.vector] for s in nest.stages if s.dot is not None]
        if (
            extent is not None
            and (extent % width == 0 or 2 * extent == width)
            and all(isinstance(a, Access) and a.contiguous(dim) for a in wide)
        ):
            return dim
    raise Refusal("dot products whose lanes are not a loop of the whole nest")


def body_weight(stage: Stage) -> int:
    """Instructions of a stage's body per vector, math ops as what they expand to."""
    return sum(MATH_WEIGHT if op.name in _EXPANDED else 1 for op in stage.block.ops)


def _trip(nest: Nest, stage: Stage) -> int:
    n = 1
    for d in nest.private(stage):
        n *= extent_of(nest, d)
    return n


def _scattered(stage: Stage, dim: int) -> int:
    """Accesses that are neither contiguous nor constant along `dim`."""
    scattered = sum(a.coeff(dim) != ZERO and not a.contiguous(dim) for a in stage.accesses())
    return scattered + 3 * scattered_tables(stage, dim)


def _choose_lanes(nest: Nest, plan: Plan) -> None:
    trips = [_trip(nest, s) for s in nest.stages]
    best = float(sum(t * (1 + len(s.accesses())) for t, s in zip(trips, nest.stages, strict=True)))
    for dim in nest.outer:
        lanes = max(1, min(plan.width, extent_of(nest, dim)))
        crossed = _crossable(nest, plan, dim)
        cost = (
            sum(
                t * ((1 + len(s.accesses())) / lanes + 2 * _scattered(s, dim))
                for t, s in zip(trips, nest.stages, strict=True)
            )
            - 1.7 * crossed
        )
        if cost < best:
            best, plan.lanes_dim = cost, dim
    rows: dict[int, int | None] = {}
    cost = 0.0
    for i, stage in enumerate(nest.stages):
        private = nest.private(stage)
        if not private:
            rows[i] = None
            cost += 1 + len(stage.accesses())
            continue
        per_dim = []
        for dim in private:
            if stage.reduction and combiners(stage) is None:
                continue
            if any(dim not in dict(o.coeffs) for o in stage.outs) and not stage.reduction:
                continue
            lanes = min(plan.width, extent_of(nest, dim))
            c = trips[i] * ((1 + len(stage.accesses())) / lanes + 2 * _scattered(stage, dim))
            per_dim.append((c + (4 if stage.reduction else 0), -private.index(dim), dim))
        if not per_dim:
            rows[i] = None
            cost += trips[i] * (1 + len(stage.accesses()))
            continue
        c, _, dim = min(per_dim)
        rows[i] = dim
        cost += c
    if cost < best:
        plan.lanes_dim, plan.stage_lanes = None, rows


def _cross(nest: Nest, plan: Plan, lanes: int) -> int | None:
    """The outer dim along which most inputs scattered along `lanes` are contiguous."""
    if any(nest.private(s) for s in nest.stages) or plan.width & (plan.width - 1) or plan.width == 1:
        return None
    votes: dict[int, int] = {}
    for access in _inputs(nest):
        if access.coeff(lanes) not in (ZERO, ONE):
            for dim in nest.outer:
                extent = nest.space.static(dim)
                if dim != lanes and access.coeff(dim) == ONE and (extent is None or extent >= plan.width):
                    votes[dim] = votes.get(dim, 0) + 1
    extent = nest.space.static(lanes)
    if not votes or (extent is not None and extent < plan.width):
        return None
    return max(votes, key=lambda d: votes[d])


def _crossable(nest: Nest, plan: Plan, lanes: int) -> int:
    """How many scattered inputs a square tile turned in registers serves."""
    cross = _cross(nest, plan, lanes)
    return sum(a.coeff(lanes) not in (ZERO, ONE) and cross is not None and a.coeff(cross) == ONE for a in _inputs(nest))


def _inputs(nest: Nest) -> list[Access]:
    """Distinct accesses that the nest reads and does not write."""
    written = nest.written()
    found = {o: None for s in nest.stages for o in s.ins if isinstance(o, Access) and o.root not in written}
    return list(found)


def _outer_order(nest: Nest, main: Access) -> list[int]:
    """Outer dims by how far apart the elements of `main` lie along them, farthest first; dynamic ones outermost."""

    def distance(dim: int) -> tuple[int, int]:
        c = main.coeff(dim)
        return (0 if c.symbols else 1, -c.factor)

    return sorted(nest.outer, key=distance)


def _tile_elementwise(nest: Nest, plan: Plan, target: Target) -> None:
    lanes = plan.lanes_dim
    assert lanes is not None
    order = _outer_order(nest, nest.stages[-1].outs[0])
    plan.order = [d for d in order if d != lanes] + [lanes]
    ops = sum(len(list(s.block.ops)) for s in nest.stages)
    vectors = 4 if ops <= 16 else 2 if ops <= 48 else 1
    while vectors > 1 and vectors * len(set(nest.accesses())) > target.vector_registers:
        vectors //= 2
    if vectors == 4 and sum(op.name in _EXPANDED for s in nest.stages for op in s.block.ops) >= CHAINED:
        vectors = plan.in_step = 8
    have = -(-extent_of(nest, lanes) // plan.width)
    plan.tile = {d: 1 for d in plan.order}
    plan.cross = _cross(nest, plan, lanes)
    if plan.cross is not None:
        plan.tile[lanes] = plan.tile[plan.cross] = plan.width
        return
    plan.tile[lanes] = min(vectors, have) * plan.width
    _spread(nest, plan, [d for d in reversed(plan.order) if d != lanes], vectors // min(vectors, have))


def _spread(nest: Nest, plan: Plan, dims: list[int], points: int) -> None:
    """Tile further dims until the tile has about `points` times as many points."""
    for dim in dims:
        extent = nest.space.static(dim)
        if points <= 1:
            return
        if extent is None:
            continue
        t = min(points, extent)
        while extent % t:
            t -= 1
        plan.tile[dim] = t
        points //= t
        if t < extent:
            return


def _tile_reduction(nest: Nest, plan: Plan, stage: Stage, target: Target) -> None:
    lanes = plan.lanes_dim
    assert lanes is not None
    reads = [o for o in stage.ins if isinstance(o, Access)]
    vectors = [a for a in reads if a.coeff(lanes) != ZERO]
    scalars = [a for a in reads if a.coeff(lanes) == ZERO and any(a.coeff(d) != ZERO for d in stage.reduction)]
    order = _outer_order(nest, stage.outs[0])

    def varies(accesses: list[Access], dim: int) -> bool:
        return any(a.coeff(dim) != ZERO for a in accesses)

    others = [d for d in order if d != lanes]
    plan.contraction = bool(vectors and scalars)
    if not plan.contraction:
        plan.order = [*others, lanes]
        have = -(-extent_of(nest, lanes) // plan.width)
        plan.tile = {d: 1 for d in plan.order}
        plan.tile[lanes] = min(8, have) * plan.width
        _spread(nest, plan, others[::-1], 8 // min(8, have))
        return
    rows = [d for d in others if not varies(vectors, d) and varies(scalars, d)]
    cols = [d for d in others if varies(vectors, d) and not varies(scalars, d)]
    rest = [d for d in others if d not in rows and d not in cols]
    plan.order = [*rest, *cols, lanes, *rows]
    plan.tile = {d: 1 for d in plan.order}
    plan.tile.update(
        contraction_tile(nest, plan.width, lanes, rows, cols, scalars, target, stage.dot is not None, len(vectors))
    )
    spread = stage.dot is None and columns_spread(nest, [lanes, *cols], scalars, target)
    if len(rows) == 1 and not rest and prod(-(-extent_of(nest, d) // plan.tile[d]) for d in (*cols, lanes)) > 1:
        plan.block = row_block(nest, rows[0], plan.tile[rows[0]], scalars, target, spread=spread)


def _tile_panels(nest: Nest, plan: Plan, panels: RowPanels, target: Target) -> None:
    """A square of vectors per panel; all panels for one tile of weights, which are read from far away, before the
    next."""
    plan.panels, plan.lanes_dim, plan.contraction = panels, panels.lanes, True
    rows, cols, scalars = [panels.lanes], list(panels.panels), [panels.weights]
    tile = contraction_tile(nest, plan.width, panels.across, rows, cols, scalars, target, False, within=plan.width)
    plan.panel_rows = tile[panels.lanes]
    plan.order = [panels.lanes, *cols, panels.across]
    plan.tile = {**dict.fromkeys(plan.order, 1), **tile, panels.lanes: plan.width}


def _tile_rows(nest: Nest, plan: Plan, stage: Stage, lanes: int | None) -> None:
    main = stage.outs[0] if stage.outs[0].coeffs else next(iter(stage.accesses()))
    plan.order = _outer_order(nest, main)
    plan.tile = {d: 1 for d in plan.order}
    reads = [o for o in stage.ins if isinstance(o, Access) and any(o.coeff(d) != ZERO for d in stage.reduction)]
    if lanes is None or not stage.reduction or len(reads) < 2:
        _pair_rows(nest, plan)
        return
    shared = [d for d in reversed(plan.order) if any(a.coeff(d) == ZERO for a in reads)]
    budget = 16
    for dim in shared[:2]:
        n = nest.space.static(dim)
        t = min(4 if len(shared) > 1 else 8, n if n is not None else 1, budget)
        plan.tile[dim] = t
        budget //= t
    if shared and plan.tile[shared[0]] > 1 and _can_turn(nest, plan, stage, lanes, shared[0]):
        plan.lanes_dim, plan.turned = shared[0], True


def _pair_rows(nest: Nest, plan: Plan) -> None:
    """Several rows at once where reductions follow each other: none waits for its sum alone, all share what they
    read."""
    extents = [nest.space.static(d) for d in plan.order]
    if sum(bool(s.reduction) for s in nest.stages) > 1 and extents and extents[-1] is not None:
        plan.tile[plan.order[-1]] = 1 if extents[-1] % ROWS_AT_ONCE else ROWS_AT_ONCE


def _can_turn(nest: Nest, plan: Plan, stage: Stage, lanes: int, dim: int) -> bool:
    """Whether the sums of rows of `stage` can leave it as vectors along `dim`: everything around it takes them so."""
    extent = nest.space.static(lanes)
    others = [s for s in nest.stages if s is not stage]
    if extent is None or extent < plan.width or any(nest.private(s) for s in others):
        return False
    read = {o.root for o in stage.ins if isinstance(o, Access)}
    if nest.private(stage) != [lanes] or any(s.written() & read for s in others):
        return False
    around = [*stage.outs, *(a for s in others for a in s.accesses())]
    return all(a.coeff(dim) == ONE for s in nest.stages for a in s.outs) and all(
        a.coeff(dim) in (ZERO, ONE) for a in around
    )


def reduction_order(nest: Nest, plan: Plan, group: list[Stage], dims: list[int]) -> list[int]:
    """Private dims, outermost first, so that the operand loaded as vectors is read in the order it lies."""
    accesses = [a for s in group for a in s.accesses()]
    vectors = [a for a in accesses if plan.lanes_dim is not None and a.contiguous(plan.lanes_dim)] or accesses
    main = max(vectors, key=lambda a: sum(a.coeff(d) != ZERO for d in dims))
    if any(main.coeff(d).symbols for d in dims):
        return dims
    return sorted(dims, key=lambda d: -main.coeff(d).factor)


def unroll(nest: Nest, dims: list[int], ops_per_step: int, variants: int) -> tuple[list[int], int]:
    """(innermost dims to unroll whole, steps of the next dim to unroll)."""
    budget = max(1, min(OPS_BUDGET, 1000 // variants) // max(1, ops_per_step))
    whole: list[int] = []
    steps = 1
    for dim in reversed(dims):
        n = nest.space.static(dim)
        if n is None or steps * n > budget or n > 32:
            break
        whole.insert(0, dim)
        steps *= n
    rest = dims[: len(dims) - len(whole)]
    if not rest:
        return whole, 1
    n = extent_of(nest, rest[-1])
    most = max(1, min(budget // steps, 16, n))
    even = max(u for u in range(1, most + 1) if n % u == 0)
    return whole, even if even * 2 >= most else most


def check_plan(nest: Nest, plan: Plan) -> None:
    """Refuse what the emitter cannot do."""
    for stage in nest.stages:
        private = [d for d in nest.private(stage) if d in stage.parallel]
        if any(d not in dict(o.coeffs) for o in stage.outs for d in private):
            raise Refusal("a parallel loop that does not index the output")
