"""Winograd convolution on blocked channels.

    %s = "linalg_ext.winograd_filter_transform"(%w) {tile = array<i64: 4, 4>, depth = 32 : i64}
        : (tensor<4x2x3x3x16x16xf32>) -> tensor<1x36x4x32x16xf32>
    %y, %v, %m, %u = "linalg_ext.winograd_conv_2d"(%x, %w, %o, %t, %p, %s) {tile = array<i64: 4, 4>,
                                                                            block = array<i64: 1, 1, 14>}
        : (tensor<1x2x58x58x16xf32>, tensor<4x2x3x3x16x16xf32>,                                             ins
           tensor<1x4x56x56x16xf32>, tensor<1x36x1x1x14x2x16xf32>, tensor<36x4x1x1x14x16xf32>,              outs
           tensor<1x36x4x33x16xf32>)
        -> (tensor<1x4x56x56x16xf32>, tensor<1x36x1x1x14x2x16xf32>, tensor<36x4x1x1x14x16xf32>,
            tensor<1x36x4x33x16xf32>)

`tile`: outputs of one transform, rows and columns. `block`: images, tile rows, tile columns worked on at a time, whose
transformed inputs and products lie in the second and third destination; what those results hold afterwards is not
specified. The last operand has the transformed filters:
- with `transformed`, as `winograd_filter_transform` makes them of %w: it is no destination, and has no result
- otherwise it is a fourth destination, for one piece of the channels of a group of filters in some rows of positions,
  transformed for each block of tiles: then it is the group whose products are held.
Where the output is no multiple of a tile, the last tile moves back and overlaps the one before it (and decides).
`depth`: input channels summed before the sum is added to what came before (sums in pieces round less).
The transforms mix the inputs of a tile, so that one NaN, infinity or huge number would spoil outputs that it has
nothing to do with. Blocks with an output that is NaN or beyond `LIMIT` are computed directly (those of its group of
filters), and have what the direct convolution has.

    x  image, channels / lanes, rows, columns, lanes      two rows and columns more than the output has
    w  filters / lanes, channels / lanes, tap row, tap column, channel lane, filter lane
    y  image, filters / lanes, rows, columns, lanes
    v  channels / depth, position, image, tile row, tile column, depth / lanes, lanes                   of one block
    m  position, group / lanes, image, tile row, tile column, lanes                        of one block and one group
    u  channels / depth (or 1), position (or some), group / lanes, depth or more, lanes
       (rows beyond `depth` are not used: they keep the positions out of each other's sets of the cache)

The ops are written in the generic form, which upstream's tools read without knowing the dialect.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    IntegerAttr,
    IntegerType,
    MemRefType,
    ShapedType,
    TensorType,
    UnitAttr,
    f32,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    result_def,
    traits_def,
    var_result_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mlc.arrays.winograd import POINTS, TAPS, Filtering, filtering


def _shape(value: SSAValue, what: str, rank: int) -> tuple[int, ...]:
    ty: Attribute = value.type
    if not isinstance(ty, TensorType | MemRefType) or ty.element_type != f32:
        raise VerifyException(f"expected the {what} to be a tensor or memref of f32, got {ty}")
    assert isinstance(ty, ShapedType)
    shape = tuple(ty.get_shape())
    if len(shape) != rank or DYNAMIC_INDEX in shape:
        raise VerifyException(f"expected the {what} to have {rank} static dimensions, got {ty}")
    return shape


def _filterings(tile: DenseArrayBase[IntegerType]) -> tuple[Filtering, Filtering]:
    sizes = tuple(tile.get_values())
    if len(sizes) != 2 or any(t not in POINTS for t in sizes):
        raise VerifyException(f"expected two tile sizes out of {sorted(POINTS)}, got {list(sizes)}")
    return filtering(int(sizes[0])), filtering(int(sizes[1]))


@irdl_op_definition
class WinogradFilterTransformOp(IRDLOperation):
    """G w G^T of every 3x3 filter without its scale, computed in float64 and rounded once, in the layout that the
    convolution reads."""

    name = "linalg_ext.winograd_filter_transform"

    filter = operand_def(TensorType)
    tile = attr_def(DenseArrayBase.constr(i64))
    depth = attr_def(IntegerAttr.constr(i64))
    result = result_def(TensorType)

    traits = traits_def(Pure())

    def __init__(self, filter: SSAValue, tile: Sequence[int], depth: int) -> None:
        attr = DenseArrayBase.from_list(i64, list(tile))
        super().__init__(
            operands=[filter],
            attributes={"tile": attr, "depth": IntegerAttr(depth, i64)},
            result_types=[TensorType(f32, _transformed_shape(filter, attr, depth))],
        )

    def filterings(self) -> tuple[Filtering, Filtering]:
        """By rows, by columns."""
        return _filterings(self.tile)

    def verify_(self) -> None:
        _, channels, *taps, in_lanes, _ = _shape(self.filter, "filter", 6)
        depth = self.depth.value.data
        if taps != [TAPS, TAPS]:
            raise VerifyException(f"expected filters of {TAPS}x{TAPS}, got {taps}")
        if depth <= 0 or depth % in_lanes or channels * in_lanes % depth:
            raise VerifyException("expected depth to divide the channels, in whole blocks")
        wanted = _transformed_shape(self.filter, self.tile, depth)
        if _shape(self.result, "result", 5) != wanted:
            raise VerifyException(f"expected a result of shape {list(wanted)}")


def _transformed_shape(w: SSAValue, tile: DenseArrayBase[IntegerType], depth: int) -> tuple[int, ...]:
    filters, channels, _, _, in_lanes, lanes = _shape(w, "filter", 6)
    by_rows, by_columns = _filterings(tile)
    return channels * in_lanes // depth, by_rows.size * by_columns.size, filters, depth, lanes


@irdl_op_definition
class WinogradConv2DOp(IRDLOperation):
    """A 3x3 convolution of stride 1 by Winograd's minimal filtering; see the module for layouts and attributes."""

    name = "linalg_ext.winograd_conv_2d"

    input = operand_def()
    filter = operand_def()
    output = operand_def()
    tiles = operand_def()
    products = operand_def()
    filters = operand_def()
    tile = attr_def(DenseArrayBase.constr(i64))
    block = attr_def(DenseArrayBase.constr(i64))
    transformed = opt_attr_def(UnitAttr)
    res = var_result_def(TensorType)

    def __init__(
        self, operands: Sequence[SSAValue], tile: Sequence[int], block: Sequence[int], *, transformed: bool = False
    ) -> None:
        outs = [v.type for v in operands[2 : 5 if transformed else 6]]
        super().__init__(
            operands=list(operands),
            attributes={
                "tile": DenseArrayBase.from_list(i64, list(tile)),
                "block": DenseArrayBase.from_list(i64, list(block)),
                "transformed": UnitAttr() if transformed else None,
            },
            result_types=[outs if all(isinstance(t, TensorType) for t in outs) else []],
        )

    def filterings(self) -> tuple[Filtering, Filtering]:
        """By rows, by columns."""
        return _filterings(self.tile)

    def destinations(self) -> list[SSAValue]:
        """What is written: operands from the third on."""
        outs = [self.output, self.tiles, self.products]
        return outs if self.transformed else [*outs, self.filters]

    def extents(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        _, _, rows, columns, _ = _shape(self.output, "output", 5)
        return rows, columns

    def grid(self) -> tuple[int, int, int]:
        """Images, tile rows and tile columns that cover the output."""
        rows, columns = self.extents()
        by_rows, by_columns = self.filterings()
        return _shape(self.output, "output", 5)[0], -(-rows // by_rows.tile), -(-columns // by_columns.tile)

    def positions(self) -> int:
        """Positions of a transformed tile."""
        by_rows, by_columns = self.filterings()
        return by_rows.size * by_columns.size

    def pieces(self) -> int:
        """Pieces that the channels are summed in."""
        return _shape(self.tiles, "tiles", 7)[0]

    def depth(self) -> int:
        """Channels in a piece."""
        *_, blocks, lanes = _shape(self.tiles, "tiles", 7)
        return blocks * lanes

    def group(self) -> int:
        """Blocks of filters whose products are held at a time."""
        return _shape(self.filters, "filters", 5)[2]

    def verify_(self) -> None:
        positions = self.positions()
        images, channels, height, width, lanes = _shape(self.input, "input", 5)
        filters, filter_channels, *taps, channel_lanes, filter_lanes = _shape(self.filter, "filter", 6)
        pieces, some, group, rows, _ = _shape(self.filters, "filters", 5)
        depth = self.depth()
        grid = self.grid()
        block = tuple(self.block.get_values())
        if len(block) != 3 or any(b <= 0 or n % b for b, n in zip(block, grid, strict=True)):
            raise VerifyException(f"expected a block that divides the tiles {list(grid)}, got {list(block)}")
        if any(n < t for n, t in zip(self.extents(), self._tiles(), strict=True)):
            raise VerifyException("expected an output no smaller than a tile")
        if taps != [TAPS, TAPS] or (filter_channels, channel_lanes) != (channels, lanes):
            raise VerifyException("the filter's taps or channels do not fit the input")
        if depth % lanes or rows < depth or (channels * lanes) % depth or filters % group:
            raise VerifyException("expected pieces and groups that divide channels and filters, in whole blocks")
        if positions % some or some % self.filterings()[1].size:
            raise VerifyException("expected positions of whole rows, which divide all of them")
        if (pieces, some, group) != (self.pieces(), positions, filters) if self.transformed else pieces != 1:
            raise VerifyException("expected all transformed filters, or one piece of the channels of a group")
        if (height, width) != tuple(n + TAPS - 1 for n in self.extents()):
            raise VerifyException("expected an input of two rows and columns more than the output")
        self._expect("output", self.output, (images, filters, *self.extents(), filter_lanes))
        self._expect("tiles", self.tiles, (channels * lanes // depth, positions, *block, depth // lanes, lanes))
        self._expect("products", self.products, (positions, group, *block, filter_lanes))
        self._expect("filters", self.filters, (pieces, some, group, rows, filter_lanes))
        outs = [v.type for v in self.destinations()]
        if self.res and [r.type for r in self.res] != outs:
            raise VerifyException("expected the types of the results to be those of the destinations")
        if bool(self.res) != isinstance(outs[0], TensorType):
            raise VerifyException("expected results on tensors, and none on buffers")

    def _tiles(self) -> tuple[int, int]:
        by_rows, by_columns = self.filterings()
        return by_rows.tile, by_columns.tile

    @staticmethod
    def _expect(what: str, value: SSAValue, wanted: tuple[int, ...]) -> None:
        if _shape(value, what, len(wanted)) != wanted:
            raise VerifyException(f"expected {what} of shape {list(wanted)}, got {value.type}")
