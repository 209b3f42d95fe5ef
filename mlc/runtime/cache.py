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
_SECRET = 32


def default_directory() -> Path:
    """`$MLC_CACHE_DIR`, else `$XDG_CACHE_HOME/mlc`, else `~/.cache/mlc`; a variable that is empty counts as unset."""
    if explicit := os.environ.get("MLC_CACHE_DIR"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlc"


def cache_at(directory: str | os.PathLike[str] | None) -> DiskCache | None:
    """The cache in a directory, the user's own for None; "" for none."""
    if directory is None:
        return DiskCache(default_directory())
    return DiskCache(Path(directory).expanduser()) if os.fspath(directory) else None


@dataclass(frozen=True)
class CacheInfo:
    """What is in a cache."""

    directory: Path
    entries: int
    bytes: int


class DiskCache:
    """Byte strings under hex keys. `limit` bounds the bytes; the least recently used entries go first.

    Once an eighth of the limit was written, whoever wrote it, the directory is looked at.
    """

    def __init__(self, directory: Path, *, limit: int = 2 << 30) -> None:
        self.directory = directory
        self.limit = limit

    def get(self, key: str) -> bytes | None:
        """The entry, or None. A damaged or foreign entry counts as absent."""
        path = self.path(key)
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
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _MAGIC + self._sign(key, payload) + payload, private=True)
        except OSError:
            return
        # keys are hashes: so drawn, an eighth of the limit comes to one look on average, over all processes together
        if int(key[:8], 16) * (self.limit // 8) < len(payload) << 4 * len(key[:8]):
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
            if not ((path.name.startswith(path.parent.name) and _is_hash(path.name)) or path.suffix == ".tmp"):
                continue  # not ours
            with contextlib.suppress(OSError):
                stat = path.stat()
                out.append((stat.st_mtime, stat.st_size, path))
        return out

    def path(self, key: str) -> Path:
        """Where the entry is or would be. What others put there counts towards the limit."""
        if not _is_hash(key):
            raise UsageError(f"cache key '{key}' is not a hex hash")
        return self.directory / key[:2] / key

    def _sign(self, key: str, payload: bytes) -> bytes:
        return hashlib.blake2b(key.encode() + payload, key=self._secret, digest_size=_MAC).digest()

    @functools.cached_property
    def _secret(self) -> bytes:
        """The key of this directory, made at the first entry that is read or written."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            secret = self._agreed_secret()
            if len(secret) != _SECRET:  # damaged: nobody can read entries under it
                os.unlink(self._key_file)
                secret = self._agreed_secret()
        except OSError:
            return os.urandom(_SECRET)  # no usable directory: entries of this process are lost, nothing else
        return secret if len(secret) == _SECRET else os.urandom(_SECRET)

    @property
    def _key_file(self) -> Path:
        return self.directory / "key"

    def _agreed_secret(self) -> bytes:
        """What the key file says. The first process to get here writes it."""
        if not self._key_file.exists():
            fd, temporary = tempfile.mkstemp(dir=self.directory)
            try:
                with os.fdopen(fd, "wb") as f:
                    f.write(os.urandom(_SECRET))
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, self._key_file)  # atomic
            finally:
                os.unlink(temporary)
        return self._key_file.read_bytes()


def _is_hash(name: str) -> bool:
    return bool(name) and all(c in "0123456789abcdef" for c in name)
