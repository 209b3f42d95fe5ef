"""Source to executable, read top to bottom: passes of the table, kernels compiled one by one, constants, linking.

    module (torch level) ──module_rows──▶ buffers ──split──▶ one module per kernel ──KERNEL_ROWS──▶ object code
                                              └────────────▶ @forward alone ───────KERNEL_ROWS──▶ object code

Two cache levels, both on disk: a whole model by its torch-level text (weights are named there, not contained, so a
retrained model hits), and each kernel by its buffers-level text.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

import mlc
from mlc.backends.registry import Backend, load_backend
from mlc.interp import evaluate_constant
from mlc.ir.compact import from_compact, to_compact
from mlc.ir.context import MlcContext
from mlc.ir.contract import Level
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import Instruments, make_pass, run_pipeline
from mlc.ir.pipeline_table import Row, kernel_rows, module_rows, rows_until
from mlc.ir.remarks import Remark, RemarkLog
from mlc.ir.verifier import verify_module
from mlc.module_parts import split_module
from mlc.options import Options
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import DiskCache, default_directory
from mlc.runtime.executable import Executable, NativeCode, aligned
from mlc.signature import assertion_messages, signature_of


@dataclass
class Phases:
    """Seconds per phase of one compile, in order; `verbose=True` prints them."""

    items: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.items.append((name, time.perf_counter() - start))

    def table(self) -> str:
        """The phases as text, longest names aligned."""
        width = max((len(n) for n, _ in self.items), default=0)
        total = sum(t for _, t in self.items)
        rows = [f"  {n:<{width}}  {t:8.3f} s" for n, t in self.items]
        return "\n".join([*rows, f"  {'total':<{width}}  {total:8.3f} s"])


@dataclass
class Compiled:
    """An executable with what is needed to show how it came about."""

    executable: Executable
    source: ModuleOp
    ctx: MlcContext
    options: Options
    backend: Backend
    phases: Phases
    from_cache: bool
    fingerprint: str

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Run natively on dense or strided numpy arrays."""
        return self.executable.run(inputs)

    def ir(self, level: Level) -> str:
        """The module as text at `level` (recomputed from the captured module)."""
        return print_text(self.lowered(level))

    def asm(self) -> str:
        """Assembly of every kernel and of the entry point."""
        parts = split_module(self.lowered("buffers"), "")
        texts: list[str] = []
        for module in [*(k.module for k in parts.kernels), parts.main]:
            _run_rows(self._kernel_rows, self.ctx, module, self.options)
            texts.append(self.backend.assembly(module, self.ctx.machine))
        return "\n".join(texts)

    def remarks(self) -> list[Remark]:
        """What every pass did and did not do (the passes run again: cached kernels never met them)."""
        ctx = self.ctx.clone()
        ctx.remarks = RemarkLog()
        parts = split_module(self.lowered("buffers", ctx), "")
        for module in [*(k.module for k in parts.kernels), parts.main]:
            _run_rows(self._kernel_rows, ctx, module, self.options)
        return list(ctx.remarks)

    @property
    def _kernel_rows(self) -> tuple[Row, ...]:
        loops, rest = kernel_rows(bounds=self.options.debug == "bounds")
        return (*loops, *rest)

    def lowered(self, level: Level, ctx: MlcContext | None = None) -> ModuleOp:
        """A fresh module at `level`, made from the captured one; remarks go to `ctx`."""
        module = self.source.clone()
        if ctx is None:
            ctx = self.ctx.clone()
            ctx.remarks = RemarkLog()
        precision = self.options.precision
        rows = rows_until(level, bounds=self.options.debug == "bounds", precision=precision)
        first = module_rows(precision)
        run_pipeline([make_pass(r.pass_name, r.options) for r in rows if r in first], ctx, module)
        rest = [make_pass(r.pass_name, r.options) for r in rows if r not in first]
        if rest:
            for op in list(module.ops):
                if "constant" in op.attributes:  # run by the interpreter, never lowered
                    op.detach()
                    op.erase()
            run_pipeline(rest, ctx, module)
        return module


def compile_module(module: ModuleOp, ctx: MlcContext, options: Options) -> Compiled:
    """Compile a torch-level `module` whose weights are in `ctx.resources`. `module` itself is left as it is."""
    verify_module(module, ctx)
    with fast_build():
        return _compile(module, ctx, options)


def _compile(module: ModuleOp, ctx: MlcContext, options: Options) -> Compiled:
    phases = Phases()
    backend = load_backend(options.target)
    ctx.machine = backend.machine(options.target)
    fingerprint = f"mlc {mlc.__version__} {_source_digest()} {backend.fingerprint(ctx.machine)}"
    cache = open_cache(options)
    with phases.phase("hash"):
        text = f"{fingerprint}\n{options.precision} {options.debug}\n{print_text(module)}"
        key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        stored = cache.get(key) if cache else None
    functions: ModuleOp | None = None
    if stored is not None:
        bundle = Bundle.from_bytes(stored)
    else:
        bundle, functions = _build(module, ctx, options, backend, fingerprint, cache, phases)
        if cache:
            cache.put(key, bundle.to_bytes())
    executable = _link(bundle, functions, ctx, backend, phases)
    executable.num_threads = options.num_threads
    return Compiled(executable, module, ctx, options, backend, phases, stored is not None, fingerprint)


def open_cache(options: Options) -> DiskCache | None:
    """The disk cache of `options`, or None when it is switched off."""
    if options.cache_dir is None:
        return DiskCache(default_directory())
    return DiskCache(Path(options.cache_dir).expanduser()) if os.fspath(options.cache_dir) else None


def _build(
    source: ModuleOp,
    ctx: MlcContext,
    options: Options,
    backend: Backend,
    fingerprint: str,
    cache: DiskCache | None,
    phases: Phases,
) -> tuple[Bundle, ModuleOp]:
    weights = set(ctx.resources)
    with phases.phase("lower to buffers"):
        module = source.clone()
        _run_rows(module_rows(options.precision), ctx, module, options)
    with phases.phase("split"):
        signature = signature_of(module)
        parts = split_module(module, fingerprint)
        messages = assertion_messages(parts)
    bounds = options.debug == "bounds"
    to_loops, to_llvm = kernel_rows(bounds=bounds)
    objects: dict[str, bytes] = {}
    for kernel in parts.kernels:
        found = cache.get(kernel.key) if cache and not bounds else None  # checks have locations: no two are alike
        if found is not None:
            objects[kernel.key] = found
    missing = [k for k in parts.kernels if k.key not in objects]
    with phases.phase(f"lower {len(missing)} of {len(parts.kernels)} kernels"):
        for part in (*(k.module for k in missing), parts.main):
            _run_rows(to_loops, ctx, part, options)
        if bounds:
            messages = assertion_messages(parts)
        for part in (*(k.module for k in missing), parts.main):
            _run_rows(to_llvm, ctx, part, options)
    with phases.phase("native code"):
        compiled = backend.compile_many([parts.main, *(k.module for k in missing)], ctx.machine)
    for kernel, code in zip(missing, compiled[1:], strict=True):
        objects[kernel.key] = code
        if cache and not bounds:
            cache.put(kernel.key, code)
    derived = {op.sym_name.data for op in parts.constant_functions.ops if isinstance(op, FuncOp)}
    bundle = Bundle(
        objects=[compiled[0], *(objects[k.key] for k in parts.kernels)],
        inputs=signature.inputs,
        outputs=signature.outputs,
        constants=parts.constants,
        derived=sorted(derived),
        constant_functions=to_compact(parts.constant_functions),
        literals={n: ctx.resources.get(n) for n in parts.constants if n not in weights and n not in derived},
        assertions=messages,
    )
    return bundle, parts.constant_functions


def _link(bundle: Bundle, functions: ModuleOp | None, ctx: MlcContext, backend: Backend, phases: Phases) -> Executable:
    with phases.phase("constants"):
        arrays: list[np.ndarray] = []
        derived = set(bundle.derived)
        for name in bundle.constants:
            if name in bundle.literals:
                arrays.append(aligned(bundle.literals[name]))
                continue
            if name not in derived:
                arrays.append(aligned(ctx.resources.get(name)))
                continue
            if functions is None:
                functions = from_compact(bundle.constant_functions, ctx)
            arrays.append(aligned(evaluate_constant(functions, name, ctx.resources)))
    with phases.phase("link"):
        library = backend.load(bundle.objects)
        dims = library.find("mlc_output_dims")
        code = NativeCode(library.address("mlc_forward"), library.address("mlc_arena_size"), dims, library)
        pool = backend.thread_pool()
    return Executable(code, bundle.inputs, bundle.outputs, arrays, bundle.assertions, pool)


def _run_rows(rows: tuple[Row, ...], ctx: MlcContext, module: ModuleOp, options: Options) -> None:
    tools = Instruments(verify_each=options.debug == "verify")
    run_pipeline(_passes(rows), ctx, module, tools)


@lru_cache
def _passes(rows: tuple[Row, ...]) -> list[ModulePass]:
    """Instances of the table's passes, made once: reading options by reflection costs more than a small kernel."""
    return [make_pass(r.pass_name, r.options) for r in rows]


_digest: str | None = None


def _source_digest() -> str:
    """Hash of mlc's own source files: a changed compiler never meets objects of an older one."""
    global _digest
    if _digest is None:
        root = Path(__file__).parent
        h = hashlib.blake2b(platform.python_version().encode(), digest_size=16)
        for path in sorted(root.rglob("*.py")):
            stat = path.stat()
            h.update(f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}".encode())
        _digest = h.hexdigest()
    return _digest
