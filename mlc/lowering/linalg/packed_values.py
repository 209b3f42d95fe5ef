"""Packed forms of tensor values, made once per value and only when somebody asks.

A *packing* of a value is a tuple of (dimension, tile): each named dimension d becomes d / tile in place and a new
innermost dimension of size `tile`, in the order of the tuple. `Packings` remembers, per value, the packed forms that
exist; `packed` makes a missing one (`expand_shape` where it is only a view, `linalg.pack` otherwise), `plain` gives the
ordinary form back (`collapse_shape` or `linalg.unpack`).
"""

from __future__ import annotations

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp, UnPackOp
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.structure import shape_of

Packing = tuple[tuple[int, int], ...]


def divides(value: SSAValue, packing: Packing) -> bool:
    """Whether every packed dimension is a static multiple of its tile (no padding lanes)."""
    shape = shape_of(value)
    return all(shape[d] != DYNAMIC_INDEX and shape[d] % t == 0 for d, t in packing)


def _is_view(value: SSAValue, packing: Packing) -> bool:
    """Splitting the last dimension alone moves nothing."""
    return len(packing) == 1 and packing[0][0] == len(shape_of(value)) - 1 and divides(value, packing)


def can_pad_packed(op: tensor.PadOp, packing: Packing) -> bool:
    """Whether padding leaves the packed dimensions alone and its amounts are known."""
    low, high = op.static_low.get_values(), op.static_high.get_values()
    return not op.low and not op.high and all(low[d] == high[d] == 0 for d, _ in packing)


class Packings:
    """Packed forms of the values of one function."""

    def __init__(self) -> None:
        self._packed: dict[SSAValue, dict[Packing, SSAValue]] = {}
        self._plain: dict[SSAValue, SSAValue] = {}
        self._replaced: set[SSAValue] = set()
        self.packs = 0
        self.unpacks = 0

    def known(self, value: SSAValue) -> dict[Packing, SSAValue]:
        """The packed forms that exist."""
        return self._packed.get(value, {})

    def forms(self, value: SSAValue) -> list[SSAValue]:
        """`value` and its plain form where one was made."""
        return [value, self._plain[value]] if value in self._plain else [value]

    def set(self, value: SSAValue, packing: Packing, packed: SSAValue) -> None:
        """`packed` is computed in place of `value`, whose own op will go away."""
        self._packed.setdefault(value, {})[packing] = packed
        self._replaced.add(value)

    def packed(self, at: At, value: SSAValue, packing: Packing) -> SSAValue:
        """The packed form of `value`; fills and empties are made anew in packed shape."""
        forms = self._packed.setdefault(value, {})
        if packing not in forms:
            forms[packing] = self._make(at, value, packing)
        return forms[packing]

    def plain(self, at: At, value: SSAValue) -> SSAValue:
        """`value` itself, or, when its op is replaced by a packed one, the unpacked result of that."""
        if value not in self._replaced:
            return value
        if value not in self._plain:
            packing, packed = next(iter(self._packed[value].items()))
            if _is_view(value, packing):
                last = len(shape_of(value)) - 1
                groups = [(i,) for i in range(last)] + [(last, last + 1)]
                self._plain[value] = at.collapse(packed, groups)
            else:
                positions, tiles = [d for d, _ in packing], [t for _, t in packing]
                dest = at.empty(self._sizes(at, value), element_type(value))
                self._plain[value] = at.add(UnPackOp(packed, dest, positions, tiles)).results[0]
                self.unpacks += 1
        return self._plain[value]

    def packed_sizes(self, at: At, value: SSAValue, packing: Packing) -> list[int | SSAValue]:
        """Sizes of the packed form."""
        sizes = self._sizes(at, value)
        for d, t in packing:
            size = sizes[d]
            assert isinstance(size, int)
            sizes[d] = -(-size // t)
        return sizes + [t for _, t in packing]

    def pad(self, at: At, op: tensor.PadOp, packing: Packing) -> SSAValue:
        """The padded packed form of the source of `op`: packing first moves less than packing what was padded."""
        source = self.packed(at, op.source, packing)
        extra = [0] * len(packing)
        low = [*op.static_low.get_values(), *extra]
        high = [*op.static_high.get_values(), *extra]
        shape = [d if d == DYNAMIC_INDEX else d + a + b for d, a, b in zip(shape_of(source), low, high, strict=True)]
        region = op.region.clone()
        for _ in packing:
            region.block.insert_arg(region.block.args[0].type, len(region.block.args))
        result = TensorType(element_type(op.source), shape)
        return at.add(tensor.PadOp(source, [], [], region, low, high, result, op.nofold)).result

    def _make(self, at: At, value: SSAValue, packing: Packing) -> SSAValue:
        owner = value.owner
        if isinstance(owner, FillOp):
            return at.fill(owner.inputs[0], self.packed(at, owner.outputs[0], packing))
        if isinstance(owner, tensor.EmptyOp):
            return at.empty(self.packed_sizes(at, value, packing), element_type(value))
        if isinstance(owner, tensor.PadOp) and value not in self._replaced and can_pad_packed(owner, packing):
            return self.pad(at, owner, packing)
        source = self.plain(at, value)
        if _is_view(value, packing):
            ((dim, tile),) = packing
            sizes = at.sizes(source)
            groups = [(i,) for i in range(dim)] + [(dim, dim + 1)]
            return at.expand(source, groups, [*sizes[:dim], shape_of(value)[dim] // tile, tile])
        dest = at.empty(self.packed_sizes(at, value, packing), element_type(value))
        padding = None if divides(value, packing) else at.scalar(0, element_type(value))
        op = PackOp(source, dest, [d for d, _ in packing], [t for _, t in packing], padding_value=padding)
        self.packs += 1
        return at.add(op).results[0]

    def _sizes(self, at: At, value: SSAValue) -> list[int | SSAValue]:
        """Sizes of `value` without using it when its op is about to go away."""
        owner: Operation | object = value.owner
        while not isinstance(owner, tensor.EmptyOp) and isinstance(owner, Operation):
            outputs = getattr(owner, "outputs", None)
            if not outputs:
                break
            owner = outputs[0].owner
        if isinstance(owner, tensor.EmptyOp):
            dynamic = iter(owner.dynamic_sizes)
            return [next(dynamic) if d == DYNAMIC_INDEX else d for d in shape_of(value)]
        if value not in self._replaced:
            return at.sizes(value)
        packing, packed = next(iter(self._packed[value].items()))
        blocked = {d for d, _ in packing}
        sizes: list[int | SSAValue] = []
        for i, d in enumerate(shape_of(value)):
            assert d != DYNAMIC_INDEX or i not in blocked
            sizes.append(at.dim(packed, i) if d == DYNAMIC_INDEX else d)
        return sizes
