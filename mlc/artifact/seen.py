"""Digests of files that were read whole before: an unchanged file is hashed once, however often it is loaded.

    file = opened(path, cache)      # file.digest: hashed now, or known from an earlier load
    remember(file, cache)           # a file that was hashed now: its digest, under the state it was in

The digest is SHA-256 of all bytes, so nobody can make another file of the same one; checksums of the parts (CRC-32) are
still read at every load and find damage. Under what state a digest is known: device, inode, size, times of the last
change of contents and of the inode, and the hash of the index. Whoever writes to a file changes the last of these
times, which programs cannot set; a file that was changed less than `SETTLED` seconds before it was read is not
remembered, for two changes within one tick of the clock have one time. The entries are authenticated, as all of the
cache is.

One may still write to a file so that no time changes (through a mapping that stays open). A digest that is only known
therefore serves to find what the cache has, never to store under it: that is of bytes which were hashed by the process
that stores (`load.py`). So such a file spoils its own results alone.
Tests: tests/artifact/test_seen.py
"""

from __future__ import annotations

import time
from pathlib import Path

from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.cache import DiskCache

SETTLED = 2.0
"""Seconds; the coarsest clock of a file system in use (FAT) ticks once in two."""


def opened(path: Path, cache: DiskCache | None) -> ArtifactFile:
    """The file, with its digest from the cache where that knows it; errors are those of `ArtifactFile`."""

    def known(state: str) -> str | None:
        found = cache.get(state) if cache is not None else None
        return found.decode() if found is not None else None

    return ArtifactFile(path, known)


def remember(file: ArtifactFile, cache: DiskCache | None) -> None:
    """Keep the digest of a file that was hashed when it was opened."""
    if cache is not None and file.hashed and file.changed_at + SETTLED < time.time() and file.is_unchanged():
        cache.put(file.state, file.digest.encode())
