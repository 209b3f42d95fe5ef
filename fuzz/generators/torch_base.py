"""What torch programs are made of: calls with inferred types, constants, weights, values at hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseResourceAttr, f32, f64
from xdsl.ir import Attribute, Block, SSAValue

from fuzz.tape import Tape
from mlc.dialects.torch.build import constant, create, list_construct
from mlc.dialects.torch.constants import VTensorLiteralOp, literal_type_of
from mlc.dialects.torch.inference import argument_of, infer_call
from mlc.dialects.torch.types import TorchIntType, VTensorType

SIZES = (2, 3, 4, 1, 5, 8)


class TorchBase:
    """One function on f32 value tensors."""

    def __init__(self, tape: Tape, steps: dict[str, int]) -> None:
        self.tape = tape
        self.seed = tape.byte()
        self.rng = np.random.default_rng(self.seed)
        self.element: Attribute = f64 if tape.chance(10) else f32
        self.steps = [name for name, weight in steps.items() for _ in range(weight)]
        self.weights: dict[str, np.ndarray] = {}
        self.features: list[str] = []
        self.values: list[SSAValue] = []
        self.block = Block()

    def call(self, name: str, *arguments: Any) -> list[SSAValue]:
        """The op on values and Python constants, its types inferred; `aten.` where the name has no such part."""
        full = name if name.startswith("quantized_decomposed.") else f"aten.{name}"
        operands = [self.operand(a) for a in arguments]
        types = infer_call(full, [argument_of(o) for o in operands])
        op = create(full, operands, types)
        self.block.add_op(op)
        self.features.append(name)
        return list(op.results)

    def operand(self, a: Any) -> SSAValue:
        """A value, or a constant op's result."""
        if isinstance(a, SSAValue):
            return a
        if isinstance(a, list):
            elements = [self.operand(x) for x in a]
            kind: Attribute = elements[0].type if elements and isinstance(a[0], SSAValue) else TorchIntType()
            if elements and isinstance(a[0], SSAValue):
                kind = VTensorType.get()
            op = list_construct(elements, kind)
        else:
            op = constant(a)
        self.block.add_op(op)
        return op.results[0]

    def weight(self, shape: Sequence[int], *, positive: bool = False) -> SSAValue:
        """A parameter of the model."""
        name = f"w{len(self.weights)}"
        data = self.rng.integers(1, 9, tuple(shape)) / 4 if positive else self.rng.integers(-4, 5, tuple(shape)) / 4
        self.weights[name] = np.asarray(data, dtype=np.float32 if self.element == f32 else np.float64)
        kind = VTensorType.get(list(shape), self.element)
        op = VTensorLiteralOp.create(
            properties={"value": DenseResourceAttr.from_params(name, literal_type_of(kind))}, result_types=(kind,)
        )
        self.block.add_op(op)
        return op.results[0]

    def shape(self, v: SSAValue) -> list[int]:
        """Its static shape."""
        assert isinstance(v.type, VTensorType) and v.type.shape is not None
        return [d if d is not None else -1 for d in v.type.shape]

    def any(self, rank: int | None = None) -> SSAValue:
        """A float value at hand, preferably a recent one."""
        fitting = [
            v
            for v in self.values
            if isinstance(v.type, VTensorType)
            and v.type.element_type == self.element
            and (rank is None or len(self.shape(v)) == rank)
        ]
        if fitting:
            return fitting[-1 - self.tape.below(min(4, len(fitting)))]
        return self.weight([self.tape.pick(SIZES) for _ in range(2 if rank is None else rank)])

    def keep(self, *values: SSAValue) -> None:
        """Results to build on: known static shapes of small size only."""
        for v in values:
            if isinstance(v.type, VTensorType) and v.type.has_static_shape and prod(self.shape(v)) <= 4096:
                self.values.append(v)

    def like(self, x: SSAValue) -> SSAValue:
        """Something that broadcasts with `x`."""
        shape = self.shape(x)
        same = [v for v in self.values if v.type == x.type]
        if same and self.tape.chance(50):
            return self.tape.pick(same[::-1])
        cut = self.tape.below(len(shape) + 1)
        return self.weight([1 if self.tape.chance(30) else d for d in shape[cut:]])
