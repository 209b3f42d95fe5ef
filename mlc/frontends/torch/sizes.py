"""Symbolic sizes: expressions of dynamic dimensions as `torch.aten.*.int` ops.

s0 * s1 // 2   -->   %d0 = torch.aten.size.int %arg0, %int0
                     %d1 = torch.aten.size.int %arg0, %int2
                     %m = torch.aten.mul.int %d0, %d1
                     %r = torch.aten.floordiv.int %m, %int2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch.utils._sympy.functions import FloorDiv, Max, Min, Mod, PythonMod, TruncToInt
from xdsl.dialects.builtin import UNKNOWN_LOC, AffineMapAttr, IntegerAttr, StringAttr
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineMap, AffineSymExpr

from mlc.dialects.torch import INT, create, list_construct
from mlc.dialects.torch.tensor_ops import BindSymbolicShapeOp, SymbolicIntOp
from mlc.errors import UnsupportedError
from mlc.frontends.torch.captured import Place, Symbol
from mlc.frontends.torch.emit import Emitter
from mlc.frontends.torch.size_expressions import whole_number


class SymbolicSizes:
    """Builds the value of a symbolic int; equal expressions are built once."""

    def __init__(self, emitter: Emitter, symbols: Sequence[Symbol], arguments: dict[int, SSAValue]) -> None:
        self._emitter = emitter
        self._places = {s.expr: s.places[0] for s in symbols}
        self._arguments = arguments
        self._built: dict[Any, SSAValue] = {}

    def bind(self, symbols: Sequence[Symbol], inputs: dict[int, Any]) -> None:
        """Say which sizes of the inputs are the same and how large they may be.

        %s0 = torch.symbolic_int "args[0].shape[0]" {min_val = 2, max_val = 512} : !torch.int
        torch.bind_symbolic_shape %arg0, [%s0], affine_map<()[s0] -> (s0, 128)> : !torch.vtensor<[?,128],f32>
        """
        made: list[SSAValue] = []
        numbers: dict[tuple[int, int], int] = {}
        for symbol in symbols:
            places = [p for p in symbol.places if p.scale == 1 and not p.offset]
            if not places:
                continue
            held = {
                "symbol_name": StringAttr(symbol.name),
                "min_val": IntegerAttr(symbol.low, 64),
                "max_val": IntegerAttr(2**63 - 1 if symbol.high is None else symbol.high, 64),
            }
            op = SymbolicIntOp.create(result_types=[INT], attributes=held, location=UNKNOWN_LOC)
            self._emitter.block.add_op(op)
            numbers |= {(p.leaf, p.dim): len(made) for p in places}
            made.append(op.results[0])
        for leaf, argument in self._arguments.items():
            shape = [
                AffineSymExpr(numbers[leaf, d]) if (leaf, d) in numbers else n if isinstance(n, int) else None
                for d, n in enumerate(inputs[leaf].shape)
            ]
            if not any(isinstance(n, AffineSymExpr) for n in shape) or None in shape:
                continue
            exprs = tuple(AffineConstantExpr(n) if isinstance(n, int) else n for n in shape if n is not None)
            held = {"shape_expressions": AffineMapAttr(AffineMap(0, len(made), exprs))}
            op = BindSymbolicShapeOp.create(operands=[argument, *made], attributes=held, location=UNKNOWN_LOC)
            self._emitter.block.add_op(op)

    def __call__(self, size: torch.SymInt) -> SSAValue:
        """The value of `size`."""
        return self.build(size.node.expr)

    def build(self, expr: Any) -> SSAValue:
        """The value of a sympy expression."""
        found = self._built.get(expr)
        if found is None:
            found = self._built[expr] = self._make(expr)
        return found

    def _make(self, expr: Any) -> SSAValue:
        match expr:
            case sympy.Integer():
                return self._emitter.constant(int(expr))
            case sympy.Symbol():
                return self._symbol(expr)
            case sympy.Add():
                return self._fold("aten.add.int", expr.args)
            case sympy.Mul():
                return self._fold("aten.mul.int", expr.args)
            case sympy.Pow() if isinstance(expr.args[1], sympy.Integer) and expr.args[1] > 0:
                return self._fold("aten.mul.int", [expr.args[0]] * int(expr.args[1]))
            case FloorDiv():
                return self._fold("aten.floordiv.int", expr.args)
            case Mod() | PythonMod():
                return self._fold("aten.remainder.int", expr.args)
            case Max() | sympy.Max():
                return self._fold("prim.max.int", expr.args)
            case Min() | sympy.Min():
                return self._fold("prim.min.int", expr.args)
            case TruncToInt() if (whole := whole_number(expr.args[0])) is not None:
                return self.build(whole)
            case _:
                raise UnsupportedError(
                    f"this model computes a size by {type(expr).__name__} ({expr})",
                    hint="make the size it depends on static",
                )

    def _fold(self, name: str, args: Sequence[Any]) -> SSAValue:
        value = self.build(args[0])
        for other in args[1:]:
            value = self._int(name, value, self.build(other))
        return value

    def _symbol(self, symbol: Any) -> SSAValue:
        place = self._places.get(symbol)
        if place is None:
            raise UnsupportedError(
                f"this model uses a size ({symbol}) that depends on the values of a tensor",
                hint="keep sizes independent of data: masks instead of nonzero or boolean indexing",
            )
        value = self._int("aten.size.int", self._arguments[place.leaf], self._emitter.constant(place.dim))
        if place.offset:
            value = self._int("aten.add.int", value, self._emitter.constant(-place.offset))
        if place.scale != 1:
            value = self._int("aten.floordiv.int", value, self._emitter.constant(place.scale))
        return value

    def _int(self, name: str, *operands: SSAValue) -> SSAValue:
        if name.startswith("prim."):  # takes a list
            items = list_construct(operands, INT, UNKNOWN_LOC)
            self._emitter.block.add_op(items)
            operands = (items.results[0],)
            name = f"{name.removesuffix('.int')}.self_int"
        op = create(name, operands, [INT], location=UNKNOWN_LOC)
        self._emitter.block.add_op(op)
        return op.results[0]


def linear_place(expr: Any, leaf: int, dim: int) -> tuple[Any, Place] | None:
    """The symbol and place of a size of the form `a * s + b`; None for other forms."""
    symbols = list(expr.free_symbols)
    if len(symbols) != 1:
        return None
    (symbol,) = symbols
    offset = expr.xreplace({symbol: sympy.Integer(0)})
    scale = sympy.expand(expr - offset) / symbol
    if not (isinstance(scale, sympy.Integer) and isinstance(offset, sympy.Integer) and scale > 0):
        return None
    return symbol, Place(leaf, dim, int(scale), int(offset))
