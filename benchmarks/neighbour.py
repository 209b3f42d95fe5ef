"""A process that keeps one core busy: `python -m benchmarks.neighbour 1` computes on core 1 until it is ended."""

from __future__ import annotations

import os
import sys


def main(core: int) -> None:
    """See the module's docstring."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    print("{}", flush=True)
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    main(int(sys.argv[1]))
