"""Instructions of the llvm dialect that xDSL lacks, or whose operand types it restricts.

`llvm.select` takes a vector condition, `llvm.mlir.zero` any type, `llvm.intr.masked.store` any vector, as upstream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    I1,
    I64,
    AnyFloatConstr,
    DenseArrayBase,
    DenseIntElementsAttr,
    IntegerAttr,
    IntegerType,
    SignlessIntegerConstraint,
    UnitAttr,
    VectorType,
    i1,
    i32,
    i64,
)
from xdsl.dialects.llvm import FastMathAttr, GenericCastOp
from xdsl.ir import Block, SSAValue
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    VarConstraint,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    successor_def,
    traits_def,
    var_operand_def,
    var_successor_def,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, NoMemoryEffect, Pure

from mlc.dialects.llvm import intrinsics
from mlc.dialects.llvm.tile_type import X86AMXType


@irdl_op_definition
class FPToSIOp(GenericCastOp):
    """Float to signed integer; poison out of range."""

    name = "llvm.fptosi"


@irdl_op_definition
class FPToUIOp(GenericCastOp):
    """Float to unsigned integer; poison out of range."""

    name = "llvm.fptoui"


@irdl_op_definition
class UIToFPOp(GenericCastOp):
    """Unsigned integer to float."""

    name = "llvm.uitofp"
    nonNeg = opt_prop_def(UnitAttr)
    assembly_format = "(`nneg` $nonNeg^)? $arg attr-dict `:` type($arg) `to` type($result)"


@irdl_op_definition
class AddrSpaceCastOp(GenericCastOp):
    """Pointer to another address space."""

    name = "llvm.addrspacecast"


@irdl_op_definition
class FCmpOp(IRDLOperation):
    """`llvm.fcmp "olt" %a, %b : vector<16xf32>`."""

    name = "llvm.fcmp"
    T: ClassVar = VarConstraint("T", AnyFloatConstr | VectorType.constr(AnyFloatConstr))
    lhs = operand_def(T)
    rhs = operand_def(T)
    res = result_def(I1 | VectorType[I1])
    predicate = prop_def(IntegerAttr[I64])
    fastmathFlags = prop_def(FastMathAttr, default_value=FastMathAttr(None))
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)

    @classmethod
    def parse(cls, parser: Parser) -> FCmpOp:
        flag = parser.parse_str_literal()
        if flag not in FCMP_PREDICATES:
            parser.raise_error(f"unknown comparison {flag!r}")
        lhs = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        rhs = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        fast = attributes.pop("fastmathFlags", FastMathAttr(None))
        parser.parse_punctuation(":")
        ty = parser.parse_type()
        bools = VectorType(i1, ty.get_shape()) if isinstance(ty, VectorType) else i1
        return cls.create(
            operands=parser.resolve_operands([lhs, rhs], [ty, ty], parser.pos),
            result_types=(bools,),
            properties={"predicate": IntegerAttr(FCMP_PREDICATES.index(flag), i64), "fastmathFlags": fast},
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(f' "{FCMP_PREDICATES[self.predicate.value.data]}" ')
        printer.print_ssa_value(self.lhs)
        printer.print_string(", ")
        printer.print_ssa_value(self.rhs)
        flags = {"fastmathFlags": self.fastmathFlags} if self.fastmathFlags.data else {}
        printer.print_op_attributes(flags | self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.lhs.type)


FCMP_PREDICATES = (
    "_false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "_true",
)  # fmt: skip


@irdl_op_definition
class SelectOp(IRDLOperation):
    """`llvm.select %c, %a, %b : vector<4xi1>, vector<4xf32>`."""

    name = "llvm.select"
    T: ClassVar = VarConstraint("T", AnyAttr())
    cond = operand_def(I1 | VectorType[I1])
    lhs = operand_def(T)
    rhs = operand_def(T)
    res = result_def(T)
    fastmathFlags = prop_def(FastMathAttr, default_value=FastMathAttr(None))
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$cond `,` $lhs `,` $rhs attr-dict `:` type($cond) `,` type($res)"


@irdl_op_definition
class ZeroOp(IRDLOperation):
    """All-zero value of any type."""

    name = "llvm.mlir.zero"
    res = result_def()
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($res)"


@irdl_op_definition
class PoisonOp(IRDLOperation):
    """Poison value of any type."""

    name = "llvm.mlir.poison"
    res = result_def()
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($res)"


@irdl_op_definition
class FreezeOp(IRDLOperation):
    """`llvm.freeze %v : i32`: some value where `%v` is poison."""

    name = "llvm.freeze"
    T: ClassVar = VarConstraint("T", AnyAttr())
    val = operand_def(T)
    res = result_def(T)
    traits = traits_def(NoMemoryEffect())
    assembly_format = "$val attr-dict `:` type($val)"


@irdl_op_definition
class ExtractElementOp(IRDLOperation):
    """`llvm.extractelement %v[%i : i64] : vector<16xf32>`."""

    name = "llvm.extractelement"
    vector = operand_def(VectorType)
    position = operand_def(SignlessIntegerConstraint)
    res = result_def()
    traits = traits_def(Pure())

    @classmethod
    def parse(cls, parser: Parser) -> ExtractElementOp:
        vector = parser.parse_unresolved_operand()
        parser.parse_punctuation("[")
        position = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        position_type = parser.parse_type()
        parser.parse_punctuation("]")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        vector_type = parser.parse_type()
        if not isinstance(vector_type, VectorType):
            parser.raise_error("expected a vector type")
        return cls.create(
            operands=(parser.resolve_operand(vector, vector_type), parser.resolve_operand(position, position_type)),
            result_types=(vector_type.element_type,),
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.vector)
        printer.print_string("[")
        printer.print_ssa_value(self.position)
        printer.print_string(" : ")
        printer.print_attribute(self.position.type)
        printer.print_string("]")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.vector.type)


@irdl_op_definition
class SwitchOp(IRDLOperation):
    """Jump by integer value.

    llvm.switch %v : i64, ^default(%x : f32) [
      3: ^bb1,
      -1: ^bb2(%x : f32)
    ]
    """

    name = "llvm.switch"
    value = operand_def(IntegerType)
    default_operands = var_operand_def()
    case_operands = var_operand_def()
    case_values = opt_prop_def(DenseIntElementsAttr)
    case_operand_segments = prop_def(DenseArrayBase.constr(i32))
    default_destination = successor_def()
    case_destinations = var_successor_def()
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(IsTerminator())

    @staticmethod
    def get(
        value: SSAValue,
        default: tuple[Block, Sequence[SSAValue]],
        cases: Sequence[tuple[int, Block, Sequence[SSAValue]]],
    ) -> SwitchOp:
        """A switch on `value`; each case is (constant, block, block arguments)."""
        assert isinstance(value.type, IntegerType)
        props = {"case_operand_segments": DenseArrayBase.from_list(i32, [len(args) for _, _, args in cases])}
        if cases:
            case_type = VectorType(value.type, [len(cases)])
            props["case_values"] = DenseIntElementsAttr.from_list(case_type, [v for v, _, _ in cases])  # pyright: ignore[reportArgumentType]
        case_operands = [arg for _, _, args in cases for arg in args]
        return SwitchOp.build(
            operands=(value, list(default[1]), case_operands),
            properties=props,
            successors=(default[0], [block for _, block, _ in cases]),
        )

    def cases(self) -> list[tuple[int, Block, tuple[SSAValue, ...]]]:
        """(constant, block, block arguments) of each case."""
        values = [] if self.case_values is None else list(self.case_values.get_values())
        out: list[tuple[int, Block, tuple[SSAValue, ...]]] = []
        at = 0
        for v, block, n in zip(values, self.case_destinations, self.case_operand_segments.get_values(), strict=True):
            assert isinstance(v, int) and isinstance(n, int)
            out.append((v, block, tuple(self.case_operands[at : at + n])))
            at += n
        return out

    @staticmethod
    def _parse_target(parser: Parser) -> tuple[Block, list[SSAValue]]:
        block = parser.parse_successor()
        if parser.parse_optional_punctuation("(") is None:
            return block, []
        names: list[UnresolvedOperand] = [parser.parse_unresolved_operand()]
        while parser.parse_optional_punctuation(",") is not None:
            names.append(parser.parse_unresolved_operand())
        parser.parse_punctuation(":")
        types = [parser.parse_type()]
        while parser.parse_optional_punctuation(",") is not None:
            types.append(parser.parse_type())
        parser.parse_punctuation(")")
        return block, list(parser.resolve_operands(names, types, parser.pos))

    @classmethod
    def parse(cls, parser: Parser) -> SwitchOp:
        value = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        operand = parser.resolve_operand(value, parser.parse_type())
        parser.parse_punctuation(",")
        default = cls._parse_target(parser)

        def case() -> tuple[int, Block, list[SSAValue]]:
            number = parser.parse_integer()
            parser.parse_punctuation(":")
            return (number, *cls._parse_target(parser))

        parser.parse_punctuation("[")
        cases: list[tuple[int, Block, list[SSAValue]]] = []
        if parser.parse_optional_punctuation("]") is None:
            cases.append(case())
            while parser.parse_optional_punctuation(",") is not None:
                cases.append(case())
            parser.parse_punctuation("]")
        op = cls.get(operand, default, cases)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    @staticmethod
    def _print_target(printer: Printer, block: Block, args: Sequence[SSAValue]) -> None:
        printer.print_block_name(block)
        if args:
            printer.print_string("(")
            printer.print_list(args, printer.print_ssa_value)
            printer.print_string(" : ")
            printer.print_list([a.type for a in args], printer.print_attribute)
            printer.print_string(")")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.value)
        printer.print_string(" : ")
        printer.print_attribute(self.value.type)
        printer.print_string(", ")
        self._print_target(printer, self.default_destination, self.default_operands)
        printer.print_string(" [")
        for n, (number, block, args) in enumerate(self.cases()):
            printer.print_string(f"{',' if n else ''}\n      {number}: ")
            self._print_target(printer, block, args)
        printer.print_string("\n    ]" if self.case_destinations else "]")
        printer.print_op_attributes(self.attributes)


OPS = (
    *intrinsics.OPS,
    FPToSIOp,
    FPToUIOp,
    UIToFPOp,
    AddrSpaceCastOp,
    FCmpOp,
    SelectOp,
    ZeroOp,
    PoisonOp,
    FreezeOp,
    ExtractElementOp,
    SwitchOp,
)
ATTRS = (X86AMXType,)
