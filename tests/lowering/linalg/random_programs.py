"""Random linalg programs from a tape of bytes: always valid, shrinkable by cutting the tape.

Elementwise generics with broadcasts and transposes, reductions, products, softmax, pads, concats, slices, reshapes,
constants that feed constants, values with several readers, several returned values.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects import arith, func, math, tensor
from xdsl.dialects.builtin import (
    AffineMapAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    IndexType,
    ModuleOp,
    TensorType,
    f32,
)
from xdsl.dialects.linalg.ops import MatmulOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineMap

from mlc.dialects.linalg.relayout_ops import SoftmaxOp
from mlc.dialects.linalg.structured_ops import BatchMatmulOp
from mlc.ir.resources import ResourceStore
from mlc.lowering.linalg.build import At, Body
from mlc.lowering.linalg.structure import dims_map, identity_map, shape_of

DIMS = (1, 2, 3, 4)
CHEAP = (arith.AddfOp, arith.SubfOp, arith.MulfOp, arith.MaximumfOp, arith.MinimumfOp)


class Tape:
    """Bytes as choices; zeros once it is at its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def below(self, n: int) -> int:
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value % n

    def pick(self, items):
        return items[self.below(len(items))]

    @property
    def empty(self) -> bool:
        return self.at >= len(self.data)


class RandomProgram:
    """`module`, its `resources` and `inputs` for @forward."""

    def __init__(self, data: bytes) -> None:
        self.tape = Tape(data)
        self.rng = np.random.default_rng(self.tape.below(256))
        self.resources = ResourceStore()
        shapes = [self._shape() for _ in range(2)]
        self.inputs = [self._array(s) for s in shapes]
        block = Block(arg_types=[TensorType(f32, s) for s in shapes])
        end = func.ReturnOp()
        block.add_op(end)
        self.at = At(end)
        self.values: list[SSAValue] = list(block.args)
        self._constant()
        while not self.tape.empty and len(self.values) < 24:
            self._step()
        count = 1 + self.tape.below(3)
        returned = [self.values[-1], *(self.tape.pick(self.values) for _ in range(count - 1))]
        end.operands = returned
        function = func.FuncOp("forward", ([a.type for a in block.args], [v.type for v in returned]), Region(block))
        self.module = ModuleOp([function])

    def _shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = 1 + self.tape.below(3) if rank is None else rank
        return tuple(self.tape.pick(DIMS) for _ in range(rank))

    def _array(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def _constant(self) -> None:
        kind, shape = self.tape.below(3), self._shape()
        ty = TensorType(f32, shape)
        if kind == 0:
            attr = DenseIntOrFPElementsAttr.from_list(ty, [float(self.tape.below(5)) - 2])
        elif kind == 1:
            name = self.resources.add("layer.weight", self._array(shape))
            attr = DenseResourceAttr.from_params(name, ty)
        else:
            attr = DenseIntOrFPElementsAttr.from_list(ty, [float(x) for x in self._array(shape).reshape(-1)])
        self.values.append(self.at.add(arith.ConstantOp(attr)).result)

    def _step(self) -> None:
        steps = (
            self._elementwise, self._elementwise, self._elementwise, self._elementwise, self._constant, self._reduction,
            self._matmul, self._softmax, self._pad, self._concat, self._slice, self._reshape, self._insert,
            self._behind_reshape, self._behind_reshape, self._attention,
        )  # fmt: skip
        result = self.tape.pick(steps)()
        if result is not None:
            self.values.append(result)

    def _read(self, value: SSAValue, shape: list[int], fixed: bool) -> AffineMap | None:
        """A map that reads `value` in loops of `shape`; dimensions match loops of their size or are 1."""
        exprs = []
        free = list(range(len(shape)))
        for size in shape_of(value):
            fitting = [d for d in free if shape[d] == size]
            if not fitting:
                if size != 1 or fixed:
                    return None
                exprs.append(AffineConstantExpr(0))
                continue
            d = self.tape.pick(fitting)
            free.remove(d)
            exprs.append(AffineDimExpr(d))
        return AffineMap(len(shape), 0, tuple(exprs))

    def _elementwise(self, main: SSAValue | None = None) -> SSAValue | None:
        main = main or self.tape.pick(self.values[-6:])
        shape = list(shape_of(main))
        if self.tape.below(4) == 0:
            shape.insert(self.tape.below(len(shape) + 1), self.tape.pick(DIMS))
        if len(shape) > 4:
            return None
        reads = [(main, self._read(main, shape, True))]
        for _ in range(self.tape.below(3)):
            other = self.tape.pick(self.values)
            reads.append((other, self._read(other, shape, False)))
        ins = [(v, AffineMapAttr(m)) for v, m in reads if m is not None]
        kind, deep = self.tape.below(8), self.tape.below(3)
        op = self.tape.pick(CHEAP)

        def body(b: Body, *args: SSAValue) -> SSAValue:
            value = args[0]
            for other in args[1:-1]:
                value = b.op(op, value, other)
            for _ in range(deep):
                value = b.op(op, value, value)
            return b.op(math.TanhOp, value) if kind == 0 else value

        out = self.at.empty(shape, f32)
        return self.at.generic(ins, [(out, identity_map(len(shape)))], "p" * len(shape), body)

    def _reduction(self) -> SSAValue | None:
        x = self.tape.pick(self.values[-6:])
        rank = len(shape_of(x))
        reduced = {d for d in range(rank) if self.tape.below(2)} or {rank - 1}
        kept = tuple(d for d in range(rank) if d not in reduced)
        largest = self.tape.below(2)
        start = self.at.scalar(float("-inf") if largest else 0.0, f32)
        out = self.at.fill(start, self.at.empty([shape_of(x)[d] for d in kept], f32))
        combine = arith.MaximumfOp if largest else arith.AddfOp
        kinds = "".join("r" if d in reduced else "p" for d in range(rank))
        result = self.at.generic(
            [(x, identity_map(rank))], [(out, dims_map(rank, kept))], kinds, lambda b, v, acc: b.op(combine, v, acc)
        )
        return result if kept else None

    def _matmul(self) -> SSAValue | None:
        flat = [v for v in self.values if len(shape_of(v)) == 2]
        if not flat:
            return None
        a = self.tape.pick(flat)
        fitting = [v for v in flat if shape_of(v)[0] == shape_of(a)[1]]
        if not fitting:
            return None
        b = self.tape.pick(fitting)
        start = self.at.scalar(0.0, f32)
        out = self.at.fill(start, self.at.empty([shape_of(a)[0], shape_of(b)[1]], f32))
        return self.at.add(MatmulOp([a, b], [out])).res[0]

    def _softmax(self) -> SSAValue:
        x = self.tape.pick(self.values[-6:])
        return self.at.add(SoftmaxOp(x, self.at.empty_like(x), self.tape.below(len(shape_of(x))))).result[0]

    def _pad(self) -> SSAValue:
        x = self.tape.pick(self.values[-6:])
        low = [self.tape.below(2) for _ in shape_of(x)]
        high = [self.tape.below(2) for _ in shape_of(x)]
        block = Block(arg_types=[IndexType()] * len(low))
        block.add_op(tensor.YieldOp(self.at.scalar(1.5, f32)))
        ty = TensorType(f32, [n + a + b for n, a, b in zip(shape_of(x), low, high, strict=True)])
        return self.at.add(tensor.PadOp(x, [], [], Region(block), low, high, ty)).result

    def _concat(self) -> SSAValue | None:
        x = self.tape.pick(self.values[-6:])
        dim = self.tape.below(len(shape_of(x)))

        def fits(v: SSAValue) -> bool:
            s, t = shape_of(v), shape_of(x)
            return len(s) == len(t) and all(a == b or d == dim for d, (a, b) in enumerate(zip(s, t, strict=True)))

        parts = [x, *(v for v in self.values[-8:] if fits(v) and self.tape.below(2))]
        shape = list(shape_of(x))
        shape[dim] = sum(shape_of(v)[dim] for v in parts)
        return self.at.add(tensor.ConcatOp(parts, dim, TensorType(f32, shape))).result if shape[dim] <= 12 else None

    def _slice(self) -> SSAValue:
        x = self.tape.pick(self.values[-6:])
        offsets = [self.tape.below(n) for n in shape_of(x)]
        sizes = [1 + self.tape.below(n - o) for n, o in zip(shape_of(x), offsets, strict=True)]
        return self.at.add(tensor.ExtractSliceOp(x, offsets, sizes, [1] * len(sizes), TensorType(f32, sizes))).result

    def _attention(self) -> SSAValue:
        """A batched product between transposing copies."""
        b, i, j, d = (self.tape.pick(DIMS) for _ in range(4))
        shapes = {"p": (b, i, j), "v": (b, j, d)}
        operands: list[SSAValue] = []
        for shape in shapes.values():
            perm = self.tape.pick(((0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 0, 1)))
            inverse = [perm.index(k) for k in range(3)]
            fill = self.at.fill(self.at.scalar(0.5, f32), self.at.empty([shape[k] for k in inverse], f32))
            rank = len(shape)
            x = self.tape.pick(self.values)
            source = self.at.generic(
                [(x, AffineMapAttr(AffineMap(rank, 0, (AffineConstantExpr(0),) * len(shape_of(x)))))],
                [(fill, identity_map(rank))],
                "ppp",
                lambda body, a, o: body.op(arith.AddfOp, body.op(arith.MulfOp, a, o), o),
            )
            operands.append(self.at.transpose(source, perm))
        out = self.at.fill(self.at.scalar(0.0, f32), self.at.empty([b, i, d], f32))
        product = self.at.add(BatchMatmulOp(operands, [out])).res[0]
        return self.at.transpose(product, self.tape.pick(((1, 0, 2), (0, 1, 2), (0, 2, 1))))

    def _behind_reshape(self) -> SSAValue | None:
        """An op, a reshape of it and an elementwise op: each the only reader of the one before."""
        root = self.tape.pick((self._matmul, self._elementwise, self._softmax))()
        if root is None:
            return None
        for _ in range(1 + self.tape.below(2)):
            root = self._reshape(root)
        return self._elementwise(root) if len(shape_of(root)) <= 4 else root

    def _insert(self) -> SSAValue | None:
        dest = self.tape.pick(self.values[-6:])
        rank = len(shape_of(dest))
        sources = [
            v
            for v in self.values
            if len(shape_of(v)) == rank and all(a <= b for a, b in zip(shape_of(v), shape_of(dest), strict=True))
        ]
        source = self.tape.pick(sources)
        offsets = [self.tape.below(n - m + 1) for n, m in zip(shape_of(dest), shape_of(source), strict=True)]
        op = tensor.InsertSliceOp.from_static_parameters(source, dest, offsets, shape_of(source))
        return self.at.add(op).result

    def _reshape(self, x: SSAValue | None = None) -> SSAValue:
        x = x or self.tape.pick(self.values[-6:])
        shape = shape_of(x)
        if len(shape) > 1 and self.tape.below(2):
            d = self.tape.below(len(shape) - 1)
            groups = [(i,) for i in range(d)] + [(d, d + 1)] + [(i,) for i in range(d + 2, len(shape))]
            return self.at.collapse(x, groups)
        d = self.tape.below(len(shape))
        factors = [f for f in DIMS if shape[d] % f == 0]
        first = self.tape.pick(factors)
        groups = [(i,) for i in range(d)] + [(d, d + 1)] + [(i + 1,) for i in range(d + 1, len(shape))]
        return self.at.expand(x, groups, [*shape[:d], first, shape[d] // first, *shape[d + 1 :]])
