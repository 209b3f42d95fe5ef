"""How large the processor's caches are, as the system says.

Tests: tests/backends/llvm/test_target.py, tests/runtime/test_turns.py
"""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def cache_bytes(level: int) -> int | None:
    """Bytes of the first CPU's data or unified cache of a level, from sysfs, then sysconf."""
    for entry in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (entry / "type").read_text().strip() == "Instruction" or int((entry / "level").read_text()) != level:
                continue
            text = (entry / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
        digits = text.rstrip("KMG")
        if digits.isdigit():
            return int(digits) * unit
    name = {1: "SC_LEVEL1_DCACHE_SIZE", 2: "SC_LEVEL2_CACHE_SIZE", 3: "SC_LEVEL3_CACHE_SIZE"}[level]
    if name in getattr(os, "sysconf_names", {}):
        size = os.sysconf(name)
        return size if size > 0 else None
    return None
