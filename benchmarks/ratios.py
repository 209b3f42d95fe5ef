"""Stored ratios, and rows that fell behind them.

    {"Linux x86_64, znver4, 512-bit vectors, 2 cores": {"about": "2026-11-29, …", "units": {"vgg16/1": {"ort": 2.728}}}}

`ratios.json` holds, per kind of machine and unit, each peer's time over mlc's, as `make bench-accept` took them from
the latest results. A row regresses when its ratio to the best of the peers that were there both times fell by more than
5 %. Each machine is compared with its own ratios, because peers have other kernels on another one; accepting leaves
those of the others as they are.
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
    return _stored(path).get(machine, {"units": {}})["units"]


def machines(path: Path) -> list[str]:
    """Those that have stored ratios."""
    return list(_stored(path))


def _stored(path: Path) -> dict[str, dict[str, Any]]:
    """What is stored, per machine; files used to be of one machine, named in them."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if "units" in stored:
        return {stored["machine"]: {"about": stored["about"], "units": stored["units"]}}
    return stored


def accept(path: Path, results: Mapping[str, Any]) -> int:
    """Store the ratios of these results among those of their machine; what they lack, be it machine, unit or peer,
    stays as it is. How many units were stored; with none the file is not written."""
    new = {
        _key(record): {name: round(r[1], 3) for name, r in found.items()}
        for record in results["records"]
        if not record["contended"] and "engines" in record and (found := ratios(record))
    }
    if not new:
        return 0
    units = load(path, results["machine"])
    units |= {key: units.get(key, {}) | found for key, found in new.items()}
    own = {"about": results["about"], "units": dict(sorted(units.items()))}
    stored = _stored(path) | {results["machine"]: own}
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
