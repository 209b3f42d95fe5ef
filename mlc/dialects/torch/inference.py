"""Shape and dtype inference: the result types of an op from its operand types and constant arguments.

    infer(op)                                    -> (VTensorType.get([2, None], f32),)
    infer_call("aten.mm", [<[2,3],f32>, <[3,?],f32>]) -> (<[2,?],f32>,)

An argument is a tensor type, a Python value, a list of these, or `Unknown` for a scalar that is not constant. Rules are
functions of the arguments in schema order, in `inference_*.py`; a size that depends on what is not known is None, and
`!torch.vtensor` is the answer when not even the rank is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.ir import Attribute, Operation, OpResult, SSAValue
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.aten_schema import Schema, SchemaType, has_schema, schema
from mlc.dialects.torch.aten import AtenOp
from mlc.dialects.torch.prim import PrimListUnpackOp
from mlc.dialects.torch.promotion import CannotInfer
from mlc.dialects.torch.second_names import SECOND_NAMES
from mlc.dialects.torch.shapes import wrap_dim
from mlc.dialects.torch.types import (
    ANY,
    BOOL,
    DEVICE,
    FLOAT,
    INT,
    NUMBER,
    STR,
    BaseTensorType,
    NonValueTensorType,
    TorchListType,
    TorchOptionalType,
    VTensorType,
)
from mlc.dialects.torch.values import NOT_CONSTANT, constant_value, list_elements, strip_casts
from mlc.errors import ShapeError
from mlc.ir.registering import is_made_again

Rule = Callable[..., Any]
"""Arguments in schema order -> the result: a type, a list of tensor types, or a tuple of these for several results."""

_RULES: dict[str, Rule] = {}
_loaded = False


@dataclass(frozen=True)
class Unknown:
    """A scalar of which only the type is known."""

    type: Attribute


def aten(names: str) -> tuple[str, ...]:
    """`aten.x` for each word of `names`."""
    return tuple(f"aten.{word}" for word in names.split())


def infers(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of ops: `@infers("aten.relu", "aten.relu_")`."""

    def register(rule: Rule) -> Rule:
        for name in names:
            if (name in _RULES and not is_made_again(_RULES[name], rule)) or not has_schema(name):
                raise ValueError(f"inference of {name} given twice, or there is no such op")
            _RULES[name] = rule
        return rule

    return register


def _load() -> None:
    global _loaded
    if _loaded:
        return
    package = importlib.import_module("mlc.dialects.torch")
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if info.name.startswith("inference_"):
            importlib.import_module(f"mlc.dialects.torch.{info.name}")
    for second, first in SECOND_NAMES.items():
        if first in _RULES:
            _RULES.setdefault(second, _RULES[first])
    _loaded = True


def inferable() -> tuple[str, ...]:
    """Names of all ops with a rule, sorted."""
    _load()
    return tuple(sorted(_RULES))


def argument_of(value: SSAValue) -> Any:
    """What a rule sees of an operand."""
    if isinstance(value.type, BaseTensorType):
        return value.type
    constant = constant_value(value)
    if constant is not NOT_CONSTANT:
        return constant
    elements = list_elements(value)
    if elements is not None:
        return [argument_of(element) for element in elements]
    source = strip_casts(value)
    return argument_of(source) if source is not value else Unknown(value.type)


def infer_raw(name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """As `infer_call`, with list results as Python lists of types."""
    _load()
    short = name.removeprefix("torch.")
    described = schema(short)
    rule = _RULES.get(short)
    unknown = tuple(_least_known(r.type) for r in described.returns)
    if described.mutates:
        return _written(described, arguments, unknown)
    if rule is None:
        return unknown
    _check_dimensions(described, arguments)
    try:
        out = rule(*arguments)
    except CannotInfer:
        return unknown
    except VerifyException as e:  # from a type: a size below 0
        raise ShapeError(f"the result would be impossible: {e}") from None
    return out if isinstance(out, tuple) else (out,)


_OTHER_DIMENSIONS = frozenset(
    f"aten.{name}" for name in ("unsqueeze", "unsqueeze_copy", "tile", "cross", "linalg_cross")
)
"""Ops whose `dim` counts the result's dimensions, and `tile`, whose `dims` are repeats."""


def _check_dimensions(described: Schema, arguments: Sequence[Any]) -> None:
    """ShapeError where `dim` or `dims` names dimensions that `self` lacks."""
    if not arguments or described.arguments[0].name != "self" or described.name in _OTHER_DIMENSIONS:
        return
    tensor = arguments[0]
    if not isinstance(tensor, BaseTensorType) or tensor.shape is None:
        return
    for argument, value in zip(described.arguments, arguments, strict=False):
        if argument.name in ("dim", "dims"):
            for dim in value if isinstance(value, list) else [value]:
                if isinstance(dim, int):
                    wrap_dim(dim, len(tensor.shape))


def _written(described: Schema, arguments: Sequence[Any], unknown: tuple[Attribute, ...]) -> tuple[Any, ...]:
    """In-place ops and `out` variants return the tensors that they write."""
    by_alias = {a.alias: value for a, value in zip(described.arguments, arguments, strict=True) if a.is_written}
    return tuple(by_alias.get(r.alias, least) for r, least in zip(described.returns, unknown, strict=True))


def infer_call(name: str, arguments: Sequence[Any]) -> tuple[Attribute, ...]:
    """Result types of `aten.mm` on arguments (tensor types, Python values, `Unknown`)."""
    return tuple(_as_type(result) for result in infer_raw(name, arguments))


def infer(op: Operation) -> tuple[Attribute, ...]:
    """Result types that follow from the operands of `op`; its own result types where there is no rule for it."""
    if isinstance(op, PrimListUnpackOp):
        return _infer_unpack(op)
    if not isinstance(op, AtenOp):
        return tuple(op.result_types)
    inferred = infer_call(op.schema_name, [argument_of(operand) for operand in op.operands])
    return tuple(map(_same_kind, inferred, op.result_types))


def _same_kind(inferred: Attribute, present: Attribute) -> Attribute:
    """Rules speak of value tensors; an op on tensors that may alias returns such."""
    if isinstance(inferred, VTensorType) and isinstance(present, NonValueTensorType):
        return NonValueTensorType(inferred.data)
    return inferred


def _infer_unpack(op: PrimListUnpackOp) -> tuple[Attribute, ...]:
    source = op.operands[0]
    elements = list_elements(source)
    if elements is not None:
        return tuple(element.type for element in elements)
    if isinstance(source, OpResult) and isinstance(source.op, AtenOp):
        made = infer_raw(source.op.schema_name, [argument_of(operand) for operand in source.op.operands])
        types = made[source.index]
        if isinstance(types, list) and len(types) == len(op.results):
            return tuple(types)
    return tuple(op.result_types)


def _as_type(result: Any) -> Attribute:
    if isinstance(result, list):
        first = result[0] if result else VTensorType.get()
        return TorchListType(first if all(r == first for r in result) else VTensorType.get())
    return result


_LEAST: dict[str, Attribute] = {
    "Tensor": VTensorType.get(),
    "int": INT,
    "SymInt": INT,
    "ScalarType": INT,
    "Layout": INT,
    "float": FLOAT,
    "SymFloat": FLOAT,
    "bool": BOOL,
    "SymBool": BOOL,
    "str": STR,
    "Scalar": NUMBER,
    "number": NUMBER,
    "Device": DEVICE,
}


def _least_known(type: SchemaType) -> Attribute:
    """The type of a result of which only the schema is known."""
    if type.kind == "List":
        return TorchListType(_least_known(type.element))
    if type.kind == "Optional":
        return TorchOptionalType(_least_known(type.element))
    return _LEAST.get(type.kind, ANY)
