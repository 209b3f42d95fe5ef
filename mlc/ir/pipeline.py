"""Pipelines: build pass instances from names or the table, and run them with verification and instruments.

    run_pipeline([make_pass("cse"), OpPipeline("func.func", (make_pass("canonicalize"),))], ctx, module, Instruments())

Nested pipelines run as upstream's: all their passes on the first function, then all on the second. A pass sees a
nested op alone, in a module of its own; what reads or makes other symbols is therefore refused there
(`Contract.nests`). Instruments follow mlir-opt: print IR before/after passes, timing, crash reproducer. Every pass
failure that is not an `MlcError` becomes an `InternalError` that names the pass.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from types import GenericAlias

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.traits import IsolatedFromAbove
from xdsl.utils.arg_spec import ArgSpec
from xdsl.utils.exceptions import DiagnosticException, VerifyException

from mlc.errors import InternalError, MlcError, UsageError, VerifyError
from mlc.ir import plugins
from mlc.ir.canonicalize import Canonicalize
from mlc.ir.context import MlcContext, environment, universe
from mlc.ir.late_formats import is_known, late_formats
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline_table import Row
from mlc.ir.verifier import verify_module, verify_op

Hook = Callable[[ModulePass, Operation], None]
ANY = "any"

_NESTABLE = frozenset({"canonicalize", "constant-fold-interp", "cse", "dce", "licm", "control-flow-hoist"})
"""Passes of xDSL that work on each function alone; mlc's say so in their contracts."""
_SENTENCE_END = re.compile(r"(?<=[\w)}`'\"]{2}[.!?]) (?=[A-Z])")  # not behind "i.e."


@dataclass(frozen=True)
class OpPipeline:
    """`anchor(item, item, ...)`: what runs, in this order, on each op of that name (`any`: on each isolated op)."""

    anchor: str
    items: tuple[Item, ...]


Item = ModulePass | OpPipeline


@dataclass
class Instruments:
    """What happens around each pass. `timing` collects (anchors around the pass, pass name, seconds).

    `verify_foreign`: also without `verify_each`, what a pass of another package left is verified: else the next pass
    would be blamed for it."""

    verify_each: bool = True
    before: Hook | None = None
    after: Hook | None = None
    failed: Hook | None = None
    timing: list[tuple[tuple[str, ...], str, float]] = field(default_factory=list)
    verify_foreign: bool = True


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
            hint=environment().hint
            or (f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "mlc-opt --list-passes shows all"),
        )
    factory = factories[name]
    with late_formats() if is_known(factory) else nullcontext():  # it imports dialects
        return factory()


def make_pass(name: str, options: dict[str, object] | None = None) -> ModulePass:
    """A pass instance with keyword options, checked."""
    parameters = {k: v if isinstance(v, tuple) else (v,) for k, v in (options or {}).items()}
    return make_from_spec(ArgSpec(name, parameters))  # pyright: ignore[reportArgumentType]


@lru_cache
def passes_of(rows: tuple[Row, ...]) -> list[ModulePass]:
    """Instances of the table's passes, made once: reading options by reflection costs more than a small kernel."""
    return [make_pass(r.pass_name, r.options) for r in rows]


def make_from_spec(spec: ArgSpec) -> ModulePass:
    """A pass instance of a parsed `name{option=value}`, checked."""
    cls = load_pass(spec.name)
    known = {
        f.name.replace("_", "-"): _type_text(f.type) for f in dataclasses.fields(cls) if f.init and f.name != "name"
    }
    spec = ArgSpec(spec.name, {n.replace("_", "-"): v for n, v in spec.parameters.items()})
    for name in spec.parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"pass '{spec.name}' has no option '{name}'",
                expected=pass_options(cls) or "no options",
                hint=f"did you mean '{near[0]}'?" if near else None,
            )
        negative = [v for v in spec.parameters.get(name, ()) if isinstance(v, int | float) and v < 0]
        if negative and not issubclass(cls, MlcPass):  # which say themselves; xDSL's numbers are counts and sizes
            raise UsageError(f"pass '{spec.name}': option '{name}' is {negative[0]}", expected=f"{name}: at least 0")
    try:
        return cls.from_spec(spec)
    except MlcError:
        raise
    except Exception as e:
        given = [(n, v) for n, v in spec.parameters.items() if f"given {v}," in str(e)]
        if not given:
            raise UsageError(f"pass '{spec.name}': {e}", expected=pass_options(cls) or "no options") from None
        name, values = given[0]
        text = ",".join(map(str, values)) or "without a value"
        raise UsageError(f"pass '{spec.name}': option '{name}' is {text}", expected=f"{name}: {known[name]}") from None


def _type_text(t: object) -> str:
    """The type of an option as it is written; files without postponed annotations hold the class itself."""
    return t.__name__ if isinstance(t, type) and not isinstance(t, GenericAlias) else str(t)


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
    """First sentence of the pass's docstring, or of its module's where the class has none of its own, on one line; with
    it what follows in small letters, which is about options."""
    doc = cls.__doc__ or ""
    if not doc or doc.startswith((f"{cls.__name__}(", "See the module")):  # what dataclass puts there, or a reference
        doc = sys.modules[cls.__module__].__doc__ or ""
    paragraph = " ".join(doc.strip().partition("\n\n")[0].split())
    return _SENTENCE_END.split(paragraph, maxsplit=1)[0]


def nests(p: ModulePass) -> bool:
    """Whether the pass may run on a function alone, as in `func.func(...)`."""
    return p.contract.nests if isinstance(p, MlcPass) else p.name in _NESTABLE


def run_pipeline(
    items: Sequence[Item], ctx: MlcContext, module: ModuleOp, instruments: Instruments | None = None
) -> None:
    """Run passes and nested pipelines in order, in place. Raises MlcError only."""
    tools = instruments or Instruments(verify_each=False)
    _run_items(items, ctx, module, tools, ())


def _run_items(
    items: Sequence[Item], ctx: MlcContext, op: Operation, tools: Instruments, anchors: tuple[str, ...]
) -> None:
    for item in items:
        if isinstance(item, ModulePass):
            _run_pass(item, ctx, op, tools, anchors)
            continue
        inner = [o for region in op.regions for block in region.blocks for o in block.ops if _matches(o, item.anchor)]
        for child in inner:
            _run_items(item.items, ctx, child, tools, (*anchors, item.anchor))


def is_anchor(op: type[Operation]) -> bool:
    """Whether a pipeline can run on ops of this kind: they see no values from outside, as functions and modules."""
    return op.has_trait(IsolatedFromAbove, value_if_unregistered=False) or op.name == "llvm.func"


def _matches(op: Operation, anchor: str) -> bool:
    return is_anchor(type(op)) if anchor == ANY else op.name == anchor


@contextmanager
def _alone(op: Operation) -> Iterator[ModuleOp]:
    """`op` in a module of its own, and back in its place afterwards."""
    if isinstance(op, ModuleOp):
        yield op
        return
    block = op.parent_block()
    if block is None:
        raise InternalError(f"'{op.name}' stands in no block")
    after = op.next_op
    op.detach()
    module = ModuleOp([op])
    module.location = op.location
    try:
        yield module
    finally:
        kept = list(module.body.block.ops)
        for o in kept:
            o.detach()
        if after is None:
            block.add_ops(kept)
        else:
            block.insert_ops_before(kept, after)
    if kept != [op]:
        raise InternalError(f"a nested pass replaced '{op.name}' itself or put something beside it")


def is_foreign(p: ModulePass) -> bool:
    """Whether the pass is another package's."""
    return _owner(p) not in plugins.OWN


def _owner(p: ModulePass) -> str:
    return type(p).__module__.partition(".")[0]


def _whom_to_tell(p: ModulePass) -> str:
    """Where a failure of the pass belongs."""
    owner = _owner(p)
    what = "mlc-opt --mlir-pass-pipeline-crash-reproducer=FILE writes what shows it"
    return f"please report it; {what}" if not is_foreign(p) else f"the pass comes from package '{owner}'; {what}"


def _run_pass(p: ModulePass, ctx: MlcContext, op: Operation, tools: Instruments, anchors: tuple[str, ...]) -> None:
    if tools.before is not None:
        tools.before(p, op)
    start = time.perf_counter()
    try:
        with _alone(op) as module:
            p.apply(ctx, module)
        done = time.perf_counter()
        verify = tools.verify_each or (tools.verify_foreign and is_foreign(p))
        if verify:
            if isinstance(op, ModuleOp) and not anchors:
                verify_module(op, ctx)
            else:
                verify_op(op, ctx)
    except MlcError as e:
        if tools.failed is not None:
            tools.failed(p, op)
        if isinstance(e, VerifyError):
            raise InternalError(f"pass '{p.name}' left invalid IR: {e}", hint=_whom_to_tell(p)) from e
        raise
    except (VerifyException, DiagnosticException) as e:
        if tools.failed is not None:
            tools.failed(p, op)
        raise InternalError(f"pass '{p.name}' failed: {e}", hint=_whom_to_tell(p)) from e
    except (Exception, SystemExit) as e:
        if tools.failed is not None:
            tools.failed(p, op)
        text = "out of stack" if isinstance(e, RecursionError) else f"{type(e).__name__}: {e}"
        raise InternalError(f"pass '{p.name}' failed: {text}", hint=_whom_to_tell(p)) from e
    tools.timing.append((anchors, p.name, done - start))
    if verify:
        tools.timing.append((anchors, "(verifier)", time.perf_counter() - done))
    if tools.after is not None:
        tools.after(p, op)
