"""What a run measures: its settings, and the units it is made of.

settings.units()  ->  [Unit("mlp_b1", 1, False), …, Unit("resnet50", 2, True)]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

SHORT_ROUND = 0.5
"""Seconds: turns of rows whose round takes less are so short that a median on a shared machine needs many."""
SHORT_ROUNDS = 25
"""Rounds of such rows, at least."""


def rounds(runs: int, seconds: float) -> int:
    """How many a row gets whose round takes so long, where `runs` were asked for."""
    return max(runs, SHORT_ROUNDS) if seconds < SHORT_ROUND else runs


@dataclass(frozen=True)
class Unit:
    """One row at one number of threads; `contended`: while another process keeps one core busy."""

    row: str
    threads: int
    contended: bool = False
    precision: str = "float32"

    @property
    def key(self) -> str:
        """Its name in logs and stored ratios: `resnet50/2`."""
        precision = "" if self.precision == "float32" else f"/{self.precision}"
        return f"{self.row}/{self.threads}{'/contended' if self.contended else ''}{precision}"

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.row}, {threads}{', contended' if self.contended else ''}"


@dataclass(frozen=True)
class Settings:
    """`rows` are measured alone with each of `threads`, `contended` ones on `contended_threads` by a busy process."""

    rows: Sequence[str]
    engines: Sequence[str]
    threads: Sequence[int]
    runs: int
    contended: Sequence[str] = ()
    contended_threads: int = 2
    precision: str = "float32"

    def units(self) -> list[Unit]:
        """In the order of measuring."""
        quiet = [Unit(row, count, False, self.precision) for count in self.threads for row in self.rows]
        return quiet + [Unit(row, self.contended_threads, True, self.precision) for row in self.contended]

    def name(self) -> str:
        """A short name that equal settings share."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]
