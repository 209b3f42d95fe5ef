"""Ops of `tm_tensor` on tensors: destination-passing, one result per output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    BoolAttr,
    DenseArrayBase,
    IntegerAttr,
    IntegerType,
    TensorType,
    i32,
    i64,
)
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsTerminator
from xdsl.utils.exceptions import VerifyException

Shape = tuple[int, ...]


def _shape(value: SSAValue) -> Shape:
    assert isinstance(value.type, TensorType)
    return tuple(value.type.get_shape())


def _same(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two shapes can be the same at run time."""
    return len(a) == len(b) and all(x == y or DYNAMIC_INDEX in (x, y) for x, y in zip(a, b, strict=True))


class _TensorOp(IRDLOperation):
    """What the ops share: `attr-dict head ins(… : …) outs(… : …) region -> types`."""

    inputs = var_operand_def(TensorType)
    outputs = var_operand_def(TensorType)
    res = var_result_def(TensorType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    @classmethod
    def _parse_head(cls, parser: Parser) -> dict[str, Attribute]:
        return {}

    def _print_head(self, printer: Printer) -> None:
        """What stands before the operands."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        names = cls.get_irdl_definition().properties
        given = parser.parse_optional_attr_dict()
        properties = {k: v for k, v in given.items() if k in names}
        properties.update(cls._parse_head(parser))
        inputs, outputs = _operands(parser, "ins"), _operands(parser, "outs")
        regions = [parser.parse_region()] if cls.get_irdl_definition().regions else []
        results: Sequence[Attribute] = ()
        if parser.parse_optional_punctuation("->"):
            results = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
        return cls.build(
            operands=[inputs, outputs],
            properties=properties,
            attributes={k: v for k, v in given.items() if k not in names},
            regions=regions,
            result_types=[results],
        )

    def print(self, printer: Printer) -> None:
        shown = {**self.attributes, **{k: v for k, v in self.properties.items() if k == "dimension_map"}}
        printer.print_op_attributes(shown)
        self._print_head(printer)
        for name, values in (("ins", self.inputs), ("outs", self.outputs)):
            if values:
                printer.print_string(f" {name}(")
                printer.print_list(values, printer.print_ssa_value)
                printer.print_string(" : ")
                printer.print_list([v.type for v in values], printer.print_attribute)
                printer.print_string(")")
        for region in self.regions:
            printer.print_string(" ")
            printer.print_region(region)
        if self.res:
            printer.print_string(" -> ")
            printer.print_list([r.type for r in self.res], printer.print_attribute)

    def _expect_operands(self, inputs: Sequence[int], outputs: int | None = None) -> None:
        if len(self.inputs) not in inputs:
            raise VerifyException(f"{len(self.inputs)} inputs, expected {' or '.join(map(str, inputs))}")
        if outputs is not None and len(self.outputs) != outputs:
            raise VerifyException(f"{len(self.outputs)} outputs, expected {outputs}")
        if [r.type for r in self.res] != [o.type for o in self.outputs]:
            raise VerifyException("results and outputs have different types")

    def _expect_dimension(self, dimension: int, rank: int) -> None:
        if not 0 <= dimension < rank:
            raise VerifyException(f"dimension {dimension} of tensors of rank {rank}")

    def _expect_body(self, arguments: Sequence[SSAValue], results: Sequence[Attribute]) -> None:
        """The region takes an element of each of `arguments` and yields `results`."""
        body: Region = self.regions[0]
        elements = [v.type.element_type for v in arguments if isinstance(v.type, TensorType)]
        last = body.block.last_op
        if [a.type for a in body.block.args] != elements:
            taken = ", ".join(str(a.type) for a in body.block.args)
            raise VerifyException(f"the region takes {taken}, expected {', '.join(map(str, elements))}")
        if not isinstance(last, YieldOp) or [o.type for o in last.operands] != list(results):
            raise VerifyException(f"the region must end in tm_tensor.yield of {', '.join(map(str, results))}")


def _operands(parser: Parser, keyword: str) -> Sequence[SSAValue]:
    if parser.parse_optional_keyword(keyword) is None:
        return ()
    at = parser.pos
    parser.parse_punctuation("(")
    names = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_unresolved_operand)
    parser.parse_punctuation(":")
    types = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
    parser.parse_punctuation(")")
    return parser.resolve_operands(names, types, at)


def _parse_dimension(parser: Parser) -> IntegerAttr:
    parser.parse_keyword("dimension")
    with parser.in_parens():
        return IntegerAttr(parser.parse_integer(allow_boolean=False), i64)


def _parse_flag(parser: Parser, name: str) -> IntegerAttr:
    parser.parse_keyword(name)
    with parser.in_parens():
        return BoolAttr.from_bool(parser.parse_boolean())


def _flag(attr: IntegerAttr) -> str:
    return "true" if attr.value.data else "false"


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends the regions of the ops here."""

    name = "tm_tensor.yield"
    arguments = var_operand_def()
    traits = traits_def(IsTerminator())
    assembly_format = "attr-dict $arguments `:` type($arguments)"


@irdl_op_definition
class ScanOp(_TensorOp):
    """Running combination of the elements along `dimension`.

    Inclusive: y[0] = x[0], y[i] = body(y[i-1], x[i]). Exclusive: y[0] = acc, y[i] = body(y[i-1], x[i-1]). The second
    output takes the last y that the body made.
    """

    name = "tm_tensor.scan"
    dimension = prop_def(IntegerAttr)
    inclusive = prop_def(IntegerAttr)
    body = region_def("single_block")

    @classmethod
    def _parse_head(cls, parser: Parser) -> dict[str, Attribute]:
        return {"dimension": _parse_dimension(parser), "inclusive": _parse_flag(parser, "inclusive")}

    def _print_head(self, printer: Printer) -> None:
        printer.print_string(f" dimension({self.dimension.value.data}) inclusive({_flag(self.inclusive)})")

    def verify_(self) -> None:
        self._expect_operands((1,), 2)
        shape, d = _shape(self.inputs[0]), self.dimension.value.data
        self._expect_dimension(d, len(shape))
        if not _same(shape, _shape(self.outputs[0])):
            raise VerifyException("input and output have different shapes")
        if not _same((*shape[:d], *shape[d + 1 :]), _shape(self.outputs[1])):
            raise VerifyException("the accumulator must have the input's shape without the dimension")
        t = self.outputs[0].type
        assert isinstance(t, TensorType)
        self._expect_body((self.outputs[0], self.inputs[0]), [t.element_type])


@irdl_op_definition
class ScatterOp(_TensorOp):
    """x[window + indices[i]] = body(updates[i, window], x[window + indices[i]]) for each row i of `indices`, in order.

    Windows lie along the last dimensions of x; `dimension_map` says which dimension each column of `indices` moves.
    """

    name = "tm_tensor.scatter"
    dimension_map = prop_def(DenseArrayBase.constr(i64))
    unique_indices = opt_prop_def(IntegerAttr)
    body = region_def("single_block")

    @classmethod
    def _parse_head(cls, parser: Parser) -> dict[str, Attribute]:
        return {"unique_indices": _parse_flag(parser, "unique_indices")}

    def _print_head(self, printer: Printer) -> None:
        unique = "true" if self.unique_indices is None else _flag(self.unique_indices)
        printer.print_string(f" unique_indices({unique})")

    def verify_(self) -> None:
        self._expect_operands((2,), 1)
        updates, indices, original = (_shape(v) for v in (*self.inputs, self.outputs[0]))
        if len(indices) != 2 or not updates or not _same(indices[:1], updates[:1]):
            raise VerifyException("indices must have one row per update")
        moved = self.dimension_map.get_values()
        if indices[1] != len(moved) or len(set(moved)) != len(moved):
            raise VerifyException("dimension_map must name one dimension per column of indices, none twice")
        for d in moved:
            self._expect_dimension(int(d), len(original))
        window = range(len(original) - len(updates) + 1, len(original))
        if len(updates) - 1 > len(original) or set(range(len(original))) - set(window) - {int(d) for d in moved}:
            raise VerifyException("a dimension is neither in dimension_map nor in the window of an update")
        t = self.outputs[0].type
        assert isinstance(t, TensorType)
        self._expect_body((self.inputs[0], self.outputs[0]), [t.element_type])


@irdl_op_definition
class SortOp(_TensorOp):
    """Sorts all outputs along `dimension` by one order: neighbours stay as they are where the region says true.

    Defined as n rounds over the n - 1 pairs of neighbours, so that any comparison has a meaning.
    """

    name = "tm_tensor.sort"
    dimension = prop_def(IntegerAttr)
    body = region_def("single_block")

    @classmethod
    def _parse_head(cls, parser: Parser) -> dict[str, Attribute]:
        return {"dimension": _parse_dimension(parser)}

    def _print_head(self, printer: Printer) -> None:
        printer.print_string(f" dimension({self.dimension.value.data})")

    def verify_(self) -> None:
        self._expect_operands((0,))
        if not self.outputs:
            raise VerifyException("nothing to sort")
        shape = _shape(self.outputs[0])
        self._expect_dimension(self.dimension.value.data, len(shape))
        if not all(_same(shape, _shape(o)) for o in self.outputs):
            raise VerifyException("outputs have different shapes")
        self._expect_body([o for v in self.outputs for o in (v, v)], [IntegerType(1)])


@irdl_op_definition
class TopkOp(_TensorOp):
    """The k foremost elements along `dimension` and their indices, where k is the outputs' size.

    Each element of the input walks down the k that the outputs hold: it takes the place of one that it comes before
    by the region (or equals, with the larger index), which walks on.
    """

    name = "tm_tensor.topk"
    dimension = prop_def(IntegerAttr)
    body = region_def("single_block")

    @classmethod
    def _parse_head(cls, parser: Parser) -> dict[str, Attribute]:
        return {"dimension": _parse_dimension(parser)}

    def _print_head(self, printer: Printer) -> None:
        printer.print_string(f" dimension({self.dimension.value.data})")

    def verify_(self) -> None:
        self._expect_operands((1, 2), 2)
        shape, d = _shape(self.inputs[0]), self.dimension.value.data
        self._expect_dimension(d, len(shape))
        if not all(_same(shape, _shape(v)) for v in self.inputs):
            raise VerifyException("inputs have different shapes")
        outputs = [_shape(o) for o in self.outputs]
        if not _same(outputs[0], outputs[1]) or not _same((*shape[:d], outputs[0][d], *shape[d + 1 :]), outputs[0]):
            raise VerifyException("outputs must have the inputs' shape but for the dimension")
        for v in (*self.inputs[1:], self.outputs[1]):
            if not isinstance(v.type, TensorType) or v.type.element_type != i32:
                raise VerifyException(f"indices are {v.type}, expected i32")
        self._expect_body((self.inputs[0], self.inputs[0]), [IntegerType(1)])


@irdl_op_definition
class AttentionOp(_TensorOp):
    """softmax(q k^T / sqrt(d) + mask) v over the last two dimensions; a row of which nothing is left gives 0."""

    name = "tm_tensor.attention"

    def verify_(self) -> None:
        self._expect_operands((3, 4), 1)
        q, k, v, *mask = (_shape(x) for x in self.inputs)
        if len(q) < 3 or len(k) != len(q) or len(v) != len(q):
            raise VerifyException("query, key and value must have the same rank, at least 3")
        batch = q[:-2]
        fits = _same(k, (*batch, k[-2], q[-1])) and _same(v, (*batch, k[-2], v[-1]))
        if not fits or not _same(_shape(self.outputs[0]), (*batch, q[-2], v[-1])):
            raise VerifyException("shapes of query, key, value and output do not fit")
        if mask and not _same(mask[0], (*batch, q[-2], k[-2])):
            raise VerifyException("the mask must have a number per query and key")
