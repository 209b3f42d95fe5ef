"""Generators by profile: `GENERATORS[profile](tape) -> Program`. Contracts name a profile."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.program import Program
from fuzz.tape import Tape

Generator = Callable[[Tape], Program]
