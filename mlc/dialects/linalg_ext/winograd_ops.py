"""Winograd convolution on blocked channels.

    %u = "linalg_ext.winograd_filter_transform"(%w) {tile = array<i64: 4, 4>, depth = 32 : i64, lanes = 16 : i64}
        : (tensor<64x32x3x3xf32>) -> tensor<45x1x4x32x16xf32>
    %y, %v, %m = "linalg_ext.winograd_conv_2d"(%x, %u, %o, %t, %p) {tile = array<i64: 4, 4>, block = array<i64: 1, 1, 14>}
        : (tensor<1x2x58x58x16xf32>, tensor<45x1x4x32x16xf32>,                                              ins
           tensor<1x4x56x56x16xf32>, tensor<36x1x1x1x14x2x16xf32>, tensor<36x4x1x1x14x16xf32>)             outs
        -> (tensor<1x4x56x56x16xf32>, tensor<36x1x1x1x14x2x16xf32>, tensor<36x4x1x1x14x16xf32>)

`tile`: outputs of one transform, rows and columns. `block`: images, tile rows, tile columns worked on at a time, whose
transformed inputs and products lie in the last two destinations; what those results hold afterwards is not specified.
Where the output is no multiple of a tile, the last tile moves back and overlaps the one before it (and decides).
`depth`: input channels summed before the sum is added to what came before (sums in pieces round less).
The transforms mix the inputs of a tile, so that one NaN, infinity or huge number would spoil outputs that it has nothing
to do with. Blocks with an output that is NaN or beyond `LIMIT` are computed directly, from the filters as they were, and
have what the direct convolution has.

    x  image, channels / lanes, rows, columns, lanes      two rows and columns more than the output has
    u  position, channels / depth, filters / lanes, depth, lanes                position: of the transform, 36 or so, and
                                                                                the 9 of the filters as they were
    y  image, filters / lanes, rows, columns, lanes
    v  position, channels / depth, image, tile row, tile column, depth / lanes, lanes                   of one block
    m  position, filters / lanes, image, tile row, tile column, lanes                                   of one block

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
    f32,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, attr_def, result_def, traits_def, var_result_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.linalg_ext.winograd import POINTS, TAPS, Filtering, filtering


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
    """G w G^T of every 3x3 filter, computed in float64 and rounded once, then w, in the layout that the convolution
    reads."""

    name = "linalg_ext.winograd_filter_transform"

    filter = operand_def(TensorType)
    tile = attr_def(DenseArrayBase.constr(i64))
    depth = attr_def(IntegerAttr.constr(i64))
    lanes = attr_def(IntegerAttr.constr(i64))
    result = result_def(TensorType)

    traits = traits_def(Pure())

    def __init__(self, filter: SSAValue, tile: Sequence[int], depth: int, lanes: int) -> None:
        attr = DenseArrayBase.from_list(i64, list(tile))
        filters, channels = _shape(filter, "filter", 4)[:2]
        by_rows, by_columns = _filterings(attr)
        shape = [by_rows.size * by_columns.size + TAPS * TAPS, channels // depth, filters // lanes, depth, lanes]
        super().__init__(
            operands=[filter],
            attributes={"tile": attr, "depth": IntegerAttr(depth, i64), "lanes": IntegerAttr(lanes, i64)},
            result_types=[TensorType(f32, shape)],
        )

    def filterings(self) -> tuple[Filtering, Filtering]:
        """By rows, by columns."""
        return _filterings(self.tile)

    def verify_(self) -> None:
        filters, channels, *taps = _shape(self.filter, "filter", 4)
        by_rows, by_columns = self.filterings()
        depth, lanes = self.depth.value.data, self.lanes.value.data
        if taps != [TAPS, TAPS]:
            raise VerifyException(f"expected filters of {TAPS}x{TAPS}, got {taps}")
        if depth <= 0 or lanes <= 0 or channels % depth or filters % lanes:
            raise VerifyException("expected depth to divide the channels and lanes the filters")
        wanted = (by_rows.size * by_columns.size + TAPS * TAPS, channels // depth, filters // lanes, depth, lanes)
        if _shape(self.result, "result", 5) != wanted:
            raise VerifyException(f"expected a result of shape {list(wanted)}")


@irdl_op_definition
class WinogradConv2DOp(IRDLOperation):
    """A 3x3 convolution of stride 1 by Winograd's minimal filtering; see the module for layouts and attributes."""

    name = "linalg_ext.winograd_conv_2d"

    input = operand_def()
    filter = operand_def()
    output = operand_def()
    tiles = operand_def()
    products = operand_def()
    tile = attr_def(DenseArrayBase.constr(i64))
    block = attr_def(DenseArrayBase.constr(i64))
    res = var_result_def(TensorType)

    def __init__(self, operands: Sequence[SSAValue], tile: Sequence[int], block: Sequence[int]) -> None:
        outs = [v.type for v in operands[2:]]
        super().__init__(
            operands=list(operands),
            attributes={
                "tile": DenseArrayBase.from_list(i64, list(tile)),
                "block": DenseArrayBase.from_list(i64, list(block)),
            },
            result_types=[outs if all(isinstance(t, TensorType) for t in outs) else []],
        )

    def filterings(self) -> tuple[Filtering, Filtering]:
        """By rows, by columns."""
        return _filterings(self.tile)

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

    def verify_(self) -> None:
        positions = self.positions()
        images, channels, height, width, lanes = _shape(self.input, "input", 5)
        filter_positions, pieces, filters, depth, filter_lanes = _shape(self.filter, "filter", 5)
        grid = self.grid()
        block = tuple(self.block.get_values())
        if len(block) != 3 or any(b <= 0 or n % b for b, n in zip(block, grid, strict=True)):
            raise VerifyException(f"expected a block that divides the tiles {list(grid)}, got {list(block)}")
        if any(n < t for n, t in zip(self.extents(), self._tiles(), strict=True)):
            raise VerifyException("expected an output no smaller than a tile")
        if filter_positions != positions + TAPS * TAPS or depth % lanes or pieces * depth != channels * lanes:
            raise VerifyException("the filter's positions or channels do not fit tile and input")
        if (height, width) != tuple(n + TAPS - 1 for n in self.extents()):
            raise VerifyException("expected an input of two rows and columns more than the output")
        self._expect("output", self.output, (images, filters, *self.extents(), filter_lanes))
        self._expect("tiles", self.tiles, (positions, pieces, *block, depth // lanes, lanes))
        self._expect("products", self.products, (positions, filters, *block, filter_lanes))
        outs = [v.type for v in (self.output, self.tiles, self.products)]
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
