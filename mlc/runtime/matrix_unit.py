"""Leave of the operating system to use the matrix unit (AMX): its registers are 8 KB, which Linux saves for a thread
only in processes that asked for them. Code that uses them without leave ends the process.

In: nothing. Out: whether this process, and every thread and fork of it from now on, may.
Source: Linux, Documentation/arch/x86/xstate.rst.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # the call, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA


@functools.cache
def matrix_unit_granted() -> bool:
    """Ask for it, once; False where there is none, or where the kernel is older than 5.16 or refuses."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    call = ctypes.CDLL(None).syscall
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long] * 3
    return call(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0
