"""Pipelines as text, in upstream's grammar: `parse_pipeline` reads it, `pipeline_text` writes it.

    builtin.module(func.func(cse,canonicalize),linalg-pack-matmul{block=16},any(cse))

    pipeline ::= item (`,` item)*
    item     ::= anchor `(` pipeline? `)` | pass-name (`{` option (`=` value (`,` value)*)? ... `}`)?

The root anchor, `builtin.module(...)` or `any(...)`, may be left out: `cse,canonicalize` is a pipeline too, and
`func.func(cse)` at the root is nested in the module. A pass that reads or makes other symbols of the module is refused
below any other anchor, as upstream refuses to nest a module pass on a function.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, parse_spec
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException

from mlc.errors import UsageError
from mlc.ir.context import environment, make_context
from mlc.ir.pipeline import ANY, Item, OpPipeline, is_anchor, make_from_spec, nests
from mlc.ir.plugins import again

MAX_NESTING = 50


def parse_pipeline(text: str) -> list[Item]:
    """What runs on the module, in order. Raises UsageError with the position of a syntax error."""
    reader = _Reader(text)
    items = reader.items((ModuleOp.name,)) if text.strip() else []
    reader.end()
    flat: list[Item] = []
    for item in items:  # the root is the module: an anchor that names it adds nothing
        flat += item.items if isinstance(item, OpPipeline) and item.anchor in (ModuleOp.name, ANY) else [item]
    return flat


def pipeline_text(items: Sequence[Item], *, pretty: bool = False) -> str:
    """The text that `parse_pipeline` reads back; `pretty`: one item a line, indented."""
    return _item_text(OpPipeline(ModuleOp.name, tuple(items)), "\n" if pretty else "")


def flag_items(name: str, options: str) -> list[Item]:
    """What `--name='options'` asks for: options as in `name{options}`, braces and quotes around them allowed."""
    options = options.strip("'\"").strip()
    if options.startswith("{") and options.endswith("}"):
        options = options[1:-1]
    return parse_pipeline(f"{name}{{{options}}}" if options else name)


def pass_text(p: ModulePass) -> str:
    """`name{option=value}`, options spelt with dashes."""
    spec = p.spec()
    return str(ArgSpec(spec.name, {k.replace("_", "-"): v for k, v in spec.parameters.items()}))


def _item_text(item: Item, newline: str) -> str:
    if isinstance(item, ModulePass):
        return pass_text(item)
    inner = f"{newline}  " if newline else ""
    return f"{item.anchor}({inner}{f',{inner}'.join(_item_text(i, inner) for i in item.items)}{newline})"


class _Reader:
    """A position in the text of a pipeline."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while self.pos < len(self.text) and self.text[self.pos].isspace():
            self.pos += 1
        return self.text[self.pos : self.pos + 1]

    def end(self) -> None:
        """Nothing may be left."""
        if self.peek():
            raise self.error("',' or the end")

    def error(self, expected: str, pos: int | None = None) -> UsageError:
        shown = self.text if len(self.text) <= 200 else self.text[:200] + "…"
        column = (self.pos if pos is None else pos) + 1
        return UsageError(f"pipeline syntax error at column {column} of '{shown}'", expected=expected)

    def items(self, anchors: tuple[str, ...]) -> list[Item]:
        """At least one item."""
        found = [self.item(anchors)]
        while self.peek() == ",":
            self.pos += 1
            found.append(self.item(anchors))
        return found

    def item(self, anchors: tuple[str, ...]) -> Item:
        """A pass, or an anchor with its pipeline."""
        if self.peek() in ("", ",", ")", "("):
            raise self.error("a pass name")
        start = self.pos
        self.pos = _item_end(self.text, start)
        name = self.text[start : self.pos].strip()
        if self.peek() != "(":
            return self.single(name, start, anchors)
        if len(anchors) > MAX_NESTING:
            raise self.error(f"at most {MAX_NESTING} nested pipelines", start)
        _check_anchor(name)
        self.pos += 1
        inner = (name,) if len(anchors) == 1 and name == ModuleOp.name else (*anchors, name)
        items = [] if self.peek() == ")" else self.items(inner)
        if self.peek() != ")":
            raise self.error("',' or ')'" if self.peek() else "')'")
        self.pos += 1
        return OpPipeline(name, tuple(items))

    def single(self, item: str, start: int, anchors: tuple[str, ...]) -> ModulePass:
        """A pass, which must fit below the anchors."""
        try:
            spec = parse_spec(item)
        except (ArgSpecParseError, DiagnosticException, StopIteration, RuntimeError):
            raise self.error("name or name{option=value}", start) from None
        if "." in item.partition("{")[0] or spec.name == ANY:
            raise self.error(f"'(' after the anchor '{item}'")
        if ("pass", spec.name) in (refused := environment().refused):
            raise again(refused["pass", spec.name])
        p = make_from_spec(spec)
        outer = next((a for a in anchors if a != ModuleOp.name), None)
        if outer is not None and not nests(p):
            raise UsageError(
                f"can't nest pass '{p.name}' restricted to '{ModuleOp.name}' in a pipeline on '{outer}'",
                hint=f"it reads or makes other symbols of the module: write {ModuleOp.name}({p.name})",
            )
        return p


def _item_end(text: str, pos: int) -> int:
    braces = 0
    quote = False
    while pos < len(text):
        ch = text[pos]
        if ch == '"':
            quote = not quote
        elif not quote and ch == "{":
            braces += 1
        elif not quote and ch == "}":
            braces -= 1
        elif not quote and braces == 0 and ch in ",()":
            break
        pos += 1
    return pos


def _check_anchor(name: str) -> None:
    """An anchor is `any`, or an op that sees no values from outside."""
    if name == ANY:
        return
    ctx = make_context()
    op = ctx.get_optional_op(name) if "." in name else None
    if op is None:
        near = difflib.get_close_matches(name, [ANY, ModuleOp.name, "func.func", "llvm.func", "gpu.module"], n=2)
        raise UsageError(
            f"unknown pipeline anchor '{name}'",
            expected=f"{ModuleOp.name}, func.func, another op that is isolated from above, or {ANY}",
            hint=f"did you mean {' or '.join(near)}?" if near else None,
        )
    if not is_anchor(op):
        raise UsageError(f"pipeline anchor '{name}' is not isolated from above", hint="anchor on func.func")
