"""Memory of weights that hardly anybody reads any more, moved to a file: same addresses, same values, no memory.

    a block of 9 MB from the C library  -->  its first bytes as before, its whole pages a private mapping of a file
                                             that has no name

Whoever owns a block reads, changes, shares and frees it as before: a page that is touched is read from the file, and
the system drops it again when it needs memory; a page that is written to becomes memory (copy on write). Replacing a
mapping is one step for all threads. Only blocks of glibc are moved, of which it is known that it unmaps them as a whole
or takes nothing for granted about what is in them when it gives them out again. (Freed memory of the heap stays a
mapping of its file, copied on write, until another block that lies there is moved or brought back.)

    placed = place([Block(address, nbytes)], in_use=[(address, nbytes)], directory)

Tests: tests/runtime/test_offload.py
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlc.runtime.large_pages import PAGE as LARGE_PAGE
from mlc.runtime.mappings import PAGE, Mapping, libc, mappings, written_pages

SMALL = 1 << 16
"""Bytes of a block below which it stays in memory."""
MAPPINGS = 1 << 15
"""How many mappings a process may have for this: half of what Linux allows. A block that is moved makes two more."""
IN_PLACE = "read in place"
IS_SMALL = "smaller than 64 KB each"
FOREIGN = "not from glibc's malloc (mapped, shared or pinned memory, or another allocator)"
CHANGED = "changed by another thread meanwhile"
REFUSED = "as the system has too many mappings"

_TO_MOVE = "to be moved"
_AT_ONCE = 128
"""Files that are open at once."""
_PIECE = 8 << 20
"""Bytes that are compared and mapped at once: comparing needs memory for them."""
_HEADER = 16
"""Bytes before a block of glibc; the last eight are its size, whose lowest three bits are flags."""
_MAPPED = 2
_SLACK = (2 << 20) + 2 * PAGE
"""Bytes by which a block may be larger than what was asked for: alignment up to a large page."""
_MAYMOVE, _FIXED = 1, 2
"""Flags of mremap on Linux."""
_PAGEOUT = 21
"""MADV_PAGEOUT of Linux: these pages leave memory, and nothing is lost."""
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")

_NAME = f".mlc-{secrets.token_hex(8)}"
"""How the names of the files begin that blocks of this process are moved to: nobody else's file is taken for one."""


@dataclass(frozen=True)
class Block:
    """Memory that somebody owns; its first `kept` bytes are read often."""

    address: int
    nbytes: int
    kept: int = 0

    @property
    def pages(self) -> tuple[int, int]:
        """First and last address of the whole pages that may be elsewhere."""
        start = -(-(self.address + self.kept) // PAGE) * PAGE
        return start, max(start, (self.address + self.nbytes) // PAGE * PAGE)


@dataclass
class Placed:
    """Where blocks are now: bytes in files, and bytes in memory by the reason. `failed`: of those, one that lies with
    the system; None where there is none."""

    in_files: int = 0
    in_memory: Counter[str] = field(default_factory=Counter)
    failed: str | None = None

    def describe(self) -> str:
        """`330.1 MB in a file; in memory: 93.4 MB read in place`."""
        parts = [f"{size / 2**20:.1f} MB {why}" for why, size in self.in_memory.items()]
        return f"{self.in_files / 2**20:.1f} MB in a file" + (f"; in memory: {', '.join(parts)}" if parts else "")


def place(blocks: Sequence[Block], in_use: Sequence[tuple[int, int]], directory: Path) -> Placed:
    """Move blocks to files in `directory`, but for those that overlap memory `in_use` (addresses, bytes): these come
    back to memory where they were moved before. What cannot be moved stays as it is, and `Placed` says why.

    While it works, nobody else may write to the blocks.
    """
    placed = Placed()
    todo: list[Block] = []
    failed = _unable(directory)
    maps = mappings() if failed is None else []
    own = [m for m in maps if _is_own(m)]
    for address, nbytes in in_use:  # where freed blocks were, or blocks that were not in use
        _bring_back(address, nbytes, own)
    unique = {b.address: b for b in sorted(blocks, key=lambda b: b.kept)}  # of equal ones, that of which most is kept
    for block in unique.values():
        why: str | None = failed
        if any(at < block.address + block.nbytes and block.address < at + n for at, n in in_use):
            _bring_back(block.address, block.nbytes, own)
            why = IN_PLACE
        elif block.nbytes < SMALL or block.pages[0] == block.pages[1]:
            why = IS_SMALL
        elif failed is None:
            why = _settle(block, maps, placed)
        if why == _TO_MOVE:
            todo.append(block)
        elif why is not None:
            placed.in_memory[why] += block.nbytes
    todo.sort(key=lambda b: -b.nbytes)
    most = max(0, (MAPPINGS - len(maps)) // 2)
    placed.in_memory[REFUSED] += sum(b.nbytes for b in todo[most:])
    for at in range(0, min(most, len(todo)), _AT_ONCE):
        some = todo[at : min(most, at + _AT_ONCE)]
        for block in some:  # their fronts, where memory was another block's before
            _bring_back(block.address, block.pages[0] - block.address, own)
        try:
            _move(some, directory, placed)
        except OSError as error:
            placed.in_memory[f"as {directory} cannot hold them: {error.strerror}"] += sum(b.nbytes for b in some)
    if placed.in_files:
        libc().malloc_trim(0)
    placed.in_memory = Counter({why: size for why, size in placed.in_memory.items() if size})
    placed.failed = next((why for why in placed.in_memory if why.startswith("as ")), None)
    return placed


def _unable(directory: Path) -> str | None:
    """Why nothing can be moved to a file there."""
    there = sys.platform == "linux" and os.path.exists("/proc/self/maps")
    if not there or not hasattr(libc(), "gnu_get_libc_version"):
        return "as this needs Linux and glibc"
    own = ctypes.CDLL("libc.so.6")
    if any(_address(getattr(libc(), name)) != _address(getattr(own, name)) for name in ("malloc", "free")):
        return "as another allocator is in the place of glibc's"
    if (kind := _file_system(directory)) in _IN_MEMORY:
        return f"as {directory} is in memory, too ({kind})"
    return None


def _address(function: object) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value  # pyright: ignore[reportArgumentType]


def _file_system(directory: Path) -> str | None:
    """What kind of file system a directory is on, where that can be told."""
    with contextlib.suppress(OSError):
        there = next(p for p in (directory, *directory.absolute().parents) if p.exists())
        device = there.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if line.split()[2] == number:
                return line.partition(" - ")[2].split()[0]
    return None


def _settle(block: Block, maps: Sequence[Mapping], placed: Placed) -> str | None:
    """_TO_MOVE; None where its pages are in a file already, which then leave memory; or why they cannot be moved."""
    start, end = block.pages
    covered = [m for m in maps if m.start < end and start < m.end]
    if not covered or sum(min(m.end, end) - max(m.start, start) for m in covered) < end - start:
        return FOREIGN
    own = [_is_own(m) for m in covered]
    in_files = all(m.is_private and m.inode for m in covered)
    if any(m.inode and not mine for mine, m in zip(own, covered, strict=True)):
        if not in_files:
            return FOREIGN
    elif not all(m.is_private and m.is_writable for m in covered) or not _from_glibc(block, maps):
        return FOREIGN
    elif not in_files or written_pages(start, end):
        return _TO_MOVE
    libc().madvise(start, end - start, _PAGEOUT)  # what packing them has read
    placed.in_files += end - start
    return None


def _is_own(mapping: Mapping) -> bool:
    return mapping.inode != 0 and mapping.is_private and f"/{_NAME}" in mapping.path


def _from_glibc(block: Block, maps: Sequence[Mapping]) -> bool:
    """Whether what stands before a block is what glibc writes there."""
    if block.address % _HEADER or not any(m.start <= block.address - _HEADER < m.end for m in maps):
        return False
    word = ctypes.c_uint64.from_address(block.address - 8).value
    usable = (word & ~7) - (_HEADER if word & _MAPPED else 8)
    return block.nbytes <= usable <= block.nbytes + _SLACK


def _move(blocks: Sequence[Block], directory: Path, placed: Placed) -> None:
    """Write each block to a file and map it in the block's place. OSError where they cannot be written; then none of
    them was moved. Each has a file of its own: the system keeps a whole file while a page of it is mapped."""
    files: list[int] = []
    try:
        for block in blocks:
            files.append(_unnamed_file(directory))
            _write(files[-1], *block.pages)
        for fd in files:
            os.fdatasync(fd)  # the disk's errors are known before values are given up, and pages can be dropped
        for block, fd in zip(blocks, files, strict=True):
            start, end = block.pages
            for at in range(start, end, _PIECE):
                size = min(_PIECE, end - at)
                why = _map_there(at, size, fd, at - start)
                if why is None:
                    placed.in_files += size
                else:
                    placed.in_memory[why] += size
    finally:
        for fd in files:
            os.close(fd)


def _map_there(address: int, nbytes: int, fd: int, offset: int) -> str | None:
    """Map a stretch of a file in the place of memory of the same bytes; or why that is not done."""
    try:
        source = _map(nbytes, fd, offset)
        if libc().memcmp(address, source, nbytes):
            libc().munmap(source, nbytes)
            return CHANGED
        libc().madvise(source, nbytes, mmap.MADV_DONTNEED)
        _put(source, address, nbytes)
    except OSError as error:
        return f"as their file cannot be mapped: {error.strerror}"
    return None


def _bring_back(address: int, nbytes: int, own: Sequence[Mapping]) -> None:
    """Whole pages that are in files of ours become memory again, large pages where they can be; those for which there
    is no memory stay. Nobody else may write to them."""
    first, last = Block(address, nbytes).pages
    for m in own:
        start, end = max(m.start, first), min(m.end, last)
        if start < end:
            with contextlib.suppress(OSError):
                room = _map(end - start + LARGE_PAGE)
                source = room + (start - room) % LARGE_PAGE  # alike: then large pages move as they are
                libc().madvise(source, end - start, mmap.MADV_HUGEPAGE)
                ctypes.memmove(source, start, end - start)
                _put(source, start, end - start)
                for at, n in ((room, source - room), (source + end - start, room + LARGE_PAGE - source)):
                    if n:
                        libc().munmap(at, n)


def _unnamed_file(directory: Path) -> int:
    """A file for reading and writing that goes when nothing maps it any more."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{_NAME}-{secrets.token_hex(8)}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return fd


def _write(fd: int, start: int, end: int) -> None:
    data = memoryview((ctypes.c_char * (end - start)).from_address(start)).cast("B")
    while data:
        data = data[os.write(fd, data) :]


def _map(nbytes: int, fd: int = -1, offset: int = 0) -> int:
    """Address of a new private mapping, of a file or of zeros."""
    flags = mmap.MAP_PRIVATE | (mmap.MAP_ANONYMOUS if fd < 0 else 0)
    address = libc().mmap(None, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, offset)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return address


def _put(source: int, target: int, nbytes: int) -> None:
    """Move a mapping to where another one is, in one step."""
    if libc().mremap(source, nbytes, nbytes, _MAYMOVE | _FIXED, target) != target:
        number = ctypes.get_errno()
        libc().munmap(source, nbytes)
        raise OSError(number, os.strerror(number))
