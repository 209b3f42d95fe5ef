"""What `mlc-opt` does around passes: IR dumps, warnings of levels, reproducers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import Instruments, Item, OpPipeline
from mlc.tools.opt_diagnostics import Diagnostic
from mlc.tools.opt_dumps import Dumps
from mlc.tools.opt_levels import misses_level
from mlc.tools.opt_reproducer import reproducer_text, write_reproducer


def make_instruments(
    v: argparse.Namespace,
    err: TextIO,
    items: Sequence[Item],
    module: ModuleOp,
    ctx: MlcContext,
    happened: list[Diagnostic],
) -> Instruments:
    """Instruments for the flags in `v`; warnings go to `happened`. Texts for reproducers are made only if asked for."""
    dumps = Dumps(v, err)
    crash: str | None = v.mlir_pass_pipeline_crash_reproducer
    local: bool = v.mlir_pass_pipeline_local_reproducer
    text = reproducer_text(module, ctx, items, verify_each=v.verify_each) if crash or v.mlir_generate_reproducer else ""
    if v.mlir_generate_reproducer:
        write_reproducer(v.mlir_generate_reproducer, text)

    def before(p: ModulePass, op: Operation) -> None:
        nonlocal text
        if crash and local:
            text = reproducer_text(module, ctx, [_around(p, op)], verify_each=v.verify_each)
        if isinstance(p, MlcPass) and misses_level(p, op):
            level = p.contract.level_in
            ctx.remarks.missed(p.name, op, "nothing to do", reason=f"the {op.name} holds no op of the {level} level")
            if v.mlc_pipeline is None:  # which starts at any level on purpose
                what = f"pass '{p.name}' takes the {level} level; the {op.name} holds no op of it"
                happened.append(Diagnostic("warning", format_location(op.location), what))
        dumps.before(p, op)

    def failed(p: ModulePass, op: Operation) -> None:
        if crash:
            write_reproducer(crash, text)
            err.write(f"note: a reproducer has been written to '{crash}': mlc-opt --run-reproducer {crash}\n")
        dumps.failed(p, op)

    after = dumps.after if dumps.wanted else None
    return Instruments(v.verify_each, before, after, failed, verify_foreign=v.verify_each)


def _around(p: ModulePass, op: Operation) -> Item:
    """The pass, nested as deeply as `op` is."""
    item: Item = p
    while op.parent_op() is not None:
        item = OpPipeline(op.name, (item,))
        parent = op.parent_op()
        assert parent is not None
        op = parent
    return item
