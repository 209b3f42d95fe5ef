"""Text to IR with limits and typed errors; IR to text.

xDSL's parser lets Python errors escape on odd input and can be made to run for a very long time (an unterminated
string); text is therefore checked before it reaches the parser, and whatever it raises becomes a `ParseError`.
"""

from __future__ import annotations

import io
import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from typing import Any

from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AnyFloat,
    ComplexType,
    FileLineColLoc,
    FusedLoc,
    IndexType,
    IntAttr,
    IntegerType,
    LocationAttr,
    ModuleOp,
    NoneAttr,
    RankedStructure,
    ShapedType,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, AttributeInvT, Block, Operation, SSAValue
from xdsl.irdl import AttrConstraint, IRDLOperation, base
from xdsl.parser import AttrParser, UnresolvedOperand
from xdsl.parser.generic_parser import ParserState
from xdsl.printer import Printer
from xdsl.traits import IsTerminator
from xdsl.utils.exceptions import MultipleSpansParseError, VerifyException
from xdsl.utils.exceptions import ParseError as XdslParseError
from xdsl.utils.lexer import Span
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRTokenKind

from mlc.errors import LimitError, MlcError, ParseError, VerifyError
from mlc.ir.context import MlcContext
from mlc.ir.fast_lexer import FastLexer
from mlc.ir.fast_parser import FastParser
from mlc.ir.locations import with_location
from mlc.ir.near_names import near_name
from mlc.ir.resource_text import External, adopt_resources, blob_table, metadata_text


@dataclass(frozen=True)
class Limits:
    """What a text may cost. Raise them knowingly: `mlc-opt --limits text=...`."""

    text_bytes: int = 512 * 1024 * 1024
    nesting: int = 200
    int_digits: int = 1000
    int_width: int = 4096
    splat_elements: int = 1 << 24


_TOKEN = re.compile(r'"(?:[^"\\\n\r]|\\.)*"|//[^\n]*|"|[\n{}()\[\]<>]|->|(?<![\w.%@#!^$-])[su]?i\d{4,}|\d+')


def check_text(text: str, name: str, limits: Limits) -> None:
    """Refuse what would hang or crash the parser: size, nesting, unterminated strings, NUL, huge numbers."""
    if len(text) > limits.text_bytes:
        raise LimitError(f"text of {len(text)} characters", where=name, expected=f"at most {limits.text_bytes}")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ParseError("NUL byte in the text", where=f"{name}:{line}", hint="is this a binary file?")
    depth = 0
    line = 1
    for m in _TOKEN.finditer(text):
        tok = m.group()
        first = tok[0]
        if tok == "\n":
            line += 1
        elif tok in ("{", "(", "[", "<"):
            depth += 1
            if depth > limits.nesting:
                raise LimitError(f"nesting deeper than {limits.nesting}", where=f"{name}:{line}")
        elif tok in ("}", ")", "]", ">"):
            depth = max(0, depth - 1)
        elif tok == '"':
            raise ParseError("string without an end", where=f"{name}:{line}", expected='a closing "')
        elif first.isdigit() and len(tok) > limits.int_digits:
            raise LimitError(f"number of {len(tok)} digits", where=f"{name}:{line}")
        elif first in "siu" and (len(tok) > 12 or int(tok.lstrip("siu")) > limits.int_width):
            width = f"at most {limits.int_width} bits"
            raise LimitError(f"integer type of {tok.lstrip('siu')[:20]} bits", where=f"{name}:{line}", expected=width)


class LocatingParser(FastParser):
    """Gives an op that has no `loc(...)` of its own its place in the text, as `mlir-opt` does."""

    def __init__(self, ctx: MlcContext, text: str, name: str, limits: Limits = Limits()) -> None:
        super().__init__(ctx, text, name)
        self._parser_state = ParserState(FastLexer(self.lexer.input))
        self._length, self._limits, self._splats = len(text), limits, 0
        self._file = StringAttr(name)
        self._op_start, self._op_class = 0, None
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._first_uses: dict[str, Span] = {}

    @property
    def position(self) -> int:
        """Where in the text the parser stands."""
        return self._current_token.span.start

    def at_end(self) -> bool:
        """Whether nothing but space and comments is left."""
        return self._current_token.kind == MLIRTokenKind.EOF

    def parse_module(self, allow_implicit_module: bool = True) -> ModuleOp:
        """As xDSL's, but a value without a definition is reported where it is used, not at the end."""
        try:
            return super().parse_module(allow_implicit_module)
        except XdslParseError as e:
            if self.at_end() and "values used but not defined" in str(e):
                names = ", ".join(f"%{name}" for name in self.forward_ssa_references)
                self.raise_error(f"values used but not defined: {names}", at_position=self._first_use())
            raise

    def _first_use(self) -> Span | None:
        """The first use of a value that is not defined (yet)."""
        spans = (s for name, s in self._first_uses.items() if name in self.forward_ssa_references)
        return min(spans, key=lambda s: s.start, default=None)

    def resolve_operand(self, operand: UnresolvedOperand, type: AttributeInvT) -> SSAValue[AttributeInvT]:
        """As xDSL's; keeps where values are used that are not defined yet."""
        name = operand.operand_name
        if name not in self.ssa_values and name not in self.forward_ssa_references:
            self._first_uses[name] = operand.span
        return super().resolve_operand(operand, type)

    def parse_operation(self) -> Operation:
        """As xDSL's, plus the location."""
        start = self._op_start = self._current_token.span.start
        try:
            op = super().parse_operation()
        except (MlcError, XdslParseError, RecursionError, MemoryError):
            raise
        except VerifyException as e:
            reason = str(e).strip().replace("Unexpected attribute", "does not work on")
            raise VerifyError(f"'{self._op_name(start)}': {reason}", where=self._place(start)) from None
        except Exception as e:  # attributes and ops that xDSL builds from odd text raise what they like
            reason = str(e) or "its operands are not of a kind that it takes"
            raise ParseError(f"'{self._op_name(start)}' is not valid IR: {reason}", where=self._place(start)) from e
        if isinstance(op.location, UnknownLoc):
            line = bisect_right(self._starts, start)
            op.location = FileLineColLoc(self._file, IntAttr(line), IntAttr(start - self._starts[line - 1] + 1))
        for region in op.regions:
            for block in region.blocks:
                self._locate_unwritten(op, block)
        if op.name == "llvm.func" and op.attributes:
            _separate_properties(op)
        return op

    @staticmethod
    def _locate_unwritten(op: Operation, block: Block) -> None:
        """Give what the text of `op` leaves out (a named op's body, a terminator) the location of `op`."""
        first, last = block.first_op, block.last_op
        if first is not None and isinstance(first.location, UnknownLoc):
            with_location([*block.ops], op.location)
        elif last is not None and isinstance(last.location, UnknownLoc):
            last.location = op.location

    def _place(self, position: int) -> str:
        line = bisect_right(self._starts, position)
        return f"{self._file.data}:{line}:{position - self._starts[line - 1] + 1}"

    def _op_name(self, start: int) -> str:
        """The name of the op that starts there, as it is written."""
        m = re.compile(r"""(?:%[^"=]*=\s*)?"?([\w.$-]+)""").match(self.lexer.input.content, start)
        return m.group(1) if m is not None else "an op"

    def after_terminator(self, position: int) -> str | None:
        """For an error where `%0 =` was read as an operand of the terminator before it."""
        text = self.lexer.input.content
        ended = self._op_class is not None and self._op_class.has_trait(IsTerminator, value_if_unregistered=False)
        if not ended or text[position : position + 1] != "=" or "\n" not in text[self._op_start : position]:
            return None
        return f"'{self._op_name(self._op_start)}' ends its block: no op may follow it"

    def _parse_block(self) -> Block:
        """As xDSL's, which takes the second of two blocks of one name for the block that branches before both mean."""
        token = self._current_token
        if token.kind == MLIRTokenKind.EOF:
            self.raise_error("the text ends inside a region, expected '}'", at_position=token.span)
        if token.kind == MLIRTokenKind.CARET_IDENT:
            name = token.text[1:]
            if name in self.blocks and name not in self.forward_block_references:
                self.raise_error(f"a second block of the name ^{name}", at_position=token.span)
        return super()._parse_block()

    def _get_op_by_name(self, name: str) -> type[Operation]:
        """As xDSL's, but the error is at the op, not behind its name."""
        found = self.ctx.get_optional_op(name, dialect_stack=self._parser_state.dialect_stack)
        if found is None:
            self.raise_error(f"Operation {name} is not registered", at_position=self._op_start)
        self._op_class = found
        return found

    def _parse_external_resources(self) -> None:
        """`{group: {key: value, ...}, ...}` into the context; values are kept as the text of the literal."""
        self.parse_comma_separated_list(self.Delimiter.BRACES, self._parse_external_group)

    def _parse_external_group(self) -> None:
        assert isinstance(self.ctx, MlcContext)
        name = self.parse_identifier_or_str_literal()
        group = self.ctx.external[name] = {}

        def entry() -> None:
            key = self.parse_identifier_or_str_literal()
            self.parse_punctuation(":")
            if (flag := self.parse_optional_boolean()) is not None:
                group[key] = str(flag).lower()
            else:
                text = self.parse_optional_str_literal()
                group[key] = str(self.parse_number()) if text is None else text

        self.parse_punctuation(":")
        self.parse_comma_separated_list(self.Delimiter.BRACES, entry)

    def _parse_dense_literal_type(self) -> Any:
        """As xDSL's, but a splat must not fill memory: all its elements are written out. A literal that is none has
        more text than elements."""
        at = self.position
        type = self.expect(self.parse_optional_type, "Dense attribute must be typed!")
        if not _dense_types().verifies(type):
            self.raise_error("Expected memref, vector or tensor type of integer, index, float, or complex type")
        assert isinstance(type, ShapedType)
        if DYNAMIC_INDEX in type.get_shape():
            self.raise_error("Dense literal attribute should have a static shape.")
        count = math.prod(type.get_shape())
        if count > self._length:
            self._splats += count
        if self._splats > self._limits.splat_elements:
            line = bisect_right(self._starts, at)
            what = f"a splat of {count} elements" if count == self._splats else f"splats of {self._splats} elements"
            raise LimitError(
                what, where=f"{self._file.data}:{line}", expected=f"at most {self._limits.splat_elements}",
                hint="fill a tensor with linalg.fill, or name the data with dense_resource",
            )  # fmt: skip
        return self._of_one_value(type)

    def _parse_tensor_literal_element(self) -> AttrParser._TensorLiteralElement:
        """As xDSL's, but a float's bits in hexadecimal are bits: `dense<0xFF800000> : tensor<f32>` is -inf."""
        text = self._current_token.text
        element = super()._parse_tensor_literal_element()
        return _Bits(False, element.value, element.span) if text[:2] in ("0x", "0X") else element

    def _parse_dialect_resource_handle(self, dialect_name: str, interface: OpAsmDialectInterface) -> str:
        """As xDSL's, or in quotes; a name that needs them keeps them, so that it is printed with them."""
        if self._current_token.kind != MLIRTokenKind.STRING_LIT:
            return super()._parse_dialect_resource_handle(dialect_name, interface)
        key = self._current_token.text
        if MLIRLexer.bare_identifier_regex.fullmatch(plain := self.parse_str_literal()):
            key = plain
        if (dialect_name, key) not in self.dialect_resources:
            key = interface.declare_resource(key)
            self.dialect_resources.add((dialect_name, key))
        return key

    def _parse_location(self) -> LocationAttr:
        """As xDSL's, and `fused<metadata>[…]`."""
        if self._current_token.text != "fused":
            return super()._parse_location()
        self.parse_keyword("fused")
        metadata: Attribute = NoneAttr()
        if self.parse_optional_punctuation("<"):
            metadata = self.parse_attribute()
            self.parse_punctuation(">")
        return FusedLoc(tuple(self.parse_comma_separated_list(self.Delimiter.SQUARE, self._parse_location)), metadata)


@cache
def _dense_types() -> AttrConstraint[Any]:
    """The types that a dense literal can have. (xDSL works the constraint out at every literal, in 3 ms.)"""
    return base(RankedStructure[IntegerType | IndexType | AnyFloat | ComplexType])


def _separate_properties(op: Operation) -> None:
    """Make properties of what xDSL's custom form of `llvm.func` leaves among the attributes (`attributes
    {no_inline}`), as the generic form does."""
    for name in op.get_irdl_definition().properties if isinstance(op, IRDLOperation) else ():
        if name in op.attributes and name not in op.properties:
            op.properties[name] = op.attributes.pop(name)


class _Bits(AttrParser._TensorLiteralElement):
    """An element written in hexadecimal: an integer, or the bits of a float."""

    def to_type(self, parser: AttrParser, type: AnyFloat | IntegerType | IndexType | ComplexType) -> Any:
        """The element as a value of `type`."""
        if not isinstance(type, AnyFloat):
            return super().to_type(parser, type)
        assert isinstance(self.value, int)
        if self.value.bit_length() > 8 * type.compile_time_size:
            parser.raise_error(f"hexadecimal float is wider than {type}", at_position=self.span)
        return next(iter(type.iter_unpack(self.value.to_bytes(type.compile_time_size, "little"))))


_ALIAS = re.compile(r"^[#!][\w$.-]+ = .*$", re.MULTILINE)


def hoist_aliases(text: str) -> str:
    """Move alias definitions to the front, onto the first line: upstream prints locations' aliases after their uses.

    %0 = … loc(#loc1)                  #loc1 = loc("m.py":3:0) module { …
    #loc1 = loc("m.py":3:0)      -->
    """
    aliases = _ALIAS.findall(text)
    return " ".join((*aliases, _ALIAS.sub("", text))) if aliases else text


def parse_text(
    text: str, ctx: MlcContext, *, name: str = "<text>", limits: Limits = Limits(), implicit_module: bool = True
) -> ModuleOp:
    """Parse a module, made around the top-level ops if `implicit_module`. Raises ParseError, VerifyError, LimitError.

    Blobs of the text go into `ctx.resources`, its external resources into `ctx.external`.
    """
    check_text(text, name, limits)
    text = hoist_aliases(text)
    blob_table(ctx).clear()
    parser: LocatingParser | None = None
    try:
        ctx.external.clear()
        parser = LocatingParser(ctx, text, name, limits)
        empty = implicit_module and parser.at_end()
        module = ModuleOp([]) if empty else parser.parse_module(implicit_module)
        if isinstance(module.location, UnknownLoc):  # wrapped around top-level ops
            module.location = FileLineColLoc(StringAttr(name), IntAttr(1), IntAttr(1))
        adopt_resources(module, ctx)
        return module
    except MlcError:
        raise
    except XdslParseError as e:
        span = e.span
        if isinstance(e, MultipleSpansParseError) and e.refs:  # branches to a block that is not there
            span = min((s for s, _ in e.refs), key=lambda s: s.start)
        line, column = _line_of(text, span.start)
        reason = str(e.args[1] if len(e.args) > 1 else e).strip().splitlines()
        message = reason[-1].strip() if reason else "syntax error"
        hint = near_name(message, text, span.start, ctx) or (parser and parser.after_terminator(span.start))
        raise ParseError(message, where=f"{name}:{line}:{column}", hint=hint) from None
    except VerifyException as e:
        raise VerifyError(str(e).strip(), where=name) from None
    except RecursionError:
        raise LimitError("the text is nested too deeply", where=name) from None
    except MemoryError:
        raise LimitError("the text describes more data than fits into memory", where=name) from None
    except Exception as e:  # attributes and ops that xDSL builds from odd text raise what they like
        line, column = _line_of(text, parser.position) if parser is not None else (1, 1)
        raise ParseError(f"this is not valid IR: {e}", where=f"{name}:{line}:{column}") from e


def _line_of(text: str, position: int) -> tuple[int, int]:
    line = text.count("\n", 0, position) + 1
    return line, position - (text.rfind("\n", 0, position) + 1) + 1


class _Printer(Printer):
    """Prints an op's location at its end, where xDSL's does so behind its type: regions may follow (`scf.while`)."""

    def print_op_with_default_format(self, op: Operation) -> None:
        """As xDSL's: the type ends this form."""
        super().print_op_with_default_format(op)
        if self.print_debuginfo:
            self.print_string(" ")
            self.print_attribute(op.location)

    def print_operation_type(self, op: Operation) -> None:
        """As xDSL's, without the location."""
        self.print_function_type(op.operand_types, op.result_types)


def print_text(
    module: Operation,
    *,
    generic: bool = False,
    debuginfo: bool = False,
    ctx: MlcContext | None = None,
    resource_limit: int = 0,
    longest_resource: int | None = None,
    external: External | None = None,
) -> str:
    """The module as text that `parse_text` and upstream tools read.

    With `ctx`, the file metadata section follows the module: see `metadata_text`.
    """
    out = io.StringIO()
    printer = _Printer(stream=out, print_generic_format=generic, print_debuginfo=debuginfo)
    printer.print_op(module)
    out.write("\n")
    if ctx is not None:
        metadata = metadata_text(module, ctx, resource_limit, longest=longest_resource, external=external)
        out.write(f"\n{metadata}" if metadata else "")
    return out.getvalue()
