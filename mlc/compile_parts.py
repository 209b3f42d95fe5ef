"""Lower and compile the parts of a model, here and in processes beside this one: those that take long first.

main, kernels -> object code by key ("" is main's); remarks of the passes in the order of the parts
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from mlc.backends.llvm.backend import CPUBackend
from mlc.backends.registry import Backend
from mlc.ir.context import MlcContext
from mlc.ir.pipeline import Instruments, passes_of, run_pipeline
from mlc.ir.pipeline_table import CPU_PIPELINE, Pipeline, Row
from mlc.ir.release import release
from mlc.ir.remarks import RemarkLog
from mlc.module_parts import KernelPart
from mlc.options import Options
from mlc.workers.pool import Queue, Workers, count_for
from mlc.workers.wire import Setup

MAIN = ""

_LONG = {
    "linalg_ext.winograd_conv_2d": 12.0,
    "linalg_ext.winograd_matmul": 6.0,
    "linalg_ext.split_matmul": 5.0,
    "linalg_ext.attention": 8.0,
}
"""Ops that become many nests, by how many products compile in the time of one of them, about."""


def run_rows(rows: tuple[Row, ...], ctx: MlcContext, module: ModuleOp, options: Options) -> None:
    """Run passes of a pipeline's table on `module`, in place."""
    run_pipeline(passes_of(rows), ctx, module, Instruments(verify_each=options.debug == "verify"))


def workers_for(
    source: ModuleOp | None, backend: Backend, pipeline: Pipeline, ctx: MlcContext, options: Options
) -> Workers:
    """Processes for the kernels of a torch-level module; none where they would not know the backend or its passes."""
    standard = isinstance(backend, CPUBackend) and pipeline == CPU_PIPELINE.at_precision(options.precision)
    count = count_for(source) if source is not None and standard and not options.debug else 0
    return Workers(count, Setup(backend, ctx.machine, pipeline.kernels))


def compile_parts(
    main: ModuleOp,
    kernels: Sequence[KernelPart],
    rows_for: Callable[[str], tuple[Row, ...]],
    ctx: MlcContext,
    backend: Backend,
    options: Options,
    workers: Workers,
) -> dict[str, bytes]:
    """Object code of `main` and the kernels, which nobody can read afterwards. `rows_for`: the passes for a key."""
    whole = ctx.remarks
    remarks: dict[str, RemarkLog] = {}
    objects: dict[str, bytes] = {}

    def lowered(parts: Iterable[tuple[str, ModuleOp]], own: list[str]) -> Iterator[ModuleOp]:
        """Each part, lowered when the backend asks for it: it compiles those before meanwhile."""
        for key, part in parts:
            own.append(key)
            ctx.remarks = remarks[key] = RemarkLog(key)
            run_rows(rows_for(key), ctx, part, options)
            yield part

    def compile_here(parts: Iterable[tuple[str, ModuleOp]]) -> None:
        own: list[str] = []
        try:
            codes = backend.compile_many(lowered(parts, own), ctx.machine)
        finally:
            ctx.remarks = whole
        objects.update(zip(own, codes, strict=True))

    queue: Queue = deque((k.key, k.module) for k in sorted(kernels, key=_effort, reverse=True))
    workers.serve(queue, rows_for)
    compile_here(chain([(MAIN, main)], _taken(queue)))
    for key, done in workers.finish().items():
        assert done.code is not None
        objects[key], remarks[key] = done.code, done.remarks
    compile_here([(k.key, k.module) for k in kernels if k.key not in objects])
    for key in (MAIN, *(k.key for k in kernels)):
        whole.extend(remarks[key])
    for part in (main, *(k.module for k in kernels)):
        release(part)
    return objects


def _effort(kernel: KernelPart) -> float:
    """How long a kernel takes to compile, about. What is left for the end is short, so that nobody waits for long."""
    return sum(_LONG.get(op.name, _of_loops(op)) for op in kernel.module.walk())


def _of_loops(op: Operation) -> float:
    """The same of a structured op, by its loops: a product has three or more."""
    # here, as a model from the cache needs none of that dialect: a tenth of its start
    from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation  # noqa: PLC0415

    return len(op.get_iterator_types()) / 4 if isinstance(op, LinalgStructuredOperation) else 0.0


def _taken(queue: Queue) -> Iterator[tuple[str, ModuleOp]]:
    """One by one, while others take from the same queue."""
    while True:
        try:
            yield queue.popleft()
        except IndexError:
            return
