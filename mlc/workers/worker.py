"""The process that compiles kernels for another: reads jobs from its standard input, writes object code to its output.

    python -c "…; sys.path[:] = sys.argv[1:]; from mlc.workers.worker import main; main()" <search path…>

It ends with its input. What a kernel fails with is not told: the other process compiles that one itself, and says so.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO

from mlc.ir.context import MlcContext, make_context
from mlc.ir.fast_build import fast_build
from mlc.ir.pipeline import Instruments, passes_of, run_pipeline
from mlc.ir.release import release
from mlc.ir.remarks import RemarkLog
from mlc.workers.wire import READY, Done, Job, Setup, to_module


def main() -> None:
    """Serve the process on the other side of standard input and output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no answer
    serve(sys.stdin.buffer, answers)


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer every job until there are no more."""
    setup: Setup = pickle.load(jobs)
    ctx = make_context()
    ctx.machine = setup.machine
    passes_of(setup.rows)
    _say(answers, READY)
    with fast_build():
        while True:
            try:
                job: Job = pickle.load(jobs)
            except EOFError:
                return
            _say(answers, _compiled(job, setup, ctx))


def _compiled(job: Job, setup: Setup, ctx: MlcContext) -> Done:
    ctx.remarks = RemarkLog(job.key)
    try:
        module = to_module(job, ctx)
        run_pipeline(passes_of(job.rows), ctx, module, Instruments(verify_each=False))
        (code,) = setup.backend.compile_many([module], setup.machine)
        release(module)
    except Exception:
        return Done(job.key, None, RemarkLog())
    return Done(job.key, code, ctx.remarks)


def _say(answers: BinaryIO, what: object) -> None:
    pickle.dump(what, answers)
    answers.flush()
