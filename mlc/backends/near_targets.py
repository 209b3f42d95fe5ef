"""For a target that no backend has: those that are called almost so, in part so, or so by others.

neon      did you mean 'aarch64-neon'?
sse4      did you mean 'x86-64-sse2'?
arm64     did you mean 'aarch64-neon'?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ALSO = {
    **dict.fromkeys(("arm", "arm64", "armv8", "asimd"), "aarch64"),
    **dict.fromkeys(("amd64", "x64", "x8664"), "x86-64"),
    **dict.fromkeys(("cpu", "host", "local", "auto", "default"), "native"),
}
_SHORTEST = 3
"""Letters from which a part of a name says something."""


def near_targets(given: str, known: Iterable[str]) -> list[str]:
    """Those of `known` that may be meant, at most four."""
    names = list(known)
    wanted = given.lower().replace("_", "-")
    wanted = _ALSO.get(wanted, wanted)
    if len(wanted) >= _SHORTEST and (inside := [n for n in names if wanted in n.lower()]):
        return inside[:4]
    if whole := difflib.get_close_matches(wanted, names, n=1):
        return whole
    last = {n.rpartition("-")[2].lower(): n for n in reversed(names)}
    return [last[part] for part in difflib.get_close_matches(wanted, last, n=1)]


def question(given: str, known: Iterable[str]) -> str | None:
    """A hint that names them; None where there are none."""
    near = [f"'{n}'" for n in near_targets(given, known)]
    return f"did you mean {' or '.join(near)}?" if near else None
