"""Loops over single elements of a row, written as statements: tensors have names, stores update them.

    r = RowLoops(c, {"out": out})
    r.each(n, lambda i: r.store("out", r.b.extract(x, [i]), i))
        -->  %out1 = scf.for %i = 0 to %n iter_args(%o = %out) { … tensor.insert …; scf.yield }

Every loop carries all tensors; a loop that does not write one yields it as it came, which costs nothing in buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, tensor
from xdsl.ir import Operation, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.loop_nest import Values, counted
from mlc.lowering.torch.to_linalg.registry import Conversion


class RowLoops:
    """The tensors of a nest of loops by name, and the place in it where code is written now: `b`.

    `at`: the indices of the row; every access puts them before its own.
    """

    def __init__(self, c: Conversion, tensors: dict[str, SSAValue]) -> None:
        self.c, self.at = c, list[SSAValue]()
        self.names, self.values = list(tensors), dict(tensors)
        self.b = Body(c.block, c.location)

    def rows(self, sizes: Sequence[Dim], row: Callable[[], None]) -> list[SSAValue]:
        """`row` for every row of the dims `sizes`; the tensors afterwards."""
        if not sizes:
            row()
            return list(self.values.values())

        def one(i: SSAValue) -> None:
            self.at.append(i)
            self.rows(sizes[1:], row)
            self.at.pop()

        self.each(self.c.dims.value(sizes[0]), one)
        return list(self.values.values())

    def each(self, count: SSAValue | int, body: Callable[[SSAValue], None], *, start: SSAValue | None = None) -> None:
        """A loop that computes nothing but tensors."""

        def step(i: SSAValue) -> Values:
            body(i)
            return []

        self.fold(count, [], step, start=start)

    def fold(
        self, count: SSAValue | int, scalars: Values, body: Callable[..., Values], *, start: SSAValue | None = None
    ) -> Values:
        """A loop that carries scalars too: `body(i, *scalars)` gives the next ones."""
        outer, bound = self.b, self.index(count) if isinstance(count, int) else count
        first = start or self.index(0)

        def step(b: Body, i: SSAValue, carried: Values) -> Values:
            self.b = b
            self.values = dict(zip(self.names, carried, strict=False))
            found = body(i, *carried[len(self.names) :])
            return [*self.values.values(), *found]

        results = counted(self.c, (first, bound, self.index(1)), [*self.values.values(), *scalars], step)
        self.b = outer
        self.values = dict(zip(self.names, results, strict=False))
        return results[len(self.names) :]

    def load(self, source: str | SSAValue, i: SSAValue) -> SSAValue:
        """An element of the row: of a tensor that is written here, or of any other."""
        return self.b.extract(self.values[source] if isinstance(source, str) else source, [*self.at, i])

    def store(self, name: str, value: SSAValue, i: SSAValue) -> None:
        self.values[name] = self.b.op(tensor.InsertOp, value, self.values[name], [*self.at, i])

    def index(self, value: int) -> SSAValue:
        return self.b.index(value)

    def op(self, cls: type[Operation], *args: SSAValue) -> SSAValue:
        return self.b.op(cls, *args)

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.b.op(arith.AddiOp, x, y)

    def sub(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.b.op(arith.SubiOp, x, y)

    def one_if(self, condition: SSAValue) -> SSAValue:
        """1 or 0, an index."""
        return self.b.select(condition, self.index(1), self.index(0))

    def when(self, condition: SSAValue, count: SSAValue) -> SSAValue:
        """`count` or 0: the trips of a loop that runs under a condition."""
        return self.b.select(condition, count, self.index(0))

    def const(self, value: int, t: DType = I64) -> SSAValue:
        return self.b.const(value, t)
