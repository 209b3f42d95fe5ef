"""Fold batch norm with fixed statistics into the convolution or linear layer before it.

    %c = torch.aten.conv2d %x, %w, %b, …                     %c = torch.aten.conv2d %x, %w', %b', …
    %r = torch.aten.batch_norm %c, %g, %beta, %m, %v, …  -->   s  = g / sqrt(v + eps)      in f64
                                                               w' = w * s                  rounded to f32 once
                                                               b' = (b - m) * s + beta

What: only where statistics, weights and biases are constants, nothing else reads the convolution, and its features are
dim 1, which batch norm is over (not so for linear layers on more than two dims, nor for convolutions without a batch).
The new weights are expressions of the old ones, computed once (`linalg-hoist-constants`).
Runs after `torch-canonicalize` (which removes what stands between the two ops). Runs before `convert-torch-to-linalg`.
Tests: tests/lowering/torch/torch_fold_batch_norm.mlir
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.ir import Operation, OpResult, SSAValue

from mlc.dialects.torch.aten import AtenOp
from mlc.dialects.torch.build import constant, create, list_construct
from mlc.dialects.torch.constants import VTensorLiteralOp
from mlc.dialects.torch.types import INT, VTensorType, f64
from mlc.dialects.torch.values import constant_value
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, WithinUlp
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass

NORMS = frozenset(
    {
        "torch.aten.batch_norm",
        "torch.aten.native_batch_norm",
        "torch.aten._native_batch_norm_legit_no_training",
    }
)
_ROOTS = frozenset(
    {
        "torch.aten.conv1d",
        "torch.aten.conv2d",
        "torch.aten.conv3d",
        "torch.aten.convolution",
        "torch.aten.linear",
    }
)
_TO_DTYPE = {"f32": 6, "f64": 7}


@dataclass(frozen=True)
class TorchFoldBatchNorm(MlcPass):
    """Batch norm into weights."""

    name = "torch-fold-batch-norm"
    contract: ClassVar[Contract] = Contract(
        level_in="torch",
        level_out="torch",
        preserves=WithinUlp(
            8, "weights are scaled in f64 and rounded once; the products are then those of scaled terms"
        ),
        profile="torch-conv-bn",
        establishes=("no eval batch norm follows a convolution of constant weights alone",),
        nests=True,
        rules={name.removeprefix("torch.aten."): "batch norm of it -> scaled weights" for name in sorted(_ROOTS)},
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in [op for op in module.walk() if op.name in NORMS]:
            reason = _obstacle(op)
            if reason:
                ctx.remarks.missed(self.name, op, "batch norm stays", reason=reason)
                continue
            root = op.operands[0].owner
            assert isinstance(root, AtenOp) and isinstance(op, AtenOp)
            name = root.name.removeprefix("torch.aten.")
            folded = _Folding(op, root).run()
            ctx.remarks.applied(self.name, folded, f"batch norm folded into {name}", rule=name)


def _obstacle(op: Operation) -> str:
    """Why the batch norm cannot be folded; empty when it can."""
    assert isinstance(op, AtenOp)
    if "no_training" not in op.name and constant_value(op.operand("training")) is not False:
        return "it is in training mode"
    if any(r.first_use for r in op.results[1:]):
        return "its statistics are read"
    root = op.operands[0].owner
    if not isinstance(root, AtenOp) or root.name not in _ROOTS:
        return "no convolution or linear layer stands before it"
    if not op.operands[0].has_one_use():
        return "something else reads the convolution"
    if len(_type(op.operands[0]).shape or ()) != len(_type(root.operand("weight")).shape or ()):
        return f"dim 1 of its input is not the dim of the features of {root.name.removeprefix('torch.')}"
    if root.name == "torch.aten.convolution" and constant_value(root.operand("transposed")) is not False:
        return "the convolution is transposed"
    parts = [root.operand("weight"), *_optional(root, "bias")]
    parts += [v for name in ("weight", "bias", "running_mean", "running_var") for v in _optional(op, name)]
    if len(_optional(op, "running_mean")) + len(_optional(op, "running_var")) != 2:
        return "it has no fixed statistics"
    if not all(isinstance(v, OpResult) and isinstance(v.op, VTensorLiteralOp) for v in parts):
        return "weights or statistics are not constants"
    element = _type(root.operand("weight")).element_type
    if str(element) not in _TO_DTYPE:
        return f"the weights are {element}"
    return ""


def _optional(op: AtenOp, name: str) -> list[SSAValue]:
    """The operand, unless it is None."""
    value = op.operand(name)
    return [] if constant_value(value) is None else [value]


def _type(value: SSAValue) -> VTensorType:
    assert isinstance(value.type, VTensorType)
    return value.type


class _Folding:
    """Builds the scaled weights before the batch norm and replaces both ops."""

    def __init__(self, norm: AtenOp, root: AtenOp) -> None:
        self.norm = norm
        self.root = root
        self.location: LocationAttr = fuse_locations([root.location, norm.location])
        self.ops: list[Operation] = []

    def add(self, op: Operation) -> SSAValue:
        self.ops.append(op)
        return op.results[0]

    def const(self, value: int | float | bool | None) -> SSAValue:
        return self.add(constant(value, self.location))

    def aten(
        self, name: str, operands: list[SSAValue], shape: tuple[int | None, ...], element: object = f64
    ) -> SSAValue:
        kind = VTensorType.get(shape, element)  # pyright: ignore[reportArgumentType]
        return self.add(create(name, operands, (kind,), location=self.location))

    def run(self) -> Operation:
        weight = self.root.operand("weight")
        shape = _type(weight).shape
        stored = _type(weight).element_type
        assert shape is not None
        channels = (shape[0],)
        one = self.const(1)
        code = self.const(_TO_DTYPE[str(stored)])
        double, no, none = self.const(7), self.const(False), self.const(None)
        (mean,), (variance,) = _optional(self.norm, "running_mean"), _optional(self.norm, "running_var")
        eps = constant_value(self.norm.operand("eps"))
        assert isinstance(eps, float)

        wide = self.aten("aten.to.dtype", [variance, double, no, no, none], channels)
        scale = self.aten(
            "aten.rsqrt", [self.aten("aten.add.Scalar", [wide, self.const(eps), one], channels)], channels
        )
        for gamma in _optional(self.norm, "weight"):
            scale = self.aten("aten.mul.Tensor", [scale, gamma], channels)

        sizes = [self.const(n) for n in (shape[0], *(1,) * (len(shape) - 1))]  # pyright: ignore[reportArgumentType]
        column = self.aten(
            "aten.view",
            [scale, self.add(list_construct(sizes, INT, self.location))],
            (shape[0], *(1,) * (len(shape) - 1)),
        )
        scaled = self.aten("aten.mul.Tensor", [weight, column], shape)
        new_weight = self.aten("aten.to.dtype", [scaled, code, no, no, none], shape, stored)

        gap = self.aten("aten.to.dtype", [mean, double, no, no, none], channels)
        bias = _optional(self.root, "bias")
        if bias:
            gap = self.aten("aten.sub.Tensor", [bias[0], gap, one], channels)
        else:
            gap = self.aten("aten.neg", [gap], channels)
        shift = self.aten("aten.mul.Tensor", [gap, scale], channels)
        for beta in _optional(self.norm, "bias"):
            shift = self.aten("aten.add.Tensor", [shift, beta, one], channels)
        new_bias = self.aten("aten.to.dtype", [shift, code, no, no, none], channels, stored)

        operands = list(self.root.operands)
        operands[self.root.schema().index("weight")] = new_weight
        operands[self.root.schema().index("bias")] = new_bias
        folded = create(self.root.name, operands, [self.norm.results[0].type], location=self.location)
        self.ops.append(folded)
        block = self.norm.parent
        assert block is not None
        block.insert_ops_before(self.ops, self.norm)
        self.norm.results[0].replace_all_uses_with(folded.results[0])
        for dead in (self.norm, self.root):
            dead.detach()
            dead.erase()
        return folded
