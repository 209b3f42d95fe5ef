"""Passes that lie, one for each kind of promise. The property suite must report every one of them.

A canary that goes unreported means that its kind of check has gone blind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import UNKNOWN_LOC, ArrayAttr, FloatAttr, IntegerAttr, ModuleOp, bf16, f16
from xdsl.dialects.linalg.abstract_ops import NamedOperation
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract, Equality, Narrows, Reassociates, WithinBound, WithinUlp
from mlc.ir.passes import MlcPass


def promise(preserves: Equality, *, idempotent: bool = False, profile: str = "linalg-elementwise") -> Contract:
    """A contract at the linalg level."""
    return Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=preserves,
        profile=profile,
        idempotent=idempotent,
    )


def visible(module: ModuleOp, name: str) -> list[Operation]:
    """Ops of a name that are not in the hidden body of a named op."""
    found = [op for op in module.walk() if op.name == name]
    return [op for op in found if not isinstance(op.parent_op(), NamedOperation)]


def reductions(module: ModuleOp) -> Iterator[tuple[Operation, SSAValue, SSAValue]]:
    """Additions that fold an accumulator in: the op, its accumulator, its term."""
    for op in visible(module, "arith.addf"):
        block = op.parent_block()
        if block is None or op.parent_op() is None or not block.args:
            continue
        acc = block.args[-1]
        if acc in op.operands:
            a, b = op.operands
            yield op, acc, b if a is acc else a


def before(op: Operation, new: Operation) -> SSAValue:
    """Insert `new` at `op`, with its location; its first result."""
    block = op.parent_block()
    assert block is not None
    new.location = op.location
    block.insert_op_before(new, op)
    return new.results[0]


def replace(op: Operation, value: SSAValue) -> None:
    """Use `value` instead of `op`."""
    op.results[0].replace_all_uses_with(value)
    op.detach()
    op.erase()


def number(value: float, t: Attribute) -> Operation:
    """A float constant."""
    return arith.ConstantOp(FloatAttr(value, t))  # pyright: ignore[reportArgumentType, reportCallIssue]


@dataclass(frozen=True)
class SwapsSubtraction(MlcPass):
    """a - b becomes b - a."""

    name = "canary-bitwise"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.subf"):
            replace(op, before(op, arith.SubfOp(op.operands[1], op.operands[0])))


@dataclass(frozen=True)
class LosesNegativeZero(MlcPass):
    """x * y becomes x * y + 0.0: only -0.0 shows it."""

    name = "canary-negative-zero"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.mulf"):
            product = before(op, arith.MulfOp(op.operands[0], op.operands[1]))
            zero = before(op, number(0.0, product.type))
            replace(op, before(op, arith.AddfOp(product, zero)))


@dataclass(frozen=True)
class DropsNan(MlcPass):
    """maximumf becomes maxnumf, which loses NaN."""

    name = "canary-nan"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.maximumf"):
            replace(op, before(op, arith.MaxnumfOp(op.operands[0], op.operands[1])))


@dataclass(frozen=True)
class CountsTermTwice(MlcPass):
    """A sum adds each term twice with half the weight, except that the half is a little off."""

    name = "canary-reassociates"
    contract: ClassVar[Contract] = promise(Reassociates("claims to reorder only"))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op, acc, term in list(reductions(module)):
            half = before(op, number(0.5 + 2.0**-23, term.type))
            part = before(op, arith.MulfOp(term, half))
            once = before(op, arith.AddfOp(acc, part))
            replace(op, before(op, arith.AddfOp(once, part)))


@dataclass(frozen=True)
class CoarseExp(MlcPass):
    """exp off by 2^-18 where 4 ULP are promised."""

    name = "canary-ulp"
    contract: ClassVar[Contract] = promise(WithinUlp(4, "claims a good polynomial"))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "math.exp"):
            e = before(op, math.ExpOp(op.operands[0]))
            replace(op, before(op, arith.MulfOp(e, before(op, number(1 + 2.0**-18, e.type)))))


@dataclass(frozen=True)
class SumsInHalf(MlcPass):
    """Terms of sums rounded to f16 where a small multiple of the bound is promised."""

    name = "canary-bound"
    contract: ClassVar[Contract] = promise(WithinBound(4.0, "claims a derived constant"))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op, acc, term in list(reductions(module)):
            if term.type == f16:
                continue
            narrow = before(op, arith.TruncFOp(term, f16))  # pyright: ignore[reportArgumentType]
            wide = before(op, arith.ExtFOp(narrow, term.type))  # pyright: ignore[reportArgumentType]
            replace(op, before(op, arith.AddfOp(acc, wide)))


@dataclass(frozen=True)
class RoundsTooCoarsely(MlcPass):
    """Terms of sums off by 2^-5 where a rounding to bf16, 2^-8, is promised."""

    name = "canary-narrows"
    contract: ClassVar[Contract] = promise(Narrows(16, "claims to round terms"))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op, acc, term in list(reductions(module)):
            if term.type == f16:
                continue
            narrow = before(op, arith.TruncFOp(term, bf16))  # pyright: ignore[reportArgumentType]
            wide = before(op, arith.ExtFOp(narrow, term.type))  # pyright: ignore[reportArgumentType]
            part = before(op, arith.MulfOp(wide, before(op, number(1 + 2.0**-5, term.type))))
            replace(op, before(op, arith.AddfOp(acc, part)))


@dataclass(frozen=True)
class ForgetsLocation(MlcPass):
    """New ops without a place in the user's source."""

    name = "canary-location"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.addf"):
            new = arith.AddfOp(op.operands[0], op.operands[1])
            value = before(op, new)
            new.location = UNKNOWN_LOC
            replace(op, value)


_RUNS = count()


@dataclass(frozen=True)
class CountsItsRuns(MlcPass):
    """IR that depends on how often the pass has run."""

    name = "canary-determinism"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        module.attributes["run"] = IntegerAttr(next(_RUNS), 64)


@dataclass(frozen=True)
class NeverFinishes(MlcPass):
    """One more double negation at each run, although it claims that a second run changes nothing."""

    name = "canary-idempotence"
    contract: ClassVar[Contract] = promise(Bitwise(), idempotent=True)

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "linalg.yield")[:1]:
            value = op.operands[0]
            if isinstance(value.type, type(f16)) or value.type.name.startswith("f"):
                once = before(op, arith.NegfOp(value))
                op.operands[0] = before(op, arith.NegfOp(once))


@dataclass(frozen=True)
class UsesBeforeDefinition(MlcPass):
    """A constant moved behind its use, which xDSL's own verifier does not see."""

    name = "canary-verifier"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.constant"):
            block = op.parent_block()
            if block is not None and block.last_op is not None and op.results[0].uses:
                op.detach()
                block.insert_op_before(op, block.last_op)


@dataclass(frozen=True)
class Crashes(MlcPass):
    """Fails on a program it must take."""

    name = "canary-crash"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        if visible(module, "math.tanh"):
            raise KeyError("tanh")


@dataclass(frozen=True)
class MaximumFromZero(MlcPass):
    """Maxima start from 0 where they should start from minus infinity."""

    name = "canary-identity"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.constant"):
            value = op.properties["value"]
            if isinstance(value, FloatAttr) and value.value.data == float("-inf"):
                replace(op, before(op, number(0.0, value.type)))


@dataclass(frozen=True)
class ForgetsSigns(MlcPass):
    """maxsi, extsi and sitofp become those of unsigned numbers."""

    name = "canary-signedness"
    contract: ClassVar[Contract] = promise(Bitwise(), profile="arith")

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.maxsi"):
            replace(op, before(op, arith.MaxUIOp(op.operands[0], op.operands[1])))
        for name, kind in (("arith.extsi", arith.ExtUIOp), ("arith.sitofp", arith.UIToFPOp)):
            for op in visible(module, name):
                replace(op, before(op, kind.create(operands=op.operands, result_types=op.result_types)))


@dataclass(frozen=True)
class ClaimsParallel(MlcPass):
    """Reductions whose rounds may run at the same time."""

    name = "canary-race"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in module.walk():
            if isinstance(op, GenericOp):
                kinds = [IteratorTypeAttr.parallel() for _ in op.iterator_types]
                op.properties["iterator_types"] = ArrayAttr(kinds)


@dataclass(frozen=True)
class HidesARule(MlcPass):
    """A rewrite under a name that the contract does not declare."""

    name = "canary-rule"
    contract: ClassVar[Contract] = promise(Bitwise())

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in visible(module, "arith.addf"):
            ctx.remarks.applied(self.name, op, "looked at", rule="undeclared")


CANARIES: tuple[tuple[type[MlcPass], str], ...] = (
    (SwapsSubtraction, "values"),
    (LosesNegativeZero, "values"),
    (DropsNan, "values"),
    (CountsTermTwice, "values"),
    (CoarseExp, "values"),
    (SumsInHalf, "values"),
    (RoundsTooCoarsely, "values"),
    (ForgetsLocation, "location"),
    (CountsItsRuns, "determinism"),
    (NeverFinishes, "idempotence"),
    (UsesBeforeDefinition, "verifier"),
    (Crashes, "crash"),
    (MaximumFromZero, "values"),
    (ForgetsSigns, "values"),
    (HidesARule, "rule"),
    (ClaimsParallel, "race"),
)
"""Each with the kind of finding that must name it."""
