"""A saved model that was loaded here before, from the cache: code and derived constants, without the compiler.

    cache/ab/ab…    the code of every version, and which arrays are derived: authenticated, as all code in the cache is
    cache/cd/cd…    the derived arrays (packed weights), in the container of saved models: mapped, their checksums read

Both are found by what decides them: the digest of the file, this compiler's sources, the code generator, the machine.
For target "native" alone; arrays of more than half of the cache are derived anew each time.
Tests: tests/artifact/test_ready.py
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mlc
from mlc.backends.llvm.backend import CPU_BACKEND, NATIVE
from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.thread_pool import thread_pool
from mlc.errors import MlcError, UsageError
from mlc.options import Options
from mlc.runtime.artifact.contents import Contents
from mlc.runtime.artifact.file import ArtifactFile, write_artifact
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import DiskCache, cache_at, cache_in_use, using
from mlc.runtime.executable import Executable, NativeCode, aligned
from mlc.runtime.threads import ThreadPool
from mlc.sources import digest

Found = list[tuple[Bundle, Executable]]
_BY_NAME = 'torch.operator "'
_LENGTH = struct.Struct("<Q")


def _keys(contents: Contents) -> tuple[str, str]:
    """Under which the code and the arrays of this file are."""
    backend = CPU_BACKEND.fingerprint(CPU_BACKEND.machine(NATIVE))
    own = f"ready 2 mlc {mlc.__version__} {digest(Path(mlc.__file__).parent)} {backend}"
    code = hashlib.blake2b(f"{own} {contents.digest}".encode(), digest_size=16).hexdigest()
    return code, hashlib.blake2b(f"{code} arrays".encode(), digest_size=16).hexdigest()


def cache_for(options: Options) -> DiskCache | None:
    """The cache that keeps models which are ready; None where none does."""
    return cache_at(options.cache_dir) if options.target == NATIVE else None


def read(contents: Contents, options: Options) -> Found | None:
    """The code of every version, linked; None where the cache has not all of it."""
    cache = cache_for(options)
    if cache is None:
        return None
    code, arrays = _keys(contents)
    stored = cache.get(code)
    if stored is None:
        return None
    header, bundles = _unpacked(stored)
    try:
        file = ArtifactFile(cache.path(arrays))
        if file.index["parts"] != header["parts"]:
            return None
        derived = [[file.array(n, np.dtype(d), tuple(shape)) for n, d, shape in row] for row in header["derived"]]
    except MlcError:  # gone, or damaged
        return None
    with contextlib.suppress(OSError):
        os.utime(file.path)  # used now: others make room first
    return [
        (bundle, _linked(bundle, version.weights, iter(row)))
        for bundle, version, row in zip(bundles, contents.versions, derived, strict=True)
    ]


def write(contents: Contents, options: Options, found: Found) -> None:
    """Keep what was compiled for the next time. A full or read-only disk is no error."""
    cache = cache_for(options)
    if cache is None or any(_BY_NAME in version.text for version in contents.versions):
        return  # what ops of another package are is for that package to say, each time
    code, arrays = _keys(contents)
    parts: list[np.ndarray] = []
    rows: list[list[Any]] = []
    for bundle, executable in found:
        names = set(bundle.derived)
        derived = [a for n, a in zip(bundle.constants, executable.constants, strict=True) if n in names]
        rows.append([[len(parts) + i, a.dtype.str, a.shape] for i, a in enumerate(derived)])
        parts += [a.reshape(-1).view(np.uint8) for a in derived]
    if sum(p.nbytes for p in parts) > cache.limit // 2:
        return
    path = cache.path(arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = write_artifact(path, {}, parts)
    except (OSError, UsageError):
        return
    cache.put(code, _packed({"parts": table, "derived": rows}, [b.to_bytes() for b, _ in found]))
    cache.trim()


def _linked(bundle: Bundle, weights: Mapping[str, np.ndarray], derived: Iterator[np.ndarray]) -> Executable:
    """As `mlc.build.link` does it, with derived constants that are there."""
    bundle.check_weights(weights.get)
    names = set(bundle.derived)
    constants = [
        aligned(bundle.literals[n] if n in bundle.literals else next(derived) if n in names else weights[n])
        for n in bundle.constants
    ]
    library = load_objects(bundle.objects)
    dims = library.find("mlc_output_dims")
    code = NativeCode(library.address("mlc_forward"), library.address("mlc_arena_size"), dims, library)
    pool = _PoolWhenNeeded(cache_in_use())
    return Executable(code, bundle.inputs, bundle.outputs, constants, bundle.assertions, pool)


class _PoolWhenNeeded(ThreadPool):
    """The process's pool, once a call asks for more than its own thread: its code is in the cache, or made then."""

    def __init__(self, cache: DiskCache | None) -> None:
        self._cache = cache
        self._pool: ThreadPool | None = None

    def backwards(self) -> int:
        """Address of a team of one thread that runs loops that stream memory from their last piece to the first."""
        pool = self._needed()
        return pool.backwards() if pool is not None else 0

    def team(self, threads: int) -> int:
        """Address of a team of this size; 0 for a thread alone."""
        if threads == 1:
            return 0
        pool = self._needed()
        return pool.team(threads) if pool is not None else 0

    def _needed(self) -> ThreadPool | None:
        if self._pool is None:
            with using(self._cache):
                self._pool = thread_pool()
        return self._pool


def _packed(header: dict[str, Any], bundles: Sequence[bytes]) -> bytes:
    text = json.dumps({**header, "bundles": [len(b) for b in bundles]}).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *bundles])


def _unpacked(data: bytes) -> tuple[dict[str, Any], list[Bundle]]:
    """What `_packed` packed: the cache gives back nothing else."""
    (length,) = _LENGTH.unpack_from(data)
    at = _LENGTH.size + length
    header = json.loads(data[_LENGTH.size : at])
    bundles: list[Bundle] = []
    for size in header["bundles"]:
        bundles.append(Bundle.from_bytes(data[at : at + size]))
        at += size
    return header, bundles
