"""Prefetches of a group of loops: weights that come from far, rows that lie in many short pieces.

ahead       a panel of weights, 8 KB ahead of where it is loaded                        every target
next tile   the weights of the next tile of columns, a part with each tile of rows      where scalars take registers
rows        those of the next tile, before the innermost loop (`row_blocks`)            rows in short pieces
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, AnyFloat, IntegerType, MemRefType
from xdsl.ir import SSAValue

from mlc.ir.size_bounds import size_bound
from mlc.lowering.vector.emitter import Index
from mlc.lowering.vector.row_blocks import LINE, fits_twice, in_short_pieces, next_rows
from mlc.lowering.vector.sizes import ZERO, Size
from mlc.lowering.vector.space import Access, Stage

if TYPE_CHECKING:
    from mlc.lowering.vector.group_writer import GroupWriter

AHEAD = 8 << 10
"""Bytes that weights are prefetched ahead: prefetchers of the hardware stop at pages of 4096 bytes."""
FEW_TILES = 3
"""Of rows, in a block: from so many on, the next tile of columns comes near meanwhile. (Vectors of 512 bits: from one
on, 1.0 to 1.1 times as fast with 12 to 24 rows; measured on two multiply-adds per cycle.)"""


def streamed_panels(group: GroupWriter) -> dict[Access, int]:
    """Panels of weights that come through the caches while they are multiplied, a line per step: how many elements
    ahead they are prefetched."""
    plan = group.plan
    if not plan.contraction or group.lanes_dim is not None or plan.lanes_dim is None or not group.dims:
        return {}
    found: dict[Access, int] = {}
    for stage in group.stages:
        for operand in stage.ins:
            if (
                isinstance(operand, Access)
                and operand.contiguous(plan.lanes_dim)
                and operand.coeff(group.dims[-1]) == Size(plan.width * operand.group * _rows(stage, operand))
                and isinstance(operand.element_type, AnyFloat | IntegerType)
                and (elements := _elements(operand.root)) is not None
            ):
                uses = {tuple(o for o in p.offsets if operand.coeff(o[0]) == ZERO) for p in group.points}
                # read for one row alone, weights come as fast as memory gives them: there is nothing to hide
                if len(uses) > 1 and _bytes(operand) * elements > group.writer.target.l1:
                    found[operand] = AHEAD // _bytes(operand)
    return found


class Prefetches:
    """What the loops of `group` prefetch. `streamed`: what is prefetched as it is loaded, how many elements ahead."""

    def __init__(self, group: GroupWriter, streamed: dict[Access, int]) -> None:
        self.group, self.em, self.memory, self.plan = group, group.em, group.memory, group.plan
        self.space, self.target = group.space, group.writer.target
        self.next_tile = {o: each for o in streamed if (each := self._of_next_tile(o))}
        self.streamed = {o: ahead for o, ahead in streamed.items() if o not in self.next_tile}

    def begin(self, steps: int) -> None:
        """Before `steps` unrolled steps: part of the next tile; from now on loads prefetch what is streamed."""
        for operand, each in self.next_tile.items():
            at = self._part_of_next_tile(operand, each)
            for ahead in range(0, each * steps, LINE // _bytes(operand)):
                self.em.prefetch(operand, Index(at.value, at.const + ahead))
        self.memory.streamed = self.streamed
        lines = [LINE // _bytes(o) for o in self.streamed]
        self.memory.streamed_line = min(lines) if lines and steps > 1 else 1

    def end(self) -> None:
        """After the unrolled steps."""
        self.memory.streamed = {}

    def rows(self) -> None:
        """The next tile's rows, where they are too many short pieces for the hardware to follow."""
        if not self.plan.contraction or self.plan.lanes_dim is None or not self.plan.order:
            return
        row, sizes = self.plan.order[-1], {d: self.space.at_most(d) or 1 for d in self.group.dims}
        tile = self.plan.tile[row]
        for operand in dict.fromkeys(o for s in self.group.stages for o in s.ins if isinstance(o, Access)):
            if operand.coeff(self.plan.lanes_dim) == ZERO and in_short_pieces(operand, row, tile, sizes):
                for j in next_rows(operand, row, tile):
                    self.em.prefetch(operand, self.memory.index(operand, ((row, j),)))

    def _of_next_tile(self, operand: Access) -> int:
        """How many elements of the next tile of columns are prefetched per step, so that all tiles of rows together go
        through it once (memory would not give all of it to the first tile of rows in time). 0: that is not done."""
        if not self.target.scalars_in_turn or self.group.lanes_dim is not None or len(self.group.dims) != 1:
            return 0
        row = self.plan.order[-1]
        steps, rows = self.space.static(self.group.dims[0]), self.space.static(row)
        if steps is None or rows is None or operand.coeff(row) != ZERO:
            return 0
        rows = self.plan.block[1] if self.plan.block is not None else rows
        tiles = -(-rows // self.plan.tile[row])
        columns = self._columns(operand)
        if (tiles < FEW_TILES and self.target.vector_bits < 512) or columns is None:
            return 0
        elements = self.plan.width * steps * self.plan.tile[columns]
        return -(-elements // (tiles * steps)) if fits_twice(elements * _bytes(operand), self.target) else 0

    def _columns(self, operand: Access) -> int | None:
        """The dim of the nest along which panels lie one behind the other."""
        outer = [d for d in self.plan.order if d != self.plan.lanes_dim and operand.coeff(d) != ZERO]
        panel = self.plan.width * (self.space.static(self.group.dims[0]) or 0)
        return outer[0] if len(outer) == 1 and operand.coeff(outer[0]) == Size(panel) else None

    def _part_of_next_tile(self, operand: Access, each: int) -> Index:
        """Where the part begins that falls to the steps that are written now."""
        columns, row, depth = self._columns(operand), self.plan.order[-1], self.group.dims[0]
        assert columns is not None
        steps = self.space.static(depth) or 0
        base = self.memory.base[operand]
        at = Index(base.value, base.const + self.plan.width * steps * self.plan.tile[columns])
        per_row = each * steps // self.plan.tile[row]
        at = self.em.plus(at, self.em.times(self.memory.at_dim.get(row, Index()), Size(per_row)))
        if (block := self.group.writer.within.get(row)) is not None:
            at = self.em.plus(at, self.em.times(block.low, Size(-per_row)))
        here = self.memory.at_dim.get(depth, Index())
        return self.em.plus(at, self.em.times(here, Size(each - self.plan.width)))


def _bytes(access: Access) -> int:
    assert isinstance(access.element_type, AnyFloat | IntegerType)
    return max(1, access.element_type.bitwidth // 8)


def _elements(buffer: SSAValue) -> int | None:
    """Of the whole that `buffer` is a part of, at most, where that is known."""
    while isinstance(buffer.owner, memref.SubviewOp):
        buffer = buffer.owner.source
    if not isinstance(buffer.type, MemRefType):
        return None
    shape = buffer.type.get_shape()
    sizes = [n if n != DYNAMIC_INDEX else size_bound(buffer, d) for d, n in enumerate(shape)]
    return None if None in sizes else prod(n for n in sizes if n is not None)


def _rows(stage: Stage, operand: Access) -> int:
    """How many vectors one step of `stage` reads of what `operand` reads, side by side."""
    return sum(isinstance(o, Access) and o.root is operand.root and o.coeffs == operand.coeffs for o in stage.ins)
