"""Move what is computed from weights alone out of the model, into one function per derived constant.

    func.func @forward(%x) {                          func.func private @const.w.folded() attributes {constant} {
      %w = arith.constant dense_resource<w>             %w = arith.constant dense_resource<w>
      %g = arith.constant dense_resource<g>             %g = arith.constant dense_resource<g>
      %f = linalg.generic ins(%w, %g) { mulf }          %f = linalg.generic ins(%w, %g) { mulf }
      %y = conv ins(%x, %f)                     -->     return %f }
                                                      func.func @forward(%x) {
                                                        %f = arith.constant dense_resource<const.w.folded>
                                                        %y = conv ins(%x, %f)

What: every value that depends only on weights and is used by something that does not becomes a `@const.*` function,
named after the first weight it reads. The weight store fills the entry by running the function, so compiled code
does not depend on the values of weights. Views of a weight stay where they are (they cost nothing), as do
values that only broadcast a weight (storing them costs more than computing them). Equal functions become one.
Runs after: linalg-block-layouts and linalg-pack-matmul (they add packing of weights). Runs before:
linalg-fuse-elementwise (it would fuse constant arithmetic into the model).
Tests: tests/lowering/linalg/linalg_hoist_constants.mlir
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.dialects import arith, func, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseResourceAttr,
    ModuleOp,
    StringAttr,
    TensorType,
    UnitAttr,
)
from xdsl.ir import Block, Operation, OpResult, Region, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.dialects.linalg_ext.split_matmul_ops import SplitMatmulWeightsOp
from mlc.dialects.linalg_ext.winograd_matmul_ops import WinogradMatmulWeightsOp
from mlc.dialects.linalg_ext.winograd_ops import WinogradFilterTransformOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass
from mlc.ir.structural_key import Numbering, sequence_key
from mlc.lowering.linalg.structure import (
    captured,
    erase_dead,
    functions_to_lower,
    inputs_of,
    is_pure,
    is_tensor,
    is_weight,
    nested_blocks,
    shape_of,
)

_VIEWS = (tensor.ExpandShapeOp, tensor.CollapseShapeOp, tensor.CastOp, tensor.ExtractSliceOp)
_SMALL = 1 << 14  # elements; below this a broadcast may be stored
_GROWTH = 2
_REARRANGED = (PackOp, WinogradFilterTransformOp, WinogradMatmulWeightsOp, SplitMatmulWeightsOp)
"""Ops on weights whose results are read instead of them."""


@dataclass(frozen=True)
class LinalgHoistConstants(MlcPass):
    name = "linalg-hoist-constants"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-constants",
        establishes=("no arithmetic on weights alone is left in the model",),
        rules={
            "hoist": "an expression of weights -> a resource and its function",
            "reuse": "an expression that has a function already -> its resource",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            hoist = _Hoist(ctx, module, self.name)
            blocks = list(nested_blocks(entry))
            for block in reversed(blocks):  # what stands outside of a loop before what reads it inside
                hoist.classify(block)
            for block in blocks:
                hoist.run(block)
            for block in nested_blocks(entry):
                erase_dead(block)


class ConstantValues:
    """What of a block depends on weights alone, as far as it is worth storing; classified front to back."""

    def __init__(self) -> None:
        # value -> whether it depends on a weight; values that depend on anything else are absent
        self.constant: dict[SSAValue, bool] = {}
        # whether computing the value takes more than a view
        self.computed: dict[SSAValue, bool] = {}

    def classify(self, op: Operation) -> None:
        """Note the result of `op`, whose operands have been classified."""
        if len(op.results) != 1 or not is_pure(op):
            return
        result = op.results[0]
        if isinstance(op, arith.ConstantOp):
            self.constant[result] = is_weight(result)
            self.computed[result] = False
            return
        inputs = inputs_of(op)
        if all(v in self.constant for v in inputs) and self._is_worth(op, inputs):
            self.constant[result] = any(self.constant[v] for v in inputs)
            self.computed[result] = not isinstance(op, _VIEWS) or any(self.computed[v] for v in inputs)

    def _is_worth(self, op: Operation, inputs: list[SSAValue]) -> bool:
        """False for ops that only make data bigger."""
        result = op.results[0]
        if not is_tensor(result) or DYNAMIC_INDEX in shape_of(result) or op.name == "tensor.empty":
            return True
        size = math.prod(shape_of(result))
        if size <= _SMALL or isinstance(op, _REARRANGED):
            return True
        read = sum(math.prod(shape_of(v)) for v in inputs if is_tensor(v) and self.constant[v])
        return read == 0 or size <= _GROWTH * read


class _Hoist:
    def __init__(self, ctx: MlcContext, module: ModuleOp, pass_name: str) -> None:
        self.ctx, self.module, self.pass_name = ctx, module, pass_name
        self.values = ConstantValues()
        self.constant, self.computed = self.values.constant, self.values.computed
        self.functions: dict[Hashable, DenseResourceAttr] = {}
        self.taken = {op.sym_name.data for op in module.ops if isinstance(op, func.FuncOp)}

    def classify(self, block: Block) -> None:
        for op in block.ops:
            self.values.classify(op)

    def run(self, block: Block) -> None:
        for op in list(block.ops):
            if op.parent_block() is not block or (op.results and op.results[0] in self.constant):
                continue
            for value in inputs_of(op):
                if isinstance(value, OpResult) and self._worth_hoisting(value):
                    self._replace(value)

    def _worth_hoisting(self, value: OpResult) -> bool:
        return (
            self.constant.get(value, False)
            and self.computed[value]
            and is_tensor(value)
            and DYNAMIC_INDEX not in shape_of(value)
        )

    def _replace(self, value: OpResult) -> None:
        ops = _slice(value)
        numbering = Numbering()
        key = (sequence_key(ops, numbering), numbering.ids[value])
        assert isinstance(value.type, TensorType)
        known = self.functions.get(key)
        resource = known or DenseResourceAttr.from_params(self._name(ops), value.type)
        constant = arith.ConstantOp(resource)
        constant.location = value.op.location
        block = value.op.parent_block()
        assert block is not None
        block.insert_op_after(constant, value.op)
        constant.result.name_hint = value.name_hint
        self.constant[constant.result] = True
        self.computed[constant.result] = False
        value.replace_uses_with_if(
            constant.result, lambda use: not (use.operation.results and use.operation.results[0] in self.constant)
        )
        if known is None:
            self.functions[key] = resource
            self._make_function(resource.resource_handle.data, value, ops)
        self.ctx.remarks.applied(
            self.pass_name,
            constant,
            "hoisted a constant expression",
            rule="hoist" if known is None else "reuse",
            constant=resource.resource_handle.data,
        )

    def _make_function(self, name: str, value: OpResult, ops: list[Operation]) -> None:
        block = Block()
        values: dict[SSAValue, SSAValue] = {}
        moved = _used_only_here(ops, value)
        for op in ops:
            if op in moved:
                op.detach()
                for i, operand in enumerate(op.operands):
                    if operand in values:
                        op.operands[i] = values[operand]
                block.add_op(op)
                continue
            copy = op.clone(values)
            values.update(zip(op.results, copy.results, strict=True))
            block.add_op(copy)
        location = fuse_locations(op.location for op in ops)
        final = func.ReturnOp(values.get(value, value))
        final.location = location
        block.add_op(final)
        function = func.FuncOp(name, ([], [value.type]), Region(block), StringAttr("private"))
        function.attributes["constant"] = UnitAttr()
        function.location = location
        self.module.body.block.add_op(function)

    def _name(self, ops: list[Operation]) -> str:
        weights = [
            op.value.resource_handle.data
            for op in ops
            if isinstance(op, arith.ConstantOp) and isinstance(op.value, DenseResourceAttr)
        ]
        main = weights[0] if weights else "literal"
        main = main.removeprefix("const.")
        main = re.sub(r"[^A-Za-z0-9_.$-]", "_", main)
        kinds = {
            WinogradFilterTransformOp: "winograd",
            WinogradMatmulWeightsOp: "paired",
            SplitMatmulWeightsOp: "scaled",
            PackOp: "packed",
        }
        what = next((word for kind, word in kinds.items() if any(isinstance(op, kind) for op in ops)), "folded")
        name = f"const.{main}.{what}"
        unique, n = name, 0
        while unique in self.taken or unique in self.ctx.resources:
            unique, n = f"{name}_{n}", n + 1
        self.taken.add(unique)
        return unique


def is_hoisted(value: SSAValue) -> bool:
    """Whether `value` is computed from weights alone, so that this pass moves it, or what it goes into, out of the
    model."""
    todo, seen = [value], set[SSAValue]()
    while todo:
        current = todo.pop()
        if not isinstance(current, OpResult) or not is_pure(current.op):
            return False
        if current not in seen:
            seen.add(current)
            todo += inputs_of(current.op)
    assert isinstance(value, OpResult)
    values = ConstantValues()
    for op in _slice(value):
        values.classify(op)
    return values.constant.get(value, False)


def _used_only_here(ops: list[Operation], value: OpResult) -> set[Operation]:
    """The ops that nothing but the others of `ops` reads; they need no copy. Ops with captured values are copied."""
    inside: set[Operation] = set()
    for op in reversed(ops):
        uses = [use.operation for r in op.results for use in r.uses]
        if all(u in inside for u in uses) and (uses or op is value.op) and not captured(op):
            inside.add(op)
    return inside


def _slice(value: OpResult) -> list[Operation]:
    """Ops that compute `value`, operands first; the main weight (first operand, followed back) comes first."""
    order: dict[Operation, None] = {}

    def visit(op: Operation) -> None:
        if op in order:
            return
        for v in inputs_of(op):
            if isinstance(v, OpResult):
                visit(v.op)
        order[op] = None

    visit(value.op)
    return list(order)
