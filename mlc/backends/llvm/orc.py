"""Object code -> callable addresses, linked in this process by LLVM's ORC: what mlc's own linker leaves to it.

(Never MCJIT, which jumps to 0 on a missing symbol; here a missing one is an error.)
Tests: tests/backends/llvm/test_jit.py
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from mlc.backends.llvm.target import initialize
from mlc.errors import ArtifactError, UsageError

_lock = threading.Lock()
_names = itertools.count()
_jit: llvm.LLJIT | None = None


def _engine() -> llvm.LLJIT:
    """The process's one ORC engine; libraries come and go in it."""
    global _jit
    if _jit is None:
        initialize()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        _jit = llvm.create_lljit_compiler(
            target.create_target_machine(opt=2, reloc="pic", codemodel="default", jit=True),
            use_jit_link=True,
            suppress_errors=True,
        )
    return _jit


class OrcLibrary:
    """Loaded code. It stays in memory as long as this object (or an address taken from it) is kept alive by you."""

    def __init__(self, name: str, tracker: llvm.ResourceTracker) -> None:
        self._name = name
        self._trackers: dict[str, llvm.ResourceTracker] = {"": tracker}

    def address(self, symbol: str) -> int:
        """Address of a function or global; UsageError when the code has none of that name."""
        found = self.find(symbol)
        if found is None:
            raise UsageError(f"no symbol '{symbol}' in the compiled code")
        return found

    def find(self, symbol: str) -> int | None:
        """Address of a function or global, or None. ArtifactError when what it needs cannot be linked."""
        with _lock:
            tracker = self._trackers.get(symbol)
            if tracker is None:
                try:
                    tracker = _engine().lookup(self._name, symbol)
                except RuntimeError as e:
                    if f"Symbols not found: [ {symbol} ]" in str(e):
                        return None
                    raise ArtifactError(f"the compiled code cannot be linked: {e}") from None
                self._trackers[symbol] = tracker
            return tracker[symbol]


def load(objects: Sequence[bytes], exports: Sequence[str] = ()) -> OrcLibrary:
    """Link object files with each other and with the libraries of this process."""
    with _lock:
        engine = _engine()
        name = f"mlc{next(_names)}"
        builder = llvm.JITLibraryBuilder()
        for data in objects:
            builder.add_object_img(data)
        builder.add_current_process()
        for symbol in exports:
            builder.export_symbol(symbol)
        try:
            tracker = builder.link(engine, name)
        except RuntimeError as e:
            raise ArtifactError(f"the compiled code cannot be linked: {e}") from None
        return OrcLibrary(name, tracker)
