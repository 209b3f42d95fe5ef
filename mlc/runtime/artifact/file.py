"""The file of a saved model: data only, in parts that are checked, each at a multiple of 64 bytes.

    0    magic (16), format version u32, CRC-32 of the index u32, bytes of the index u64, bytes of the file u64,
         zeros (20), CRC-32 of the 60 bytes before u32                                     all little-endian
    64   the index: JSON; its "parts" is a list of [bytes, CRC-32], and what else is in it refers to parts by number
         part 0, part 1, …: each begins at the next multiple of 64, with zeros in between

Where a part lies follows from the sizes of those before it, so parts can neither overlap nor lie outside of the file,
whose size must be the sum. Sizes are compared with the file's own before anything is allocated for them.

Checksums find damage. What is kept about a file is found by its digest (SHA-256 of everything: of the cryptographic
hashes of Python's library the fastest where the processor has instructions for it), which nobody can forge.
Tests: tests/runtime/artifact/test_file.py
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlc.errors import ArtifactError, UsageError
from mlc.runtime.files import write_whole

MAGIC = b"\x93mlc artifact\r\n\n"
VERSION = 2
ALIGNMENT = 64
MAX_INDEX = 16 << 20
MAX_TEXT = 64 << 20
"""Bytes of an index, and of a part that is text."""

_HEADER = struct.Struct("<16sIIQQ20sI")
_CHUNK = 1 << 20
_AGAIN = "save it again with this version of mlc, or copy the file again"


def checked_path(path: Any) -> Path:
    """`path` as a path; UsageError where it is none."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError(f"path is {path!r}", expected='the path of a file: "m.mlc"')
    try:
        os.fsencode(text)
        return Path(text).expanduser()
    except (UnicodeError, RuntimeError) as error:  # no name of a file; nobody's home directory
        raise UsageError(f"path is {path!r}: {error}", expected='the path of a file: "m.mlc"') from None


def write_artifact(path: Path, index: dict[str, Any], parts: Sequence[Any]) -> list[list[int]]:
    """Write `parts` (contiguous buffers) and `index`, to which "parts" is added, to `path`, whole or not at all.

    Returns "parts": bytes and checksum of each.

    Raises UsageError where the system does not let it be written, or the index passes `MAX_INDEX`.
    """
    views = [memoryview(p).cast("B") if memoryview(p).nbytes else memoryview(b"") for p in parts]
    table = [[v.nbytes, zlib.crc32(v)] for v in views]
    text = json.dumps({**index, "parts": table}, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    if len(text) > MAX_INDEX:
        raise UsageError(f"the model's index has {len(text)} bytes", expected=f"at most {MAX_INDEX}")
    size = ALIGNMENT + len(text)
    for view in views:
        size = _up(size) + view.nbytes
    head = _HEADER.pack(MAGIC, VERSION, zlib.crc32(text), len(text), size, bytes(20), 0)[:-4]
    header = head + struct.pack("<I", zlib.crc32(head))

    def pieces() -> Iterable[Any]:
        at = ALIGNMENT + len(text)
        yield header
        yield text
        for view in views:
            yield bytes(_up(at) - at)
            yield view
            at = _up(at) + view.nbytes

    try:
        write_whole(path, pieces())
    except OSError as e:
        raise UsageError(
            f"cannot write '{path}': {e.strerror or e}", expected="a file in a directory that exists"
        ) from None
    return table


class ArtifactFile:
    """An open file of a saved model: `index` as it was written, `digest` of everything, parts as text or as arrays on
    the mapped file.

    `known` may have the digest of a file in this `state`, which names the file and its last change; else `hashed` is
    true. `changed_at`: the time of that change, in seconds.
    """

    def __init__(self, path: Path, known: Callable[[str], str | None] = lambda _: None) -> None:
        self.path = path
        try:
            with path.open("rb") as f:
                status = os.fstat(f.fileno())
                self._place, self.changed_at = _place_of(status), status.st_ctime
                self.index, self._parts, digest = self._read_index(f, status.st_size)
                self.state = hashlib.sha256(f"{self._place} {digest.hexdigest()}".encode()).hexdigest()
                found = known(self.state)
                self.hashed = found is None
                self._check_parts(f, digest if self.hashed else None)
                self.digest = found or digest.hexdigest()
                self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as e:
            raise UsageError(
                f"cannot read '{path}': {e.strerror or e}", expected="a file that compiled.save(path) wrote"
            ) from None

    def is_unchanged(self) -> bool:
        """Whether the path still names this file, which nobody wrote to since it was opened."""
        try:
            return _place_of(self.path.stat()) == self._place
        except OSError:
            return False

    def _read_index(self, f: Any, size: int) -> tuple[dict[str, Any], list[tuple[int, int, int]], Any]:
        """The index, (offset, bytes, CRC-32) of each part, and the digest as far as the index goes."""
        head = f.read(_HEADER.size)
        if len(head) < len(MAGIC) or not head.startswith(MAGIC):
            raise self.damaged("it is no saved model", hint="mlc.load reads what compiled.save(path) wrote")
        if len(head) < _HEADER.size:
            raise self.damaged("it ends within its header")
        _, version, index_crc, index_bytes, file_bytes, reserved, head_crc = _HEADER.unpack(head)
        if version > VERSION:
            raise self.damaged(
                f"it has format {version}; this version of mlc reads format {VERSION}", hint="use a newer mlc"
            )
        if zlib.crc32(head[:-4]) != head_crc or version < 1 or any(reserved):
            raise self.damaged("its header is damaged")
        if version < VERSION:
            raise self.damaged(
                f"it has format {version}; this version of mlc reads format {VERSION}", hint="save the model again"
            )
        if file_bytes != size:
            raise self.damaged(f"it has {size} bytes, not the {file_bytes} it was written with")
        if index_bytes > min(MAX_INDEX, size - _HEADER.size):
            raise self.damaged(f"its index has {index_bytes} bytes")
        text = f.read(index_bytes)
        if len(text) != index_bytes or zlib.crc32(text) != index_crc:
            raise self.damaged("its index is damaged")
        try:
            index = json.loads(text)
            table = [(int(n), int(crc)) for n, crc in index["parts"]]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as e:
            raise self.damaged(f"its index is damaged: {type(e).__name__}") from None
        found: list[tuple[int, int, int]] = []
        at = _HEADER.size + index_bytes
        for count, crc in table:
            at = _up(at)
            if count < 0 or at + count > size:
                raise self.damaged(f"part {len(found)} of {count} bytes lies outside of the file")
            found.append((at, count, crc))
            at += count
        if at != size:
            raise self.damaged(f"its parts end at {at}, the file at {size}")
        return index, found, _hash_of(text)

    def _check_parts(self, f: Any, digest: Any) -> None:
        """Compare the checksums, and add the bytes to `digest` if it is wanted. They are read, not mapped: nothing of
        them stays in this process."""
        buffer = memoryview(bytearray(_CHUNK))
        for number, (offset, count, wanted) in enumerate(self._parts):
            f.seek(offset)
            crc = 0
            while count:
                n = f.readinto(buffer[: min(count, _CHUNK)])
                if not n:
                    raise self.damaged("it became shorter while it was read")
                crc = zlib.crc32(buffer[:n], crc)
                if digest is not None:
                    digest.update(buffer[:n])
                count -= n
            if crc != wanted:
                raise self.damaged(f"part {number} is damaged: its checksum differs")

    def damaged(self, what: str, hint: str = _AGAIN) -> ArtifactError:
        """The error that says what is wrong with this file."""
        return ArtifactError(f"cannot load '{self.path}': {what}", hint=hint)

    def text(self, part: Any) -> str:
        """A part that is text in UTF-8."""
        offset, count = self._range(part)
        if count > MAX_TEXT:
            raise self.damaged(f"part {part} is a text of {count} bytes")
        try:
            return bytes(memoryview(self._map)[offset : offset + count]).decode()
        except UnicodeDecodeError:
            raise self.damaged(f"part {part} is no text") from None

    def array(self, part: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        """A part as a read-only array on the mapped file."""
        offset, count = self._range(part)
        items = 1
        for n in shape:
            items *= n
            if n < 0 or items * dtype.itemsize > count:
                raise self.damaged(f"part {part} has {count} bytes, too few for {dtype}{list(shape)}")
        if items * dtype.itemsize != count:
            raise self.damaged(f"part {part} has {count} bytes, too many for {dtype}{list(shape)}")
        return np.frombuffer(self._map, dtype, items, offset).reshape(shape)

    def release(self) -> None:
        """Give the pages of the map back; they are read again when an array is looked at again."""
        if hasattr(self._map, "madvise") and sys.platform == "linux":
            self._map.madvise(mmap.MADV_DONTNEED)

    def _range(self, part: Any) -> tuple[int, int]:
        if type(part) is not int or not 0 <= part < len(self._parts):
            raise self.damaged(f"it names a part {part!r} that it lacks")
        return self._parts[part][:2]


def _hash_of(index: bytes) -> Any:
    """The digest of a file so far: the parts, whose sizes the index has, come after it."""
    return hashlib.sha256(hashlib.sha256(index).digest())


def _place_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _up(at: int) -> int:
    return -(-at // ALIGNMENT) * ALIGNMENT
