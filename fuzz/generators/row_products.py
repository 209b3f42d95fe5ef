"""Products of rows: kernels whose root sums along the rows of both factors, as a linear layer reads its weights, or
along rows of weights and through panels of rows.

Near misses: rows shorter than a vector, panels of other widths, results that do not lie side by side, sizes known at
run time only.
"""

from __future__ import annotations

from typing import ClassVar

from fuzz.generators.bodies import is_float
from fuzz.generators.buffers import KernelGenerator, Operand
from fuzz.tape import Tape
from mlc.testing.program import Program

_RESULTS, _LENGTHS, _VECTORS = (8, 16, 9, 10, 4, 2, 3, 17, 1), (16, 17, 33, 40, 64, 100, 15, 7, 4), (4, 1, 2, 3, 5)
_WIDTHS = (16, 32, 16, 16, 8, 12)


class RowsGenerator(KernelGenerator):
    """One kernel: products over panels of rows, then a product of rows that the epilogues follow."""

    roots: ClassVar[tuple[str, ...]] = ("rows",)

    def strides(self, sizes: tuple[int, ...]) -> list[str]:
        """Rows apart, their elements side by side most of the time."""
        step, out = self.tape.pick((1, 1, 1, 1, 1, 2)), []
        for n in reversed(sizes):
            out.append(str(step))
            step = step * max(n, 1) + self.tape.pick((0, 0, 3, 16))
        return out[::-1]

    def rows(self) -> Operand:
        """One row, or several, with many rows of the other factor."""
        tape = self.tape
        self.features.append("rows")
        for _ in range(tape.pick((1, 2, 0))):
            target = self.panels()
            if tape.chance(50):
                self.epilogue(target)
        left, result = tape.pick((("k", "n"), ("k", "n"), ("mk", "mn"), ("mk", "nm")))
        size = {"k": tape.pick(_LENGTHS), "n": tape.pick(_RESULTS), "m": tape.pick(_VECTORS)}
        letters = result + "k"
        at = {c: f"d{i}" for i, c in enumerate(letters)}
        a, b, o = (self.argument(tuple(size[c] for c in s), [at[c] for c in s]) for s in (left, "nk", result))
        if tape.chance(80):
            self.fill(o, 0.0)
        factors = [b, a] if tape.chance(30) else [a, b]
        combine = "addf" if is_float(self.element) else "addi"
        self.generic(len(letters), "p" * len(result) + "r", factors, o, combine, own=False)
        return self.plain(o)

    def panels(self) -> Operand:
        """Panels of rows, a row of each side by side, with many rows of weights."""
        tape = self.tape
        self.features.append("panels")
        result = tape.pick(("abn", "abn", "abn", "abn", "abn", "nab"))
        size = {"a": tape.pick(_VECTORS), "b": tape.pick(_WIDTHS), "n": tape.pick((16, 33, 17, 32, 20, 8))}
        size["k"] = tape.pick((5, 16, 9, 40, 2, 1))
        letters = result + "k"
        at = {c: f"d{i}" for i, c in enumerate(letters)}
        x, w, o = (self.argument(tuple(size[c] for c in s), [at[c] for c in s]) for s in ("akb", "nk", result))
        if tape.chance(80):
            self.fill(o, 0.0)
        combine = "addf" if is_float(self.element) else "addi"
        self.generic(len(letters), "pppr", [w, x] if tape.chance(30) else [x, w], o, combine, own=False)
        return self.plain(o)


def memref_rows_kernel(tape: Tape) -> Program:
    """Products of rows and over panels of rows, and epilogues."""
    return RowsGenerator(tape).program()
