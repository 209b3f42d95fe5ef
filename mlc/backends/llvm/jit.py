"""Object code -> callable addresses, linked in this process by LLVM's ORC (never MCJIT, which jumps to 0 on a
missing symbol; here a missing one is an error).

    library = load_objects([object_bytes, …])
    address = library.address("mlc_forward")
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from mlc.backends.llvm import half_support
from mlc.backends.llvm.object_file import missing_symbols, read_symbols
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


class NativeLibrary:
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


def load_objects(objects: Sequence[bytes], *, exports: Sequence[str] = ()) -> NativeLibrary:
    """Link object files with each other, with mlc's own conversions of float16 where they need those, and with the C
    library of this process. Whatever they need and nobody has is named in an ArtifactError; so are damaged objects."""
    if not objects:
        raise UsageError("no object code to load")
    wanted = missing_symbols([read_symbols(data) for data in objects]) if sys.platform == "linux" else []
    if not half_support.SYMBOLS.isdisjoint(wanted):
        objects = [*objects, half_support.half_support()]
        wanted = [name for name in wanted if name not in half_support.SYMBOLS]
    with _lock:
        engine = _engine()
        process = ctypes.CDLL(None)
        unknown = [name for name in wanted if name not in _LINKER_NAMES and not hasattr(process, name)]
        if unknown:
            raise ArtifactError(f"the compiled code needs symbols that nobody defines: {', '.join(unknown)}")
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
        return NativeLibrary(name, tracker)


_LINKER_NAMES = frozenset(("_GLOBAL_OFFSET_TABLE_",))
