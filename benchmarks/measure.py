"""One unit, measured: every engine's process started, then asked in turns.

    measure(Unit("resnet50", 1), ("mlc", "eager", "ort"), runs=15, say=print)  ->  the record that tables are made of

An engine that fails, or does not answer in time, is left out with its reason; the others go on.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import plan
from benchmarks.engines import LOADED, LOADED_ENGINE
from benchmarks.plan import Unit
from benchmarks.precisions import engines_of
from benchmarks.process import Child, ChildFailed, run_module

START_SECONDS = 240.0  # an engine that has no first result by then is left out
ANSWER_SECONDS = 300.0
CACHED_TURNS = 2
SETTLE_SECONDS = 0.02  # the threads of the engine before stop spinning

Say = Callable[[str], None]


def quartiles(values: Sequence[float]) -> list[float]:
    """First quartile, median, third."""
    if len(values) == 1:
        return [values[0]] * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, middle, high]


def _start(stack: ExitStack, unit: Unit, engine: str, threads: int, files: Path) -> Child:
    files.mkdir(exist_ok=True)
    own = LOADED_ENGINE if engine == LOADED else engines_of(unit.precision)[engine]
    environment = {"OMP_NUM_THREADS": str(threads), **own.environment(files)}
    argv = ["benchmarks.worker", unit.row, engine, "--threads", str(threads), "--files", str(files)]
    argv += ["--precision", unit.precision]
    child = stack.enter_context(Child(argv, environment))
    child.ask("", ANSWER_SECONDS)
    return child


def measure(unit: Unit, engines: Sequence[str], runs: int, say: Say) -> dict[str, Any]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(prefix="mlc-bench-") as directory, ExitStack() as stack:
        record: dict[str, Any] = {"row": unit.row, "threads": unit.threads, "contended": unit.contended}
        say("float64 run")
        record |= run_module(["benchmarks.reference", unit.row, directory])
        measured = _contended if unit.contended else _quiet
        record["engines"] = measured(stack, unit, engines, runs, Path(directory), say)
        return record


def _quiet(
    stack: ExitStack, unit: Unit, engines: Sequence[str], runs: int, directory: Path, say: Say
) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {engine: {} for engine in engines}
    expected: dict[str, float] = {}
    children: dict[str, Child] = {}

    def attempt(engine: str, step: Callable[[], None]) -> None:
        try:
            step()
        except ChildFailed as e:
            results[engine]["failed"] = str(e)
            if engine in children:
                children.pop(engine).close()

    def start(engine: str) -> None:
        children[engine] = _start(stack, unit, engine, unit.threads, directory / engine)
        first = children[engine].ask("first", START_SECONDS)
        results[engine] |= {"cold_s": first["seconds"], "start_mb": first["mb"], "turns": []}
        expected[engine] = children[engine].ask("ready", ANSWER_SECONDS)["turn_s"]

    def running(engine: str, files: Path, save: bool = False) -> tuple[float, float]:
        """Seconds to the first result, and the peak while running, of a process of its own."""
        with ExitStack() as own:
            child = _start(own, unit, engine, unit.threads, files)
            seconds = child.ask("first", START_SECONDS)["seconds"]
            child.ask("ready", ANSWER_SECONDS)
            for _ in range(CACHED_TURNS):
                child.ask("turn", ANSWER_SECONDS)
            megabytes = child.ask("finish", ANSWER_SECONDS)["mb"]
            if save:
                child.ask("save", ANSWER_SECONDS)
        return seconds, megabytes

    def again(engine: str) -> None:
        own = engine == "mlc"
        results[engine]["cached_s"], results[engine]["running_mb"] = running(engine, directory / engine, save=own)
        if own:
            say(LOADED)
            running(LOADED, directory / engine)  # leaves in the cache what a later process needs
            results[engine]["loaded_s"], results[engine]["loaded_mb"] = running(LOADED, directory / engine)

    def turn(engine: str) -> None:
        results[engine]["turns"].append(children[engine].ask("turn", ANSWER_SECONDS)["ms"])

    def finish(engine: str) -> None:
        results[engine]["error"] = children[engine].ask("finish", ANSWER_SECONDS)["error"]

    for engine in engines:
        say(f"{engine}, first result")
        attempt(engine, lambda engine=engine: start(engine))
    rounds = plan.rounds(runs, sum(expected.values()))
    for done in range(rounds):
        say(f"round {done + 1} of {rounds}")
        for engine in list(children):
            if unit.threads > 1:
                time.sleep(SETTLE_SECONDS)
            attempt(engine, lambda engine=engine: turn(engine))
    for engine in list(children):
        attempt(engine, lambda engine=engine: finish(engine))
    for engine in list(children):
        children.pop(engine).close()
        say(f"{engine}, from its cache")
        attempt(engine, lambda engine=engine: again(engine))
        shutil.rmtree(directory / engine)
    return results


def _contended(
    stack: ExitStack, unit: Unit, engines: Sequence[str], runs: int, directory: Path, say: Say
) -> dict[str, dict[str, Any]]:
    """Each round: one thread while it is quiet, then all threads beside the busy process."""
    results: dict[str, dict[str, Any]] = {}
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    neighbour = stack.enter_context(Child(["benchmarks.neighbour", str(core)]))
    neighbour.ask("", ANSWER_SECONDS)
    neighbour.stop()
    for engine in engines:
        say(engine)
        results[engine] = {"quiet": [], "turns": []}
        try:
            with ExitStack() as own:
                alone, shared = (_start(own, unit, engine, n, directory / engine) for n in (1, unit.threads))
                for child in (alone, shared):
                    child.ask("first", START_SECONDS)
                    child.ask("ready", ANSWER_SECONDS)
                for _ in range(runs):
                    results[engine]["quiet"].append(alone.ask("turn", ANSWER_SECONDS)["ms"])
                    neighbour.go_on()
                    results[engine]["turns"].append(shared.ask("turn", ANSWER_SECONDS)["ms"])
                    neighbour.stop()
        except ChildFailed as e:
            neighbour.stop()
            results[engine] = {"failed": str(e)}
    return results
