"""When may a tensor be written over in place? The third step of `bufferize`.

The function is walked in program order; each tensor already has a place (`View`). A write is done in place unless some
tensor that is still needed lies in the memory that is written:

    %r = call @k(%x, %d)        over %d is fine unless %d, or a tensor that shares its memory, is read after the call
                                (by any path, loops included), or the call itself reads that memory through %x

What a later use needs is looked at closely: an insertion needs its destination only outside the inserted box, a slice
only its own box, an overwritten destination nothing. Where sizes are not known the answer is no, which costs a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects import scf, tensor
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from mlc.lowering.buffers.destinations import VIEW_OPS, Destinations, indexing_maps, is_elementwise, is_permutation
from mlc.lowering.buffers.extents import kept_dims, mixed_extents
from mlc.lowering.buffers.views import View, contains, disjoint, same_place, slice_view

Loops = tuple[Operation, ...]


def sliced(view: View, op: tensor.ExtractSliceOp | tensor.InsertSliceOp) -> View:
    """The box of `view` that a slice takes out or an insertion overwrites."""
    small = op.result.type if isinstance(op, tensor.ExtractSliceOp) else op.source.type
    sizes = mixed_extents(op.static_sizes.get_values(), op.sizes)
    return slice_view(
        view,
        mixed_extents(op.static_offsets.get_values(), op.offsets),
        sizes,
        mixed_extents(op.static_strides.get_values(), op.strides),
        kept_dims(op.static_sizes.get_values(), small.get_shape()),  # pyright: ignore[reportAttributeAccessIssue]
    )


@dataclass
class AliasAnalysis:
    """Places of the tensors of one function, and the order of its ops."""

    function: FuncOp
    destinations: Destinations
    places: dict[SSAValue, View] = field(default_factory=dict)
    undefined: set[SSAValue] = field(default_factory=set)
    _position: dict[Operation, int] = field(default_factory=dict)
    _loops: dict[Block, Loops] = field(default_factory=dict)
    _block: dict[Operation, Block] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._number(self.function.body.block, ())

    def _number(self, block: Block, loops: Loops) -> None:
        self._loops[block] = loops
        for op in block.ops:
            self._position[op] = len(self._position)
            self._block[op] = block
            inner = (*loops, op) if isinstance(op, scf.ForOp | scf.WhileOp | scf.ParallelOp) else loops
            for region in op.regions:
                for nested in region.blocks:
                    self._number(nested, inner)

    def place(self, value: SSAValue, view: View, *, undefined: bool = False) -> None:
        """Record where `value` lies; `undefined` when nothing was written there yet."""
        self.places[value] = view
        view.root.tensors.append(value)
        if undefined:
            self.undefined.add(value)

    def conflict(self, op: Operation, index: int, target: View) -> str | None:
        """Why writing `target`, through operand `index` of `op`, would destroy something that is still needed."""
        if not target.root.writable:
            return f"{target.root.name} must not be changed"
        for value in target.root.tensors:
            view = self.places[value]
            if value in self.undefined or disjoint(view, target):
                continue
            if self._needed(value, view, op, target, value):
                return "its old contents are read later"
        for i, operand in enumerate(op.operands):
            view = self.places.get(operand)
            if i == index or view is None or disjoint(view, target):
                continue
            if self._read_here(op, i, index, view, target):
                return "the op reads the memory it writes"
        return None

    def _read_here(self, op: Operation, index: int, written: int, view: View, target: View) -> bool:
        """Whether `op` may read (or write) operand `index` after having written `target` through operand `written`."""
        if index in self.destinations.indices(op) or isinstance(op, scf.ForOp | scf.WhileOp):
            return True
        if op.operands[index] in self.undefined:
            return False
        maps = indexing_maps(op)
        if maps is None or not is_elementwise(op) or not same_place(view, target):
            return True
        return maps[index] != maps[written] or not is_permutation(maps[written])

    def _needed(self, value: SSAValue, view: View, at: Operation, target: View, origin: SSAValue) -> bool:
        """Whether a use of `value` that runs after `at` reads memory of `target`."""
        for use in value.uses:
            op = use.operation
            if not self._after(op, at, origin) or isinstance(op, tensor.DimOp):
                continue
            if isinstance(op, tensor.ExtractSliceOp):
                piece = sliced(view, op)
                if disjoint(piece, target):
                    continue
                if self._needed(op.result, piece, at, target, origin):
                    return True
            elif isinstance(op, VIEW_OPS):
                if self._any_use(op.results[0]):
                    return True
            elif isinstance(op, tensor.InsertSliceOp) and use.index == 1:
                if op.result.uses and not contains(sliced(view, op), target):
                    return True
            elif use.index in self.destinations.indices(op):
                if self.destinations.reads_contents(op, use.index):
                    return True
            else:
                return True
        return False

    def _any_use(self, value: SSAValue) -> bool:
        return any(not isinstance(u.operation, tensor.DimOp) for u in value.uses)

    def _after(self, op: Operation, at: Operation, origin: SSAValue) -> bool:
        """Whether `op` may run after `at` while `origin` still has the same contents."""
        if op not in self._position:
            return False
        if self._position[op] > self._position[at]:
            return True
        owner = origin.owner
        home = owner if isinstance(owner, Block) else self._block.get(owner)
        outer = self._loops.get(home, ()) if home is not None else ()
        here, there = self._loops[self._block[at]], self._loops[self._block[op]]
        return any(loop in there and loop not in outer for loop in here)
