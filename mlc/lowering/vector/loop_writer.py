"""Writes loops around structured ops on boxes of buffers, at one place of a function.

writer = LoopWriter(first, before, location)     # constants go before `first`, everything else before `before`
with writer.loop(0, 8, 2) as i:
    box = writer.view(x, [i, 0], [2, 4], (0, 1))
    writer.generic([box], [out], maps, 2, body)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from xdsl.dialects import arith, math, memref, scf
from xdsl.dialects.builtin import (
    AffineMapAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    LocationAttr,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    UnitAttr,
    f32,
    i64,
)
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.dialects.linalg.ops import FillOp, GenericOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineMap

from mlc.dialects.scf.syntax import DIVIDED, ParallelOp
from mlc.lowering.vector.schedule import COLD

OpT = TypeVar("OpT", bound=Operation)
Offset = int | SSAValue


class Arithmetic:
    """Builds the arithmetic of a body."""

    def __init__(self, types: Sequence[Attribute], location: LocationAttr) -> None:
        self.block, self.location = Block(arg_types=types), location
        self.constants: dict[float, SSAValue] = {}

    def put(self, op: Operation) -> Any:
        op.location = self.location
        self.block.add_op(op)
        return op.results[0] if op.results else None

    def constant(self, value: float) -> SSAValue:
        if value not in self.constants:
            self.constants[value] = self.put(arith.ConstantOp(FloatAttr(value, f32)))
        return self.constants[value]

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(arith.AddfOp(a, b))

    def sub(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(arith.SubfOp(a, b))

    def mul(self, factor: float, a: SSAValue) -> SSAValue:
        return self.put(arith.MulfOp(self.constant(factor), a))

    def fma(self, factor: float, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(math.FmaOp(self.constant(factor), a, b))

    def square_and_add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(math.FmaOp(a, a, b))

    def inline(self, body: Block, arguments: Sequence[SSAValue]) -> SSAValue:
        """What `body` yields for `arguments`."""
        known: dict[SSAValue, SSAValue] = dict(zip(body.args, arguments, strict=True))
        last = body.last_op
        for op in body.ops:
            if op is not last:
                copy = op.clone(known)
                known.update(zip(op.results, copy.results, strict=True))
                self.block.add_op(copy)
        assert last is not None
        return known.get(last.operands[0], last.operands[0])

    def end(self, results: Sequence[SSAValue]) -> None:
        """Yield."""
        self.put(YieldOp(*results))


class LoopWriter:
    """See the module."""

    def __init__(self, first: Operation, before: Operation, location: LocationAttr) -> None:
        assert first.parent is not None
        self.first, self.before, self.location = first, before, location
        self.into: list[Block] = [first.parent]
        self.indices: dict[int, SSAValue] = {}

    def put(self, op: OpT) -> OpT:
        """Append `op` to the innermost loop, or put it before the op that is replaced."""
        op.location = self.location
        if len(self.into) == 1:
            self.into[0].insert_op_before(op, self.before)
        else:
            self.into[-1].add_op(op)
        return op

    def index(self, value: int) -> SSAValue:
        """An index constant, made once before everything else."""
        if value not in self.indices:
            op = arith.ConstantOp(IntegerAttr(value, IndexType()))
            op.location = self.location
            self.into[0].insert_op_before(op, self.first)
            self.indices[value] = op.result
        return self.indices[value]

    @contextmanager
    def loop(self, low: int, high: int, step: int = 1, *, parallel: bool = False) -> Iterator[Offset]:
        """A loop from `low` to `high` by `step`; no loop where there is one trip."""
        if high - low <= step:
            yield low
            return
        body = Block(arg_types=[IndexType()])
        bounds = self.index(low), self.index(high), self.index(step)
        self.into.append(body)
        yield body.args[0]
        self.put(scf.ReduceOp() if parallel else scf.YieldOp())
        self.into.pop()
        if parallel:
            self.put(ParallelOp([bounds[0]], [bounds[1]], [bounds[2]], Region(body)))
        else:
            self.put(scf.ForOp(*bounds, [], Region(body)))

    @contextmanager
    def once_or_twice(self, iv: SSAValue, last: int) -> Iterator[Offset]:
        """A loop over `iv`, and the one after it where `iv` is `last`."""
        at_last = self.put(arith.CmpiOp(iv, self.index(last), "eq")).result
        trips = self.put(arith.SelectOp(at_last, self.index(2), self.index(1))).result
        body = Block(arg_types=[IndexType()])
        bounds = iv, self.put(arith.AddiOp(iv, trips)).result, self.index(1)
        self.into.append(body)
        yield body.args[0]
        self.put(scf.YieldOp())
        self.into.pop()
        self.put(scf.ForOp(*bounds, [], Region(body)))

    @contextmanager
    def only_where(self, iv: Offset, value: int) -> Iterator[None]:
        """What runs only where `iv` is `value`; no condition where it is known to be."""
        if isinstance(iv, int):
            assert iv == value
            yield
            return
        with self.only_if(self.put(arith.CmpiOp(iv, self.index(value), "eq")).result):
            yield

    @contextmanager
    def only_if(self, condition: SSAValue) -> Iterator[None]:
        """What runs only where `condition` holds."""
        self.into.append(Block())
        yield
        self.put(scf.YieldOp())
        then = Region(self.into.pop())
        self.put(scf.IfOp(condition, [], then))

    def times(self, value: Offset, factor: int) -> Offset:
        """A product, computed here where both are known."""
        if isinstance(value, int):
            return value * factor
        return value if factor == 1 else self.put(arith.MuliOp(value, self.index(factor))).result

    def plus(self, a: Offset, b: Offset) -> Offset:
        """A sum, computed here where both are known."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        a, b = (v if isinstance(v, SSAValue) else self.index(v) for v in ((b, a) if isinstance(a, int) else (a, b)))
        return a if b is self.indices.get(0) else self.put(arith.AddiOp(a, b)).result

    def view(self, source: SSAValue, offsets: Sequence[Offset], sizes: Sequence[int], keep: Sequence[int]) -> SSAValue:
        """The box of `source` at `offsets`; only the dimensions `keep`, all others are of one element."""
        ty = source.type
        assert isinstance(ty, MemRefType)
        strides = [s for s in ty.get_strides() or () if s is not None]
        begin: int | None = ty.layout.get_offset() if isinstance(ty.layout, StridedLayoutAttr) else 0
        for offset, stride in zip(offsets, strides, strict=True):
            begin = begin + offset * stride if begin is not None and isinstance(offset, int) else None
        layout = StridedLayoutAttr(
            [strides[d] for d in keep],
            NoneAttr() if begin is None else begin,  # pyright: ignore[reportArgumentType]
        )
        result = MemRefType(ty.element_type, [sizes[d] for d in keep], layout, ty.memory_space)
        return self.put(memref.SubviewOp.get(source, list(offsets), list(sizes), [1] * len(sizes), result)).result

    def generic(
        self,
        ins: Sequence[SSAValue],
        outs: Sequence[SSAValue],
        maps: Sequence[AffineMap],
        parallel: int,
        body: Block,
        *,
        cold: bool = False,
    ) -> None:
        """A `linalg.generic` whose first `parallel` loops are that and the others reductions; `cold`: it seldom
        runs."""
        loops = maps[0].num_dims
        kinds = [IteratorTypeAttr.parallel()] * parallel + [IteratorTypeAttr.reduction()] * (loops - parallel)
        op = self.put(GenericOp(list(ins), list(outs), Region(body), [AffineMapAttr(m) for m in maps], kinds, []))
        if cold:
            op.attributes[COLD] = UnitAttr()

    def scratch(self, *shape: int) -> SSAValue:
        """A buffer on the stack. One that vectorised ops alone read goes away: its values live in registers."""
        return self.put(memref.AllocaOp.get(f32, 64, list(shape))).memref

    def clear(self, out: SSAValue) -> None:
        """Fill with zeros."""
        zero = self.put(arith.ConstantOp(FloatAttr(0.0, f32))).result
        self.put(FillOp([zero], [out], []))

    @contextmanager
    def parallel(self, bounds: Sequence[tuple[int, int]], divided: int = 0) -> Iterator[Sequence[SSAValue]]:
        """Parallel loops from 0 to each bound by its step; threads are to divide the one number `divided`."""
        body = Block(arg_types=[IndexType()] * len(bounds))
        zeros = [self.index(0) for _ in bounds]
        ends, steps = ([self.index(n) for n in each] for each in zip(*bounds, strict=True))
        self.into.append(body)
        yield body.args
        self.put(scf.ReduceOp())
        self.into.pop()
        op = self.put(ParallelOp(zeros, ends, steps, Region(body)))
        if divided:
            op.attributes[DIVIDED] = IntegerAttr(divided, i64)


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """Shape of a memref."""
    assert isinstance(value.type, MemRefType)
    return tuple(value.type.get_shape())


def element_type(value: SSAValue) -> Attribute:
    """Element type of a memref, the type itself of a scalar."""
    return value.type.element_type if isinstance(value.type, MemRefType) else value.type
