"""The promise of a pass, checked on one program: same meaning under its contract, verified IR, locations, determinism."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import UnknownLoc
from xdsl.dialects.linalg.abstract_ops import NamedOperation
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from fuzz.execute import execute
from fuzz.inputs import Kind, make_inputs
from fuzz.program import Discard, Program
from mlc.errors import ExecutionError, LimitError, MlcError, UnsupportedError
from mlc.interp import make_domain
from mlc.ir.contract import Bitwise, Contract, Reassociates, WithinBound, WithinUlp
from mlc.ir.parsing import print_text
from mlc.ir.semantics import Domain
from mlc.ir.verifier import verify_module

MakePass = Callable[[], ModulePass]


@dataclass
class Finding:
    """A broken promise: which one, and what was seen."""

    kind: str
    detail: str
    after: str = ""


@dataclass
class Outcome:
    """What a check of one program gave. `fired`: the pass changed the program, by these remarks."""

    finding: Finding | None = None
    changed: bool = False
    fired: tuple[str, ...] = ()
    domains: list[str] = field(default_factory=list)


def check(make_pass: MakePass, contract: Contract, program: Program, *, thorough: bool = False) -> Outcome:
    """Run the pass on a copy and compare. `thorough` adds determinism and idempotence. Raises `Discard`."""
    after = program.copy()
    outcome = Outcome()
    try:
        make_pass().apply(after.ctx, after.module)
    except UnsupportedError as e:
        raise Discard(f"refused: {e.message}") from e
    except Exception as e:
        return Outcome(Finding("crash", f"{type(e).__name__}: {e}"))
    outcome.fired = tuple(f"{r.kind} {r.op}" for r in after.ctx.remarks if r.kind == "applied")
    outcome.changed = bool(outcome.fired) or not same_structure(program, after)
    outcome.finding = _check_ir(make_pass, contract, program, after, thorough=thorough) or _compare_runs(
        contract, program, after, outcome
    )
    if outcome.finding is not None:
        outcome.finding.after = print_text(after.module)
    return outcome


def same_structure(a: Program, b: Program) -> bool:
    """Whether two modules are the same IR."""
    return a.module.is_structurally_equivalent(b.module)


def visible_ops(op: Operation) -> Iterator[Operation]:
    """All ops that are printed: not the bodies that named linalg ops hide."""
    yield op
    if not isinstance(op, NamedOperation):
        for region in op.regions:
            for block in region.blocks:
                for inner in block.ops:
                    yield from visible_ops(inner)


def _check_ir(
    make_pass: MakePass, contract: Contract, program: Program, after: Program, *, thorough: bool
) -> Finding | None:
    try:
        verify_module(after.module, after.ctx)
    except MlcError as e:
        return Finding("verifier", str(e))
    lost = next((op for op in visible_ops(after.module) if isinstance(op.location, UnknownLoc)), None)
    if lost is not None:
        around = lost.parent_op()
        return Finding("location", f"'{lost.name}' in '{around.name if around else 'nothing'}' has no location")
    if not thorough:
        return None
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


def _compare_runs(contract: Contract, program: Program, after: Program, outcome: Outcome) -> Finding | None:
    """Compare runs in the domains that the contract's equality calls for, at one or more input sizes."""
    variants = 3 if "dynamic" in program.features else 1
    for variant in range(variants):
        for domain, kind in _domains(contract, program.seed + variant):
            inputs = make_inputs(program, kind, variant)
            finding = _compare(contract, program, after, inputs, domain, outcome)
            if finding is not None:
                finding.detail += f" (domain {domain.name}, {kind} inputs, variant {variant})"
                return finding
    return None


def _domains(contract: Contract, seed: int) -> list[tuple[Domain, Kind]]:
    match contract.preserves:
        case Bitwise():
            kind: Kind = ("normal", "edge", "edge")[seed % 3]
            return [(make_domain("ieee"), kind)]
        case Reassociates():
            return [
                (make_domain("field"), "normal"),
                (make_domain("bound"), "normal"),
                (make_domain("integers"), "integers"),
            ]
        case _:
            return [(make_domain("bound"), "normal")]


def _compare(
    contract: Contract, program: Program, after: Program, inputs: list[Any], domain: Domain, outcome: Outcome
) -> Finding | None:
    second = type(domain)()
    try:
        want = execute(program, inputs, domain)
    except (ExecutionError, LimitError) as e:
        raise Discard(f"the program itself fails: {e.message}") from e
    try:
        got = execute(after, inputs, second, shapes=want)
    except MlcError as e:
        return Finding("execution", f"runs before the pass, afterwards: {e}")
    if len(want) != len(got):
        return Finding("values", f"{len(want)} results before, {len(got)} after")
    flags = [getattr(d, "exact", True) and not getattr(d, "ambiguous", False) for d in (domain, second)]
    if not all(flags):
        return None
    outcome.domains.append(domain.name)
    for k, (a, b) in enumerate(zip(want, got, strict=True)):
        wrong = difference(np.asarray(a), np.asarray(b), contract)
        if wrong is not None:
            return Finding("values", f"result {k}: {wrong}")
    return None


def difference(a: np.ndarray, b: np.ndarray, contract: Contract) -> str | None:
    """What is unequal under the contract, in words; None when nothing is."""
    if a.shape != b.shape:
        return f"shape {list(a.shape)} before, {list(b.shape)} after"
    if a.dtype != b.dtype:
        return f"dtype {a.dtype} before, {b.dtype} after"
    bad = _beyond_bound(a, b, contract) if a.dtype.names else _bits_differ(a, b)
    if not np.any(bad):
        return None
    at = tuple(int(i) for i in np.argwhere(bad)[0]) if a.ndim else ()
    return f"{int(np.count_nonzero(bad))} of {a.size} elements differ, at {list(at)}: {a[at]} before, {b[at]} after"


def _bits_differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f":
        return np.asarray(a != b)
    same = a.view(f"u{a.dtype.itemsize}") == b.view(f"u{b.dtype.itemsize}") if a.ndim else a.tobytes() == b.tobytes()
    return np.asarray(~(same | (np.isnan(a) & np.isnan(b))))


def _beyond_bound(a: np.ndarray, b: np.ndarray, contract: Contract) -> np.ndarray:
    factor = 1.0
    match contract.preserves:
        case WithinUlp(ulp=ulp):
            factor = 1.0 + 2.0 * ulp
        case WithinBound(factor=f):
            factor = f
        case _:
            pass
    x, y = a["v"].astype(np.float64), b["v"].astype(np.float64)
    allowed = factor * (a["e"] + b["e"])
    same = (x == y) | (np.isnan(x) & np.isnan(y)) | ~np.isfinite(allowed)
    with np.errstate(all="ignore"):
        apart = np.abs(x - y)
    return np.asarray(~(apart <= allowed) & ~same)
