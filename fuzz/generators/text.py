"""Small helpers to write IR text: fresh names, lines, indentation, float and int literals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Lines:
    """Grows a function body."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.counter = 0

    def name(self) -> str:
        """A fresh SSA name."""
        self.counter += 1
        return f"%v{self.counter}"

    def emit(self, text: str) -> None:
        """One line at the current depth."""
        self.lines.append("  " * self.depth + text)

    def value(self, text: str) -> str:
        """`%v = text`; returns the name."""
        name = self.name()
        self.emit(f"{name} = {text}")
        return name

    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


def tensor(shape: Sequence[int], element: str = "f32") -> str:
    """`tensor<2x3xf32>`; negative dims are dynamic."""
    return f"tensor<{dims(shape)}{element}>"


def memref(shape: Sequence[int], element: str = "f32", layout: str = "") -> str:
    """`memref<2x3xf32, strided<…>>`."""
    return f"memref<{dims(shape)}{element}{', ' + layout if layout else ''}>"


def dims(shape: Sequence[int]) -> str:
    """`2x?x`."""
    return "".join(f"{'?' if d < 0 else d}x" for d in shape)


def float_literal(value: float, element: str) -> str:
    """A literal that is exact for the type: hex bits for what has no decimal form."""
    dtype = {"f32": np.float32, "f64": np.float64, "f16": np.float16}[element]
    x = np.asarray(value, dtype=dtype)
    if not np.isfinite(x):
        return hex(int(x.view(f"u{dtype().itemsize}")))
    text = repr(float(x))
    return text if "." in text else text.replace("e", ".0e") if "e" in text else text + ".0"


def affine(n: int, results: Sequence[str]) -> str:
    """`affine_map<(d0, d1) -> (d1)>`."""
    return f"affine_map<({', '.join(f'd{k}' for k in range(n))}) -> ({', '.join(results)})>"
