"""Reference semantics: what an op means, written once, in numpy, beside the op.

A dialect's semantics live in `mlc/dialects/<dialect>/semantics*.py` and register themselves here by op name. The interpreter, constant folding, property tests, bisecting and third parties'
conformance tests all call the same functions.

    @semantics("arith.addf")
    def addf(op: Operation, args: Args, run: Runner) -> Results:
        return (run.domain.float2("add", args[0], args[1], op.results[0].type),)

Values: a tensor or vector is a numpy array of the type's shape; a scalar (f32, i64, index, i1) a 0-d numpy array or
numpy scalar of the type's dtype; a memref an `mlc.interp` buffer; a torch scalar/list/none the Python value.
In the GF(p) domain floats are carried as int64 residues. `Runner` runs regions and carries the domain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from xdsl.ir import Block, Operation, Region

from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location

Value = Any
Args = tuple[Value, ...]
Results = tuple[Value, ...]


class Runner(Protocol):
    """What a semantics function may ask of the engine that runs it."""

    @property
    def domain(self) -> Any:
        """Arithmetic domain: IEEE floats, GF(p), error bounds."""
        ...

    @property
    def resources(self) -> Any:
        """The weight store that resolves `dense_resource` attributes."""
        ...

    def run_block(self, block: Block, args: Sequence[Value]) -> Results:
        """Run a block with `args`; returns the operands of its terminator."""
        ...

    def run_region(self, region: Region, args: Sequence[Value]) -> Results:
        """Run a region (following branches) and return its terminator's operands."""
        ...

    def call(self, symbol: str, args: Sequence[Value]) -> Results:
        """Call a function of the module by symbol name."""
        ...


SemanticsFn = Callable[[Operation, Args, Runner], Results]

_TABLE: dict[str, SemanticsFn] = {}


def semantics(*op_names: str) -> Callable[[SemanticsFn], SemanticsFn]:
    """Register the meaning of ops by name. A second registration of a name is an error."""

    def register(fn: SemanticsFn) -> SemanticsFn:
        for name in op_names:
            if name in _TABLE:
                raise ValueError(f"semantics of {name} given twice")
            _TABLE[name] = fn
        return fn

    return register


def has_semantics(op_name: str) -> bool:
    """Whether the op can be run."""
    return op_name in _TABLE


def semantics_of(op: Operation) -> SemanticsFn:
    """The meaning of `op`, or a clear refusal."""
    try:
        return _TABLE[op.name]
    except KeyError:
        raise UnsupportedError(
            f"op '{op.name}' has no reference semantics",
            where=format_location(op.location) or None,
            hint="register one with @semantics in the dialect's semantics module",
        ) from None


def registered_semantics() -> tuple[str, ...]:
    """Names of all ops that can be run, sorted."""
    return tuple(sorted(_TABLE))
