"""Dialect `torch_c`: the border between torch types and builtin types.

    %t = torch_c.to_builtin_tensor %v : !torch.vtensor<[2,?],f32> -> tensor<2x?xf32>
    %v = torch_c.from_builtin_tensor %t : tensor<2x?xi64> -> !torch.vtensor<[2,?],si64>
    %i = torch_c.to_i64 %int1

Builtin tensors hold signless integers: `si64` becomes `i64`, `ui8` becomes `i8`.
"""

from __future__ import annotations

from typing import ClassVar, Self

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    Float64Type,
    IntegerType,
    TensorType,
    UnrankedTensorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, Dialect, OpTraits, TypeAttribute
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.base import PURE, TorchOp
from mlc.dialects.torch.types import BOOL, FLOAT, GENERATOR, INT, VTensorType


def builtin_element_type(element_type: Attribute) -> Attribute:
    """`i64` for `si64`; floats, complex and i1 as they are."""
    return IntegerType(element_type.width.data) if isinstance(element_type, IntegerType) else element_type


def builtin_tensor_type(type: VTensorType) -> TensorType[Attribute] | UnrankedTensorType[Attribute]:
    """`tensor<2x?xi64>` for `!torch.vtensor<[2,?],si64>`."""
    if type.element_type is None:
        raise VerifyException(f"{type} has no builtin form: its element type is unknown")
    element = builtin_element_type(type.element_type)
    if type.shape is None:
        return UnrankedTensorType(element)
    return TensorType(element, [DYNAMIC_INDEX if d is None else d for d in type.shape])


def _check_pair(op: TorchOp, value: Attribute, builtin: Attribute) -> None:
    op.expect_type("torch tensor", value, VTensorType)
    op.expect_type("builtin tensor", builtin, TensorType, UnrankedTensorType)
    assert isinstance(value, VTensorType) and isinstance(builtin, TensorType | UnrankedTensorType)
    expected = builtin_tensor_type(value)
    element = builtin_element_type(builtin.element_type)
    found = TensorType(element, builtin.shape) if isinstance(builtin, TensorType) else UnrankedTensorType(element)
    if found != expected:
        raise VerifyException(f"'{op.name}': {value} and {builtin} do not fit; expected {expected}")


class ToBuiltinTensorOp(TorchOp):
    """A torch value tensor as a builtin tensor."""

    name = "torch_c.to_builtin_tensor"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(1, 1)
        _check_pair(self, self.operands[0].type, self.results[0].type)


class FromBuiltinTensorOp(TorchOp):
    """A builtin tensor as a torch value tensor."""

    name = "torch_c.from_builtin_tensor"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(1, 1)
        _check_pair(self, self.results[0].type, self.operands[0].type)


class _Scalar(TorchOp):
    """A scalar from `source` to `target`; both types are fixed by the op, so neither is printed."""

    traits: ClassVar[OpTraits] = PURE
    source: ClassVar[TypeAttribute]
    target: ClassVar[TypeAttribute]

    def verify_(self) -> None:
        self.expect_counts(1, 1)
        for what, got, wanted in (
            ("operand", self.operands[0].type, self.source),
            ("result", self.results[0].type, self.target),
        ):
            if got != wanted:
                raise VerifyException(f"'{self.name}': {what} must be {wanted}, got {got}")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operand = parser.resolve_operand(parser.parse_unresolved_operand(), cls.source)
        return cls.create(operands=(operand,), result_types=(cls.target,), attributes=parser.parse_optional_attr_dict())

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_op_attributes(self.attributes)


class ToI64Op(_Scalar):
    """`!torch.int` as `i64`."""

    name = "torch_c.to_i64"
    source, target = INT, i64


class FromI64Op(_Scalar):
    """`i64` as `!torch.int`."""

    name = "torch_c.from_i64"
    source, target = i64, INT


class ToF64Op(_Scalar):
    """`!torch.float` as `f64`."""

    name = "torch_c.to_f64"
    source, target = FLOAT, Float64Type()


class FromF64Op(_Scalar):
    """`f64` as `!torch.float`."""

    name = "torch_c.from_f64"
    source, target = Float64Type(), FLOAT


class ToI1Op(_Scalar):
    """`!torch.bool` as `i1`."""

    name = "torch_c.to_i1"
    source, target = BOOL, i1


class FromI1Op(_Scalar):
    """`i1` as `!torch.bool`."""

    name = "torch_c.from_i1"
    source, target = i1, BOOL


class GeneratorToI64Op(_Scalar):
    """A random generator's handle."""

    name = "torch_c.generator_to_i64"
    source, target = GENERATOR, i64


class I64ToGeneratorOp(_Scalar):
    """The random generator behind a handle."""

    name = "torch_c.i64_to_generator"
    source, target = i64, GENERATOR


class GetNextSeedOp(TorchOp):
    """The next seed of the global random generator: `torch_c.get_next_seed : () -> i64`."""

    name = "torch_c.get_next_seed"

    def verify_(self) -> None:
        self.expect_counts(0, 1)
        if self.results[0].type != i64:
            raise VerifyException(f"'{self.name}': result must be i64, got {self.results[0].type}")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(result_types=parser.parse_function_type().outputs.data, attributes=attributes)

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_function_type((), self.result_types)


TORCH_C = Dialect(
    "torch_c",
    [
        ToBuiltinTensorOp,
        FromBuiltinTensorOp,
        ToI64Op,
        FromI64Op,
        ToF64Op,
        FromF64Op,
        ToI1Op,
        FromI1Op,
        GeneratorToI64Op,
        I64ToGeneratorOp,
        GetNextSeedOp,
    ],
)
