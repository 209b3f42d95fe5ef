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
import stat
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from mlc.errors import UsageError
from mlc.runtime.byte_sizes import parse_size
from mlc.runtime.files import write_whole

_MAGIC = b"mlc-cache-1\n"
_MAC = 32
_SECRET = 32
DEFAULT_LIMIT = 2 << 30
"""Bytes."""


def default_directory() -> Path:
    """`$MLC_CACHE_DIR`, else `$XDG_CACHE_HOME/mlc`, else `~/.cache/mlc`; a variable that is empty counts as unset."""
    if explicit := os.environ.get("MLC_CACHE_DIR"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlc"


def limit_wanted() -> int:
    """Bytes that a user's caches may have: `$MLC_CACHE_SIZE`; UsageError where it is no size."""
    text = os.environ.get("MLC_CACHE_SIZE")
    return parse_size(text, "the environment's MLC_CACHE_SIZE is") if text else DEFAULT_LIMIT


def cache_at(directory: str | os.PathLike[str] | None) -> DiskCache | None:
    """The cache in a directory, the user's own for None; "" for none."""
    if directory is None:
        return DiskCache(default_directory(), limit=limit_wanted())
    if not os.fspath(directory):
        return None
    return DiskCache(Path(directory).expanduser(), limit=limit_wanted())


_in_use: ContextVar[DiskCache | None] = ContextVar("cache", default=None)


@contextlib.contextmanager
def using(cache: DiskCache | None) -> Iterator[None]:
    """What is made inside, and belongs to no model, is kept in this cache."""
    token = _in_use.set(cache)
    try:
        yield
    finally:
        _in_use.reset(token)


def cache_in_use() -> DiskCache | None:
    """The cache of the `using` around; None outside."""
    return _in_use.get()


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

    def __init__(self, directory: Path, *, limit: int = DEFAULT_LIMIT) -> None:
        self.directory = directory
        self.limit = limit
        self._no_key: str | None = None

    def cannot_be(self) -> str | None:
        """Why nobody can have a cache in this directory; None where there is one or may be one. Makes nothing."""
        for path in (self.directory, *self.directory.parents):
            try:
                if not stat.S_ISDIR(path.stat().st_mode):
                    return f"'{path}' is not a directory"
                readable = path != self.directory or os.access(path, os.R_OK | os.X_OK)
                return None if readable else f"'{path}' cannot be read"
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as e:
                return f"'{path}': {e.strerror}"
        return None

    def keeps_nothing(self) -> str | None:
        """Why this process finds and keeps no entries; None where it can. Makes the directory and its key."""
        wrong = self.cannot_be()
        if wrong is None and self._secret and self._no_key:
            wrong = f"'{self.directory}': {self._no_key}"
        return wrong

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
                found = path.stat()
                out.append((found.st_mtime, found.st_size, path))
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
        except OSError as e:
            self._no_key = e.strerror or str(e)
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
