"""One run of `mlc-opt`: read, parse, run the passes with the asked-for instruments, print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

import mlc
from mlc.backends.registry import load_backend, registry
from mlc.errors import InternalError, MlcError, PluginError, UsageError, VerifyError
from mlc.ir.context import MlcContext, environment, make_context, universe
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import Item, OpPipeline, load_pass, pass_names, pass_options, pass_summary, run_pipeline
from mlc.ir.pipeline_text import pipeline_text
from mlc.ir.resources import identifier
from mlc.ir.verifier import verify_module
from mlc.testing.upstream import UPSTREAM
from mlc.tools.command import printable
from mlc.tools.elide import elided
from mlc.tools.opt_args import SPLIT_MARKER, OptArgs
from mlc.tools.opt_bisect import bisect
from mlc.tools.opt_bisect import report as report_bisect
from mlc.tools.opt_diagnostics import Diagnostic, diagnostics_of, expectations, remark_diagnostics, unmet
from mlc.tools.opt_files import check_target, chunks, read_text, write_text
from mlc.tools.opt_instruments import make_instruments
from mlc.tools.opt_reports import statistics_report, timing_report, write_remarks
from mlc.tools.opt_reproducer import read_reproducer
from mlc.tools.opt_run import claim_entry, format_results, make_inputs, run
from mlc.tools.opt_target import Target, table_passes, target_of
from mlc.universe import PASSES

TEXT_WEIGHTS = 1 << 16  # bytes of a weight that is written into the text although it did not come from there


def run_session(args: OptArgs, out: TextIO, err: TextIO) -> int:
    """Do what the arguments say; returns the exit code."""
    v = args.values
    information = _information(args)
    if information is not None:
        out.write(information)
        return 0
    target = target_of(v)
    items = args.passes + table_passes(v, target)
    if v.dump_pass_pipeline:
        err.write(f"Pass Manager with {len(items)} passes:\n{pipeline_text(items, pretty=True)}\n\n")
    check_target(v.output_file)
    text = read_text(v.input_file)
    marker = SPLIT_MARKER if v.split_input_file is True else v.split_input_file or None
    results: list[str] = []
    complaints: list[str] = []
    failures: list[MlcError] = []
    for line, part in chunks(text, marker):
        chunk = Chunk(part, line, items, args, target, err)
        try:
            with fast_build(verify_attributes=True):
                results.append(chunk.run())
        except MlcError as e:
            if not v.verify_diagnostics:
                failures.append(e)
            chunk.happened += diagnostics_of(e)
        if v.verify_diagnostics:
            only = v.verify_diagnostics == "only-expected"
            complaints += unmet(expectations(part, line + 1), chunk.happened, only_expected=only)
        else:
            chunk.report()
    if complaints:
        raise VerifyError("\n".join(complaints), where=v.input_file)
    for e in failures[:-1]:
        err.write(f"{printable(str(e))}\n")
    if failures:
        raise failures[-1]
    write_text(v.output_file, f"{v.output_split_marker}\n".join(results), out)
    return 0


@dataclass
class Chunk:
    """One module of the input, from its text to its result."""

    text: str
    line: int
    items: list[Item]
    args: OptArgs
    target: Target
    err: TextIO
    happened: list[Diagnostic] = field(default_factory=list)

    def run(self) -> str:
        """The result as text. `happened` has the warnings and remarks, also when it fails."""
        v = self.args.values
        start = time.perf_counter()
        ctx = make_context(allow_unregistered=v.allow_unregistered_dialect)
        ctx.machine = self.target.machine
        name = "<stdin>" if v.input_file == "-" else v.input_file
        text = "\n" * self.line + self.text
        module = parse_text(text, ctx, name=name, implicit_module=not v.no_implicit_module)
        _load_resources(ctx, v.resources)
        verify_module(module, ctx)
        if v.verify_roundtrip:
            _verify_roundtrip(module, ctx, name)
        parsed = time.perf_counter()
        items = list(self.items)
        if v.run_reproducer:
            stored, v.verify_each = read_reproducer(ctx)
            items += stored
        entry = claim_entry(module, v.entry_point) if v.mlc_pipeline or v.native else v.entry_point
        if v.bisect:
            return report_bisect(bisect(module, ctx, items, entry, v.seed), items, module)
        tools = make_instruments(v, self.err, items, module, ctx, self.happened)
        try:
            run_pipeline(items, ctx, module, tools)
        finally:
            self.happened += remark_diagnostics(list(ctx.remarks))
        ran = time.perf_counter()
        if v.mlir_pass_statistics:
            self.err.write(statistics_report(ctx.remarks, _names(items), v.mlir_pass_statistics_display))
        if v.remarks:
            write_remarks(ctx.remarks, self.err)
        result = _result(module, ctx, self.args, entry, self.target)
        if v.mlir_timing:
            end = time.perf_counter()
            around = [("Parser", parsed - start), ("Output", end - ran)]
            self.err.write(timing_report(tools.timing, around, end - start, v.mlir_timing_display))
        return result

    def report(self) -> None:
        """Print the warnings."""
        for d in self.happened:
            if d.kind == "warning":
                self.err.write(f"{d.where or '<unknown>'}: warning: {printable(d.text)}\n")


def _information(args: OptArgs) -> str | None:
    """What flags ask for that need no input."""
    v = args.values
    if v.version:
        libraries = " ".join(f"{name} {version(name)}" for name in ("xdsl", "numpy", "llvmlite"))
        machine = load_backend("native").machine("native")
        return f"mlc-opt {mlc.__version__}\n  with {libraries}\n  native target: {machine.name}\n" + (
            f"  targets: {', '.join(registry().targets)}\n" + _left_out(registry().broken)
        )
    if v.show_dialects:
        return (
            "Available Dialects: " + ", ".join(sorted(universe().all_dialects)) + "\n" + _left_out(environment().broken)
        )
    if v.list_passes:
        lines: list[str] = []
        for name in pass_names():
            try:
                cls = load_pass(name)
            except PluginError as e:
                lines.append(f"{name}\n    cannot be loaded: {e.message}\n")
                continue
            options = pass_options(cls)
            lines.append(f"{name}{'{' + options + '}' if options else ''}\n    {pass_summary(cls)}\n")
            lines.append(f"    {_promise(name, cls)}\n")
        return "".join(lines) + _left_out(environment().broken)
    return None


def _left_out(broken: Sequence[PluginError]) -> str:
    return "".join(f"left out: {e.message}\n" for e in broken)


def _promise(name: str, cls: type[ModulePass]) -> str:
    """What is known of a pass: its equality and rules, or that nobody has checked it."""
    contract = cls.contract if issubclass(cls, MlcPass) else UPSTREAM.get(name)
    if contract is None:
        return "upstream's, not verified by mlc"
    own = name in PASSES or name in UPSTREAM
    tested = "property-tested on" if own else "its package's own word, to be tested on"
    text = f"contract: {type(contract.preserves).__name__}, {tested} '{contract.profile}' programs"
    return f"{text}; rules: {', '.join(contract.rules)}" if contract.rules else text


def _names(items: Sequence[Item]) -> list[str]:
    """Names of all passes, in order."""
    names: list[str] = []
    for item in items:
        names += _names(item.items) if isinstance(item, OpPipeline) else [item.name]
    return names


def _verify_roundtrip(module: ModuleOp, ctx: MlcContext, name: str) -> None:
    """What is printed is read back as the same IR, in the custom and in the generic form."""
    for generic in (False, True):
        text = print_text(module, generic=generic)
        form = "generic" if generic else "custom"
        try:
            again = parse_text(text, make_context(allow_unregistered=ctx.allow_unregistered), name=f"<{form} form>")
        except MlcError as e:
            raise VerifyError(f"the printed {form} form does not parse: {e}", where=name) from None
        if not module.is_structurally_equivalent(again):
            raise VerifyError(f"the printed {form} form is read as other IR", where=name)


def _result(module: ModuleOp, ctx: MlcContext, args: OptArgs, entry: str, target: Target) -> str:
    v = args.values
    if v.run:
        inputs = make_inputs(module, entry, v.inputs, v.seed)
        try:
            return format_results(run(module, ctx, entry, inputs, target if v.native else None))
        except InternalError as e:
            if v.native and e.hint:  # its passes are the compiler's, not those that the command line names
                e.hint = f"{e.hint}, with --mlc-pipeline in place of --run --native"
            raise
    if v.emit != "mlir":
        return (target.backend.llvm_ir if v.emit == "llvm" else target.backend.assembly)(module, target.machine)
    return print_text(
        elided(module, v.mlir_elide_elementsattrs_if_larger),
        generic=v.mlir_print_op_generic,
        debuginfo=v.mlir_print_debuginfo,
        ctx=ctx,
        resource_limit=TEXT_WEIGHTS,
        longest_resource=v.mlir_elide_resource_strings_if_larger,
    )


def _load_resources(ctx: MlcContext, files: list[str]) -> None:
    if not files:
        return
    from safetensors.numpy import load_file  # noqa: PLC0415 - an extra, needed only with --resources

    for file in files:
        try:
            weights = load_file(file)
        except Exception as e:  # the library raises its own kinds for a missing, cut or foreign file
            raise UsageError(f"cannot read weights '{file}': {e}", expected="a .safetensors file") from None
        for name, array in weights.items():
            ctx.resources.set(identifier(name), array)
