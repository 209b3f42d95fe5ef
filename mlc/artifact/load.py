"""`mlc.load(path)`: a saved model, compiled for this machine (or found in the cache), its weights on the mapped file.

loaded = mlc.load("m.mlc", num_threads=2)
y = loaded(x)

Torch is not imported, and nothing in the file is run. The compiler (`loader.py`) is imported where the cache lacks the
model (`ready.py`), or when the model is looked at. Weights that are used as they are stay on the file.
Tests: tests/artifact/test_load.py
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlc.advice import advise_cache
from mlc.artifact import ready, seen
from mlc.errors import ArtifactError, LimitError
from mlc.ir.collector import collector_paused
from mlc.options import Options
from mlc.runtime.artifact.call import Version
from mlc.runtime.artifact.contents import Contents, read_contents
from mlc.runtime.artifact.file import ArtifactFile, checked_path
from mlc.runtime.artifact.model import LoadedModel
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import cache_at, using
from mlc.runtime.executable import Executable

if TYPE_CHECKING:
    from mlc.artifact.loader import Unit


def load(
    path: str | os.PathLike[str],
    num_threads: int | None = None,
    target: str = "native",
    verbose: bool = False,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> LoadedModel:
    """Load what `compiled.save(path)` wrote, compiled for `target`; call it like the compiled model.

    The file is mapped as long as the model is there: write a new version beside it and rename it, as `save` does, not
    into it. ArtifactError for a file that is damaged or of a newer version, UsageError for one that cannot be read.
    """
    options = Options(target=target, num_threads=num_threads, verbose=verbose, cache_dir=cache_dir)
    advise_cache(options)
    return _load(checked_path(path), options)[0]


def _load(file_path: Path, options: Options) -> tuple[LoadedModel, str, list[np.ndarray]]:
    """The model, the digest of its file, and what it changes."""
    cache = ready.cache_for(options)
    file = seen.opened(file_path, cache)
    contents = read_contents(file)
    with collector_paused(), using(cache_at(options.cache_dir)):
        found = ready.read(contents, options)
        if found is None:
            if not file.hashed:  # what is kept under a digest is of bytes that were hashed
                file = ArtifactFile(file_path)
                contents = read_contents(file)
            from mlc.artifact.loader import Loader  # noqa: PLC0415 - the compiler, where the cache lacks the model

            try:
                made = Loader(file, contents, options).compile()
            except MemoryError:
                raise LimitError(f"there is no memory to load '{file_path}'") from None
            found = [(m.bundle, m.executable) for m in made]
            if file.is_unchanged():
                ready.write(contents, options, found)
        elif options.verbose:
            print(f"  {file_path}: from the cache", file=sys.stderr)
        seen.remember(file, cache)
        file.release()
        states = [np.array(a) for a in contents.states]
        return _model(file, contents, options, found, states), contents.digest, states


def load_again(path: str, digest: str, options: Options, states: Sequence[np.ndarray]) -> LoadedModel:
    """A copy of a loaded model: the same file, with the present values of what the model changes; ArtifactError where
    the file is another now, UsageError where it is gone."""
    loaded, found, held = _load(Path(path), options)
    if found != digest:
        raise ArtifactError(
            f"cannot load '{path}': it is another file than when the model was copied or pickled",
            hint="load it again with mlc.load",
        )
    for array, values in zip(held, states, strict=True):
        array[...] = values
    return loaded


def check(path: str | os.PathLike[str]) -> Contents:
    """The contents of a saved model of which every byte, every reference and the IR were checked; ArtifactError."""
    from mlc.artifact.loader import Loader  # noqa: PLC0415 - the compiler

    file = ArtifactFile(checked_path(path))
    contents = read_contents(file)
    with collector_paused():
        Loader(file, contents, Options()).check()
    return contents


def _model(
    file: ArtifactFile,
    contents: Contents,
    options: Options,
    found: list[tuple[Bundle, Executable]],
    states: list[np.ndarray],
) -> LoadedModel:
    """The versions with what they share."""
    lock = threading.Lock()
    versions: list[Version] = []
    for saved, (_, executable) in zip(contents.versions, found, strict=True):
        executable.num_threads = options.num_threads
        try:
            versions.append(Version(saved.plan, executable, states, contents.arrays, lock))
        except ValueError as error:
            raise file.damaged(f"its contents do not fit together: {error}") from None

    made = [(executable, bundle.choices) for bundle, executable in found]  # the rest of a bundle is memory

    def unit(number: int) -> Unit:
        from mlc.artifact.loader import Loader, Unit  # noqa: PLC0415 - the compiler, to look at the model

        return Unit(Loader(file, contents, options), contents.versions[number], *made[number])

    path = os.path.abspath(file.path)

    def again() -> tuple[Callable[..., LoadedModel], tuple[Any, ...]]:
        with lock:
            return load_again, (path, contents.digest, options, [a.copy() for a in states])

    return LoadedModel(
        contents.name,
        versions,
        contents.signature,
        ir=lambda number, level: unit(number).ir(level),
        explain=lambda number: unit(number).explain(),
        again=again,
    )
