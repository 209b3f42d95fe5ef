"""Records as `benchmarks.measure` makes them, with made-up times."""

from __future__ import annotations

from typing import Any


def engine(*turns: float, **more: Any) -> dict[str, Any]:
    fixed = {"cold_s": 2.0, "cached_s": 0.5, "start_mb": 300.0, "running_mb": 200.0, "error": 1e-6}
    return {**fixed, "turns": list(turns), **more}


def record(row: str = "resnet50", threads: int = 1, **engines: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": row,
        "threads": threads,
        "contended": False,
        "flops": 8_000_000_000,
        "weight_bytes": 100_000_000,
        "io_bytes": 0,
        "engines": engines,
    }


def results(*records: dict[str, Any]) -> dict[str, Any]:
    return {
        "about": "a day, this",
        "machine": "this",
        "precision": "float32",
        "runs": 3,
        "engines": ["mlc", "eager", "ort"],
        "limits": {"1": {"gflops": 100.0, "read_gb": 20.0, "copy_gb": 10.0}},
        "records": list(records),
    }
