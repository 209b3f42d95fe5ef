"""Check an op's operands and results against its schema, with torch-mlir's leniencies.

    'torch.aten.add.Tensor': argument 'other' expects Tensor, got !torch.str

Any tensor type stands for Tensor, `!torch.none` for an omitted optional, int and float for Scalar, a list of tensors
for a list of optional tensors. SymInt, ScalarType, Layout, MemoryFormat and the like are `!torch.int`.
"""

from __future__ import annotations

from xdsl.ir import Attribute, Operation
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.aten_schema import Argument, Schema, SchemaType
from mlc.dialects.torch.types import (
    BaseTensorType,
    TorchAnyType,
    TorchBoolType,
    TorchDeviceType,
    TorchDictType,
    TorchFloatType,
    TorchGeneratorType,
    TorchIntType,
    TorchListType,
    TorchNoneType,
    TorchNumberType,
    TorchOptionalType,
    TorchStrType,
    TorchTupleType,
    TorchUnionType,
)

_NUMBERS = (TorchIntType, TorchFloatType, TorchNumberType, TorchBoolType)
_BASE: dict[str, tuple[type[Attribute], ...]] = {
    "Tensor": (BaseTensorType,),  # pyright: ignore[reportAssignmentType]
    "int": (TorchIntType,),
    "SymInt": (TorchIntType,),
    "ScalarType": (TorchIntType,),
    "Layout": (TorchIntType,),
    "MemoryFormat": (TorchIntType,),
    "QScheme": (TorchIntType,),
    "float": (TorchFloatType,),
    "SymFloat": (TorchFloatType,),
    "bool": (TorchBoolType,),
    "SymBool": (TorchBoolType,),
    "str": (TorchStrType,),
    "Dimname": (TorchStrType,),
    "Scalar": _NUMBERS,
    "number": _NUMBERS,
    "complex": _NUMBERS,
    "Device": (TorchDeviceType,),
    "Generator": (TorchGeneratorType,),
    "NoneType": (TorchNoneType,),
    "Dict": (TorchDictType,),
}


def accepts(wanted: SchemaType, got: Attribute) -> bool:
    """Whether a value of type `got` may be an argument of schema type `wanted`."""
    if isinstance(got, TorchUnionType):
        return all(accepts(wanted, part) for part in got.contained)
    match wanted.kind:
        case "Optional":
            if isinstance(got, TorchNoneType):
                return True
            return accepts(wanted.element, got.contained if isinstance(got, TorchOptionalType) else got)
        case "List":
            return isinstance(got, TorchListType) and (
                accepts(wanted.element, got.contained) or isinstance(got.contained, TorchAnyType)
            )
        case "Tuple":
            return (
                isinstance(got, TorchTupleType)
                and len(got.contained) == len(wanted.args)
                and all(map(accepts, wanted.args, got.contained))
            )
        case kind:
            classes = _BASE.get(kind)
            return classes is None or isinstance(got, classes)  # t, Any, Storage, …: whatever it is


def accepts_result(wanted: SchemaType, got: Attribute) -> bool:
    """Results may also be optional: torch-mlir gives an omitted gradient the type none."""
    if wanted.kind == "Tensor" and isinstance(got, TorchNoneType):
        return True
    if wanted.kind == "Tensor" and isinstance(got, TorchOptionalType):
        return accepts(wanted, got.contained)
    return accepts(wanted, got)


def verify_against_schema(op: Operation, schema: Schema) -> None:
    """Raise a VerifyException that names op, argument, expected and got."""
    if len(op.operands) != len(schema.arguments):
        names = ", ".join(a.name for a in schema.arguments)
        raise VerifyException(f"'{op.name}' expects {len(schema.arguments)} operands ({names}), got {len(op.operands)}")
    if len(op.results) != len(schema.returns):
        raise VerifyException(f"'{op.name}' expects {len(schema.returns)} results, got {len(op.results)}")
    if op.regions or op.successors:
        raise VerifyException(f"'{op.name}' takes no regions and no successors")
    for argument, operand in zip(schema.arguments, op._operands, strict=True):
        if not accepts(argument.type, operand.type):
            raise VerifyException(_message(op, "argument", argument, operand.type))
    for argument, result in zip(schema.returns, op.results, strict=True):
        if not accepts_result(argument.type, result.type):
            raise VerifyException(_message(op, "result", argument, result.type))


def _message(op: Operation, what: str, argument: Argument, got: Attribute) -> str:
    return f"'{op.name}': {what} '{argument.name}' expects {argument.type}, got {got}"
