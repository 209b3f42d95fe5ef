"""What a user is told before anything is compiled: that nothing will be kept.

advise(options)     # in mlc.compile: the warning points at the line that calls it
"""

from __future__ import annotations

import warnings

from mlc.options import Options
from mlc.runtime.cache import cache_at

_told: set[str] = set()
"""Why caches keep nothing: each is told once per process."""


def advise(options: Options) -> None:
    """Warn the caller of who calls this."""
    advise_cache(options, stacklevel=4)


def advise_cache(options: Options, *, stacklevel: int = 3) -> None:
    """Warn where the cache of a compile can keep nothing; UsageError where its size is no size."""
    cache = cache_at(options.cache_dir)
    wrong = cache.keeps_nothing() if cache is not None else None
    if wrong is not None and wrong not in _told:
        _told.add(wrong)
        warnings.warn(
            f"no cache: {wrong}; models are compiled again in each process. MLC_CACHE_DIR or cache_dir= names another "
            'directory, cache_dir="" none',
            stacklevel=stacklevel,
        )
