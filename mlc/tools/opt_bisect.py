"""`mlc-opt --bisect`: which pass of a pipeline changes what a file means, and through which rewrite.

Each pass runs on the program as the passes before it left it; the reference interpreter runs both sides under the
equality that the pass's contract promises. The first that breaks its promise is named; the program is then shrunk to
the few ops on which it still does, and what the pass reports of those (its remarks) is the guilty rewrite.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from mlc.errors import UsageError
from mlc.ir.context import MlcContext, context_of
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.parsing import print_text
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import Item, OpPipeline, run_pipeline
from mlc.ir.pipeline_text import pipeline_text
from mlc.testing.oracle import Finding, check
from mlc.testing.program import Discard, Program
from mlc.testing.reduce_ir import count_ops, reduce_program
from mlc.testing.upstream import UPSTREAM

SETS, SETS_OF_SMALL, SMALL = 8, 32, 100
"""Sets of inputs that are tried: with many, each edge value (minus zero, infinities, the ends of integers) comes up in
most places; programs of up to `SMALL` ops run fast enough for more."""


def tried(module: ModuleOp) -> int:
    """Sets of inputs for a program."""
    return SETS_OF_SMALL if count_ops(module) <= SMALL else SETS


@dataclass(frozen=True)
class NestedPass(ModulePass):
    """`anchor(pass)` as one pass on the module: functions see nothing of each other, so one pass after the other."""

    name = "nested"
    anchor: str
    inner: ModulePass

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        run_pipeline([self.item()], context_of(ctx), op)

    def item(self) -> OpPipeline:
        """As it stands in a pipeline."""
        inner = self.inner.item() if isinstance(self.inner, NestedPass) else self.inner
        return OpPipeline(self.anchor, (inner,))


def steps(items: Sequence[Item]) -> list[ModulePass]:
    """The single passes of a pipeline, in order."""
    found: list[ModulePass] = []
    for item in items:
        if isinstance(item, ModulePass):
            found.append(item)
        else:
            found += [NestedPass(item.anchor, p) for p in steps(item.items)]
    return found


@dataclass
class Culprit:
    """The pass, what it broke, and the reduced program."""

    index: int
    blamed: ModulePass
    finding: Finding
    reduced: Program
    rewrites: tuple[str, ...]


def contract_of(p: ModulePass) -> Contract:
    """The pass's promise; for an upstream pass without one, that it changes nothing."""
    if isinstance(p, NestedPass):
        return contract_of(p.inner)
    if isinstance(p, MlcPass):
        return p.contract
    return UPSTREAM.get(p.name) or Contract(level_in="any", level_out="any", preserves=Bitwise(), profile="arith")


def bisect(module: ModuleOp, ctx: MlcContext, items: Sequence[Item], entry: str, seed: int) -> Culprit | None:
    """The first pass that breaks its promise on `module`, or None. `module` is left as it is. A pass that changes the
    meaning comes before one that only loses a location or names no rule.

    The entry is called by the signature it has in the file, also when passes have turned its tensors into buffers.
    """
    passes = steps(items)
    if not passes:
        raise UsageError("--bisect needs passes", hint="give a pipeline: --pass-pipeline=… or --mlc-pipeline=cpu")
    current = Program(module.clone(), ctx.clone(), entry, seed)
    minor: tuple[int, Finding, Program] | None = None
    for i, p in enumerate(passes):
        finding = _failure(p, current)
        if finding is not None and finding.changes_meaning:
            return _culprit(i, p, finding, current)
        if finding is not None and minor is None:
            minor = i, finding, current
        current = current.copy()
        p.apply(current.ctx, current.module)
    if minor is None:
        return None
    i, finding, program = minor
    return _culprit(i, passes[i], finding, program)


def _culprit(index: int, p: ModulePass, finding: Finding, program: Program) -> Culprit:
    """The pass with the program shrunk to what still shows a failure as grave."""

    def fails(candidate: Program) -> bool:
        seen = _failure(p, candidate)
        return seen is not None and seen.changes_meaning == finding.changes_meaning

    reduced = reduce_program(program, fails)
    return Culprit(index, p, _failure(p, reduced) or finding, reduced, _rewrites(p, reduced))


def _failure(p: ModulePass, program: Program) -> Finding | None:
    """What is wrong after `p`, over several seeds of inputs; None too when the program itself cannot run."""
    seeds = range(program.seed, program.seed + tried(program.module))
    try:
        return check(lambda: p, contract_of(p), program.copy(), seeds=seeds).finding
    except Discard as e:
        if str(e).startswith("refused"):
            raise UsageError(f"pass '{_innermost(p).name}' refuses the program: {e}") from None
        return None


def _rewrites(p: ModulePass, program: Program) -> tuple[str, ...]:
    after = program.copy()
    # A pass that fails has been found for that: what it had rewritten until then counts.
    with suppress(Exception, SystemExit):
        p.apply(after.ctx, after.module)
    return tuple(
        f"{r.where + ': ' if r.where else ''}{r.op}: {r.message}" for r in after.ctx.remarks if r.kind == "applied"
    )


def report(culprit: Culprit | None, items: Sequence[Item], module: ModuleOp) -> str:
    """The answer for `module` as text; the reduced program is ready to be a test."""
    passes = steps(items)
    if culprit is None:
        sets = f"tried on {tried(module)} sets of inputs"
        return f"// bisect: none of the {len(passes)} passes changes the meaning of this file ({sets})\n"
    blamed = culprit.blamed
    pipeline = pipeline_text([blamed.item() if isinstance(blamed, NestedPass) else blamed])
    lines = [
        f"// bisect: pass {culprit.index + 1} of {len(passes)}, '{_innermost(blamed).name}', is guilty",
        *(f"// {line}" for line in f"{culprit.finding.kind}: {culprit.finding.detail}".splitlines()),
        *(f"// rewrite: {r}" for r in culprit.rewrites),
        f"// reduced to {count_ops(culprit.reduced.module)} ops:",
        f"// RUN: mlc-opt --pass-pipeline='{pipeline}' %s | filecheck %s",
        "",
        print_text(culprit.reduced.module, ctx=culprit.reduced.ctx, resource_limit=1 << 16),
    ]
    return "\n".join(lines)


def _innermost(p: ModulePass) -> ModulePass:
    return _innermost(p.inner) if isinstance(p, NestedPass) else p
