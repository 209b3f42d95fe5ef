"""Disk cache of compiled code: per user, authenticated, bounded, safe under concurrent processes.

Layout: `<dir>/key` (32 random bytes, mode 0600) and `<dir>/<2 hex>/<hash>`: magic, keyed blake2b of payload, payload.
An entry that is damaged or was written by somebody without the key is ignored and deleted. Writes go to a temporary
file and are renamed, so a reader never sees half an entry. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlc.errors import UsageError
from mlc.runtime.files import write_whole

_MAGIC = b"mlc-cache-1\n"
_MAC = 32


def default_directory() -> Path:
    """`$MLC_CACHE_DIR`, else `$XDG_CACHE_HOME/mlc`, else `~/.cache/mlc`."""
    if (explicit := os.environ.get("MLC_CACHE_DIR")) is not None:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlc"


@dataclass(frozen=True)
class CacheInfo:
    """What is in a cache."""

    directory: Path
    entries: int
    bytes: int


class DiskCache:
    """Byte strings under hex keys. `limit` bounds the bytes; the least recently used entries go first."""

    def __init__(self, directory: Path, *, limit: int = 2 << 30) -> None:
        self.directory = directory
        self.limit = limit
        self._written = 0

    def get(self, key: str) -> bytes | None:
        """The entry, or None. A damaged or foreign entry counts as absent."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        payload = raw[len(_MAGIC) + _MAC :]
        mac = raw[len(_MAGIC) : len(_MAGIC) + _MAC]
        if not raw.startswith(_MAGIC) or not hmac.compare_digest(mac, self._sign(key, payload)):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Store an entry. A full or read-only disk is no error: the entry is simply not there next time."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _MAGIC + self._sign(key, payload) + payload, private=True)
        except OSError:
            return
        self._written += len(payload)
        if self._written > self.limit // 8:
            self._written = 0
            self.trim()

    def info(self) -> CacheInfo:
        """Entries and bytes."""
        files = self._files()
        return CacheInfo(self.directory, len(files), sum(size for _, size, _ in files))

    def trim(self, limit: int | None = None) -> None:
        """Delete the least recently used entries until at most `limit` bytes are left."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        bound = self.limit if limit is None else limit
        for _, size, path in files:
            if total <= bound:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def clear(self) -> None:
        """Delete all entries."""
        self.trim(-1)

    def _files(self) -> list[tuple[float, int, Path]]:
        out: list[tuple[float, int, Path]] = []
        for path in self.directory.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                out.append((stat.st_mtime, stat.st_size, path))
        return out

    def _path(self, key: str) -> Path:
        if not key or not all(c in "0123456789abcdef" for c in key):
            raise UsageError(f"cache key '{key}' is not a hex hash")
        return self.directory / key[:2] / key

    def _sign(self, key: str, payload: bytes) -> bytes:
        return hashlib.blake2b(key.encode() + payload, key=self._secret, digest_size=_MAC).digest()

    @functools.cached_property
    def _secret(self) -> bytes:
        """The key of this directory, made at the first entry that is read or written."""
        path = self.directory / "key"
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):
                fd, temporary = tempfile.mkstemp(dir=self.directory)
                with os.fdopen(fd, "wb") as f:
                    f.write(os.urandom(32))
                try:
                    os.link(temporary, path)  # atomic: the first process to get here decides
                finally:
                    os.unlink(temporary)
            secret = path.read_bytes()
        except OSError:
            return os.urandom(32)  # no usable directory: entries of this process are lost, nothing else
        return secret if len(secret) == 32 else os.urandom(32)
