"""Reference semantics: what an op means, written once, in numpy, beside the op.

A dialect's semantics live in `mlc/dialects/<dialect>/semantics*.py` and register themselves here by op name; they are
imported when an op of the dialect is first run. A third party names its modules in the entry point group
`mlc.semantics` (entry name = dialect, value = module). The interpreter, constant folding, property tests, bisecting
and conformance tests all call the same functions.

    @semantics("arith.addf")
    def addf(op: Operation, args: Args, run: Runner) -> Results:
        return (run.domain.float2("add", args[0], args[1], op.results[0].type),)

Values: a tensor or vector is a numpy array of the type's shape; a scalar (f32, i64, index, i1) a 0-d numpy array or
numpy scalar of the type's dtype (`mlc.ir.values.dtype_of`); a memref a `mlc.ir.memory.Buffer`; a torch scalar, list or
none the Python value. A value is never changed in place once made (buffers aside). Scalar ops must also work on
arrays: `linalg.generic` runs its body once on whole arrays, one element per point of the iteration space.
Floats are whatever `run.domain` says (`Domain`): residues in GF(p), value and error pairs in the bound domain; code
that only moves data need not care.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import ExecutionError, UnsupportedError
from mlc.ir import plugins
from mlc.ir.locations import format_location
from mlc.ir.registering import is_made_again

Value = Any
Args = tuple[Value, ...]
Results = tuple[Value, ...]


class Domain(Protocol):
    """Arithmetic on floats. `t` is the float type or any shaped type of it; ints are plain numpy in every domain."""

    @property
    def name(self) -> str:
        """`ieee`, `field`, `bound` or `integers`."""
        ...

    def dtype(self, t: Attribute) -> np.dtype[Any]:
        """Numpy dtype that carries values of element type `t` (float or not) in this domain."""
        ...

    def constant(self, value: Any, t: Attribute) -> Value:
        """An IEEE value or array (a literal, a weight, an input) as a value of this domain."""
        ...

    def to_ieee(self, value: Value, t: Attribute) -> np.ndarray:
        """The value as numpy floats, for printing and comparing."""
        ...

    def looked_at(self, value: Value) -> np.ndarray:
        """The value as numpy floats whose bits decide what follows."""
        ...

    def float1(self, name: str, a: Value, t: Attribute) -> Value:
        """neg abs sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh
        atanh erf cbrt ceil floor trunc round roundeven."""
        ...

    def float2(self, name: str, a: Value, b: Value, t: Attribute) -> Value:
        """add sub mul div rem min max (NaN wins, -0 < +0) minnum maxnum (NaN loses) pow atan2 copysign."""
        ...

    def fma(self, a: Value, b: Value, c: Value, t: Attribute) -> Value:
        """a * b + c rounded once."""
        ...

    def compare(self, predicate: str, a: Value, b: Value, t: Attribute) -> Value:
        """`oeq ogt oge olt ole one ord ueq ugt uge ult ule une uno true false` as bools."""
        ...

    def convert(self, a: Value, source: Attribute, target: Attribute) -> Value:
        """Float to float: extf, truncf (round to nearest even)."""
        ...

    def from_int(self, a: Value, target: Attribute) -> Value:
        """Ints (of any numpy int dtype, or bools) to floats, rounded to nearest even."""
        ...

    def to_int(self, a: Value, source: Attribute, target: np.dtype[Any]) -> tuple[Value, Value]:
        """Floats to ints, towards zero; with it, the mask of elements that do not fit (NaN, overflow)."""
        ...

    def sum(self, a: Value, axes: tuple[int, ...], t: Attribute, init: Value | None = None) -> Value:
        """Sum over `axes` one after the other in row-major order, rounded at each step, starting from `init` or 0."""
        ...

    def inline(self, name: str, t: Attribute) -> str | None:
        """`float1/float2/fma` as a Python expression over `{0} {1} {2}`, where one exists."""
        ...


ANY_ORDER = "any order"
"""In the state of a run whose large sums may be added up in any order, as native code does: derived constants."""


class Runner(Protocol):
    """What a semantics function may ask of the engine that runs it."""

    @property
    def domain(self) -> Domain:
        """Arithmetic domain: IEEE floats, GF(p), error bounds."""
        ...

    @property
    def resources(self) -> Any:
        """The weight store that resolves `dense_resource` attributes (`mlc.ir.resources.ResourceStore`)."""
        ...

    @property
    def iteration(self) -> list[Sequence[Value]]:
        """Stack of index arrays of the structured ops being run, innermost last (`linalg.index` reads it)."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """Whatever a dialect keeps for the length of one run (globals already allocated, a flat memory)."""
        ...

    def run_block(self, block: Block, args: Sequence[Value]) -> Results:
        """Run the only block of a region of the op at hand; returns the operands of its terminator."""
        ...

    def run_region(self, region: Region, args: Sequence[Value]) -> Results:
        """Run a region of the op at hand (following branches) and return its terminator's operands."""
        ...

    def function(self, region: Region) -> Callable[..., Results]:
        """A region of the op at hand as a Python function, for ops that run it many times."""
        ...

    def call(self, symbol: str, args: Sequence[Value]) -> Results:
        """Call a function of the module by symbol name."""
        ...

    def symbol(self, name: str) -> Operation | None:
        """The module's op of that symbol name."""
        ...

    def tick(self) -> None:
        """Count one loop iteration; raises `LimitError` when the budget is spent."""
        ...


class Branch(NamedTuple):
    """What a terminator with successors returns: which successor, and its block arguments."""

    successor: int
    args: tuple[Value, ...]


class Step(NamedTuple):
    """The meaning of an op on IEEE numbers as plain data: a function of `mlc.arrays.steps`, what it gets first, and
    the values that it gets then."""

    kind: str
    attributes: tuple[Any, ...]
    operands: tuple[SSAValue, ...]


SemanticsFn = Callable[[Operation, Args, Runner], Any]
InlineFn = Callable[[Operation, Domain], str | None]
StepFn = Callable[[Operation], Step | None]

_TABLE: dict[str, SemanticsFn] = {}
_INLINE: dict[str, InlineFn] = {}
_STEPS: dict[str, StepFn] = {}
_LOADED: set[str] = set()


def semantics(
    *op_names: str, inline: InlineFn | None = None, step: StepFn | None = None
) -> Callable[[SemanticsFn], SemanticsFn]:
    """Register the meaning of ops by name. A second registration of a name is an error.

    `inline` may give the same meaning as a Python expression over `{0}`, `{1}`, … (operands) and `np`, for ops of at
    most one result; the engine pastes it into the code it makes of a region. `tests/interp` checks that both agree.
    `step` may give what it is on IEEE numbers, for ops of one result: the function that the meaning itself calls.
    """

    def register(fn: SemanticsFn) -> SemanticsFn:
        for name in op_names:
            if name in _TABLE and not is_made_again(_TABLE[name], fn):
                raise ValueError(f"semantics of {name} given twice")
            _TABLE[name] = fn
            if inline is not None:
                _INLINE[name] = inline
            if step is not None:
                _STEPS[name] = step
        return fn

    return register


def fail(op: Operation, message: str) -> NoReturn:
    """The program did something it must not at `op`."""
    raise ExecutionError(f"'{op.name}': {message}", where=format_location(op.location) or None)


def load_dialect_semantics(dialect: str) -> None:
    """Import the semantics modules of one dialect: ours by their place, third parties' by entry point (for dialects of
    their own: what ours mean is ours to say, and a package that does not load must not keep them from running)."""
    if dialect in _LOADED:
        return
    package_name = f"mlc.dialects.{dialect}"
    try:
        package = importlib.import_module(package_name)
    except ModuleNotFoundError as e:
        if e.name != package_name:
            raise
    else:
        for info in sorted(pkgutil.iter_modules(getattr(package, "__path__", ())), key=lambda m: m.name):
            if info.name.startswith("semantics"):
                importlib.import_module(f"{package_name}.{info.name}")
        _LOADED.add(dialect)  # last: an interrupted load is done again
        return
    for entry in plugins.found("mlc.semantics", dialect):
        plugins.load(entry)
    _LOADED.add(dialect)


def load_all_semantics() -> None:
    """Import the semantics of every dialect that has some (for listings and meta-tests)."""
    dialects = importlib.import_module("mlc.dialects")
    names = {info.name for info in pkgutil.iter_modules(dialects.__path__)}
    names.update(entry.name for entry in plugins.found("mlc.semantics"))
    for name in sorted(names):
        load_dialect_semantics(name)


def _lookup(op_name: str) -> SemanticsFn | None:
    fn = _TABLE.get(op_name)
    if fn is None:
        load_dialect_semantics(op_name.partition(".")[0])
        fn = _TABLE.get(op_name)
    return fn


def has_semantics(op_name: str) -> bool:
    """Whether the op can be run."""
    return _lookup(op_name) is not None


def semantics_of(op: Operation) -> SemanticsFn:
    """The meaning of `op`, or a clear refusal."""
    fn = _lookup(op.name)
    if fn is None:
        raise UnsupportedError(
            f"op '{op.name}' has no reference semantics",
            where=format_location(op.location) or None,
            hint="register one with @semantics in the dialect's semantics module",
        )
    return fn


def inline_of(op: Operation, domain: Domain) -> str | None:
    """The meaning of `op` as a Python expression over `{0}`, `{1}`, … where it has one in this domain."""
    if _lookup(op.name) is None:
        return None
    make = _INLINE.get(op.name)
    return None if make is None else make(op, domain)


def step_of(op: Operation) -> Step | None:
    """The meaning of `op` on IEEE numbers as plain data, where it has such."""
    if _lookup(op.name) is None:
        return None
    make = _STEPS.get(op.name)
    return None if make is None else make(op)


def registered_semantics() -> tuple[str, ...]:
    """Names of all ops that can be run, sorted."""
    load_all_semantics()
    return tuple(sorted(_TABLE))
