"""Write a product through a matrix unit: registers of sums in loops over the terms, from memory and into it.

    %s:4 = scf.for %k step 16 iter_args(2 by 2 registers of sums) {    amx.tile_load x at two rows of tiles, w at two
      amx.tile_mulf … four times                                       columns of them
    }
    amx.tile_store … four times

What the sums begin with is zero, or is in memory: what points hold in vector registers is stored before. After the
loops points hold nothing; stages that follow take the sums from memory (`NestWriter`).
Tests: tests/lowering/vector/matrix_tiles.mlir, tests/api/test_matrix_tiles.py
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, MemRefType, UnitAttr, f32, i8, i32
from xdsl.ir import SSAValue

from mlc.dialects.amx.ops import TileLoadOp, TileMulFOp, TileMulIOp, TileStoreOp, TileType, TileZeroOp
from mlc.lowering.vector.emitter import Index
from mlc.lowering.vector.matrix_tiles import COLUMNS
from mlc.lowering.vector.schedule import reduction_order
from mlc.lowering.vector.sizes import ZERO, Size
from mlc.lowering.vector.space import Access
from mlc.lowering.vector.tile import Offsets, Point

if TYPE_CHECKING:
    from mlc.lowering.vector.nest_writer import NestWriter


@dataclass(frozen=True)
class _Sums:
    """A register of sums: how far its first row is along the rows, and its first column along all else."""

    down: Offsets
    across: Offsets


class MatrixWriter:
    """The product of a nest, for all points of a tile."""

    def __init__(self, writer: NestWriter, numbers: list[int], points: list[Point]) -> None:
        plan, nest = writer.plan, writer.nest
        assert plan.matrix is not None and numbers == [plan.matrix.stage]
        self.writer, self.em, self.memory, self.points = writer, writer.em, writer.memory, points
        self.tiles = plan.matrix
        self.stage = nest.stages[plan.matrix.stage]
        assert self.stage.dot is not None
        self.dot = self.stage.dot
        vector, scalar = self.stage.ins[self.dot.vector], self.stage.ins[1 - self.dot.vector]
        assert isinstance(vector, Access) and isinstance(scalar, Access)
        self.vector, self.scalar = vector, scalar
        (self.out,) = self.stage.outs
        private = [d for d in nest.private(self.stage) if d != self.tiles.term]
        self.around = reduction_order(nest, plan, [self.stage], private)
        self.sums = self._registers()

    def write(self) -> list[tuple[Access, Point]]:
        """Write the loops; the points hold nothing in registers after them."""
        sums = self._loops(0, self._initial())
        for place, value in zip(self.sums, sums, strict=True):
            view = self._view(self.out, (*place.down, *place.across), self._kind(), self.tiles.row)
            zero = self.em.index(0)
            self.em.do(TileStoreOp.create(operands=[view, zero, zero, value]))
        for point in self.points:
            self.memory.held.pop((self.out, point), None)
        return []

    def _registers(self) -> list[_Sums]:
        """The points in registers of sums, those that share rows after each other."""
        row, found = self.tiles.row, dict[tuple[Offsets, Offsets], None]()
        for point in self.points:
            down = tuple(o for o in point.offsets if self.scalar.coeff(o[0]) != ZERO and o[0] != row)
            found[down, tuple(o for o in point.offsets if self.scalar.coeff(o[0]) == ZERO)] = None
        count = 1 + max(dict(p.offsets)[row] for p in self.points)
        starts = range(0, count, self.tiles.rows)
        places = [_Sums((*down, (row, first)), across) for first in starts for down, across in found]
        return sorted(places, key=lambda p: p.down)

    def _kind(self) -> TileType:
        """Of a register of sums."""
        return TileType.of(self.tiles.rows, COLUMNS, i32 if self.dot.unsigned is not None else f32)

    def _view(self, access: Access, offsets: Offsets, kind: TileType, dim: int) -> SSAValue:
        """The memory of a register at `offsets`, its rows along `dim`."""
        stride = access.coeff(dim).static
        assert stride is not None
        return self.em.rows_at(access, self.memory.index(access, offsets), kind.sizes, stride)

    def _load(self, access: Access, offsets: Offsets, kind: TileType, dim: int) -> SSAValue:
        zero = self.em.index(0)
        view = self._view(access, offsets, kind, dim)
        return self.em.add(TileLoadOp.create(operands=[view, zero, zero], result_types=[kind]))

    # Sums

    def _initial(self) -> list[SSAValue]:
        held = [(p, self.memory.held.get((self.out, p))) for p in self.points]
        if all(value is not None and _is_zero(value) for _, value in held):
            return [self.em.add(TileZeroOp.create(result_types=[self._kind()])) for _ in self.sums]
        for point, value in held:
            if value is not None:
                self.memory.store(value, self.out, self.writer.at(point))
        return [self._load(self.out, (*p.down, *p.across), self._kind(), self.tiles.row) for p in self.sums]

    # Loops

    def _loops(self, i: int, accs: list[SSAValue]) -> list[SSAValue]:
        innermost = i == len(self.around)
        dim = self.tiles.term if innermost else self.around[i]
        step = self.tiles.groups if innermost else 1
        n = self.writer.space.static(dim) or 0

        def body(inner: list[SSAValue]) -> list[SSAValue]:
            return self._products(inner) if innermost else self._loops(i + 1, inner)

        if n == step:
            saved = self.memory.enter(dim, Index())
            accs = body(accs)
            self.memory.leave(saved)
            return accs
        with self.em.loop(Index(), Index(const=n), step, accs) as (iv, carried, yields):
            saved = self.memory.enter(dim, Index(iv))
            yields.extend(body(carried))
            self.memory.leave(saved)
        return yields

    def _products(self, accs: list[SSAValue]) -> list[SSAValue]:
        """One step of every register of sums; factors are loaded when first needed."""
        self._prefetch()
        term, group = self.tiles.term, self.dot
        narrow = self.vector.element_type
        weights = TileType.of(self.tiles.groups, COLUMNS * group.group, narrow)
        rows = TileType.of(self.tiles.rows, self.tiles.groups * group.group, narrow)
        found: dict[object, SSAValue] = {}
        done: list[SSAValue] = []
        for place, acc in zip(self.sums, accs, strict=True):
            if place.down not in found:
                found[place.down] = self._load(self.scalar, place.down, rows, self.tiles.row)
            if place.across not in found:
                found[place.across] = self._load(self.vector, place.across, weights, term)
            done.append(self._product(found[place.down], found[place.across], acc))
        return done

    def _prefetch(self) -> None:
        """A part of the weights of the next columns, where they come from beyond the second-level cache: each tile of
        rows asks for some of their lines, all tiles together for all."""
        column, term, groups, across = self.tiles.column, self.tiles.term, self.tiles.groups, self.tiles.across
        kind = self.vector.root.type
        if column is None or not isinstance(kind, MemRefType) or not kind.has_static_shape():
            return
        each = {i8: 1}.get(kind.element_type, 2)
        if each * prod(kind.get_shape()) <= self.writer.target.l2:
            return
        row = self.tiles.row if self.tiles.outer_row is None else self.tiles.outer_row
        tile = self.writer.plan.tile[row]
        wanted = across * groups / max(1, (self.writer.space.static(row) or 1) // tile)
        lines = min(n for n in range(1, across * groups + 1) if n >= wanted and (groups % n == 0 or n % groups == 0))
        here = self.memory.at_dim.get(row, Index())
        panel, line = Index(), Index()
        if here.value is not None:
            first = self.em.times(Index(self._divided(self.em.materialize(here), tile)), Size(lines))
            panel = Index(self._divided(self.em.materialize(first), groups))
            line = Index(self.em.add(arith.RemUIOp(self.em.materialize(first), self.em.index(groups))))
        base = self.memory.index(self.vector, ((column, across),))
        base = self.em.plus(base, self.em.times(panel, self.vector.coeff(column)))
        base = self.em.plus(base, self.em.times(line, self.vector.coeff(term)))
        for n in range(lines):
            ahead = n // groups * self.vector.coeff(column).factor + n % groups * self.vector.coeff(term).factor
            self.em.prefetch(self.vector, Index(base.value, base.const + ahead))

    def _divided(self, value: SSAValue, by: int) -> SSAValue:
        return self.em.add(arith.DivUIOp(value, self.em.index(by)))

    def _product(self, rows: SSAValue, weights: SSAValue, acc: SSAValue) -> SSAValue:
        operands, types = [rows, weights, acc], [acc.type]
        if self.dot.unsigned is None:
            return self.em.add(TileMulFOp.create(operands=operands, result_types=types))
        name = "isZextRhs" if self.dot.unsigned == self.dot.vector else "isZextLhs"
        return self.em.add(TileMulIOp.create(operands=operands, result_types=types, properties={name: UnitAttr()}))


def _is_zero(value: SSAValue) -> bool:
    owner = value.owner
    if not isinstance(owner, arith.ConstantOp):
        return False
    constant = owner.value
    if isinstance(constant, DenseIntOrFPElementsAttr):
        return constant.is_splat() and not any(constant.data.data)
    return getattr(getattr(constant, "value", None), "data", 1) == 0
