"""Pipelines: build pass instances from names, text or the table, and run them with verification and instruments.

    pipeline = parse_pipeline("builtin.module(func.func(cse,canonicalize{a=1}))")
    run_pipeline(pipeline, ctx, module, Instruments(verify_each=True))

Instruments follow mlir-opt: print IR before/after passes, timing, crash reproducer. Every pass failure that is not an
`MlcError` becomes an `InternalError` that names the pass.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, parse_spec
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException, VerifyException

from mlc.errors import InternalError, MlcError, UsageError, VerifyError
from mlc.ir.canonicalize import Canonicalize
from mlc.ir.context import MlcContext, universe
from mlc.ir.verifier import verify_module

Hook = Callable[[ModulePass, ModuleOp], None]

_ANCHORS = ("builtin.module", "func.func", "any", "module")


@dataclass
class Instruments:
    """What happens around each pass. `timing` collects (pass name, seconds)."""

    verify_each: bool = True
    before: Hook | None = None
    after: Hook | None = None
    failed: Hook | None = None
    timing: list[tuple[str, float]] = field(default_factory=list)


def pass_names() -> list[str]:
    """All passes of this environment, sorted."""
    return sorted(universe().all_passes)


def load_pass(name: str) -> type[ModulePass]:
    """The class of a pass by name; a misspelt name is answered with the nearest ones."""
    if name == Canonicalize.name:  # in place of upstream's, which loses locations and fails on overflow
        return Canonicalize
    factories = universe().all_passes
    if name not in factories:
        near = difflib.get_close_matches(name, factories, n=3)
        raise UsageError(
            f"unknown pass '{name}'",
            hint=f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "mlc-opt --list-passes shows all",
        )
    return factories[name]()


def make_pass(name: str, options: dict[str, object] | None = None) -> ModulePass:
    """A pass instance with keyword options, checked."""
    parameters = {k: v if isinstance(v, tuple) else (v,) for k, v in (options or {}).items()}
    return _instantiate(ArgSpec(name, parameters))  # pyright: ignore[reportArgumentType]


def _instantiate(spec: ArgSpec) -> ModulePass:
    cls = load_pass(spec.name)
    try:
        return cls.from_spec(spec)
    except Exception as e:
        raise UsageError(f"pass '{spec.name}': {e}", hint=f"options: {pass_options(cls) or 'none'}") from None


def pass_options(cls: type[ModulePass]) -> str:
    """`name=default` of a pass's options (`name` alone when it must be given), for help texts."""
    texts: list[str] = []
    for f in dataclasses.fields(cls):
        if f.name != "name" and f.init:
            name = f.name.replace("_", "-")
            default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
            texts.append(name if default is dataclasses.MISSING else f"{name}={default}")
    return " ".join(texts)


def pass_summary(cls: type[ModulePass]) -> str:
    """First line of the pass's docstring, or of its module's where the class has none of its own."""
    doc = cls.__doc__ or ""
    if not doc or doc.startswith(f"{cls.__name__}("):  # what dataclass puts there
        doc = sys.modules[cls.__module__].__doc__ or ""
    lines = doc.strip().splitlines()
    return lines[0].strip() if lines else ""


def parse_pipeline(text: str) -> list[ModulePass]:
    """Passes of a textual pipeline: flat (`cse,canonicalize`) or nested (`builtin.module(func.func(cse))`).

    Anchors only group: every pass here works on the module. Raises UsageError with the position of a syntax error.
    """
    passes: list[ModulePass] = []
    depth = pos = 0
    expect_item = True
    while pos < len(text):
        ch = text[pos]
        if ch.isspace():
            pos += 1
        elif ch == ",":
            if expect_item:
                raise _syntax(text, pos, "a pass name")
            expect_item = True
            pos += 1
        elif ch == ")":
            if depth == 0:
                raise _syntax(text, pos, "',' or the end")
            depth -= 1
            expect_item = False
            pos += 1
        else:
            if not expect_item:
                raise _syntax(text, pos, "',' or ')'")
            end = _item_end(text, pos)
            item = text[pos:end].strip()
            if end < len(text) and text[end] == "(":
                if item not in _ANCHORS:
                    raise _syntax(text, pos, f"one of {', '.join(_ANCHORS)} before '('")
                depth += 1
                end += 1
                if text[end:].lstrip().startswith(")"):
                    expect_item = False
            else:
                passes.append(_parse_item(text, pos, item))
                expect_item = False
            pos = end
    if depth:
        raise _syntax(text, len(text), "')'")
    if expect_item and passes:
        raise _syntax(text, len(text), "a pass name")
    return passes


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


def _parse_item(text: str, pos: int, item: str) -> ModulePass:
    try:
        spec = parse_spec(item)
    except (ArgSpecParseError, DiagnosticException, StopIteration, RuntimeError):
        raise _syntax(text, pos, "name or name{option=value}") from None
    if spec.name in _ANCHORS:
        raise _syntax(text, pos + len(item), "'('")
    return _instantiate(spec)


def _syntax(text: str, pos: int, expected: str) -> UsageError:
    shown = text if len(text) <= 200 else text[:200] + "…"
    return UsageError(f"pipeline syntax error at column {pos + 1} of '{shown}'", expected=expected)


def pipeline_text(passes: Sequence[ModulePass]) -> str:
    """The text that `parse_pipeline` reads back."""
    return f"builtin.module({','.join(str(p.pipeline_pass_spec()) for p in passes)})"


def run_pipeline(
    passes: Sequence[ModulePass], ctx: MlcContext, module: ModuleOp, instruments: Instruments | None = None
) -> None:
    """Run `passes` in order, in place. Raises MlcError only."""
    tools = instruments or Instruments(verify_each=False)
    for p in passes:
        if tools.before is not None:
            tools.before(p, module)
        start = time.perf_counter()
        try:
            p.apply(ctx, module)
            if tools.verify_each:
                verify_module(module, ctx)
        except MlcError as e:
            if tools.failed is not None:
                tools.failed(p, module)
            if isinstance(e, VerifyError):
                raise InternalError(f"pass '{p.name}' left invalid IR: {e}") from e
            raise
        except (VerifyException, DiagnosticException) as e:
            if tools.failed is not None:
                tools.failed(p, module)
            raise InternalError(f"pass '{p.name}' failed: {e}") from e
        except RecursionError as e:
            raise InternalError(f"pass '{p.name}' ran out of stack") from e
        except Exception as e:
            if tools.failed is not None:
                tools.failed(p, module)
            raise InternalError(
                f"pass '{p.name}' failed: {type(e).__name__}: {e}", hint="please report it with the reproducer"
            ) from e
        tools.timing.append((p.name, time.perf_counter() - start))
        if tools.after is not None:
            tools.after(p, module)
