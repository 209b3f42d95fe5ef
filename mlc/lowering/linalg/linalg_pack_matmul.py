"""Pack the weights of matrix products into panels as wide as a vector, once, at compile time.

    %t = linalg.transpose ins(%w : tensor<512x784xf32>) …          // a constant
    %r = linalg.matmul ins(%x, %t : tensor<64x784xf32>, tensor<784x512xf32>) outs(%z)
      -->
    %p = linalg.pack %w inner_dims_pos = [0] inner_tiles = [16] into … tensor<32x784x16xf32>
    %g = linalg.generic (m, n1, n0, k) ins(%x, %p) outs(%pz : tensor<64x32x16xf32>)
    %r = tensor.collapse_shape %g … into tensor<64x512xf32>

Products of bf16 that are summed in f32 (linalg-demote-contraction-inputs) are packed in pairs of rows where the machine
multiplies pairs: %p is tensor<32x392x16x2xbf16>, %x is read as tensor<64x392x2xbf16>, the loops are (m, n1, n0, k1,
k0). Products of i8 (linalg-narrow-integral-contractions) are packed in fours where it multiplies those. Its instruction
takes one factor unsigned: %x + 128 is multiplied, and 128 times the sums of columns, known at compile time, subtracted
after.
Products of computed matrices of bf16, batches of them too, are packed at run time where the machine multiplies pairs
and enough rows read each panel (`computed_pays`):
    %p = linalg.pack %b inner_dims_pos = [2, 1] inner_tiles = [16, 2] outer_dims_perm = [0, 2, 1] into
    … tensor<12x8x32x16x2xbf16>, loops (b, m, n1, n0, k1, k0)
`interleave`: rows side by side as far as they fill 32 bits; left out, for the types that the machine multiplies so.
Reads of single elements of a constant that is packed, where they are few, read the panels (`panel_reads`): it is held
once. The packed result is the plain one seen with its last dimension split, so bias, activation and residual follow in
split form at no cost and can be fused into the product.
Where rows fill blocks as wide as a vector, f32 weights that are the transpose of a stored constant are read as they lie
and the rows are packed, at run time, instead (`in_place`; left out, where the machine repeats scalars from memory, but
for weights whose rows fall on the same cache sets; with AVX2 from 12 to 48 blocks of rows):
    %p = linalg.pack %x inner_dims_pos = [0] inner_tiles = [16] into … tensor<4x784x16xf32>
    %g = linalg.generic (m1, m0, n, k) ins(%p, %w) outs(%pz : tensor<4x16x512xf32>)
Runs after convert-torch-to-linalg. Runs before linalg-hoist-constants and fusion.
Preserves: every sum keeps its order; bitwise.
Tests: tests/lowering/linalg/linalg_pack_matmul.mlir, tests/lowering/linalg/test_pack_matmul.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import DYNAMIC_INDEX, AffineMapAttr, ModuleOp, bf16, f32, i8, i32
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import FillOp, MatmulOp, TransposeOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.dialects.linalg.structured_ops import BatchMatmulOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, Body, element_type
from mlc.lowering.linalg.layout_walk import FOLLOWING, LayoutWalk
from mlc.lowering.linalg.panel_reads import read_panels
from mlc.lowering.linalg.structure import dims_map, identity_map, iterators_of, maps_of, shape_of

Products = MatmulOp | BatchMatmulOp
ONE_ROW = "one row reads each weight once"
IN_PLACE = "rows fill vectors, the weights stay as they are"
FEW_ROWS = 16  # that read a panel made at run time: with fewer, making it takes longer than reading the matrix does
SAME_SETS = 4096  # bytes: rows a multiple of these apart fall on the same cache sets


@dataclass(frozen=True)
class _InPlace:
    """Which weights are read as they lie. `least`: blocks of rows, as fewer do not hide that weights come from memory.
    `most`: blocks of rows, which are read again for every few weights. `same_sets`: weights whose rows share cache
    sets, too, as tiles have few of them (for tiles of many, panels are 2 to 4 % faster)."""

    least: int = 2
    most: int = 2**31
    same_sets: bool = False

    @classmethod
    def of(cls, machine: Any) -> _InPlace | None:
        """None: none are."""
        if machine is None or machine.adds_beside_fma:
            return None
        if machine.broadcast_load:
            return cls()
        few_registers = machine.vector_bits == 256 and machine.fma  # tiles are of 4 rows of weights by 3 blocks of rows
        return cls(least=12, most=48, same_sets=True) if few_registers else None

    def pays(self, rows: int, row_bytes: int, block: int) -> bool:
        """Whether `rows` fill enough blocks of `block`, for weights whose rows have so many bytes."""
        full = rows % block == 0 and self.least <= rows // block <= self.most
        return full and (self.same_sets or row_bytes % SAME_SETS != 0)


@dataclass(frozen=True)
class LinalgPackMatmul(MlcPass):
    """Pack constant right-hand sides of matrix products into panels (0: of the machine's vector width)."""

    name = "linalg-pack-matmul"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-packing",
        options=(
            {"block": 16, "interleave": True},
            {"block": 4, "interleave": True, "in_place": True},
            {"block": 4, "in_place": True},
        ),
        establishes=("products with constant weights read packed panels",),
        nests=True,
        rules={
            "panels": "a product with constant columns -> generic over packed panels",
            "panels-of-transpose": "a product with a transposed constant -> panels packed from its source",
            "panels-at-run-time": "a product of computed matrices of bf16 -> generic over panels made at run time",
            "pairs": "a product of bf16 with constant columns -> generic over panels of pairs of rows",
            "fours": "a product of i8 with constant columns -> generic over panels of four rows, one factor unsigned",
            "reads-of-panels": "few reads of elements of a packed constant -> reads of its panels",
            "row-in-place": "a product of one row with a transposed constant -> generic that reads its source",
            "rows-in-place": "blocks of rows times a transposed constant -> generic over panels of rows and its source",
            **{name: FOLLOWING[name] for name in ("follow-elementwise",)},
        },
    )

    block: int = option(0, Span(1, 256, special=(0,)))
    interleave: bool | None = None
    in_place: bool | None = None

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        machine = ctx.machine
        has_bf16, has_int8 = (machine.dot_bf16, machine.dot_int8) if machine is not None else (False, False)
        if self.interleave is not None:
            has_bf16 = has_int8 = self.interleave
        in_place = _InPlace.of(machine) if self.in_place is None else _InPlace() if self.in_place else None
        groups: dict[Attribute, int] = {bf16: 2 if has_bf16 else 1, i8: 4 if has_int8 else 1}
        for op in module.ops:
            if isinstance(op, FuncOp) and op.body.blocks and "constant" not in op.attributes:
                _MatmulWalk(ctx, self.name, self.block, groups, in_place).function(op)
                for read in read_panels(op):
                    message = "reads the panels of a constant"
                    ctx.remarks.applied(self.name, read, message, rule="reads-of-panels")


class _MatmulWalk(LayoutWalk):
    """Matrix products with constant weights start the layout."""

    def __init__(
        self, ctx: MlcContext, pass_name: str, block: int, groups: dict[Attribute, int], in_place: _InPlace | None
    ) -> None:
        super().__init__(ctx, pass_name, block)
        self.groups, self.in_place = groups, in_place
        self.unsigned: dict[tuple[Block | None, SSAValue], SSAValue] = {}

    def seed(self, op: Operation) -> bool | None:
        if not isinstance(op, (MatmulOp, BatchMatmulOp)):
            return None
        lhs, rhs = op.inputs
        out = op.outputs[0]
        columns = shape_of(rhs)[-1]
        reason = self._refusal(op, columns)
        if reason:
            if reason == ONE_ROW:
                return self._in_place(op)
            if reason == IN_PLACE:
                return self._panels_of_rows(op)
            if isinstance(op, BatchMatmulOp) and element_type(rhs) != bf16:
                return None
            self.ctx.remarks.missed(self.pass_name, op, "kept row-major", reason=reason)
            return False
        at = At(op)
        batch = len(shape_of(rhs)) - 2
        packing = ((batch + 1, self.block),)
        group = self._group(lhs, rhs)
        rows = self.packings.plain(at, lhs)
        panels = self._panels(at, self.packings.plain(at, rhs), group)
        offset = element_type(lhs) == i8 and group > 1
        if offset:
            key = (op.parent_block(), rows)
            if key not in self.unsigned:
                self.unsigned[key] = _unsigned(at, rows)
            rows = self.unsigned[key]
        if group > 1:
            *sizes, terms = at.sizes(rows)
            assert isinstance(terms, int)
            groups = [*((d,) for d in range(batch + 1)), (batch + 1, batch + 2)]
            rows = at.expand(rows, groups, [*sizes, terms // group, group])
        reads, kinds = _loops(batch, group)
        result = at.generic(
            [(rows, reads[0]), (panels, reads[1])],
            [(self.packings.packed(at, out, packing), reads[2])],
            kinds,
            lambda body, a, b, c: _multiply_add(body, a, b, c, unsigned=offset),
        )
        if offset:
            result = self._without_offset(at, result, panels)
        self.packings.set(op.results[0], packing, result)
        padded = columns % self.block != 0
        rule = "panels-of-transpose" if transposed(rhs) is not None else "panels"
        rule = rule if is_constant(rhs) else "panels-at-run-time"
        message = f"panels of {self.block} columns"
        self.ctx.remarks.applied(self.pass_name, op, message, rule=rule, padded=padded, interleave=group)
        if group > 1:
            self.ctx.remarks.count(self.pass_name, "fours" if offset else "pairs")
        return True

    def may_follow(self, value: SSAValue) -> bool:
        """Not where rows are reduced: normalisation and softmax stay whole, in plain form (a view of the packed)."""
        readers = [use.operation for v in self.packings.forms(value) for use in v.uses]
        return not any(isinstance(r, LinalgStructuredOperation) and "r" in iterators_of(r) for r in readers)

    def _refusal(self, op: Products, columns: int) -> str:
        types = [element_type(v) for v in (*op.inputs, op.results[0])]
        if types != [i8, i8, i32] and (types[2] != f32 or any(t not in (f32, bf16) for t in types)):
            return "elements are not f32"
        if not is_plain(op):
            return "indexing maps are not those of a plain product"
        if columns == DYNAMIC_INDEX or columns < self.block:
            return f"{columns} columns, a panel has {self.block}"
        if isinstance(op, BatchMatmulOp) or not is_constant(op.inputs[1]):
            if types == [bf16, bf16, f32] and self.groups[bf16] > 1:
                return computed_pays(op, self.block)
            return "the right-hand side is computed at run time"
        if shape_of(op.inputs[0])[0] == 1 and types[1] == f32 and transposed(op.inputs[1]) is not None:
            return ONE_ROW
        rows, source = shape_of(op.inputs[0])[0], transposed(op.inputs[1])
        stored = source is not None and isinstance(source.owner, arith.ConstantOp)
        if self.in_place is not None and types == [f32] * 3 and stored:
            assert source is not None
            return IN_PLACE if self.in_place.pays(rows, 4 * shape_of(source)[1], self.block) else ""
        return ""

    def _in_place(self, op: Products) -> bool:
        """One row with the transpose of a constant, which reads that constant as it lies."""
        at = At(op)
        lhs, rhs = op.inputs
        weights = transposed(rhs)
        assert weights is not None
        reads = [dims_map(3, (0, 2)), dims_map(3, (1, 2)), dims_map(3, (0, 1))]
        result = at.generic(
            [(self.packings.plain(at, lhs), reads[0]), (weights, reads[1])],
            [(self.packings.plain(at, op.outputs[0]), reads[2])],
            "ppr",
            lambda body, a, b, c: _multiply_add(body, a, b, c, unsigned=False),
        )
        op.results[0].replace_all_uses_with(result)
        self.ctx.remarks.applied(self.pass_name, op, ONE_ROW, rule="row-in-place")
        return True

    def _panels_of_rows(self, op: Products) -> bool:
        """Blocks of rows with the transpose of a constant, which is read as it lies: the rows are packed instead."""
        at = At(op)
        lhs, rhs = op.inputs
        weights = transposed(rhs)
        assert weights is not None
        rows, columns = shape_of(lhs)[0], shape_of(rhs)[1]
        panels = self.packings.packed(at, lhs, ((0, self.block),))
        split, out = [rows // self.block, self.block, columns], op.outputs[0]
        if isinstance(out.owner, FillOp):
            start = at.fill(out.owner.inputs[0], at.empty(split, f32))
        else:
            start = at.expand(self.packings.plain(at, out), [(0, 1), (2,)], split)
        reads = [dims_map(4, (0, 3, 1)), dims_map(4, (2, 3)), dims_map(4, (0, 1, 2))]
        result = at.generic(
            [(panels, reads[0]), (weights, reads[1])],
            [(start, reads[2])],
            "pppr",
            lambda body, a, b, c: _multiply_add(body, a, b, c, unsigned=False),
        )
        op.results[0].replace_all_uses_with(at.collapse(result, [(0, 1), (2,)]))
        self.ctx.remarks.applied(self.pass_name, op, IN_PLACE, rule="rows-in-place", block=self.block)
        return True

    def _group(self, lhs: SSAValue, rhs: SSAValue) -> int:
        """How many rows of the right-hand side lie side by side: 1, or as many as divide them."""
        element, rows = element_type(rhs), shape_of(rhs)[-2]
        group = self.groups.get(element, 1) if element_type(lhs) == element else 1
        return group if rows > 0 and rows % group == 0 else 1

    def _without_offset(self, at: At, result: SSAValue, panels: SSAValue) -> SSAValue:
        """Take 128 times the sums of columns off products that had 128 added to one factor."""
        blocks, _, lanes, _ = shape_of(panels)
        clear = at.fill(at.scalar(0, i32), at.empty([blocks, lanes], i32))
        offsets = at.generic(
            [(panels, dims_map(4, (0, 2, 1, 3)))],
            [(clear, dims_map(4, (0, 1)))],
            "pprr",
            lambda body, w, acc: body.op(
                arith.SubiOp, acc, body.op(arith.MuliOp, body.op(arith.ExtSIOp, w, i32), body.number(128, i32))
            ),
        )
        same, dest = dims_map(3, (0, 1, 2)), at.empty(at.sizes(result), i32)
        return at.generic(
            [(result, same), (offsets, dims_map(3, (1, 2)))],
            [(dest, same)],
            "ppp",
            lambda body, x, offset, _: body.op(arith.AddiOp, x, offset),
        )

    def _panels(self, at: At, rhs: SSAValue, group: int) -> SSAValue:
        """[n / block, k, block] from [k, n], or straight from the [n, k] that it is the transpose of;
        [n / block, k / group, block, group] where rows are interleaved. Batches of matrices stand before that."""
        *batches, rows, columns = at.sizes(rhs)
        assert isinstance(rows, int) or group == 1
        assert isinstance(columns, int)
        element, batch = element_type(rhs), len(batches)
        pairs = [group] if group > 1 else []
        steps = rows // group if isinstance(rows, int) else rows
        dest = at.empty([*batches, -(-columns // self.block), steps, self.block, *pairs], element)
        padding = at.scalar(0, element) if columns % self.block else None
        tiles = [self.block, *pairs]
        if (source := transposed(rhs)) is not None:
            positions = [batch, batch + 1][: len(tiles)]
            pack = PackOp(source, dest, positions, tiles, padding_value=padding)
        else:
            order = [*range(batch), batch + 1, batch]
            pack = PackOp(rhs, dest, order[batch:][: len(tiles)], tiles, padding_value=padding, outer_dims_perm=order)
        return at.add(pack).results[0]


def _loops(batch: int, group: int) -> tuple[list[AffineMapAttr], str]:
    """The maps of rows, panels and result over (batches, m, n1, n0, k), or (…, k1, k0) where terms are in groups."""
    lead, (m, n1, n0, *terms) = tuple(range(batch)), tuple(range(batch, batch + (5 if group > 1 else 4)))
    loops = batch + 3 + len(terms)
    rows = (*lead, m, *terms)
    panels = (*lead, n1, terms[0], n0, *terms[1:])
    return [dims_map(loops, dims) for dims in (rows, panels, (*lead, m, n1, n0))], "p" * (batch + 3) + "r" * len(terms)


def computed_pays(op: Products, block: int) -> str:
    """Why the right-hand side of a product of bf16, computed at run time, is not packed in panels; empty if it is."""
    rows, terms = shape_of(op.inputs[0])[-2:]
    columns = shape_of(op.inputs[1])[-1]
    if rows == DYNAMIC_INDEX or rows < FEW_ROWS:
        return f"{'an open number of' if rows == DYNAMIC_INDEX else rows} rows, panels are made for {FEW_ROWS}"
    if terms <= 0 or terms % 2:
        return f"{'an open number of' if terms == DYNAMIC_INDEX else terms} terms do not fill pairs"
    return f"{columns} columns, a panel has {block}" if columns == DYNAMIC_INDEX or columns < block else ""


def is_plain(op: Products) -> bool:
    """Whether neither operand is read transposed or broadcast."""
    lead = tuple(range(len(shape_of(op.inputs[1])) - 2))
    m, n, k = range(len(lead), len(lead) + 3)
    return maps_of(op) == [dims_map(k + 1, (*lead, *dims)).data for dims in ((m, k), (k, n), (m, n))]


def _multiply_add(body: Body, a: SSAValue, b: SSAValue, acc: SSAValue, *, unsigned: bool) -> SSAValue:
    if acc.type == i32:
        left = body.op(arith.ExtUIOp if unsigned else arith.ExtSIOp, a, i32)
        return body.op(arith.AddiOp, acc, body.op(arith.MuliOp, left, body.op(arith.ExtSIOp, b, i32)))
    wide = [body.op(arith.ExtFOp, v, f32) if v.type == bf16 else v for v in (a, b)]
    return body.op(arith.AddfOp, acc, body.op(arith.MulfOp, *wide))


def _unsigned(at: At, value: SSAValue) -> SSAValue:
    """128 more, read as unsigned: the highest bit the other way round."""
    same, dest = identity_map(2), at.empty(at.sizes(value), i8)
    return at.generic(
        [(value, same)], [(dest, same)], "pp", lambda body, x, _: body.op(arith.XOrIOp, x, body.number(-128, i8))
    )


def transposed(value: SSAValue) -> SSAValue | None:
    """The matrix that `value` is the transpose of, or the batch of matrices."""
    owner = value.owner
    if not isinstance(owner, TransposeOp):
        return None
    order = tuple(owner.permutation.get_values())
    *lead, rows, columns = range(len(order))
    return owner.operands[0] if order == (*lead, columns, rows) else None


def is_constant(value: SSAValue, depth: int = 16) -> bool:
    """Whether `value` is computed from constants alone (within `depth` ops)."""
    owner = value.owner
    if not isinstance(owner, Operation) or depth == 0 or owner.name.startswith("func."):
        return False
    return all(is_constant(v, depth - 1) for v in owner.operands)
