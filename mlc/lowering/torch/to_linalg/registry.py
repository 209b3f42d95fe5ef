"""Which function lowers which op, and the state it works with.

    @lowers("aten.relu", "aten.relu_")
    def relu(c: Conversion, x: Tensor) -> Tensor: ...

The function gets the op's operands in schema order, as Python values where they are constants, `Tensor`s, `Scalar`s
and lists of these; it returns the result, or a tuple of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from xdsl.dialects import arith
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mlc.dialects.torch.types import VTensorType
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.ir.registering import is_made_again
from mlc.lowering.torch.to_linalg import dtypes
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.emitter import Emitter
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor

Lowering = Callable[..., Any]
LOWERINGS: dict[str, Lowering] = {}


class Conversion(Emitter):
    """The emitter, plus what the op at hand says about its results."""

    def __init__(self, block: Block) -> None:
        super().__init__(block)
        self.result_types: Sequence[Attribute] = ()
        self.operation: Operation | None = None

    def out_type(self, i: int = 0) -> DType:
        """Element type that the program states for result `i`."""
        declared = self.result_types[i]
        if not isinstance(declared, VTensorType) or declared.element_type is None:
            raise self.refuse(
                f"a result of type {declared} has no element type", hint="run shape and dtype inference first"
            )
        return dtypes.of_attribute(declared.element_type)

    @property
    def out(self) -> DType:
        return self.out_type(0)

    def out_sizes(self, i: int = 0) -> tuple[int, ...] | None:
        """Sizes stated for result `i`, -1 for unknown ones; None without a rank."""
        declared = self.result_types[i]
        if not isinstance(declared, VTensorType) or declared.shape is None:
            return None
        return tuple(-1 if n is None else n for n in declared.shape)

    def message(self, text: str) -> str:
        """Text of a run-time check: names the op and the user's line."""
        assert self.operation is not None
        where = format_location(self.operation.location)
        name = self.operation.name.removeprefix("torch.")
        return f"{name}: {text}" + (f" at {where}" if where else "")

    def refuse(self, text: str, hint: str | None = None) -> UnsupportedError:
        """The error for something that has no lowering."""
        where = format_location(self.operation.location) if self.operation is not None else ""
        name = self.operation.name if self.operation is not None else "torch"
        return UnsupportedError(f"{name}: {text}", where=where or None, hint=hint)

    def wrap_index(self, at: SSAValue, size: Dim) -> SSAValue:
        """An index known at run time, counted from the front when it is negative."""
        if self.dims.range(at)[0] >= 0:
            return at
        negative = self.emit(arith.CmpiOp(at, self.index(0), "slt")).results[0]
        return self.op(arith.SelectOp, negative, self.op(arith.AddiOp, at, self.dims.value(size)), at)

    def checked_index(self, at: SSAValue, size: Dim) -> SSAValue:
        """`wrap_index`, and a check that the result is inside."""
        wrapped = self.wrap_index(at, size)
        low, high = self.dims.range(wrapped)
        if low >= 0 and high < self.dims.range(size)[0]:
            return wrapped
        inside = self.emit(arith.CmpiOp(wrapped, self.dims.value(size), "ult")).results[0]
        self.check(inside, self.message("index out of range"))
        return wrapped

    def need(self, x: Tensor, dims: Sequence[int], least: int = 1) -> None:
        """Check that each of `dims`, where its size is open, has at least so many elements: eager refuses fewer."""
        for d in dims:
            if isinstance(x.shape[d], SSAValue):
                self.demand(x.shape[d], "ge", least, f"dimension {d} must have at least {least} elements")

    def demand(self, a: Dim, relation: Literal["eq", "ge"], b: Dim, text: str) -> None:
        """Check two sizes against each other: here where both are known, at run time where it takes that."""
        if self.dims.same(a, b) or (relation == "ge" and self.dims.range(a)[0] >= self.dims.range(b)[1]):
            return
        if isinstance(a, int) and isinstance(b, int):
            raise self.refuse(text)
        kind = "eq" if relation == "eq" else "sge"
        holds = self.emit(arith.CmpiOp(self.dims.value(a), self.dims.value(b), kind)).results[0]
        self.check(holds, self.message(text))

    def size(self, n: int | Scalar) -> Dim:
        """A `!torch.int` as a size."""
        return n.value if isinstance(n, Scalar) else n

    def sizes(self, ns: Sequence[int | Scalar]) -> tuple[Dim, ...]:
        return tuple(self.size(n) for n in ns)

    def static_int(self, n: int | Scalar, what: str) -> int:
        """`n`, which must be known while compiling."""
        if isinstance(n, Scalar):
            raise self.refuse(f"{what} is known only at run time", hint="make it a constant of the model")
        return n


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Register a lowering under op names without `torch.`; a second registration is an error."""

    def register(fn: Lowering) -> Lowering:
        for name in names:
            key = f"torch.{name}"
            if key in LOWERINGS and not is_made_again(LOWERINGS[key], fn):
                raise ValueError(f"{key} is lowered twice")
            LOWERINGS[key] = fn
        return fn

    return register


def dims_of(t: Tensor, dims: Sequence[int] | int | None) -> list[int]:
    """Dims counted from the front; None or an empty list means all of them. A 0-d tensor has none to name."""
    if dims is None or dims == [] or t.rank == 0:
        return list(range(t.rank))
    return [t.dim(d) for d in ([dims] if isinstance(dims, int) else dims)]
