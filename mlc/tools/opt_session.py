"""One run of `mlc-opt`: read, parse, run the passes with the asked-for instruments, print."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

import mlc
from mlc.backends.registry import load_backend
from mlc.errors import MlcError, ParseError, UsageError, VerifyError
from mlc.ir.context import MlcContext, make_context, universe
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import (
    load_pass,
    make_pass,
    pass_names,
    pass_options,
    pass_summary,
    pipeline_text,
    run_pipeline,
)
from mlc.ir.pipeline_table import LEVELS, rows_until
from mlc.ir.verifier import verify_module
from mlc.testing.upstream import UPSTREAM
from mlc.tools.elide import elide_large_constants
from mlc.tools.opt_args import OptArgs
from mlc.tools.opt_bisect import bisect
from mlc.tools.opt_bisect import report as report_bisect
from mlc.tools.opt_diagnostics import Diagnostic, diagnostic_of, expectations, remark_diagnostics, unmet
from mlc.tools.opt_instruments import make_instruments, report, reproducer_pipeline
from mlc.tools.opt_run import claim_entry, format_results, make_inputs, run

TEXT_WEIGHTS = 1 << 16  # bytes of a weight that is still written into the text


def run_session(args: OptArgs, out: TextIO, err: TextIO) -> int:
    """Do what the arguments say; returns the exit code."""
    v = args.values
    if v.version:
        out.write(f"mlc-opt {mlc.__version__}\n")
        return 0
    if v.show_dialects:
        out.write("Available Dialects: " + ",".join(sorted(universe().all_dialects)) + "\n")
        return 0
    if v.list_passes:
        for name in pass_names():
            cls = load_pass(name)
            options = pass_options(cls)
            out.write(f"{name}{'{' + options + '}' if options else ''}\n    {pass_summary(cls)}\n")
            out.write(f"    {_promise(name, cls)}\n")
        return 0
    passes = args.passes + _table_passes(v.mlc_pipeline, v.mlc_to)
    if v.dump_pass_pipeline:
        err.write(f"Pass Manager with {len(passes)} passes:\n{pipeline_text(passes)}\n")
    text = _read(v.input_file)
    if v.run_reproducer:
        passes = [*passes, *reproducer_pipeline(text)]
    chunks = text.split("// -----") if v.split_input_file else [text]
    results: list[str] = []
    complaints: list[str] = []
    line = 0
    for chunk in chunks:
        if v.verify_diagnostics:
            complaints += _checked_chunk(chunk, line, passes, args, err)
        else:
            results.append(_one_chunk(chunk, line, passes, args, err)[0])
        line += chunk.count("\n")
    if complaints:
        raise VerifyError("\n".join(complaints), where=v.input_file)
    _write(v.output_file, "// -----\n".join(results), out)
    return 0


def _promise(name: str, cls: type[ModulePass]) -> str:
    """What is known of a pass: its equality and rules, or that nobody has checked it."""
    contract = cls.contract if issubclass(cls, MlcPass) else UPSTREAM.get(name)
    if contract is None:
        return "upstream's, not verified by mlc"
    text = f"contract: {type(contract.preserves).__name__}, property-tested on '{contract.profile}' programs"
    return f"{text}; rules: {', '.join(contract.rules)}" if contract.rules else text


def _checked_chunk(text: str, line: int, passes: list[ModulePass], args: OptArgs, err: TextIO) -> list[str]:
    """Complaints about a chunk under --verify-diagnostics."""
    happened: list[Diagnostic] = []
    try:
        ctx = _one_chunk(text, line, passes, args, err)[1]
        happened += remark_diagnostics(list(ctx.remarks))
    except MlcError as e:
        happened.append(diagnostic_of(e))
    return unmet(expectations(text, line + 1), happened)


def _one_chunk(text: str, line: int, passes: list[ModulePass], args: OptArgs, err: TextIO) -> tuple[str, MlcContext]:
    v = args.values
    ctx = make_context(allow_unregistered=v.allow_unregistered_dialect)
    ctx.machine = load_backend("native").machine("native")
    name = "<stdin>" if v.input_file == "-" else v.input_file
    module = parse_text("\n" * line + text if line else text, ctx, name=name)
    _load_resources(ctx, v.resources)
    verify_module(module, ctx)
    entry = claim_entry(module, v.entry_point) if v.mlc_pipeline or v.native else v.entry_point
    if v.bisect:
        return report_bisect(bisect(module, ctx, passes, entry, v.seed), passes), ctx
    tools = make_instruments(v, err, passes, module)
    run_pipeline(passes, ctx, module, tools)
    report(v, err, tools, ctx)
    return _result(module, ctx, args, entry), ctx


def _result(module: ModuleOp, ctx: MlcContext, args: OptArgs, entry: str) -> str:
    v = args.values
    if v.run:
        inputs = make_inputs(module, entry, v.inputs, v.seed)
        return format_results(run(module, ctx, entry, inputs, native=v.native))
    if v.emit != "mlir":
        backend = load_backend("native")
        machine = backend.machine("native")
        return (backend.llvm_ir if v.emit == "llvm" else backend.assembly)(module, machine)
    if v.mlir_elide_elementsattrs_if_larger is not None:
        elide_large_constants(module, v.mlir_elide_elementsattrs_if_larger)
        return print_text(module, generic=v.mlir_print_op_generic, debuginfo=v.mlir_print_debuginfo)
    return print_text(
        module, generic=v.mlir_print_op_generic, debuginfo=v.mlir_print_debuginfo, ctx=ctx, resource_limit=TEXT_WEIGHTS
    )


def _table_passes(target: str | None, level: str | None) -> list[ModulePass]:
    if target is None:
        if level is not None:
            raise UsageError("--mlc-to needs --mlc-pipeline=cpu")
        return []
    if target != "cpu":
        raise UsageError(f"unknown target '{target}'", expected="cpu")
    if level is not None and level not in LEVELS:
        raise UsageError(f"unknown level '{level}'", expected=" | ".join(LEVELS))
    return [make_pass(row.pass_name, row.options) for row in rows_until(level or "llvm")]  # pyright: ignore


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
            ctx.resources.set(name, array)


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise UsageError(f"cannot read '{name}': {e.strerror or e}") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ParseError("the text is not UTF-8", where=f"{name}:{line}", hint="is this a binary file?") from None


def _write(name: str | None, text: str, out: TextIO) -> None:
    if name is None or name == "-":
        out.write(text)
        return
    target = Path(name)
    try:
        fd, temporary = tempfile.mkstemp(dir=target.parent or Path("."), prefix=target.name)
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(temporary, target)
    except OSError as e:
        raise UsageError(f"cannot write '{name}': {e.strerror or e}") from None
