"""Source to executable, read top to bottom: passes of the table, kernels compiled one by one, constants, linking.

    module (torch level) ──module rows──▶ buffers ──split──▶ one module per kernel ──kernel rows──▶ object code
                                              └────────────▶ @forward alone ───────kernel rows──▶ object code

Two cache levels, both on disk: a whole model by its torch-level IR (weights are named there, not contained, so a
retrained model hits; a third kind of entry finds it by the text of a saved model), and each kernel by its buffers-level
text.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from mlc.backends.registry import Backend, check_runs_here, load_backend
from mlc.build import Builder, InputsFor, places_of
from mlc.compile_parts import run_rows
from mlc.errors import InternalError
from mlc.fingerprint import fingerprint_of
from mlc.ir.compact import to_compact
from mlc.ir.context import MlcContext
from mlc.ir.contract import Level
from mlc.ir.custom_ops import custom_names
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import Pipeline, Row
from mlc.ir.remarks import Remark, RemarkLog
from mlc.ir.resource_text import resource_attributes
from mlc.ir.verifier import verify_module
from mlc.linking import link
from mlc.module_parts import KernelPart, declaration_of, kernel_part, split_module
from mlc.options import Options
from mlc.phases import Phases
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import DiskCache, cache_at, using
from mlc.runtime.executable import Executable
from mlc.runtime.offload import Block
from mlc.tuning.choices import Choices

ROLLS = "torch-roll-loops"
SHORTEST = 16
"""Ops that steps which become a loop have at least, together with the function and its constants."""


@dataclass
class Compiled:
    """An executable with what is needed to show how it came about."""

    executable: Executable
    module: ModuleOp
    ctx: MlcContext
    options: Options
    backend: Backend
    pipeline: Pipeline
    phases: Phases
    from_cache: bool
    fingerprint: str
    choices: Choices
    whole: Callable[[], ModuleOp] | None = None
    """Makes what `module` was captured as, where that became loops early."""

    @cached_property
    def source(self) -> ModuleOp:
        """The captured module."""
        return self.module if self.whole is None else self.whole()

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Run natively on dense or strided numpy arrays."""
        return self.executable.run(inputs)

    def ir(self, level: Level) -> str:
        """The module as text at `level` (recomputed from the captured module)."""
        return print_text(self.lowered(level))

    def asm(self) -> str:
        """Assembly of every kernel and of the entry point."""
        parts = split_module(self.lowered("buffers"), self.fingerprint)
        texts: list[str] = []
        for key, module in [*((k.key, k.module) for k in parts.kernels), ("", parts.main)]:
            run_rows(self.choices.kernel_rows(self._kernel_rows, key), self.ctx, module, self.options)
            texts.append(self.backend.assembly(module, self.ctx.machine))
        return "\n".join(texts)

    def remarks(self) -> list[Remark]:
        """What every pass did and did not do (the passes run again: cached kernels never met them)."""
        ctx = self.ctx.clone()
        ctx.remarks = RemarkLog(places=True)
        parts = split_module(self.lowered("buffers", ctx), self.fingerprint)
        whole = ctx.remarks
        for key, module in [*((k.key, k.module) for k in parts.kernels), ("", parts.main)]:
            ctx.remarks = RemarkLog(key, places=not key)
            run_rows(self.choices.kernel_rows(self._kernel_rows, key), ctx, module, self.options)
            whole.extend(ctx.remarks)
        return list(whole)

    def memory_in_use(self) -> list[tuple[int, int]]:
        """Addresses and bytes of the constants that calls read, but for tables that they only look up rows in."""
        tables = {self.ctx.resources.get(n).ctypes.data for n in _only_looked_up(self.module)}
        return [(c.ctypes.data, c.nbytes) for c in self.executable.constants if c.ctypes.data not in tables]

    def copies_of_weights(self) -> list[Block]:
        """Memory of the weights whose elements were brought into order before anything was made from them."""
        arrays = [self.ctx.resources.get(n) for n in self.ctx.resources if self.ctx.resources.is_loaded(n)]
        bases = [a if a.base is None else a.base for a in arrays]
        return [Block(b.ctypes.data, b.nbytes) for b in bases if isinstance(b, np.ndarray) and b.flags.owndata]

    def scratch_directory(self) -> Path:
        """Where files may be made that go with this process."""
        cache = cache_at(self.options.cache_dir)
        return cache.directory if cache is not None else Path(tempfile.gettempdir())

    @property
    def _kernel_rows(self) -> tuple[Row, ...]:
        loops, rest = self.pipeline.kernel_rows(bounds=self.options.debug == "bounds")
        return (*loops, *rest)

    def lowered(self, level: Level, ctx: MlcContext | None = None) -> ModuleOp:
        """A fresh module at `level`, made from the captured one; remarks go to `ctx`."""
        module = self.source.clone()
        if ctx is None:
            ctx = self.ctx.clone()
            ctx.remarks = RemarkLog()
        rows = self.pipeline.until(level, bounds=self.options.debug == "bounds")
        shared = self.choices.module_rows(tuple(r for r in rows if r in self.pipeline.module))
        run_pipeline([make_pass(r.pass_name, r.options) for r in shared], ctx, module)
        rest = tuple(r for r in rows if r not in self.pipeline.module)
        if rest:
            for op in list(module.ops):
                if "constant" in op.attributes:  # run by the interpreter, never lowered
                    op.detach()
                    op.erase()
            tuned = self._take_tuned(module)
            run_pipeline([make_pass(r.pass_name, r.options) for r in rest], ctx, module)
            for name, part in tuned.items():
                run_rows(self.choices.kernel_rows(rest, part.key), ctx, part.module, self.options)
                _put_back(module, name, part.module)
        return module

    def _take_tuned(self, module: ModuleOp) -> dict[str, KernelPart]:
        """Take the kernels with choices of their own out of `module`, by name; declarations stay."""
        taken: dict[str, KernelPart] = {}
        for op in list(module.ops) if self.choices.kernels else []:
            if isinstance(op, FuncOp) and "kernel" in op.attributes:
                part = kernel_part(op.clone(), self.fingerprint)
                if part.key in self.choices.kernels:
                    function = part.module.body.block.first_op
                    assert isinstance(function, FuncOp)
                    function.properties["sym_name"] = op.sym_name
                    taken[op.sym_name.data] = part
                    module.body.block.insert_op_before(declaration_of(op), op)
                    op.detach()
                    op.erase()
        return taken


def _only_looked_up(module: ModuleOp) -> set[str]:
    """Weights of a torch-level module that are nothing but tables of embeddings."""
    tables: set[str] = set()
    others: set[str] = set()
    for op, attr in resource_attributes(module):
        uses = [use for result in op.results for use in result.uses]
        looked_up = all(use.operation.name == "torch.aten.embedding" and use.index == 0 for use in uses)
        (tables if looked_up else others).add(attr.resource_handle.data)
    return tables - others


def _put_back(module: ModuleOp, name: str, lowered: ModuleOp) -> None:
    """In place of the declaration of `name`, what its kernel became."""
    stub = next(
        op for op in module.ops if "sym_name" in op.properties and op.properties["sym_name"] == StringAttr(name)
    )
    for op in list(lowered.ops):
        op.detach()
        module.body.block.insert_op_before(op, stub)
    stub.detach()
    stub.erase()


def compile_captured(module: ModuleOp, ctx: MlcContext, options: Options, inputs: InputsFor | None = None) -> Compiled:
    """The same for a module that was just captured and is nobody else's: equal steps become loops right away, so that
    nothing that follows depends on how many there are."""
    phases = Phases()
    pipeline = load_backend(options.target).pipeline(options.target)
    whole = None
    if any(row.pass_name == ROLLS for row in pipeline.module) and _has_more_ops(module, SHORTEST):
        with phases.phase("roll"), fast_build():
            from mlc.lowering.torch.early_loops import roll_early  # noqa: PLC0415 - small models do without

            whole = roll_early(ctx, module)
    compiled = compile_module(module, ctx, options, inputs)
    compiled.phases.items[:0] = phases.items
    compiled.whole = whole
    return compiled


def _has_more_ops(module: ModuleOp, count: int) -> bool:
    return any(n == count for n, _ in enumerate(module.walk()))


def compile_module(module: ModuleOp, ctx: MlcContext, options: Options, inputs: InputsFor | None = None) -> Compiled:
    """Compile a torch-level `module` whose weights are in `ctx.resources`. `module` itself is left as it is.

    `inputs` makes what `options.tune` measures on; without it nothing is tuned.
    """
    phases = Phases()
    with phases.phase("verify"):
        verify_module(module, ctx)
    cache = cache_at(options.cache_dir)
    with fast_build(), using(cache):
        return _compile(module, ctx, options, cache, inputs if options.tune else None, phases)


def _compile(
    module: ModuleOp,
    ctx: MlcContext,
    options: Options,
    cache: DiskCache | None,
    inputs: InputsFor | None,
    phases: Phases,
) -> Compiled:
    with phases.phase("hash"):
        backend = load_backend(options.target)
        check_runs_here(backend, options.target)
        ctx.machine = backend.machine(options.target)
        pipeline = backend.pipeline(options.target).at_precision(options.precision)
        fingerprint = fingerprint_of(backend, ctx.machine, pipeline, custom_names(module))
        tuned = f"tuned for {options.num_threads} threads" if inputs else ""
        key = model_key(module_digest(module), fingerprint, options, tuned) if cache else ""
        stored = cache.get(key) if cache else None
        bundle = Bundle.from_bytes(stored) if stored is not None else None
        if bundle is not None and bundle.assertions and bundle.places != places_of(module):
            bundle = None  # the same program from other lines: its messages would name the first one's
    from_cache = bundle is not None
    if bundle is not None:
        executable = link(bundle, ctx.resources, backend, phases)
    else:
        builder = Builder(module, ctx, options, backend, pipeline, fingerprint, cache)
        if inputs is not None:
            bundle, executable = builder.tuned(inputs, phases)
        else:
            built = builder.build(builder.default, phases)
            bundle = built.bundle
            executable = link(bundle, ctx.resources, backend, phases, functions=built.functions, derived=built.derived)
        if cache:
            with phases.phase("store"):
                cache.put(key, bundle.to_bytes())
    executable.num_threads = options.num_threads
    choices = Choices.from_json(bundle.choices)
    return Compiled(executable, module, ctx, options, backend, pipeline, phases, from_cache, fingerprint, choices)


def model_key(module: str, fingerprint: str, options: Options, tuned: str = "") -> str:
    """Under which a whole model is cached. `module`: its digest at the torch level. `tuned`: where choices that are not
    the default come from."""
    direct = "" if options.winograd else "direct"
    return digest(f"{fingerprint}\n{options.precision} {options.debug} {tuned} {direct}\n{module}")


def digest(text: str) -> str:
    """What stands for a text in keys."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def module_digest(module: ModuleOp) -> str:
    """What stands for a module in keys: the digest of its compact form, written in a quarter of its text's time."""
    try:
        return digest(to_compact(module))
    except InternalError:  # it has several blocks
        return digest(print_text(module))


def text_key(text: str, fingerprint: str) -> str:
    """Under which the digest of the module is cached whose text is `text`."""
    return digest(f"{fingerprint}\nmodule of {digest(text)}")


def remember_text(unit: Compiled, text: str) -> None:
    """`text`, the source of `unit`, is found in a saved model: it leads to what is cached."""
    if cache := cache_at(unit.options.cache_dir):
        cache.put(text_key(text, unit.fingerprint), module_digest(unit.module).encode())
