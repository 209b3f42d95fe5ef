"""Building torch IR: what capture and lowerings call.

one = constant(1, loc)
add = create("aten.add.Tensor", (x, y, one.results[0]), (VTensorType.get([2], f32),), location=loc)
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import BoolAttr, DenseResourceAttr, FloatAttr, IntegerAttr, LocationAttr, StringAttr
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.aten_schema import Schema, schema
from mlc.dialects.torch.aten import AtenOp, aten_op
from mlc.dialects.torch.constants import (
    ConstantBoolOp,
    ConstantDeviceOp,
    ConstantFloatOp,
    ConstantIntOp,
    ConstantNoneOp,
    ConstantStrOp,
    TensorLiteralOp,
    VTensorLiteralOp,
    i64,
    literal_type_of,
)
from mlc.dialects.torch.dialect import TORCH
from mlc.dialects.torch.prim import PrimListConstructOp, PrimListUnpackOp
from mlc.dialects.torch.types import BaseTensorType, NonValueTensorType, TorchListType, f64


def create(
    name: str,
    operands: Sequence[SSAValue],
    result_types: Sequence[Attribute],
    *,
    location: LocationAttr | None = None,
) -> Operation:
    """The op `aten.add.Tensor`, `prim.ListUnpack`, … (`torch.` may stand in front)."""
    cls = TORCH.find(f"torch.{name.removeprefix('torch.')}") or aten_op(name)
    return cls.create(operands=operands, result_types=result_types, location=location)


def constant(value: int | float | bool | str | None, location: LocationAttr | None = None) -> Operation:
    """`torch.constant.*` of a Python value. Its result is named as torch-mlir does (`%int1`, `%none`)."""
    if value is None:
        op, hint = ConstantNoneOp.of(None), "none"
    elif isinstance(value, bool):
        op, hint = ConstantBoolOp.of(BoolAttr.from_bool(value)), "true" if value else "false"
    elif isinstance(value, int):
        op, hint = ConstantIntOp.of(IntegerAttr(value, i64)), f"int{value}"
    elif isinstance(value, float):
        op, hint = ConstantFloatOp.of(FloatAttr(value, f64)), f"float{value:.6e}".replace("+", "")
    elif isinstance(value, str):
        op, hint = ConstantStrOp.of(StringAttr(value)), "str"
    else:
        raise TypeError(f"no torch constant for a {type(value).__name__}: {value!r}")
    op.results[0].name_hint = hint
    if location is not None:
        op.location = location
    return op


def device(name: str = "cpu", location: LocationAttr | None = None) -> Operation:
    """`torch.constant.device "cpu"`."""
    op = ConstantDeviceOp.of(StringAttr(name))
    op.results[0].name_hint = name.partition(":")[0]
    if location is not None:
        op.location = location
    return op


def list_construct(
    elements: Sequence[SSAValue], element_type: Attribute, location: LocationAttr | None = None
) -> Operation:
    """`torch.prim.ListConstruct` with result `!torch.list<element_type>`."""
    return PrimListConstructOp.create(operands=elements, result_types=(TorchListType(element_type),), location=location)


def list_unpack(value: SSAValue, element_types: Sequence[Attribute], location: LocationAttr | None = None) -> Operation:
    """`torch.prim.ListUnpack` into values of the given types."""
    return PrimListUnpackOp.create(operands=(value,), result_types=element_types, location=location)


def literal(
    name_or_attr: str | Attribute, tensor_type: BaseTensorType, location: LocationAttr | None = None
) -> Operation:
    """`torch.vtensor.literal`: of the weight store's entry of that name, or of a dense attribute."""
    if isinstance(name_or_attr, str):
        name_or_attr = DenseResourceAttr.from_params(name_or_attr, literal_type_of(tensor_type))
    cls = TensorLiteralOp if isinstance(tensor_type, NonValueTensorType) else VTensorLiteralOp
    op = cls.of(name_or_attr, tensor_type)
    if location is not None:
        op.location = location
    return op


def schema_of(op: Operation) -> Schema:
    """Argument names, types, defaults, aliases and returns of an op made from a schema."""
    return op.schema() if isinstance(op, AtenOp) else schema(op.name)


def operand(op: Operation, argument: str) -> SSAValue:
    """The operand of `op` that its schema calls `argument`."""
    return op.operands[schema_of(op).index(argument)]
