"""Sizes of memory and files as people write them.

parse_size("500M")  -->  500_000_000          shown(2 << 30)  -->  "2147 MB"
"""

from __future__ import annotations

import re

from mlc.errors import UsageError

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


def parse_size(text: str, what: str = "size") -> int:
    """Bytes of `500MB`, `500M`, `2GiB` or `4096`; `what` is said to be wrong otherwise."""
    found = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS:
        raise UsageError(f"{what} '{text}'", expected="a number with a unit: 500MB, 500M, 2GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def shown(size: int) -> str:
    """In MB, without a fraction where that says nothing."""
    return f"{size / 1e6:.0f} MB" if size >= 10_000_000 else f"{size / 1e6:.1f} MB"
