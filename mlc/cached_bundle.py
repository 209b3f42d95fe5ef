"""Whole models in the cache, by what they say of their source: messages of assertions name the user's lines.

keep_bundle(cache, key, bundle, places)             # without assertions under its key, else under that and the lines
cached_bundle(cache, key, lambda: places)  -->  the bundle whose messages name the lines of `places`, if there is one

Two programs with the same model at different lines are kept beside each other.
Tests: tests/api/test_cached_start.py
"""

from __future__ import annotations

from collections.abc import Callable

from mlc.keys import placed_key
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import DiskCache


def cached_bundle(cache: DiskCache, key: str, places: Callable[[], str | None]) -> Bundle | None:
    """What the cache has of a model. `key`: its `model_key`; `places`: the hash of its source lines, None where it is
    not known, asked only where the model may need it."""
    stored = cache.get(key)
    if stored is None and (here := places()) is not None:
        stored = cache.get(placed_key(key, here))
    return Bundle.from_bytes(stored) if stored is not None else None


def keep_bundle(cache: DiskCache, key: str, bundle: Bundle, places: str) -> None:
    """Put a model into the cache, where `places` finds it."""
    cache.put(placed_key(key, places) if bundle.assertions else key, bundle.to_bytes())
