"""Options of a compile: one frozen, validated record that the face fills and the driver reads.

Options(precision="float16")   ->  UsageError: precision 'float16' is not available
                                     expected: one of: float32, bfloat16, int8
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mlc.errors import UsageError
from mlc.runtime.threads import checked

PRECISIONS = ("float32", "bfloat16", "int8")
DEBUG_MODES = ("", "bounds", "verify")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `mlc.compile` was asked for.

    `target`: "native" (this machine) or the name of a machine model. `precision`: arithmetic of linear layers (and, in
    bfloat16, convolutions) of float32 models; "bfloat16" is fast with AVX512_BF16, "int8" with AVX512_VNNI, elsewhere
    "float32" is likely faster, which a warning says.
    `num_threads`: threads of each call; None for what `mlc.set_num_threads` says, else one per available core.
    `tune`: measure other layouts, tiles and vector widths while building and keep the fastest; takes longer.
    `winograd`: 3x3 convolutions may use Winograd's minimal filtering, products with constant weights his inner product
    (pairs of terms for one multiplication) or a matrix unit for bf16 (every number as the sum of three); False computes
    all of them directly.
    `offload_weights`: weights of which compiled code has packed copies leave memory for files without names in the
    cache directory (mapped; the model stays as usable as before), where the system can do that (Linux with glibc).
    `verbose`: print what each phase of a first call took, from imports to the run. `cache_dir`: where compiled kernels
    are kept, "" for no disk cache, None for the user's cache directory. `debug`: "bounds" checks every access, "verify"
    runs the verifier after each pass.
    """

    target: str = "native"
    precision: str = "float32"
    num_threads: int | None = None
    tune: bool = False
    winograd: bool = True
    offload_weights: bool = False
    verbose: bool = False
    cache_dir: str | os.PathLike[str] | None = None
    debug: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.target, str) or not self.target:
            raise UsageError(f"target is {self.target!r}", expected='"native" or the name of a machine model')
        _choice("precision", self.precision, PRECISIONS)
        _choice("debug", self.debug, DEBUG_MODES)
        for name in ("tune", "winograd", "offload_weights", "verbose"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}", expected="True or False")
        if self.tune and self.debug == "bounds":
            raise UsageError('tune=True measures code that debug="bounds" slows down', hint="use one of the two")
        if self.num_threads is not None:
            object.__setattr__(self, "num_threads", checked(self.num_threads))
        if self.cache_dir is not None:
            if not isinstance(self.cache_dir, str | os.PathLike):
                raise UsageError(f"cache_dir is {self.cache_dir!r}", expected="a path, or None")
            if os.fspath(self.cache_dir):
                path = Path(self.cache_dir).expanduser()
                if path.exists() and not path.is_dir():
                    raise UsageError(f"cache_dir {str(path)!r} is not a directory", expected="a directory")

    @classmethod
    def of(cls, **given: Any) -> Options:
        """From keyword arguments; an unknown one is refused with the near names."""
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"there is no option '{name}'",
                    expected=f"one of: {', '.join(known)}",
                    hint=f"did you mean '{near[0]}'?" if near else None,
                )
        return cls(**given)


def _choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value in allowed:
        return
    near = difflib.get_close_matches(str(value), allowed, n=1)
    raise UsageError(
        f"{name} {value!r} is not available",
        expected=f"one of: {', '.join(repr(a) for a in allowed)}",
        hint=f"did you mean {near[0]!r}?" if near else None,
    )
