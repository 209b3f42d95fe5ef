"""Control flow of the torch dialect, as TorchScript has it.

%r = torch.prim.If %cond -> (!torch.int) {
  torch.prim.If.yield %a : !torch.int
} else {
  torch.prim.If.yield %b : !torch.int
}
%r = torch.prim.Loop %max, %cond, init(%x) {
^bb0(%i: !torch.int, %carried: !torch.int):
  torch.prim.Loop.condition %again, iter(%next : !torch.int)
} : (!torch.int, !torch.bool, !torch.int) -> !torch.int
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from xdsl.ir import Attribute, Operation, OpTraits
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.base import TorchOp
from mlc.dialects.torch.prim import fits
from mlc.dialects.torch.syntax import parse_operand_list, parse_type_list
from mlc.dialects.torch.types import TorchBoolType, TorchIntType

_STRUCTURED = OpTraits(lambda: (RecursiveMemoryEffect(),))


def _expect_fit(op: Operation, what: str, got: Sequence[Attribute], wanted: Sequence[Attribute]) -> None:
    if len(got) != len(wanted) or not all(map(fits, got, wanted)):
        show = ", ".join(map(str, got)), ", ".join(map(str, wanted))
        raise VerifyException(f"'{op.name}': {what} ({show[0]}) do not fit ({show[1]})")


class PrimIfOp(TorchOp):
    """Runs one of two regions."""

    name = "torch.prim.If"
    traits: ClassVar[OpTraits] = _STRUCTURED

    def verify_(self) -> None:
        self.expect_counts(1, None, 2)
        self.expect_type("condition", self.operands[0].type, TorchBoolType)
        for region in self.regions:
            if len(region.blocks) != 1 or not isinstance(last := region.block.last_op, PrimIfYieldOp):
                raise VerifyException(f"'{self.name}': each branch is one block that ends in torch.prim.If.yield")
            _expect_fit(self, "yielded values", last.operand_types, self.result_types)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        condition = parser.parse_operand()
        parser.parse_punctuation("->")
        result_types = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
        then = parser.parse_region()
        parser.parse_keyword("else")
        otherwise = parser.parse_region()
        return cls.create(
            operands=(condition,),
            result_types=result_types,
            regions=(then, otherwise),
            attributes=parser.parse_optional_attr_dict(),
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_string(" -> (")
        printer.print_list(self.result_types, printer.print_attribute)
        printer.print_string(") ")
        printer.print_region(self.regions[0], print_entry_block_args=False)
        printer.print_string(" else ")
        printer.print_region(self.regions[1], print_entry_block_args=False)
        printer.print_op_attributes(self.attributes)


class PrimIfYieldOp(TorchOp):
    """Ends a branch of `torch.prim.If` with its values."""

    name = "torch.prim.If.yield"
    traits: ClassVar[OpTraits] = OpTraits(lambda: (IsTerminator(), HasParent(PrimIfOp), Pure()))

    def verify_(self) -> None:
        self.expect_counts(None, 0)

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        if self.operands:
            printer.print_string(" ")
            printer.print_list(self.operands, printer.print_ssa_value)
            printer.print_string(" : ")
            printer.print_list(self.operand_types, printer.print_attribute)


class PrimLoopOp(TorchOp):
    """Runs its region at most `max` times while the condition holds. Operands: max, initial condition, inits."""

    name = "torch.prim.Loop"
    traits: ClassVar[OpTraits] = _STRUCTURED

    def verify_(self) -> None:
        self.expect_counts(None, None, 1)
        if len(self.operands) < 2:
            raise VerifyException(f"'{self.name}' expects a trip count and a condition")
        self.expect_type("trip count", self.operands[0].type, TorchIntType)
        self.expect_type("condition", self.operands[1].type, TorchBoolType)
        region = self.regions[0]
        if len(region.blocks) != 1 or not isinstance(last := region.block.last_op, PrimLoopConditionOp):
            raise VerifyException(f"'{self.name}': the body is one block that ends in torch.prim.Loop.condition")
        arguments = [argument.type for argument in region.block.args]
        if not arguments or not isinstance(arguments[0], TorchIntType):
            raise VerifyException(f"'{self.name}': the body's first argument is the trip number, an !torch.int")
        _expect_fit(self, "initial values", self.operand_types[2:], arguments[1:])
        _expect_fit(self, "values of the next trip", last.operand_types[1:], arguments[1:])
        _expect_fit(self, "body arguments", arguments[1:], self.result_types)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        position = parser.pos
        unresolved = [parser.parse_unresolved_operand()]
        parser.parse_punctuation(",")
        unresolved.append(parser.parse_unresolved_operand())
        parser.parse_punctuation(",")
        parser.parse_keyword("init")
        unresolved += parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_unresolved_operand)
        body = parser.parse_region()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = parser.parse_function_type()
        return cls.create(
            operands=parser.resolve_operands(unresolved, types.inputs.data, position),
            result_types=types.outputs.data,
            regions=(body,),
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self._operands[:2], printer.print_ssa_value)
        printer.print_string(", init(")
        printer.print_list(self._operands[2:], printer.print_ssa_value)
        printer.print_string(") ")
        printer.print_region(self.regions[0])
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_function_type(self.operand_types, self.result_types)


class PrimLoopConditionOp(TorchOp):
    """Ends a loop's body: whether to go on, and the values of the next trip."""

    name = "torch.prim.Loop.condition"
    traits: ClassVar[OpTraits] = OpTraits(lambda: (IsTerminator(), HasParent(PrimLoopOp), Pure()))

    def verify_(self) -> None:
        self.expect_counts(None, 0)
        if not self.operands:
            raise VerifyException(f"'{self.name}' expects a condition")
        self.expect_type("condition", self.operands[0].type, TorchBoolType)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        condition = parser.parse_operand()
        parser.parse_punctuation(",")
        parser.parse_keyword("iter")
        with parser.in_parens():
            position = parser.pos
            unresolved = parse_operand_list(parser)
            types = parse_type_list(parser) if parser.parse_optional_punctuation(":") is not None else []
            carried = parser.resolve_operands(unresolved, types, position)
        return cls.create(operands=(condition, *carried), attributes=parser.parse_optional_attr_dict())

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_string(", iter(")
        carried = self._operands[1:]
        printer.print_list(carried, printer.print_ssa_value)
        if carried:
            printer.print_string(" : ")
            printer.print_list([v.type for v in carried], printer.print_attribute)
        printer.print_string(")")
        printer.print_op_attributes(self.attributes)


OPS = (PrimIfOp, PrimIfYieldOp, PrimLoopOp, PrimLoopConditionOp)
