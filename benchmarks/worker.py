"""One engine on one row, in a process of its own. It does what lines on standard input say and answers in JSON lines.

    python -m benchmarks.worker resnet50 openvino --threads 1 --files DIRECTORY
    first   ->  {"seconds": 3.1, "mb": 410.2}          from the module to the first result, peak memory on the way
    ready   ->  {"turn_s": 0.16}                        the fastest interface is chosen; how long a turn will take
    turn    ->  {"ms": 77.6}                            mean of the calls of one turn
    finish  ->  {"mb": 250.0, "error": 1.2e-06}         peak memory of the turns, error against DIRECTORY/../exact.npz
    save    ->  {}                                      what it runs is written to a file, where the engine does that

Libraries write to standard output too: the answers go through a copy of it, which nobody else has.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import memory
from benchmarks.accuracy import load_exact, relative_error
from benchmarks.engines import LOADED, LOADED_ENGINE, SAVED
from benchmarks.models import ROWS
from benchmarks.precisions import PRECISIONS, engines_of
from benchmarks.prepared import Call, Prepared, fastest

MIN_SECONDS = 0.01
WARM_CALLS = 3


def repeats(call: Call) -> tuple[int, float]:
    """How many calls make a turn of at least `MIN_SECONDS`, and the seconds of the turn with the call before it."""
    start = time.perf_counter()
    call()
    seconds = max(1e-9, time.perf_counter() - start)
    count = max(1, int(MIN_SECONDS / seconds))
    return count, (count + 1) * seconds


def turn(call: Call, count: int) -> float:
    """Milliseconds per call, after one call that brings the caches back."""
    call()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count * 1e3


class Worker:
    """The state between the lines."""

    def __init__(self, row: str, engine: str, precision: str, threads: int, files: Path) -> None:
        self.engine = LOADED_ENGINE if engine == LOADED else engines_of(precision)[engine]
        for module in self.engine.modules:
            importlib.import_module(module)
        self.threads = threads
        self.files = files
        model, inputs = ROWS[row].build()
        self.built: tuple[Any, tuple[Any, ...]] | None = (model, inputs)
        memory.reset_peak()
        self.base = memory.resident() - sum(t.nbytes for t in {*model.parameters(), *model.buffers(), *inputs})
        self.prepared: Prepared | None = None
        self.call: Call | None = None
        self.count = 1

    def first(self) -> dict[str, Any]:
        assert self.built is not None
        start = time.perf_counter()
        self.prepared = self.engine.prepare(*self.built, self.threads, self.files)
        self.prepared.ways[0]()
        seconds = time.perf_counter() - start
        self.built = None
        return {"seconds": seconds, "mb": (memory.peak() - self.base) / 2**20}

    def ready(self) -> dict[str, Any]:
        assert self.prepared is not None
        for way in self.prepared.ways:
            for _ in range(WARM_CALLS):
                way()
        self.call = fastest(self.prepared.ways)
        self.count, seconds = repeats(self.call)
        memory.reset_peak()
        return {"turn_s": seconds}

    def save(self) -> dict[str, Any]:
        assert self.prepared is not None and self.prepared.save is not None
        self.prepared.save(self.files / SAVED)
        return {}

    def turn(self) -> dict[str, Any]:
        assert self.call is not None
        return {"ms": turn(self.call, self.count)}

    def finish(self) -> dict[str, Any]:
        assert self.prepared is not None
        megabytes = (memory.peak() - self.base) / 2**20
        floats = [a for a in self.prepared.answer() if np.issubdtype(a.dtype, np.floating)]
        return {"mb": megabytes, "error": relative_error(floats, load_exact(self.files.parent))}


def main() -> None:
    """See the module's docstring."""
    p = argparse.ArgumentParser()
    p.add_argument("row")
    p.add_argument("engine")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--files", type=Path, required=True)
    p.add_argument("--precision", choices=PRECISIONS, default="float32")
    args = p.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(args.threads)
    worker = Worker(args.row, args.engine, args.precision, args.threads, args.files)
    commands = {"first": worker.first, "ready": worker.ready, "turn": worker.turn, "finish": worker.finish}
    commands["save"] = worker.save
    print(json.dumps({"started": args.engine}), file=answers)
    with torch.inference_mode():
        for line in sys.stdin:
            print(json.dumps(commands[line.strip()]()), file=answers)


if __name__ == "__main__":
    main()
