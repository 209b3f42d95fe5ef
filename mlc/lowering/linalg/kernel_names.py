"""Names of kernels: what the root is and how big, so that a profile or a dump can be read.

fill, conv 1x64x56x56 * 64x64x3x3, relu   ->  conv_1x64x56x56_64x64x3x3_relu
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import Operation

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.lowering.linalg.kernel_groups import is_plain_reduction
from mlc.lowering.linalg.linalg_fuse_elementwise import is_contraction
from mlc.lowering.linalg.structure import (
    body_ops,
    is_elementwise,
    is_forwarding,
    is_identity,
    iterators_of,
    maps_of,
    plain_dims,
)

_ACTIVATIONS = {
    "math.exp": "exp",
    "math.erf": "gelu",
    "math.tanh": "tanh",
    "math.rsqrt": "rsqrt",
    "math.sqrt": "sqrt",
    "math.log": "log",
    "math.sin": "sin",
    "math.cos": "cos",
    "math.powf": "pow",
    "arith.maximumf": "max",
    "arith.minimumf": "min",
    "arith.addf": "add",
    "arith.mulf": "mul",
    "arith.subf": "sub",
    "arith.divf": "div",
    "arith.select": "select",
    "tensor.extract": "gather",
}
_MAX_NAMED = 3


def kernel_name(ops: Sequence[Operation]) -> str:
    """A name for the kernel made of `ops`; not unique."""
    root = _root(ops)
    shapes = [_shape(v.type) for v in (*root.results, *root.operands[1:2]) if hasattr(v.type, "get_shape")]
    parts = [_kind(root), *shapes[: 2 if _is_heavy(root) else 1]]
    if not (isinstance(root, GenericOp) and is_elementwise(root)):
        parts += _activations([op for op in ops if op is not root])
    elif not is_forwarding(root):
        parts += _activations([root])
    return "_".join(p for p in parts if p)


def _root(ops: Sequence[Operation]) -> Operation:
    heavy = [op for op in ops if not isinstance(op, FillOp) and not is_elementwise(op)]
    if heavy:
        return heavy[0]
    making = [op for op in ops if not (isinstance(op, GenericOp) and is_forwarding(op))]
    return making[-1] if making else ops[-1]


def _is_heavy(op: Operation) -> bool:
    if isinstance(op, (PreparedMatmulOp, AttentionOp)):
        return True
    return isinstance(op, GenericOp) and "r" in iterators_of(op) and not is_plain_reduction(op)


def _kind(op: Operation) -> str:
    if not isinstance(op, GenericOp):
        return op.name.split(".", 1)[1]
    if is_elementwise(op):
        if is_forwarding(op):
            return "copy" if is_identity(maps_of(op)[0]) else "transpose"
        return "elementwise"
    names = {inner.name for inner in body_ops(op)}
    windows = any(plain_dims(m) is None for m in maps_of(op)[: len(op.inputs)])
    if is_contraction(op) and not windows:
        return "matmul"
    if windows:
        if not is_contraction(op) and len(names) == 1:
            return "pool"
        return "conv"
    return "rows" if is_plain_reduction(op) else "generic"


def _activations(ops: Sequence[Operation]) -> list[str]:
    found: dict[str, None] = {}
    for op in ops:
        if isinstance(op, GenericOp):
            for inner in body_ops(op):
                if inner.name in _ACTIVATIONS:
                    found[_ACTIVATIONS[inner.name]] = None
    return list(found)[:_MAX_NAMED]


def _shape(ty: object) -> str:
    shape = ty.get_shape()  # pyright: ignore[reportAttributeAccessIssue]
    return "x".join("d" if d == DYNAMIC_INDEX else str(d) for d in shape)
