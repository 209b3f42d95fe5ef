"""Stored ratios, and rows that fell behind them.

`ratios.json` holds, per unit, each peer's time over mlc's, as `make bench-accept` took them from the latest results. A
row regresses when its ratio to the best of the peers that were there both times fell by more than 5 %. Ratios are those
of one machine: on another one, where peers have other kernels, nothing is compared, and accepting starts over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plan import Unit
from benchmarks.summary import ratios

TOLERANCE = 0.05


@dataclass(frozen=True)
class Regression:
    """The best peer's time over mlc's, then and now."""

    unit: str
    before: float
    now: float

    def __str__(self) -> str:
        return f"{self.unit}: {self.now:.2f} x best peer, was {self.before:.2f} ({self.now / self.before - 1:+.0%})"


def _key(record: Mapping[str, Any]) -> str:
    return Unit(record["row"], record["threads"], record["contended"]).key


def load(path: Path, machine: str) -> dict[str, dict[str, float]]:
    """Peer -> ratio, per unit; empty when nothing was accepted on this machine yet."""
    stored = _stored(path)
    return stored["units"] if stored and stored["machine"] == machine else {}


def other_machine(path: Path, machine: str) -> str | None:
    """The machine of the stored ratios, where it is not this one."""
    stored = _stored(path)
    return stored["machine"] if stored and stored["machine"] != machine else None


def _stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def accept(path: Path, results: Mapping[str, Any]) -> int:
    """Store the ratios of these results; units that they lack keep theirs if the machine is the same. How many were
    stored."""
    units = load(path, results["machine"])
    new = {
        _key(record): {name: round(r[1], 3) for name, r in ratios(record).items()}
        for record in results["records"]
        if not record["contended"] and "engines" in record
    }
    units |= {key: found for key, found in new.items() if found}
    stored = {"about": results["about"], "machine": results["machine"], "units": dict(sorted(units.items()))}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return len(new)


def regressions(records: Iterable[Mapping[str, Any]], stored: Mapping[str, Mapping[str, float]]) -> list[Regression]:
    """Rows that fell behind what is stored; a row that mlc no longer runs counts as fallen to nothing."""
    found: list[Regression] = []
    for record in records:
        if record["contended"] or "engines" not in record:
            continue
        before = stored.get(_key(record), {})
        if before and "failed" in record["engines"].get("mlc", {}):
            found.append(Regression(_key(record), min(before.values()), 0.0))
            continue
        now = {name: r[1] for name, r in ratios(record).items()}
        common = before.keys() & now.keys()
        if common:
            then, current = min(before[c] for c in common), min(now[c] for c in common)
            if current < then * (1 - TOLERANCE):
                found.append(Regression(_key(record), then, current))
    return found
