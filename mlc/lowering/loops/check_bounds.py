"""Check every access of memory: a `cf.assert` before each load and store.

    %v = vector.load %x[%i] : memref<?xf32>, vector<8xf32>   // model.py:7
      -->
    %n = memref.dim %x, %c0
    %low = arith.cmpi sge, %i, %c0
    %end = arith.addi %i, %c8
    %high = arith.cmpi sle, %end, %n
    %ok = arith.andi %low, %high
    cf.assert %ok, "vector.load outside of its memory at model.py:7"
    %v = vector.load …

What: indices are compared with the sizes of the memref; where that is a flat view of another one
(`memref.reinterpret_cast`, whose sizes say nothing), with the memory of the one it was made of. A view that is not
known to lie inside (`memref.subview`, `memref.cast`, `memref.expand_shape`) is checked where it is made, and a step
that is not known to be positive before its `scf.for`. For `mlc.compile(debug="bounds")`; no part of the ordinary
pipeline.
Runs at the loops level, before convert-to-llvm; after it every access of `memref.load/store`,
`vector.load/store` and `amx.tile_load/store` is checked. Preserves values bit for bit.
Tests: tests/lowering/loops/check_bounds.mlir, tests/lowering/loops/test_check_bounds.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects import arith, cf, memref, scf, vector
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    IndexType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    NoneAttr,
    VectorType,
)
from xdsl.ir import Operation, OpResult, SSAValue

from mlc.dialects.amx.ops import TileLoadOp, TileStoreOp, TileType
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import format_location
from mlc.ir.passes import MlcPass
from mlc.lowering.loops.cost import constant_of


@dataclass(frozen=True)
class CheckBounds(MlcPass):
    """A `cf.assert` before every access."""

    name = "check-bounds"
    contract = Contract(
        level_in="loops",
        level_out="loops",
        preserves=Bitwise(),
        profile="loops",
        establishes=("no load or store leaves its memory, no view its buffer",),
        idempotent=False,
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, memref.SubviewOp | memref.CastOp | memref.ExpandShapeOp | scf.ForOp):
                fault = "a step that is not positive" if isinstance(op, scf.ForOp) else "outside of its memory"
                checker = _Checker(op, _message(op, fault))
                checker.check_view()
                if checker.conditions:
                    ctx.remarks.applied(self.name, op, f"checks {op.name}")
                continue
            access = _access(op)
            if access is None:
                continue
            if not _is_known(access[0].owner):
                ctx.remarks.missed(
                    self.name, op, f"{op.name} not checked", reason="a flat view of a memref with an offset"
                )
                continue
            _Checker(op, _message(op, "outside of its memory")).check(*access)
            ctx.remarks.applied(self.name, op, f"checks {op.name}")


def _message(op: Operation, fault: str) -> str:
    where = format_location(op.location)
    return f"{op.name} {'with ' if isinstance(op, scf.ForOp) else ''}{fault}" + (f" at {where}" if where else "")


def _access(op: Operation) -> tuple[SSAValue, Sequence[SSAValue], Sequence[int]] | None:
    """Memref, indices and how many elements from there in each dimension; None for an op that accesses nothing."""
    match op:
        case memref.LoadOp() | memref.StoreOp():
            return op.memref, op.indices, [1] * len(op.indices)
        case vector.LoadOp():
            return op.base, op.indices, _extents(op.result.type, len(op.indices))
        case vector.StoreOp():
            return op.base, op.indices, _extents(op.vector.type, len(op.indices))
        case TileLoadOp():
            assert isinstance(op.res.type, TileType)
            return op.base, op.indices, op.res.type.sizes
        case TileStoreOp():
            assert isinstance(op.val.type, TileType)
            return op.base, op.indices, op.val.type.sizes
        case _:
            return None


def _is_known(owner: object) -> bool:
    """Whether the memory behind a view can be told from the IR: that of a whole buffer, or of one whose metadata is."""
    if not isinstance(owner, memref.ReinterpretCastOp):
        return True
    if isinstance(owner.source.owner, memref.ExtractStridedMetaDataOp):
        return True
    return isinstance(owner.source.type, MemRefType) and isinstance(owner.source.type.layout, NoneAttr)


def _extents(ty: object, rank: int) -> list[int]:
    assert isinstance(ty, VectorType)
    shape = list(ty.get_shape())
    return [1] * (rank - len(shape)) + shape


@dataclass
class _Checker:
    """Writes the check of one access in front of it."""

    op: Operation
    message: str
    conditions: list[SSAValue] = field(default_factory=list)

    def check(self, ref: SSAValue, indices: Sequence[SSAValue], extents: Sequence[int]) -> None:
        """Assert that the elements from `indices` on lie in the memory of `ref`."""
        owner = ref.owner
        if isinstance(owner, memref.ReinterpretCastOp):
            self._flat(owner, indices, extents)
        else:
            for dim, (index, extent) in enumerate(zip(indices, extents, strict=True)):
                self._within(index, extent, self._constant(0), self._size(ref, dim))
        self._assert()

    def check_view(self) -> None:
        """Assert that a view lies in what it is a view of, or that a loop's step is positive, unless that is known."""
        match self.op:
            case memref.SubviewOp():
                self._box(self.op)
            case memref.CastOp():
                self._same_sizes(self.op)
            case memref.ExpandShapeOp():
                self._same_count(self.op)
            case scf.ForOp():
                step = constant_of(self.op.step)
                if step is None or step <= 0:
                    self._at_least(self.op.step, self._constant(1))
            case _:
                raise AssertionError(self.op.name)
        self._assert()

    def _box(self, op: memref.SubviewOp) -> None:
        boxes = [list(a.get_values()) for a in (op.static_offsets, op.static_sizes, op.static_strides)]
        ty = op.source.type
        assert isinstance(ty, MemRefType)
        if DYNAMIC_INDEX not in (*ty.get_shape(), *(n for box in boxes for n in box)):
            return
        offsets, sizes, strides = (
            self._mixed(static, dynamic)
            for static, dynamic in zip(boxes, (op.offsets, op.sizes, op.strides), strict=True)
        )
        for dim, known in enumerate(zip(ty.get_shape(), *boxes, strict=True)):
            if DYNAMIC_INDEX not in known:  # the verifier has looked at it
                continue
            self._at_least(offsets[dim], self._constant(0))
            self._at_least(sizes[dim], self._constant(0))
            last = self._product(self._add(arith.SubiOp(sizes[dim], self._constant(1))), strides[dim])
            end = self._sum(self._sum(offsets[dim], last), self._constant(1))
            self.conditions.append(self._compare("sle", end, self._size(op.source, dim)))

    def _same_sizes(self, op: memref.CastOp) -> None:
        source, result = op.source.type, op.dest.type
        assert isinstance(source, MemRefType) and isinstance(result, MemRefType)
        for dim, (old, new) in enumerate(zip(source.get_shape(), result.get_shape(), strict=True)):
            if old == DYNAMIC_INDEX != new:
                self.conditions.append(self._compare("eq", self._size(op.source, dim), self._constant(new)))

    def _same_count(self, op: memref.ExpandShapeOp) -> None:
        ty = op.src.type
        assert isinstance(ty, MemRefType)
        shape = self._mixed(op.static_output_shape.get_values(), op.output_shape)
        for dim, (group, size) in enumerate(zip(op.reassociation.data, ty.get_shape(), strict=False)):
            parts = [shape[int(i.value.data)] for i in group.data]
            if size != DYNAMIC_INDEX and all(constant_of(n) is not None for n in parts):
                continue
            count = self._constant(1)
            for n in parts:
                self._at_least(n, self._constant(0))
                count = self._product(count, n)
            self.conditions.append(self._compare("eq", count, self._size(op.src, dim)))

    def _assert(self) -> None:
        if not self.conditions:
            return
        ok = self.conditions[0]
        for other in self.conditions[1:]:
            ok = self._add(arith.AndIOp(ok, other))
        self._insert(cf.AssertOp(ok, self.message))

    def _flat(self, cast: memref.ReinterpretCastOp, indices: Sequence[SSAValue], extents: Sequence[int]) -> None:
        """The position in the buffer that the view was made of."""
        position = self._mixed(cast.static_offsets.get_values(), cast.offsets)[0]
        strides = self._mixed(cast.static_strides.get_values(), cast.strides)
        reach = self._constant(1)
        for index, extent, stride in zip(indices, extents, strides, strict=True):
            self._at_least(index, self._constant(0))
            position = self._sum(position, self._product(index, stride))
            reach = self._sum(reach, self._product(self._constant(extent - 1), stride))
        start, end = self._memory(cast.source)
        self._at_least(position, start)
        self.conditions.append(self._compare("sle", self._sum(position, reach), end))

    def _memory(self, source: SSAValue) -> tuple[SSAValue, SSAValue]:
        """First element of a buffer that `source` may touch, and the one after the last, counted as offsets are."""
        owner = source.owner
        if isinstance(owner, memref.ExtractStridedMetaDataOp) and isinstance(source, OpResult) and source.index == 0:
            start = end = owner.offset
            sizes, strides = list(owner.sizes), list(owner.strides)
        else:
            ty = source.type
            assert isinstance(ty, MemRefType)
            sizes = [self._size(source, d) for d in range(ty.get_num_dims())]
            strides = self._row_major(sizes)
            start = end = self._constant(0)
        end = self._sum(end, self._constant(1))
        for size, stride in zip(sizes, strides, strict=True):
            end = self._sum(end, self._product(self._add(arith.SubiOp(size, self._constant(1))), stride))
        return start, end

    def _row_major(self, sizes: Sequence[SSAValue]) -> list[SSAValue]:
        strides: list[SSAValue] = []
        step = self._constant(1)
        for size in reversed(sizes):
            strides.insert(0, step)
            step = self._product(step, size)
        return strides

    def _within(self, index: SSAValue, extent: int, start: SSAValue, end: SSAValue) -> None:
        self._at_least(index, start)
        self.conditions.append(self._compare("sle", self._sum(index, self._constant(extent)), end))

    def _at_least(self, value: SSAValue, low: SSAValue) -> None:
        self.conditions.append(self._compare("sge", value, low))

    # building

    def _size(self, ref: SSAValue, dim: int) -> SSAValue:
        assert isinstance(ref.type, MemRefType)
        size = ref.type.get_shape()[dim]
        if size != DYNAMIC_INDEX:
            return self._constant(size)
        return self._add(memref.DimOp.from_source_and_index(ref, self._constant(dim)))

    def _mixed(self, static: Sequence[int], dynamic: Sequence[SSAValue]) -> list[SSAValue]:
        rest = iter(dynamic)
        return [next(rest) if n == DYNAMIC_INDEX else self._constant(n) for n in static]

    def _constant(self, n: int) -> SSAValue:
        return self._add(arith.ConstantOp(IntegerAttr(n, IndexType())))

    def _sum(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._add(arith.AddiOp(a, b))

    def _product(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._add(arith.MuliOp(a, b))

    def _compare(self, how: str, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._add(arith.CmpiOp(a, b, how))

    def _add(self, op: Operation) -> SSAValue:
        self._insert(op)
        return op.results[0]

    def _insert(self, op: Operation) -> None:
        op.location = self.op.location
        block = self.op.parent_block()
        assert block is not None
        block.insert_op_before(op, self.op)
