"""Kernels over more rows than a register tile or two holds, with a few left over: products that begin anew or add to
what is there, in the result's memory or in memory of their own, and elementwise ops after them or alone; an argument
may be the memory of the result.

    @kernel(%a, %w, %r {mlc.may_alias}, %o {mlc.may_alias}):   %t = alloca;  fill %t;  %t += %a * %w;  %o = %t - %r
"""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.generators.text import Lines, memref
from fuzz.tape import Tape
from mlc.testing.program import Program, build

_ROWS = (31, 13, 17, 19, 23, 29, 37, 41, 43, 47, 11, 12)


@dataclass
class _Kernel:
    """One kernel on `rows` x `lanes`; rows of results are `apart` elements from each other."""

    rows: int
    lanes: int
    depth: int
    apart: int
    aliases: bool  # the third argument is the result's memory

    @property
    def plane(self) -> str:
        layout = f"strided<[{self.lanes + self.apart}, 1]>" if self.apart else ""
        return memref((self.rows, self.lanes), layout=layout)

    @property
    def types(self) -> list[str]:
        """Of the arguments."""
        return [memref((self.rows, self.depth)), memref((self.depth, self.lanes)), self.plane, self.plane]

    def body(self, tape: Tape) -> str:
        """The ops; sets `aliases`."""
        lines = Lines()
        product = tape.chance(85)
        own = product and tape.chance(40)
        result = "%t" if own else "%o"
        whole = memref((self.rows, self.lanes)) if own else self.plane
        if own:
            lines.emit(f"%t = memref.alloca() : {whole}")
        if product:
            if own or tape.chance(70):
                zero = lines.value("arith.constant 0.000000e+00 : f32")
                lines.emit(f"linalg.fill ins({zero} : f32) outs({result} : {whole})")
            maps, factors = ("d0, d2", "d2, d1", "d0, d1"), ", ".join(self.types[:2])
            term = ("%p = arith.mulf %x, %y : f32", "%s = arith.addf %p, %z : f32")
            self._generic(lines, maps, "ppr", f"%a, %w : {factors}", f"{result} : {whole}", term)
        self.aliases = (own or not product) and tape.chance(50)
        if own or not product or tape.chance(60):
            first = result if own else tape.pick(("%r", "%o"))
            last = "%s = arith.addf %d, %z : f32" if not own and tape.chance(30) else "%s = arith.addf %d, %x : f32"
            sums = ("%q = arith.addf %x, %x : f32", "%d = arith.subf %q, %y : f32", last)
            self._generic(
                lines, ("d0, d1",) * 3, "pp", f"{first}, %r : {whole}, {self.plane}", f"%o : {self.plane}", sums
            )
        return lines.text()

    def _generic(
        self, lines: Lines, maps: tuple[str, ...], kinds: str, ins: str, outs: str, body: tuple[str, ...]
    ) -> None:
        names = {"p": '"parallel"', "r": '"reduction"'}
        loops = ", ".join(f"d{i}" for i in range(len(kinds)))
        about = ", ".join(f"affine_map<({loops}) -> ({m})>" for m in maps)
        iterators = ", ".join(names[k] for k in kinds)
        lines.emit(
            f"linalg.generic {{indexing_maps = [{about}], iterator_types = [{iterators}]}} ins({ins}) outs({outs}) {{"
        )
        lines.emit("^bb0(%x: f32, %y: f32, %z: f32):")
        for line in (*body, "linalg.yield %s : f32"):
            lines.emit(f"  {line}")
        lines.emit("}")


def tiled_rows(tape: Tape) -> Program:
    """@forward and its kernel."""
    sizes = tape.pick(_ROWS), tape.pick((8, 4, 16, 5, 24)), tape.pick((3, 1, 2, 8)), tape.pick((0, 3, 8))
    kernel = _Kernel(*sizes, aliases=False)
    body = kernel.body(tape)
    flag = " {mlc.may_alias}" if kernel.aliases or tape.chance(20) else ""
    a, w, r, o = kernel.types
    text = [
        f"func.func @forward(%a: {a}, %w: {w}, %r: {r}, %o: {o}) {{",
        f"  func.call @kernel(%a, %w, {'%o' if kernel.aliases else '%r'}, %o) : ({a}, {w}, {r}, {o}) -> ()",
        "  return",
        "}",
        f"func.func private @kernel(%a: {a}, %w: {w}, %r: {r}{flag}, %o: {o}{flag}) attributes {{kernel}} {{",
        body,
        "  return",
        "}",
    ]
    return build("\n".join(text), features=("tiled-rows",))
