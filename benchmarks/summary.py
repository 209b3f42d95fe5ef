"""Figures made from a record: medians, ratios to mlc within a round, shares of the machine's limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import quartiles

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """Of one quiet record. `ms`: quartiles per engine; `ratio`: quartiles of the engine's time over mlc's, per peer;
    `best`: the fastest peer; `fma`, `bandwidth`: mlc's shares of the limits."""

    ms: dict[str, list[float]]
    ratio: dict[str, list[float]]
    best: str | None
    fma: float | None
    bandwidth: float | None

    @property
    def to_best(self) -> float | None:
        """The best peer's time over mlc's."""
        return self.ratio[self.best][1] if self.best is not None and self.ratio else None

    @property
    def to_eager(self) -> float | None:
        """Eager's time over mlc's."""
        return self.ratio["eager"][1] if "eager" in self.ratio else None


def ratios(record: Record) -> dict[str, list[float]]:
    """Quartiles of each peer's time over mlc's in the same round."""
    engines = {name: e for name, e in record["engines"].items() if "failed" not in e}
    if "mlc" not in engines:
        return {}
    ours = engines["mlc"]["turns"]
    return {
        name: quartiles([theirs / own for theirs, own in zip(e["turns"], ours, strict=True)])
        for name, e in engines.items()
        if name != "mlc"
    }


def summarise(record: Record, limits: Mapping[str, float] | None) -> Summary:
    """See `Summary`."""
    ms = {name: quartiles(e["turns"]) for name, e in record["engines"].items() if "failed" not in e}
    peers = [name for name in ms if name != "mlc"]
    best = min(peers, key=lambda name: ms[name][1], default=None)
    fma = bandwidth = None
    if "mlc" in ms and limits is not None:
        seconds = ms["mlc"][1] / 1e3
        fma = record["flops"] / seconds / (limits["gflops"] * 1e9)
        moved = record["weight_bytes"] + record["io_bytes"]
        bandwidth = moved / seconds / (max(limits["read_gb"], limits["copy_gb"]) * 1e9)
    return Summary(ms, ratios(record), best, fma, bandwidth)


def slowdown(engine: Mapping[str, Any]) -> list[float] | None:
    """Quartiles of the contended time over the quiet one-thread time of the same round."""
    if "failed" in engine:
        return None
    return quartiles([c / q for c, q in zip(engine["turns"], engine["quiet"], strict=True)])


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of none."""
    found = list(values)
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None
