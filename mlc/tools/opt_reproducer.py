"""Reproducers in upstream's form: the IR, and the pipeline in its file metadata section.

    {-#
      external_resources: {
        mlir_reproducer: {
          pipeline: "builtin.module(func.func(cse,canonicalize))",
          disable_threading: true,
          verify_each: true
        }
      }
    #-}

mlir-opt writes and runs the same. Values here are the texts of MLIR literals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from mlc.errors import UsageError
from mlc.ir.context import MlcContext
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import Item
from mlc.ir.pipeline_text import parse_pipeline, pipeline_text

GROUP = "mlir_reproducer"


def reproducer_text(module: ModuleOp, ctx: MlcContext, items: Sequence[Item], *, verify_each: bool) -> str:
    """The file."""
    pipeline = pipeline_text(items).replace("\\", "\\\\").replace('"', '\\"')
    entries = {"pipeline": f'"{pipeline}"', "disable_threading": "true", "verify_each": str(verify_each).lower()}
    return print_text(module, ctx=ctx, debuginfo=True, resource_limit=1 << 16, external={GROUP: entries})


def read_reproducer(ctx: MlcContext) -> tuple[list[Item], bool]:
    """The pipeline of the file just parsed, and whether to verify after each pass."""
    entries = ctx.external.get(GROUP)
    if entries is None or "pipeline" not in entries:
        raise UsageError(
            "the file carries no pipeline to reproduce",
            expected=f'{{-# external_resources: {{ {GROUP}: {{ pipeline: "…" }} }} #-}}',
        )
    return parse_pipeline(entries["pipeline"]), entries.get("verify_each", "true") == "true"


def write_reproducer(file: str, text: str) -> None:
    """Write it, or say why not."""
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as e:
        raise UsageError(f"cannot write '{file}': {e.strerror or e}") from None
