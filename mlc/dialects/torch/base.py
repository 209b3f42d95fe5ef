"""Base class of the torch dialect's hand-written ops, and small checks that they share.

The ops are plain xDSL operations (no operand definitions): creating one is several times cheaper than through IRDL,
and the dialect has thousands of kinds.
"""

from __future__ import annotations

from typing import ClassVar, Self

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Operation, OpTraits
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.syntax import parse_default, print_default

NO_TRAITS = OpTraits(lambda: ())
PURE = OpTraits(lambda: (Pure(),))


class TorchOp(Operation):
    """An op in torch-mlir's default format."""

    traits: ClassVar[OpTraits] = NO_TRAITS

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operands, result_types, attributes = parse_default(parser)
        return cls.create(operands=operands, result_types=result_types, attributes=attributes)

    def print(self, printer: Printer) -> None:
        print_default(printer, self)

    def expect_counts(self, operands: int | None, results: int | None, regions: int = 0) -> None:
        """Refuse other numbers of operands, results and regions; None allows any."""
        for what, found, wanted in (
            ("operands", len(self.operands), operands),
            ("results", len(self.results), results),
            ("regions", len(self.regions), regions),
        ):
            if wanted is not None and found != wanted:
                raise VerifyException(f"'{self.name}' expects {wanted} {what}, got {found}")

    def expect_type(self, what: str, got: Attribute, *wanted: type[Attribute]) -> None:
        """Refuse a type that is none of `wanted`."""
        if not isinstance(got, wanted):
            names = " or ".join(f"!{w.name}" for w in wanted)
            raise VerifyException(f"'{self.name}': {what} must be {names}, got {got}")

    def attribute(self, name: str) -> Attribute:
        """The attribute or property `name`; its absence is a verification error."""
        found = self.get_attr_or_prop(name)
        if found is None:
            raise VerifyException(f"'{self.name}' needs the attribute '{name}'")
        return found

    def string(self, name: str) -> str:
        """Value of the string attribute `name`."""
        found = self.attribute(name)
        if not isinstance(found, StringAttr):
            raise VerifyException(f"'{self.name}': attribute '{name}' must be a string, got {found}")
        return found.data
