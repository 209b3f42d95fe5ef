"""Resident memory of this process, now and at its peak."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def _status(field: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def peak() -> int:
    """Bytes at the peak, since the start or the last `reset_peak`."""
    found = _status("VmHWM")
    if found is not None:
        return found
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident() -> int:
    """Bytes now; where the system does not say, the peak."""
    found = _status("VmRSS")
    return peak() if found is None else found


def reset_peak() -> bool:
    """Collect garbage, give free pages back, and start a new peak. Whether the system can do the last."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return False
    clear.write_text("5")
    return True
