"""Remove what changes nothing, fold arithmetic on sizes, and merge views of views.

    %d = torch.aten.dropout %x, %p, %false                   (%x)
    %t = torch.aten.t %w ; %u = torch.aten.t %t        -->   (%w)
    %a = torch.aten.view %x, [2,12] ; view %a, [24]          torch.aten.view %x, [24]
    %n = torch.aten.size.int %x, %int0                       torch.constant.int 2
    ops that nothing reads                                   (gone)

What: one walk forward with rules by op name, one backward that removes dead ops.
Runs after capture. Runs before `torch-fold-batch-norm`, which looks for neighbours.
Tests: tests/lowering/torch/torch_canonicalize.mlir
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, OpResult, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import is_side_effect_free

from mlc.dialects.torch.aten import AtenOp
from mlc.dialects.torch.build import constant, create
from mlc.dialects.torch.prim import PrimListConstructOp, PrimListUnpackOp
from mlc.dialects.torch.types import VTensorType
from mlc.dialects.torch.values import NOT_CONSTANT, constant_value, strip_casts
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass

Replacement = SSAValue | Operation | None
Rule = Callable[[AtenOp], Replacement]


@dataclass(frozen=True)
class TorchCanonicalize(MlcPass):
    """Small clean-ups on the torch dialect."""

    name = "torch-canonicalize"
    contract: ClassVar[Contract] = Contract(
        level_in="torch",
        level_out="torch",
        preserves=Bitwise(),
        profile="torch-forms",
        establishes=("no copy, detach or inactive dropout is left",),
        nests=True,
        rules={
            "unpack-list": "an unpacked list construct -> its elements",
            "drop-copy": "clone, contiguous, detach, alias -> the tensor",
            "drop-dropout": "inactive dropout -> the tensor",
            "drop-cast": "a conversion to the type it has -> the tensor",
            "double-t": "t of t -> the tensor",
            "double-transpose": "transpose of the same transpose -> the tensor",
            "drop-view": "a view to its own shape -> the tensor",
            "view-of-view": "a view of a view -> a view of the first tensor",
            "fold-size": "a known size -> a constant",
            "fold-arithmetic": "integer arithmetic on constants -> a constant",
            "erase-dead": "an op that nothing reads -> nothing",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for block in [block for op in module.walk() for region in op.regions for block in region.blocks]:
            self._simplify(ctx, block)
        for block in [block for op in module.walk() for region in op.regions for block in region.blocks]:
            ctx.remarks.count(self.name, "erase-dead", _remove_dead(block))

    def _simplify(self, ctx: MlcContext, block: Block) -> None:
        for op in list(block.ops):
            replaced = _unpacked_list(op) if isinstance(op, PrimListUnpackOp) else None
            if replaced is not None:
                ctx.remarks.applied(self.name, op, "folded", rule="unpack-list")
                Rewriter.replace_op(op, [], replaced)
                continue
            rule, found = _simpler(op) if isinstance(op, AtenOp) else ("", None)
            if found is None:
                continue
            ctx.remarks.applied(self.name, op, "folded", rule=rule)
            if isinstance(found, SSAValue):
                Rewriter.replace_op(op, [], [found])
            else:
                found.location = op.location
                Rewriter.insert_op(found, InsertPoint.before(op))
                Rewriter.replace_op(op, [], found.results)


def _simpler(op: AtenOp) -> tuple[str, Replacement]:
    """The first rule that fits, and what it gives."""
    for name, rule in _RULES.get(op.name, ()):
        found = rule(op)
        if found is not None:
            return name, found
    return "", None


def _unpacked_list(op: Operation) -> list[SSAValue] | None:
    source = strip_casts(op.operands[0])
    if isinstance(source, OpResult) and isinstance(source.op, PrimListConstructOp):
        return list(source.op.operands)
    return None


def _remove_dead(block: Block) -> int:
    """Erase what nothing reads; how many ops that were."""
    erased = 0
    for op in reversed(list(block.ops)):
        if op.results and not any(r.first_use for r in op.results) and is_side_effect_free(op):
            op.detach()
            op.erase()
            erased += 1
    return erased


def _same_type(op: AtenOp, value: SSAValue) -> SSAValue | None:
    return value if value.type == op.results[0].type else None


def _identity(op: AtenOp) -> Replacement:
    return _same_type(op, op.operands[0])


def _inactive_dropout(op: AtenOp) -> Replacement:
    off = constant_value(op.operand("train")) is False or constant_value(op.operand("p")) in (0, 0.0)
    return _same_type(op, op.operands[0]) if off else None


def _defining(value: SSAValue, *names: str) -> AtenOp | None:
    owner = value.owner
    return owner if isinstance(owner, AtenOp) and owner.name in names else None


def _double_t(op: AtenOp) -> Replacement:
    inner = _defining(op.operands[0], "torch.aten.t")
    return _same_type(op, inner.operands[0]) if inner is not None else None


def _double_transpose(op: AtenOp) -> Replacement:
    inner = _defining(op.operands[0], "torch.aten.transpose.int")
    if inner is None or not isinstance(op.results[0].type, VTensorType) or op.results[0].type.shape is None:
        return None
    rank = len(op.results[0].type.shape)
    pairs = [{constant_value(o.operand("dim0")), constant_value(o.operand("dim1"))} for o in (op, inner)]
    if any(not isinstance(d, int) for pair in pairs for d in pair):
        return None
    outer, under = ({d % rank for d in pair if isinstance(d, int)} for pair in pairs)
    return _same_type(op, inner.operands[0]) if outer == under else None


_VIEWS = ("torch.aten.view", "torch.aten.reshape", "torch.aten._unsafe_view")


def _same_view(op: AtenOp) -> Replacement:
    """A view to its own static shape is nothing."""
    source = op.operands[0]
    shape = op.results[0].type
    if source.type == shape and isinstance(shape, VTensorType) and shape.shape is not None and None not in shape.shape:
        return source
    return None


def _view_of_view(op: AtenOp) -> Replacement:
    """A view of a view reads the first tensor."""
    inner = _defining(op.operands[0], *_VIEWS)
    if inner is None or constant_value(op.operands[1]) is NOT_CONSTANT:
        return None
    return create(op.name, [inner.operands[0], op.operands[1]], op.result_types)


def _size(op: AtenOp) -> Replacement:
    kind, dim = op.operands[0].type, constant_value(op.operands[1])
    if not isinstance(kind, VTensorType) or kind.shape is None or not isinstance(dim, int):
        return None
    size = kind.shape[dim]
    return None if size is None else constant(size)


def _arithmetic(fn: Callable[[int, int], int]) -> Rule:
    def rule(op: AtenOp) -> Replacement:
        a, b = constant_value(op.operands[0]), constant_value(op.operands[1])
        if not isinstance(a, int) or not isinstance(b, int) or (b == 0 and fn in (operator.floordiv, operator.mod)):
            return None
        value = fn(a, b)
        return constant(value) if -(2**63) <= value < 2**63 else None

    return rule


def _cast(op: AtenOp) -> Replacement:
    """A conversion to the type that the tensor has."""
    return _same_type(op, op.operands[0])


_IDENTITIES = ("clone", "contiguous", "detach", "alias", "lift_fresh", "lift_fresh_copy", "resolve_conj", "resolve_neg")
_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
_CASTS = ("to.dtype", "to.dtype_layout", "to.device", "to.other", "_to_copy")
_ARITHMETIC = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "remainder": operator.mod,
}
# op name -> (rule, what it gives), tried in order
_RULES: dict[str, tuple[tuple[str, Rule], ...]] = {
    **{f"torch.aten.{name}": (("drop-copy", _identity),) for name in _IDENTITIES},
    **{f"torch.aten.{name}": (("drop-dropout", _inactive_dropout),) for name in _DROPOUTS},
    **{f"torch.aten.{name}": (("drop-cast", _cast),) for name in _CASTS},
    **{f"torch.aten.{name}.int": (("fold-arithmetic", _arithmetic(fn)),) for name, fn in _ARITHMETIC.items()},
    **{name: (("drop-view", _same_view), ("view-of-view", _view_of_view)) for name in _VIEWS},
    "torch.aten.t": (("double-t", _double_t),),
    "torch.aten.transpose.int": (("double-transpose", _double_transpose),),
    "torch.aten.size.int": (("fold-size", _size),),
}
