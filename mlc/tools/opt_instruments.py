"""What `mlc-opt` does around passes: IR dumps, timing, statistics, crash reproducer."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from mlc.errors import UsageError
from mlc.ir.context import MlcContext
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import Instruments, parse_pipeline, pipeline_text

_PIPELINE = "// pipeline: "
REPRODUCER = f"// mlc-opt reproducer; run with: mlc-opt --run-reproducer FILE\n{_PIPELINE}"


def reproducer_pipeline(text: str) -> list[ModulePass]:
    """The pipeline that a reproducer file carries."""
    for line in text.splitlines()[:5]:
        if line.startswith(_PIPELINE):
            return parse_pipeline(line.removeprefix(_PIPELINE).strip())
    raise UsageError("the file carries no pipeline", expected=f"a line '{_PIPELINE}…' near the top")


def make_instruments(v: argparse.Namespace, err: TextIO, passes: list[ModulePass], module: ModuleOp) -> Instruments:
    """Instruments for the flags in `v`. `module` is the input, kept as text only when a reproducer is asked for."""
    tools = Instruments(verify_each=v.verify_each)
    counter = 0
    previous = print_text(module) if v.mlir_print_ir_after_change else ""

    def dump(when: str, p: ModulePass, m: ModuleOp) -> None:
        nonlocal counter
        text = print_text(m, debuginfo=v.mlir_print_debuginfo)
        if v.mlir_print_ir_tree_dir:
            folder = Path(v.mlir_print_ir_tree_dir)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{counter}_{when.lower()}_{p.name}.mlir").write_text(text, encoding="utf-8")
        else:
            err.write(f"// -----// IR Dump {when} {p.name} //----- //\n{text}\n")
        counter += 1

    def before(p: ModulePass, m: ModuleOp) -> None:
        if v.mlir_print_ir_before_all or p.name in v.mlir_print_ir_before:
            dump("Before", p, m)

    def after(p: ModulePass, m: ModuleOp) -> None:
        nonlocal previous
        if v.mlir_print_ir_after_change:
            text = print_text(m)
            if text != previous:
                dump("After", p, m)
            previous = text
        elif v.mlir_print_ir_after_all or p.name in v.mlir_print_ir_after:
            dump("After", p, m)

    source = print_text(module) if v.mlir_pass_pipeline_crash_reproducer else ""

    def failed(p: ModulePass, m: ModuleOp) -> None:
        if v.mlir_pass_pipeline_crash_reproducer:
            Path(v.mlir_pass_pipeline_crash_reproducer).write_text(
                f"{REPRODUCER}{pipeline_text(passes)}\n{source}", encoding="utf-8"
            )
        if v.mlir_print_ir_after_failure:
            dump("After failed", p, m)

    tools.before, tools.after, tools.failed = before, after, failed
    return tools


def report(v: argparse.Namespace, err: TextIO, tools: Instruments, ctx: MlcContext) -> None:
    """Print timing, statistics and remarks when asked for."""
    if v.mlir_timing:
        total = sum(t for _, t in tools.timing)
        err.write(f"===- Pass execution timing report -===\n  Total: {total:.4f} seconds\n\n")
        for name, seconds in tools.timing:
            err.write(f"  {seconds:8.4f} ({100 * seconds / total if total else 0:5.1f}%)  {name}\n")
    if v.mlir_pass_statistics:
        counts = Counter((r.pass_name, r.kind) for r in ctx.remarks)
        err.write("===- Pass statistics report -===\n")
        for (name, kind), n in sorted(counts.items()):
            err.write(f"  {name}: {n} {kind}\n")
        for (name, rule), n in sorted(ctx.remarks.fired.items()):
            err.write(f"  {name}: rule {rule} fired {n} times\n")
    if v.remarks:
        for r in ctx.remarks:
            reason = f" ({r.reason})" if r.reason else ""
            rule = f" [{r.rule}]" if r.rule and r.rule != r.pass_name else ""
            err.write(
                f"{r.where or '<unknown>'}: remark: [{r.pass_name}] {r.kind}: {r.op}: {r.message}{reason}{rule}\n"
            )
