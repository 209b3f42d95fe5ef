"""Where the last tile of a loop moves back over the one before it, instead of being smaller with code of its own.

    196 rows in tiles of 6: 32 of them, and 4 rows   -->   33 tiles, the last from row 190 on

The code for what is left is nearly as long as the code for whole tiles, and takes as long to compile. Rows in both
tiles are computed and stored twice, with the same result. That needs results which depend on nothing that the nest
writes, and is done where few rows are concerned.
Tests: tests/lowering/vector/last_tiles.mlir
"""

from __future__ import annotations

from xdsl.dialects import memref
from xdsl.ir import SSAValue

from mlc.ir.own_memory import is_own
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.schedule import Plan
from mlc.lowering.vector.space import Access


def moves_back(extent: int, tile: int, twice: int) -> bool:
    """Whether the last of the tiles that cover `extent` is to move back: at most one row in `twice` is in two, and
    there is a loop over tiles, which it can join."""
    left = extent % tile
    return left > 0 and extent >= 2 * tile and (tile - left) * twice <= extent


def may_repeat(nest: Nest, plan: Plan) -> bool:
    """Whether a tile of `nest` may be computed again: it finds what it read the first time, and writes the same."""
    if plan.lanes_dim is None or plan.panels is not None or plan.turned or plan.cross is not None:
        return False
    written = nest.written()
    if any(stage.tables & written for stage in nest.stages):
        return False
    roots = {root for stage in nest.stages for root in stage.roots()}
    return all(_is_apart(nest, root) for root in roots) and all(_begins_anew(nest, root) for root in written)


def _begins_anew(nest: Nest, root: SSAValue) -> bool:
    """Whether every element of `root` that a point of the nest touches is one that it has written before."""
    accesses = {a for a in nest.accesses() if a.root is root}
    first = next(stage for stage in nest.stages if root in stage.roots())
    reads = any(out.root is root and first.reads_out(k) for k, out in enumerate(first.outs))
    reads = reads or any(isinstance(o, Access) and o.root is root for o in first.ins)
    return len(accesses) == 1 and root in first.written() and not first.reduction and not reads


def _is_apart(nest: Nest, root: SSAValue) -> bool:
    """Whether nothing else names the memory of `root`."""
    memory = nest.space.window_of(root)
    return is_own(memory) or isinstance(memory.owner, memref.GetGlobalOp)
