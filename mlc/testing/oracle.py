"""The promise of a pass, checked on one program: meaning under the contract, verified IR, locations, determinism."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import UnknownLoc
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation, NamedOperation
from xdsl.dialects.linalg.ops import BroadcastOp, TransposeOp
from xdsl.dialects.utils import FastMathAttrBase, FastMathFlag
from xdsl.ir import Attribute, Operation
from xdsl.passes import ModulePass

from mlc.errors import ExecutionError, LimitError, MlcError, UnsupportedError
from mlc.interp import make_domain
from mlc.interp.domains.bound import BoundDomain
from mlc.interp.run import function_type
from mlc.ir.contract import Bitwise, Contract, Narrows, Reassociates, WithinBound, WithinUlp
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import make_pass as pass_named
from mlc.ir.values import element_type, float_bytes, is_float
from mlc.ir.verifier import verify_module
from mlc.testing.execute import execute
from mlc.testing.inputs import Kind, make_inputs
from mlc.testing.program import Discard, Program

MakePass = Callable[[], ModulePass]


@dataclass
class Finding:
    """A broken promise: which one, and what was seen."""

    kind: str
    detail: str
    after: str = ""

    @property
    def changes_meaning(self) -> bool:
        """Whether the program computes something else; not so where only a location or a rule's name is missing."""
        return self.kind not in ("location", "rule")


@dataclass
class Outcome:
    """What a check of one program gave. `fired`: the rules of the pass that did something, and how often."""

    finding: Finding | None = None
    changed: bool = False
    fired: Counter[str] = field(default_factory=Counter)
    domains: list[str] = field(default_factory=list)


def check(
    make_pass: MakePass,
    contract: Contract,
    program: Program,
    *,
    thorough: bool = False,
    seeds: Sequence[int] | None = None,
) -> Outcome:
    """Run the pass on a copy and compare. `thorough` adds determinism and idempotence; `seeds`: of the inputs, where
    one set of them is not enough (`program` is left with one of these). Raises `Discard`."""
    after = program.copy()
    outcome = Outcome()
    try:
        p = make_pass()
        p.apply(after.ctx, after.module)
    except UnsupportedError as e:
        raise Discard(f"refused: {e.message}") from e
    except Exception as e:
        return Outcome(Finding("crash", f"{type(e).__name__}: {e}"))
    outcome.fired = Counter({rule: times for (_, rule), times in after.ctx.remarks.fired.items() if times})
    outcome.changed = bool(outcome.fired) or not same_structure(program, after)
    outcome.finding = _check_ir(program, after) or _check_rules(p.name, contract, outcome)
    if outcome.finding is None or not outcome.finding.changes_meaning:
        outcome.finding = _worst(outcome.finding, lambda: _on_each(seeds, contract, program, after, outcome))
    if outcome.finding is None and thorough:
        outcome.finding = _check_again(make_pass, contract, program, after)
    if outcome.finding is not None:
        outcome.finding.after = print_text(after.module)
    return outcome


def _on_each(
    seeds: Sequence[int] | None, contract: Contract, program: Program, after: Program, outcome: Outcome
) -> Finding | None:
    """The first difference; inputs on which the program cannot run are passed over, unless it runs on none."""
    refused: list[Discard] = []
    given = [program.seed] if seeds is None else seeds
    for seed in given:
        program.seed = after.seed = seed
        try:
            finding = _compare_runs(contract, program, after, outcome)
        except Discard as e:
            refused.append(e)
            continue
        if finding is not None or not outcome.changed:  # the same IR computes the same of all inputs
            return finding
    if len(refused) == len(given):
        raise refused[0]
    return None


def _worst(known: Finding | None, compare: Callable[[], Finding | None]) -> Finding | None:
    """What the comparison finds, else what is known; a program that cannot be compared is discarded if nothing is."""
    try:
        return compare() or known
    except Discard:
        if known is None:
            raise
        return known


def same_structure(a: Program, b: Program) -> bool:
    """Whether two modules are the same IR."""
    return a.module.is_structurally_equivalent(b.module)


def visible_ops(op: Operation) -> Iterator[Operation]:
    """All ops that are printed: not the bodies that named linalg ops hide."""
    yield op
    if not isinstance(op, NamedOperation | TransposeOp | BroadcastOp):
        for region in op.regions:
            for block in region.blocks:
                for inner in block.ops:
                    yield from visible_ops(inner)


def _check_rules(name: str, contract: Contract, outcome: Outcome) -> Finding | None:
    """The rules that fired are declared. (Passes that are not ours report none.)"""
    unknown = sorted(set(outcome.fired) - set(contract.rules_of(name)))
    return Finding("rule", f"not declared in the contract of '{name}': {', '.join(unknown)}") if unknown else None


def _check_ir(before: Program, after: Program) -> Finding | None:
    """The strong verifier, a location on every op, no parallel loop that writes one element several times."""
    try:
        verify_module(after.module, after.ctx)
    except MlcError as e:
        return Finding("verifier", str(e))
    if _races(after) > _races(before):
        return Finding("race", "a parallel loop of a structured op does not index its output")
    lost = next((op for op in visible_ops(after.module) if isinstance(op.location, UnknownLoc)), None)
    if lost is not None:
        around = lost.parent_op()
        return Finding("location", f"'{lost.name}' in '{around.name if around else 'nothing'}' has no location")
    return None


def _races(program: Program) -> int:
    """Loops of structured ops that claim to be parallel although every round writes the same element."""
    count = 0
    for op in program.module.walk():
        if isinstance(op, LinalgStructuredOperation):
            written = {d for m in op.get_indexing_maps().data[len(op.inputs) :] for d in m.data.used_dims()}
            kinds = [str(kind.data) for kind in op.get_iterator_types()]
            loops = op.get_static_loop_ranges()
            count += sum(k == "parallel" and d not in written and loops[d] > 1 for d, k in enumerate(kinds))
    return count


def _check_again(make_pass: MakePass, contract: Contract, program: Program, after: Program) -> Finding | None:
    """The same pass on the same program gives the same IR; on its own output it changes nothing."""
    text = print_text(after.module)
    again = program.copy()
    make_pass().apply(again.ctx, again.module)
    if print_text(again.module) != text:
        return Finding("determinism", "a second run on the same program gave other IR")
    if contract.idempotent and contract.level_in == contract.level_out:
        make_pass().apply(again.ctx, again.module)
        if print_text(again.module) != text:
            return Finding("idempotence", "run on its own output the pass changed it again")
    return None


@dataclass(frozen=True)
class Leg:
    """One comparison: the domain of each side, the inputs, and whether both are lowered from torch to linalg first."""

    before: str
    after: str
    kind: Kind
    lowered: bool = False


def legs_of(contract: Contract, program: Program, variant: int) -> list[Leg]:
    """Which comparisons the contract's equality calls for."""
    edge: Kind = ("normal", "edge", "edge")[(program.seed + variant) % 3]
    torch = contract.level_in == "torch"
    match contract.preserves:
        case Bitwise():
            if any(_any_order(op) for op in program.module.walk()):
                return [Leg("integers", "integers", "integers")]
            return [Leg("ieee", "ieee", edge)]
        case Reassociates() if torch:
            return [Leg("ieee", "bound", "normal"), Leg("ieee", "integers", "integers")]
        case Reassociates():
            floats = Leg("bound", "bound", "normal")
            order = Leg("integers", "integers", "integers")
            return [Leg("field", "field", "normal"), (floats, order)[(program.seed + variant) % 2]]
        case _ if torch:
            return [Leg("bound", "bound", "normal", lowered=True)]
        case Narrows():
            return [Leg("bound", "bound", "normal"), Leg("integers", "integers", "integers")]
        case WithinUlp():  # approximations may take floats apart as bits, which only IEEE has
            return [Leg("bound", "ieee", "normal"), Leg("bound", "ieee", "edge")]
        case _:
            return [Leg("bound", "bound", "normal")]


def _compare_runs(contract: Contract, program: Program, after: Program, outcome: Outcome) -> Finding | None:
    """Compare runs of both programs, at one or more sizes of dynamic dims."""
    variants = 3 if "dynamic" in program.features else 1
    for variant in range(variants):
        for leg in legs_of(contract, program, variant):
            inputs = make_inputs(program, leg.kind, variant)
            finding = _compare(contract, program, after, inputs, leg, outcome)
            if finding is not None:
                finding.detail += f" ({leg.before} and {leg.after}, {leg.kind} inputs, variant {variant})"
                return finding
    return None


def _any_order(op: Operation) -> bool:
    """Whether the op itself leaves the order of its additions open: then no pass can keep its bits."""
    flags = op.properties.get("fastmath", op.properties.get("fastmathFlags"))
    return isinstance(flags, FastMathAttrBase) and FastMathFlag.REASSOC in flags.data


def _narrowest_float(program: Program) -> int:
    """Bits of the narrowest float type the program computes in: no pass may go below."""
    types = {element_type(t) for op in program.module.walk() for t in (*op.operand_types, *op.result_types)}
    types |= {e for t in program.signature.inputs.data if isinstance(e := getattr(t, "element_type", None), Attribute)}
    return min((float_bytes(t) * 8 for t in types if is_float(t)), default=0)


def _lowered(program: Program) -> Program:
    """The program at the linalg level, by the one pass that defines torch ops in terms of arithmetic."""
    out = program.copy()
    pass_named("convert-torch-to-linalg").apply(out.ctx, out.module)
    out.signature = function_type(out.module, out.entry)
    return out


def _compare(
    contract: Contract, program: Program, after: Program, inputs: list[Any], leg: Leg, outcome: Outcome
) -> Finding | None:
    first, second = make_domain(leg.before), make_domain(leg.after)
    if isinstance(second, BoundDomain):
        second.narrowest = _narrowest_float(program)
        if isinstance(contract.preserves, Narrows):
            second.narrowest = min(second.narrowest, contract.preserves.bits)
            second.rounds_to_integers = contract.preserves.bits <= 8
    try:
        if leg.lowered:
            program, after = _lowered(program), _lowered(after)
        want = execute(program, inputs, first)
    except (ExecutionError, LimitError, UnsupportedError) as e:
        raise Discard(f"the program itself fails: {e.message}") from e
    try:
        got = execute(after, inputs, second, shapes=want)
    except MlcError as e:
        return Finding("execution", f"runs before the pass, afterwards: {e}")
    if len(want) != len(got):
        return Finding("values", f"{len(want)} results before, {len(got)} after")
    flags = [getattr(d, "exact", True) and not getattr(d, "ambiguous", False) for d in (first, second)]
    if not all(flags):
        return None
    outcome.domains.append(leg.after)
    for k, (a, b) in enumerate(zip(want, got, strict=True)):
        wrong = difference(np.asarray(a), np.asarray(b), contract)
        if wrong is not None:
            return Finding("values", f"result {k}: {wrong}")
    return None


def difference(a: np.ndarray, b: np.ndarray, contract: Contract) -> str | None:
    """What is unequal under the contract, in words; None when nothing is."""
    if a.shape != b.shape:
        return f"shape {list(a.shape)} before, {list(b.shape)} after"
    if b.dtype.names and not a.dtype.names:
        a = _as_bounded(a, b)
    if a.dtype.names and not b.dtype.names:
        bits, b = b, np.zeros(b.shape, dtype=a.dtype)
        b["v"] = bits
    if a.dtype != b.dtype:
        return f"dtype {a.dtype} before, {b.dtype} after"
    bad = _beyond_bound(a, b, contract) if a.dtype.names else _bits_differ(a, b)
    if not np.any(bad):
        return None
    at = tuple(int(i) for i in np.argwhere(bad)[0]) if a.ndim else ()
    return f"{int(np.count_nonzero(bad))} of {a.size} elements differ, at {list(at)}: {a[at]} before, {b[at]} after"


def _as_bounded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Results of torch ops, whose semantics work in float64 and round once, beside bounded ones of their lowering.

    Each op was rounded no more often than there, so the bound holds for both; on top come one rounding to the type
    and a few hundred in float64, of what is at most as large as the largest result.
    """
    out = np.empty(a.shape, dtype=b.dtype)
    size = np.abs(np.asarray(a, dtype=np.float64))
    largest = np.max(np.where(np.isfinite(size), size, 0.0), initial=1.0)
    out["v"] = a
    out["e"] = b["e"] + np.finfo(a.dtype).eps * size + largest * 2.0**-44
    return out


def _bits_differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f":
        return np.asarray(a != b)
    same = a.view(f"u{a.dtype.itemsize}") == b.view(f"u{b.dtype.itemsize}") if a.ndim else a.tobytes() == b.tobytes()
    return np.asarray(~(same | (np.isnan(a) & np.isnan(b))))


def _beyond_bound(a: np.ndarray, b: np.ndarray, contract: Contract) -> np.ndarray:
    factor, units = 1.0, 0.0
    match contract.preserves:
        case WithinUlp(ulp=ulp):
            factor, units = 1.0 + 2.0 * ulp, ulp
        case WithinBound(factor=f):
            factor = f
        case _:
            pass
    x, y = a["v"].astype(np.float64), b["v"].astype(np.float64)
    allowed = factor * (a["e"] + b["e"])
    if units:  # of the result itself: an error bound is smaller where the exact result is near a float
        size = np.abs(np.where(np.isfinite(a["v"]), a["v"], 0))
        allowed = allowed + units * np.spacing(size).astype(np.float64)
    lost_nan = np.isnan(x) != np.isnan(y) if isinstance(contract.preserves, WithinUlp) else np.False_
    same = ((x == y) | (np.isnan(x) & np.isnan(y)) | ~np.isfinite(allowed)) & ~lost_nan
    with np.errstate(all="ignore"):
        apart = np.abs(x - y)
    return np.asarray(~(apart <= allowed) & ~same)
