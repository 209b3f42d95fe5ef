"""`make bench`: run the table, print it, and write benchmarks/results.json and results.md."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.engines import available
from tests.models.zoo import ZOO

HERE = Path(__file__).parent


def _worker(arguments: list[str], cache: str, threads: int) -> dict[str, Any] | None:
    environment = {**os.environ, "MLC_CACHE_DIR": cache, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", *arguments],
        env=environment, cwd=HERE.parent, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()
        print(f"  {' '.join(arguments)} failed: {reason[-1] if reason else done.returncode}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(name: str, engines: list[str], runs: int, threads: int) -> dict[str, Any] | None:
    """One row: cold and cached first answer, then the interleaved comparison."""
    with tempfile.TemporaryDirectory() as cache:
        cold = _worker(["first", name], cache, threads)
        cached = _worker(["first", name], cache, threads)
        options = ["--engines", ",".join(engines), "--runs", str(runs), "--threads", str(threads)]
        row = _worker(["compare", name, *options], cache, threads)
    if row is None or cold is None or cached is None:
        return None
    row["first_cold_s"], row["first_cached_s"] = cold["seconds"], cached["seconds"]
    row["peak_above_mb"] = cold["peak_above"] / 2**20
    row["weights_mb"] = cold["weights"] / 2**20
    return row


def table(rows: list[dict[str, Any]], engines: list[str]) -> str:
    """Markdown."""
    head = ["model", *(f"{e} ms" for e in engines), *(f"{e} x eager" for e in engines[1:]), "cold s", "cached s"]
    head += ["peak MB", "weights MB", "error", "eager's"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in rows:
        cells = [r["model"], *(f"{r['ms'][e]:.3f}" for e in engines), *(f"{r['ratio'][e]:.2f}" for e in engines[1:])]
        cells += [f"{r['first_cold_s']:.2f}", f"{r['first_cached_s']:.2f}", f"{r['peak_above_mb']:.0f}"]
        cells += [f"{r['weights_mb']:.0f}", f"{r['error']['mlc']:.1e}", f"{r['error']['eager']:.1e}"]
        lines.append("| " + " | ".join(cells) + " |")
    if rows:
        mean = math.exp(sum(math.log(r["ratio"]["mlc"]) for r in rows) / len(rows))
        lines.append(f"\nGeometric mean of eager's time over mlc's: {mean:.2f}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """See the module's docstring."""
    p = argparse.ArgumentParser(prog="python -m benchmarks")
    p.add_argument("--models", default=",".join(ZOO), help="names from tests/models/zoo.py")
    p.add_argument("--peers", default="", help="more engines: jit, inductor")
    p.add_argument("--runs", type=int, default=15)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    engines = ["eager", "mlc", *(e for e in args.peers.split(",") if e)]
    unknown = [e for e in engines if not available(e)] + [m for m in args.models.split(",") if m not in ZOO]
    if unknown:
        p.error(f"unknown: {', '.join(unknown)}")
    rows: list[dict[str, Any]] = []
    for name in args.models.split(","):
        print(f"{name} …", file=sys.stderr, flush=True)
        row = measure(name, engines, args.runs, args.threads)
        if row is not None:
            rows.append(row)
            print(table([row], engines).splitlines()[2], flush=True)
    text = table(rows, engines)
    about = f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, {args.threads} thread(s)"
    (HERE / "results.md").write_text(f"Medians of {args.runs} interleaved runs, {about}.\n\n{text}", encoding="utf-8")
    (HERE / "results.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1), encoding="utf-8")
    print(f"\n{text}")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
