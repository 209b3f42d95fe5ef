"""Where the time of a call that compiles goes: seconds per phase, what no phase tells as "rest".

phases = Phases.begun()                       # with what was imported for it
with phases.phase("capture"): …
phases.close(seconds of the whole call)
print(phases.table())
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

IMPORT = "import"
LEAST = 5e-4
"""Seconds that a table does not round to nothing."""

_imported = 0.0
_inside: ContextVar[bool] = ContextVar("importing", default=False)


@contextmanager
def importing() -> Iterator[None]:
    """What is imported inside, at first use, is a phase of the next call that compiles; nests."""
    global _imported
    if _inside.get():
        yield
        return
    start, token = time.perf_counter(), _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
        _imported += time.perf_counter() - start


@dataclass
class Phases:
    """Seconds per phase of one compile, in order; `verbose=True` prints them."""

    items: list[tuple[str, float]] = field(default_factory=list)

    @classmethod
    def begun(cls) -> Phases:
        """Those of a new call: the imports since the last one come first."""
        global _imported
        seconds, _imported = _imported, 0.0
        return cls([(IMPORT, seconds)] if seconds >= LEAST else [])

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.items.append((name, time.perf_counter() - start))

    def close(self, seconds: float) -> None:
        """The call took so long: what is in no phase becomes one. Imports happened before it."""
        rest = seconds - sum(t for name, t in self.items if name != IMPORT)
        if rest >= LEAST:
            self.items.append(("rest", rest))

    def table(self) -> str:
        """The phases as text, longest names aligned."""
        width = max((len(n) for n, _ in self.items), default=0)
        total = sum(t for _, t in self.items)
        rows = [f"  {n:<{width}}  {t:8.3f} s" for n, t in self.items]
        return "\n".join([*rows, f"  {'total':<{width}}  {total:8.3f} s"])
