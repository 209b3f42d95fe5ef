"""The command line of `python -m benchmarks`, checked, as settings."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence

from benchmarks.engines import ENGINES, SHOWN, engine_named
from benchmarks.models import CONTENDED_ROWS, ROWS
from benchmarks.plan import Settings
from benchmarks.precisions import PRECISIONS, engines_of

MOST_THREADS = 1024


def parser() -> argparse.ArgumentParser:
    """See `benchmarks/__init__.py` for what the options are for."""
    p = argparse.ArgumentParser(prog="python -m benchmarks", description="mlc beside its peers on the model table")
    p.add_argument("--models", default="", help="rows, with commas between; all when left out")
    p.add_argument("--peers", default="", help=f"of {_peers(ENGINES)}; all that are installed when left out")
    p.add_argument("--precision", default="float32", help=f"{', '.join(PRECISIONS)}: arithmetic of every engine")
    p.add_argument("--threads", default="", help="numbers of threads, with commas between; 1 and all when left out")
    p.add_argument("--runs", type=int, default=15, help="turns of each engine")
    p.add_argument("--contended", action="store_true", help="only on all threads while a process keeps one core busy")
    p.add_argument("--fresh", action="store_true", help="start over instead of going on with an interrupted run")
    p.add_argument("--accept", action="store_true", help="store the latest ratios in ratios.json; measures nothing")
    return p


def _peers(engines: Iterable[str]) -> str:
    """Every name that is understood, mlc aside, which always runs."""
    return ", ".join(f"{e} ({', '.join(SHOWN[e])})" if e in SHOWN else e for e in engines if e != "mlc")


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _known(p: argparse.ArgumentParser, what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            p.error(f"there is no {what} '{name}'; {hint}")


def settings(p: argparse.ArgumentParser, args: argparse.Namespace, cores: int) -> tuple[Settings, dict[str, str]]:
    """What to measure, and which engines are left out, with the reason."""
    rows = _names(args.models)
    _known(p, "row", rows, list(ROWS))
    _known(p, "precision", [args.precision], PRECISIONS)
    available = engines_of(args.precision)
    asked = list(dict.fromkeys(engine_named(name) for name in _names(args.peers)))
    for name in asked:
        if name not in available:
            p.error(f"there is no peer '{name}' in {args.precision}; there are {_peers(available)}")
    left_out = {name: reason for name, engine in available.items() if (reason := engine.missing()) is not None}
    for name in asked:
        if name in left_out:
            p.error(f"peer '{name}' cannot run here: {left_out[name]}")
    wanted = ["mlc", "eager", *asked] if asked else list(available)
    engines = [name for name in available if name in wanted and name not in left_out]
    counts = _names(args.threads)
    if not all(c.isdigit() and 0 < int(c) <= MOST_THREADS for c in counts):
        p.error(f"--threads {args.threads}: whole numbers from 1 to {MOST_THREADS}, with commas between")
    if args.runs < 1:
        p.error(f"--runs {args.runs}: at least 1")
    threads = [int(c) for c in counts] or sorted({1, cores})
    contended: Sequence[str] = ()
    if args.contended:
        contended = rows or CONTENDED_ROWS
        rows, threads = [], []
    else:
        whole = not rows and not counts and args.precision == "float32"
        contended = CONTENDED_ROWS if whole else ()
        rows = rows or list(ROWS)
    if cores < 2 and contended:
        left_out["contended rows"] = "there is only one core"
        contended = ()
    neighbour = max(cores, 2)
    return Settings(rows, engines, threads, args.runs, tuple(contended), neighbour, args.precision), left_out


def is_part(measured: Settings, cores: int) -> bool:
    """Whether the same run without a choice of rows, engines and threads measures more."""
    p = parser()
    whole, _ = settings(p, p.parse_args(["--precision", measured.precision]), cores)
    return not (set(whole.units()) <= set(measured.units()) and set(whole.engines) <= set(measured.engines))
