"""What a compiled model was on its way, from the captured module again: its IR at a level, assembly, remarks."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from mlc.compile_parts import run_rows
from mlc.compiled import Compiled
from mlc.ir.context import MlcContext
from mlc.ir.contract import Level
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import Row
from mlc.ir.remarks import Remark, RemarkLog
from mlc.module_parts import KernelPart, declaration_of, kernel_part, split_module


def asm(unit: Compiled) -> str:
    """Assembly of every kernel and of the entry point."""
    parts = split_module(lowered(unit, "buffers"), unit.setting.fingerprint)
    texts: list[str] = []
    for key, module in [*((k.key, k.module) for k in parts.kernels), ("", parts.main)]:
        run_rows(unit.choices.kernel_rows(_kernel_rows(unit), key), unit.ctx, module, unit.options)
        texts.append(unit.setting.backend.assembly(module, unit.setting.machine))
    return "\n".join(texts)


def remarks(unit: Compiled) -> list[Remark]:
    """What every pass did and did not do."""
    ctx = unit.ctx.clone()
    ctx.remarks = RemarkLog(places=True)
    parts = split_module(lowered(unit, "buffers", ctx), unit.setting.fingerprint)
    whole = ctx.remarks
    for key, module in [*((k.key, k.module) for k in parts.kernels), ("", parts.main)]:
        ctx.remarks = RemarkLog(key, places=not key)
        run_rows(unit.choices.kernel_rows(_kernel_rows(unit), key), ctx, module, unit.options)
        whole.extend(ctx.remarks)
    return list(whole)


def lowered(unit: Compiled, level: Level, ctx: MlcContext | None = None) -> ModuleOp:
    """A fresh module at `level`; remarks go to `ctx`."""
    module = unit.source.clone()
    if ctx is None:
        ctx = unit.ctx.clone()
        ctx.remarks = RemarkLog()
    pipeline = unit.setting.pipeline
    rows = pipeline.until(level, bounds=unit.options.debug == "bounds")
    shared = unit.choices.module_rows(tuple(r for r in rows if r in pipeline.module))
    run_pipeline([make_pass(r.pass_name, r.options) for r in shared], ctx, module)
    rest = tuple(r for r in rows if r not in pipeline.module)
    if rest:
        constants = [op for op in module.ops if "constant" in op.attributes]  # run by the interpreter, never lowered
        for op in constants:
            op.detach()
        tuned = _take_tuned(unit, module)
        run_pipeline([make_pass(r.pass_name, r.options) for r in rest], ctx, module)
        for name, part in tuned.items():
            run_rows(unit.choices.kernel_rows(rest, part.key), ctx, part.module, unit.options)
            _put_back(module, name, part.module)
        if level != "llvm":  # who runs the text needs them; who translates that of llvm can do without linalg
            module.body.block.add_ops(constants)
    return module


def _kernel_rows(unit: Compiled) -> tuple[Row, ...]:
    loops, rest = unit.setting.pipeline.kernel_rows(bounds=unit.options.debug == "bounds")
    return (*loops, *rest)


def _take_tuned(unit: Compiled, module: ModuleOp) -> dict[str, KernelPart]:
    """Take the kernels with choices of their own out of `module`, by name; declarations stay."""
    taken: dict[str, KernelPart] = {}
    for op in list(module.ops) if unit.choices.kernels else []:
        if isinstance(op, FuncOp) and "kernel" in op.attributes:
            part = kernel_part(op.clone(), unit.setting.fingerprint)
            if part.key in unit.choices.kernels:
                function = part.module.body.block.first_op
                assert isinstance(function, FuncOp)
                function.properties["sym_name"] = op.sym_name
                taken[op.sym_name.data] = part
                module.body.block.insert_op_before(declaration_of(op), op)
                op.detach()
                op.erase()
    return taken


def _put_back(module: ModuleOp, name: str, made: ModuleOp) -> None:
    """In place of the declaration of `name`, what its kernel became."""
    stub = next(
        op for op in module.ops if "sym_name" in op.properties and op.properties["sym_name"] == StringAttr(name)
    )
    for op in list(made.ops):
        op.detach()
        module.body.block.insert_op_before(op, stub)
    stub.detach()
    stub.erase()
