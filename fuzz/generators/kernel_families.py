"""Kernels that differ in one size, and kernels that nearly do: another constant, op, order, stride or second size.
Some do nothing but fill: those may differ in sizes and strides.

@forward calls @k_0 on 1x3x5x8, @k_1 on 1x7x5x8, @k_2 on 1x3x5x4, …
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fuzz.generators.text import Lines, float_literal, memref
from fuzz.tape import Tape
from mlc.testing.program import Program, build

_MAP = "affine_map<({}) -> ({})>"


@dataclass(frozen=True)
class Shape:
    """What a kernel is made of: `pieces` of `lanes` at `points`; products also have `results` and `lanes` of those."""

    kind: str = "scaled"
    pieces: int = 2
    points: int = 3
    lanes: int = 4
    results: int = 2
    constant: float = 0.0
    op: str = "addf"
    swapped: bool = False  # pieces inside of points
    apart: int = 0  # elements between pieces
    window: int = 1


@dataclass
class Families:
    """Text of a module."""

    tape: Tape
    kernels: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)  # of @forward's arguments
    calls: list[str] = field(default_factory=list)

    def like(self, base: Shape) -> Shape:
        """A kernel of the family, or one beside it."""
        tape = self.tape
        other = replace(base, pieces=tape.pick((2, 1, 3, 5, 7, base.lanes, base.points)))
        if base.kind == "filled":
            other = replace(other, points=tape.pick((base.points, 1, 2, 5)), apart=tape.pick((base.apart, 0, 2, 5)))
        if not tape.chance(25):
            return other
        changes: tuple[dict[str, object], ...] = (
            {"constant": 1.5},
            {"op": "mulf"},
            {"points": base.points + 1},
            {"lanes": base.lanes + 1},
            {"results": base.results + 1},
            {"swapped": not base.swapped},
            {"apart": base.apart + 2},
            {"window": 3 - base.window},
            {"constant": -0.0},
        )
        return replace(other, **tape.pick(changes))  # pyright: ignore[reportArgumentType]

    def base(self) -> Shape:
        tape = self.tape
        return Shape(
            kind=tape.pick(("scaled", "product", "summed", "filled")),
            points=tape.pick((3, 1, 2, 5)),
            lanes=tape.pick((4, 1, 2, 8)),
            results=tape.pick((2, 1, 3)),
            swapped=tape.chance(20),
            apart=tape.pick((0, 0, 0, 3)),
            window=tape.pick((1, 1, 2)),
        )

    def pieces_type(self, shape: Shape) -> str:
        """Pieces of lanes at points, or points of pieces of lanes."""
        sizes = (shape.pieces, shape.points + shape.window - 1, shape.lanes)
        a, b, c = (sizes[1], sizes[0], sizes[2]) if shape.swapped else sizes
        if not shape.apart:
            return memref((1, a, b, c))
        layout = f"strided<[{a * (b * c + shape.apart)}, {b * c + shape.apart}, {c}, 1]>"
        return memref((1, a, b, c), layout=layout)

    def add(self, shape: Shape) -> None:
        """A kernel and its call on arguments of its own; sometimes called twice."""
        name = f"k_{len(self.kernels)}"
        types, body = getattr(self, f"_{shape.kind}")(shape)
        arguments = ", ".join(f"%{i}: {t}" for i, t in enumerate(types))
        self.kernels.append(f"func.func private @{name}({arguments}) attributes {{kernel}} {{\n{body}\n  return\n}}")
        for _ in range(2 if self.tape.chance(15) else 1):
            operands = ", ".join(f"%x{len(self.types) + i}" for i in range(len(types)))
            self.calls.append(f"  func.call @{name}({operands}) : ({', '.join(types)}) -> ()")
            self.types += types

    def _scaled(self, shape: Shape) -> tuple[list[str], str]:
        shape = replace(shape, window=1)
        whole = self.pieces_type(shape)
        each = memref((shape.pieces, shape.lanes))
        at = "d2, d3" if shape.swapped else "d1, d3"
        lines = Lines()
        bound = lines.value(f"arith.constant {float_literal(shape.constant, 'f32')} : f32")
        maps = [_MAP.format("d0, d1, d2, d3", m) for m in ("d0, d1, d2, d3", at, "d0, d1, d2, d3")]
        body = [
            f"%s = arith.{shape.op} %a, %b : f32",
            f"%m = arith.maximumf %s, {bound} : f32",
            "linalg.yield %m : f32",
        ]
        self._generic(lines, maps, "pppp", ["%0", "%1"], [whole, each], "%2", whole, body)
        return [whole, each, whole], lines.text()

    def _filled(self, shape: Shape) -> tuple[list[str], str]:
        whole = self.pieces_type(replace(shape, window=1))
        lines = Lines()
        value = lines.value(f"arith.constant {float_literal(shape.constant, 'f32')} : f32")
        lines.emit(f"linalg.fill ins({value} : f32) outs(%0 : {whole})")
        return [whole], lines.text()

    def _product(self, shape: Shape) -> tuple[list[str], str]:
        pieces = self.pieces_type(shape)
        weights = memref((shape.results, shape.pieces, shape.window, shape.lanes, 3))
        out = memref((1, shape.results, shape.points, 3))
        lines = Lines()
        start = lines.value(f"arith.constant {float_literal(shape.constant, 'f32')} : f32")
        lines.emit(f"linalg.fill ins({start} : f32) outs(%2 : {out})")
        at = "d2 + d5" if shape.window > 1 else "d2"
        dims = "d0, d1, d2, d3, d4, d5, d6"
        read = f"d0, {at}, d4, d6" if shape.swapped else f"d0, d4, {at}, d6"
        maps = [_MAP.format(dims, m) for m in (read, "d1, d4, d5, d6, d3", "d0, d1, d2, d3")]
        body = ["%p = arith.mulf %a, %b : f32", f"%s = arith.{shape.op} %p, %o : f32", "linalg.yield %s : f32"]
        self._generic(lines, maps, "pppprrr", ["%0", "%1"], [pieces, weights], "%2", out, body)
        return [pieces, weights, out], lines.text()

    def _summed(self, shape: Shape) -> tuple[list[str], str]:
        shape = replace(shape, window=1)
        pieces, out = self.pieces_type(shape), memref((1, shape.points, shape.lanes))
        lines = Lines()
        kept = "d0, d1, d3" if shape.swapped else "d0, d2, d3"
        maps = [_MAP.format("d0, d1, d2, d3", m) for m in ("d0, d1, d2, d3", kept)]
        body = [f"%s = arith.{shape.op} %a, %o : f32", "linalg.yield %s : f32"]
        kinds = "pprp" if shape.swapped else "prpp"
        self._generic(lines, maps, kinds, ["%0"], [pieces], "%1", out, body)
        return [pieces, out], lines.text()

    def _generic(
        self,
        lines: Lines,
        maps: list[str],
        kinds: str,
        ins: list[str],
        types: list[str],
        out: str,
        out_type: str,
        body: list[str],
    ) -> None:
        names = {"p": '"parallel"', "r": '"reduction"'}
        iterators = ", ".join(names[k] for k in kinds)
        block = ", ".join(f"%{n}: f32" for n in [*"ab"[: len(ins)], "o"])
        lines.emit(
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{iterators}]}} "
            f"ins({', '.join(ins)} : {', '.join(types)}) outs({out} : {out_type}) {{"
        )
        lines.emit(f"^bb0({block}):")
        for line in body:
            lines.emit(f"  {line}")
        lines.emit("}")

    def text(self) -> str:
        """The module."""
        arguments = ", ".join(f"%x{i}: {t}" for i, t in enumerate(self.types))
        forward = [f"func.func @forward({arguments}) {{", *self.calls, "  return", "}"]
        return "\n".join([*forward, *self.kernels])


def kernel_families(tape: Tape) -> Program:
    """A few kernels, most of them of one family."""
    families = Families(tape)
    for _ in range(tape.pick((1, 1, 2))):
        base = families.base()
        for _ in range(tape.pick((2, 3, 4, 6))):
            families.add(families.like(base))
    return build(families.text(), features=("families",))
