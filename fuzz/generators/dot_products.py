"""Products of narrow elements: on tensors as the pipeline makes them, and kernels whose root the vectoriser takes as
dot products, sums of products of bf16 that lie in pairs or of i8 that lie in fours.

Near misses: groups of another size or sign, groups that are not innermost, blocks that fill no vector, other types.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

from fuzz.generators.buffers import KernelGenerator, Operand
from fuzz.generators.linalg import ALL_STEPS
from fuzz.generators.linalg_witnesses import witnessed
from fuzz.generators.staged import run
from fuzz.generators.text import affine
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.testing.program import Program

_ROWS, _BLOCKS, _STEPS = (4, 1, 3, 11, 17, 2), (2, 1, 3), (3, 1, 2, 4, 8)


class DotGenerator(KernelGenerator):
    """One kernel; the root is always a dot product or a near miss."""

    roots: ClassVar[tuple[str, ...]] = ("dot",)
    rows: ClassVar[tuple[int, ...]] = _ROWS
    steps: ClassVar[tuple[int, ...]] = _STEPS
    lanes: ClassVar[tuple[int, ...]] = (16, 16, 16, 32, 8, 12)
    kinds: ClassVar[tuple[str, ...]] = ("bf16", "bf16", "bf16", "f16", "i8", "i8")
    starts: ClassVar[tuple[float | None, ...]] = ()  # what sums begin with, if not zero; None: what is in memory

    def dot(self) -> Operand:
        """Loops (m, n1, n0, k1, k0), in some order of the factors."""
        tape = self.tape
        self.features.append("dot")
        narrow = tape.pick(self.kinds)
        wide = self.element = "i32" if narrow == "i8" else "f32"
        m, n1, k1 = tape.pick(self.rows), tape.pick(_BLOCKS), tape.pick(self.steps)
        n0 = tape.pick(self.lanes)
        k0 = tape.pick((4, 4, 4, 4, 4, 2) if narrow == "i8" else (2, 2, 2, 2, 2, 3))
        x = self.argument((m, k1, k0), ["d0", "d3", "d4"], narrow)
        panels, reads = (n1, k1, n0, k0), ["d1", "d3", "d2", "d4"]
        if tape.chance(10):  # pairs that lie apart
            panels, reads = (n1, k1, k0, n0), ["d1", "d3", "d4", "d2"]
        w = self.argument(panels, reads, narrow)
        o = self.argument((m, n1, n0), ["d0", "d1", "d2"])
        start = tape.pick(self.starts) if self.starts else 0.0
        if start is not None:
            self.fill(o, start)
        first, second = (w, x) if tape.chance(30) else (x, w)
        c = self.out.counter
        self.out.counter += 1
        maps = ", ".join(affine(5, operand.exprs) for operand in (first, second, o))
        kinds = ", ".join(f'"{k}"' for k in ("parallel",) * 3 + ("reduction",) * 2)
        self.out.emit(
            f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}}"
            f" ins({first.name}, {second.name} : {first.type}, {second.type}) outs({o.name} : {o.type}) {{"
        )
        self.out.emit(f"^bb0(%a_{c}: {narrow}, %b_{c}: {narrow}, %acc_{c}: {wide}):")
        self.out.depth += 1
        kind = wide[0]
        signs = (("extui", "extsi"), ("extsi", "extui"), ("extsi", "extsi"))
        extend = ("extf", "extf") if kind == "f" else tape.pick(signs)
        factors = zip(extend, (f"%a_{c}", f"%b_{c}"), strict=True)
        a, b = [self.out.value(f"arith.{name} {v} : {narrow} to {wide}") for name, v in factors]
        product = self.out.value(f"arith.mul{kind} {a}, {b} : {wide}")
        total = self.out.value(f"arith.add{kind} %acc_{c}, {product} : {wide}")
        self.out.emit(f"linalg.yield {total} : {wide}")
        self.out.depth -= 1
        self.out.emit("}")
        return self.plain(o)


class MatrixGenerator(DotGenerator):
    """Dot products that fill tiles of a matrix unit: whole ones, with rows left over, and just too few."""

    rows: ClassVar[tuple[int, ...]] = (16, 4, 17, 36, 35, 8, 16, 36, 3)
    steps: ClassVar[tuple[int, ...]] = (4, 20, 8, 32, 7, 4, 16, 3)
    lanes: ClassVar[tuple[int, ...]] = (16, 16, 32)
    kinds: ClassVar[tuple[str, ...]] = ("bf16", "bf16", "bf16", "i8")
    starts: ClassVar[tuple[float | None, ...]] = (0.0, 2.0, None)

    def argument(self, sizes: tuple[int, ...], exprs: list[str], element: str | None = None) -> Operand:
        """Sizes are known."""
        self.dynamic = False
        return super().argument(sizes, exprs, element)

    def strides(self, sizes: tuple[int, ...]) -> list[str]:
        """Rows with gaps between them."""
        inner = [prod(sizes[i + 1 :]) for i in range(1, len(sizes))]
        return [str(prod(sizes[1:]) + self.tape.pick((0, 2, 16, 35))), *map(str, inner)]


def memref_matrix_kernel(tape: Tape) -> Program:
    """A product for a matrix unit, and its epilogues."""
    return MatrixGenerator(tape).program()


def tile_loops(tape: Tape) -> Program:
    """The same as loops."""
    tiles = make_pass("vectorize-structured", {"dot_products": True, "matrix_tiles": True})
    return run(memref_matrix_kernel(tape), [tiles, make_pass("linalg-to-loops"), make_pass("scf-parallel-to-for")])


def memref_dot_kernel(tape: Tape) -> Program:
    """A dot product and its epilogues."""
    return DotGenerator(tape).program()


def demoted_products(tape: Tape) -> Program:
    """Matrix products with constants, rounded to bf16."""
    program = witnessed("linalg-pack-matmul", ALL_STEPS)(tape)
    return run(program, [make_pass("linalg-demote-contraction-inputs", {"weights_only": tape.chance(30)})])


def quantised_products(tape: Tape) -> Program:
    """Matrix products with constants, of matrices that hold integers."""
    program = witnessed("linalg-pack-matmul", ALL_STEPS)(tape)
    return run(program, [make_pass("linalg-quantize-contraction-inputs", {})])


def narrowed_products(tape: Tape) -> Program:
    """The same of i8."""
    return run(quantised_products(tape), [make_pass("linalg-narrow-integral-contractions", {})])
