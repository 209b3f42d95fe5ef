"""Products of rows: kernels whose root sums along the rows of both factors, as a linear layer reads its weights.

Near misses: rows shorter than a vector, results that do not lie side by side, sizes known at run time only.
"""

from __future__ import annotations

from typing import ClassVar

from fuzz.generators.bodies import is_float
from fuzz.generators.buffers import KernelGenerator, Operand
from fuzz.tape import Tape
from mlc.testing.program import Program

_RESULTS, _LENGTHS, _VECTORS = (8, 16, 9, 10, 4, 2, 3, 17, 1), (16, 17, 33, 40, 64, 100, 15, 7, 4), (4, 1, 2, 3, 5)


class RowsGenerator(KernelGenerator):
    """One kernel; the root is always a product of rows."""

    roots: ClassVar[tuple[str, ...]] = ("rows",)

    def rows(self) -> Operand:
        """One row, or several, with many rows of the other factor."""
        tape = self.tape
        self.features.append("rows")
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


def memref_rows_kernel(tape: Tape) -> Program:
    """A product of rows and its epilogues."""
    return RowsGenerator(tape).program()
