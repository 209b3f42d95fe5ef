"""Object code -> callable addresses, linked in this process: by mlc's own linker, so that code from the cache runs
without LLVM, or else by LLVM's ORC.

    library = load_objects([object_bytes, …])
    address = library.address("mlc_forward")

Tests: tests/backends/llvm/test_jit.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mlc.backends.llvm import half_support
from mlc.errors import ArtifactError, UsageError
from mlc.runtime.elf import missing_symbols, read_object
from mlc.runtime.linker import ADDRESS_TABLE, Library, Unlinkable, link, process_symbol


def load_objects(objects: Sequence[bytes], *, exports: Sequence[str] = ()) -> Library:
    """Link object files with each other, with mlc's own conversions of float16 where they need those, and with the C
    library of this process. Whatever they need and nobody has is named in an ArtifactError; so are damaged objects.
    `exports`: names that will be asked for, where the linker has to know."""
    if not objects:
        raise UsageError("no object code to load")
    if sys.platform == "linux":
        read = [read_object(data) for data in objects]
        wanted = missing_symbols(read)
        if not half_support.SYMBOLS.isdisjoint(wanted):
            objects = [*objects, half_support.half_support()]
            read.append(read_object(objects[-1]))
        try:
            return link(read)
        except Unlinkable:
            _check_imports(missing_symbols(read))
    from mlc.backends.llvm import orc  # noqa: PLC0415 - LLVM, only for what mlc's linker cannot do

    return orc.load(objects, exports)


def _check_imports(wanted: Sequence[str]) -> None:
    """ORC would print what it misses, and name it too late."""
    unknown = [name for name in wanted if name != ADDRESS_TABLE and process_symbol(name) is None]
    if unknown:
        raise ArtifactError(f"the compiled code needs symbols that nobody defines: {', '.join(unknown)}")
