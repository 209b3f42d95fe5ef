"""One row per kernel of a compiled model: what it is for, what it costs, how long it takes, what was done to it.

report = make_report(compiled, inputs)       # inputs=None: nothing is measured
print(table(report)); page = html(report)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Operation, SSAValue

from mlc.backends.llvm.limits import Limits, measure_limits
from mlc.compiled import Compiled
from mlc.explain.accesses import trips
from mlc.explain.attribution import Held, distribute, held_by
from mlc.explain.costs import Cost, kernel_cost
from mlc.explain.memory import Memory, memory_of
from mlc.explain.profile import profile_calls
from mlc.explain.streams import is_weight, passed_sizes, streams_of
from mlc.ir.locations import flatten_location, format_location
from mlc.module_parts import ENTRY, split_module
from mlc.tuning.told import tell

RUNS = 9


@dataclass
class KernelRow:
    """All calls of one kernel. `seconds`, `flops`, `bytes` and `done` are sums over its calls; None: not measured.

    Of the bytes, `written` are written, and `streamed` are read from memory in every run: no cache can hold them.
    """

    name: str
    calls: int = 0
    where: dict[str, None] = field(default_factory=dict)
    flops: int = 0
    bytes: int = 0
    written: int = 0
    streamed: int = 0
    done: Counter[str] = field(default_factory=Counter)
    seconds: float | None = None
    remarks: Counter[str] = field(default_factory=Counter)

    def add(self, cost: Cost, calls: int, seconds: float | None = None, *, streamed: int = 0) -> None:
        """More calls."""
        self.calls += calls
        self.flops += cost.flops * calls
        self.bytes += cost.bytes * calls
        self.written += cost.written * calls
        self.streamed += streamed * calls
        self.done.update({kind: n * calls for kind, n in cost.done.items()})
        if seconds is not None:
            self.seconds = (self.seconds or 0.0) + seconds

    def limit_share(self, limits: Limits) -> float | None:
        """Part of what one core could do: the larger of its share of the arithmetic limit and of the memory's.

        The latter is of all bytes, but where those came sooner than memory gives them: then of what no cache can hold.
        """
        if not self.seconds:
            return None
        moved = self._moved(limits)
        least = moved if moved <= self.seconds else limits.moving(self.streamed)
        return max(limits.seconds(self.done), least) / self.seconds

    def is_cached(self, limits: Limits) -> bool:
        """Whether its data came faster than memory could give it, and arithmetic is what it is measured by."""
        if not self.seconds or self._moved(limits) <= self.seconds:
            return False
        return limits.moving(self.streamed) <= limits.seconds(self.done)

    def _moved(self, limits: Limits) -> float:
        return limits.moving(self.bytes - self.written, self.written)


@dataclass
class Report:
    """Rows, slowest first where measured, else in order of the calls; remarks that belong to no single kernel."""

    rows: list[KernelRow]
    general: Counter[str]
    limits: Limits | None
    memory: Memory

    @property
    def seconds(self) -> float | None:
        """All kernels together."""
        return None if self.limits is None else sum(r.seconds or 0.0 for r in self.rows)


def make_report(compiled: Compiled, inputs: Sequence[np.ndarray] | None = None, *, runs: int = RUNS) -> Report:
    """Explain `compiled`; with `inputs`, measure each kernel on them (medians of `runs` runs, one thread)."""
    lowered = compiled.lowered("buffers")
    remarks = compiled.remarks()
    names = [op.callee.root_reference.data for op in _entry(lowered).walk() if isinstance(op, CallOp)]
    parts = split_module(lowered, compiled.setting.fingerprint)
    kernels = {f"k_{key}": function for key, function in parts.named().values()}
    calls = [op for op in _entry(parts.main).walk() if isinstance(op, CallOp)]
    rows: dict[str, KernelRow] = {}
    row_of: dict[str, KernelRow] = {}
    by_key: dict[str, list[KernelRow]] = {k.key: [] for k in parts.kernels}
    held: dict[str, Held] = {}
    for name, call in zip(names, calls, strict=True):
        symbol = call.callee.root_reference.data
        row = row_of[symbol] = rows.setdefault(name, KernelRow(name))
        if name not in held:
            by_key[symbol.removeprefix("k_")].append(row)
            held[name] = held_by(kernels[symbol], weights=any(map(is_weight, call.operands)))
        row.where.update(dict.fromkeys(_places(call) if row.where else _places(kernels[symbol])))
    limits = None
    if inputs is None:
        for call in calls:
            symbol = call.callee.root_reference.data
            row_of[symbol].add(kernel_cost(kernels[symbol], passed_sizes(call, kernels[symbol])), trips(call))
    else:
        limits = measure_limits(compiled.setting.machine)
        streams = streams_of(calls, kernels, compiled.setting.machine)
        for m in profile_calls(parts.main, compiled.executable, parts.constants, inputs, runs):
            memrefs = [a for a in kernels[m.symbol].body.block.args if isinstance(a.type, MemRefType)]
            sizes: dict[SSAValue, tuple[int, ...]] = dict(zip(memrefs, m.sizes, strict=True))
            cost = kernel_cost(kernels[m.symbol], sizes, streams.weights.get(m.symbol, frozenset()))
            row_of[m.symbol].add(cost, 1, m.seconds, streamed=streams.of(cost))
    derived = {op.sym_name.data for op in parts.constant_functions.ops if isinstance(op, FuncOp)}
    memory = memory_of(remarks, parts.constants, compiled.executable.constants, derived)
    options, machine = compiled.options, compiled.setting.machine
    told = tell(compiled.choices, machine, parts.named(), tuned=options.tune, winograd=options.winograd)
    for row in rows.values():
        row.remarks.update(told.kernels.get(row.name, ()))
    general = Counter(told.model) + distribute(remarks, rows, by_key, held)
    ordered = sorted(rows.values(), key=lambda r: -(r.seconds or 0.0))
    return Report(ordered, general, limits, memory)


def _entry(module: ModuleOp) -> FuncOp:
    return next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == ENTRY)


def _places(op: Operation) -> list[str]:
    """The user's lines of an op and of what is inside it."""
    found: dict[str, None] = {}
    for inner in op.walk():
        if isinstance(inner, ConstantOp):  # shared by ops of many lines
            continue
        found.update(dict.fromkeys(format_location(part) for part in flatten_location(inner.location)))
    return [p for p in found if p]
