"""Replace transcendental `math` ops on f32, f16 and bf16 by polynomial arithmetic, on scalars and vectors alike.

    %y = math.exp %x : vector<16xf32>   -->   arith, math.fma, bit casts: no call, 16 lanes at once

Where nothing but 1 + f(x) is used, as in sigmoid, SiLU and both forms of GELU, a shorter formula computes that sum:

    %n = arith.negf %x                       -->   1 + exp(-%x) for %d, whose last step is a fused multiply-add;
    %e = math.exp %n                               the sign of %x is part of the constants
    %d = arith.addf %e, %one

exp of what is at most a constant that is not above zero, as in softmax, is scaled in one step, as it cannot overflow:

    %n = arith.minimumf %x, %zero            -->   the upper bound of exp's own clamp, and one step less
    %e = math.exp %n

Where the machine looks up the lanes of a vector in a register (`lookup`), exp and tanh, and 1 + erf, have tables:

    %y = math.exp %x : vector<16xf32>   -->   %t = x86vector.avx512.permvar %powers, %j, half as many multiply-adds

f16 and bf16 are worked out in f32. f64 stays for the backend, which calls the C library: its results are within
one ULP, and no model spends its time there. `math.sqrt`, `absf`, `fma`, `floor`, ... are machine instructions and stay.

Runs after vectorize-structured and linalg-to-loops. Runs before convert-to-llvm.
Preserves values within 2 ULP; inf, NaN, denormals and signed zeros as IEEE 754 and ATen have them.
Tests: tests/lowering/vector/expand_math.mlir, tests/lowering/vector/test_expand_math.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    FloatAttr,
    IntegerAttr,
    LocationAttr,
    ModuleOp,
    VectorType,
    f32,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, WithinUlp
from mlc.ir.locations import with_location
from mlc.ir.passes import MlcPass
from mlc.lowering.vector import math_single, math_tables
from mlc.lowering.vector.math_builder import MathBuilder, Val, can_look_up
from mlc.lowering.vector.math_double import DOUBLE
from mlc.lowering.vector.math_single import ONE_PLUS, SINGLE
from mlc.lowering.vector.math_tables import ONE_PLUS_TABLES, TABLES

IN_STEP = 8  # neighbouring ops expanded together
_Table = dict[str, Callable[..., Val]]
_Formulas = tuple[_Table, _Table, Callable[..., Val]]  # of functions, of one plus functions, of exp below one
_POLYNOMIALS: _Formulas = (SINGLE, ONE_PLUS, math_single.exp_below_one)
_TABLES: _Formulas = ({**SINGLE, **TABLES}, {**ONE_PLUS, **ONE_PLUS_TABLES}, math_tables.exp_below_one)


@dataclass(frozen=True)
class ExpandMath(MlcPass):
    """See the module. `fma` and `lookup` override whether the machine has fused multiply-add, and lookups in a
    register."""

    name = "expand-math"
    contract = Contract(
        level_in="loops",
        level_out="loops",
        preserves=WithinUlp(2, "polynomials of 27 bits and more, f32 reconstruction"),
        profile="vector-math",
        options=({"fma": True}, {"fma": False}, {"lookup": True}),
        establishes=("no transcendental math op on f32 and narrower floats",),
        nests=True,
        rules={name.removeprefix("math."): "polynomial arithmetic" for name in sorted({*SINGLE, *DOUBLE})},
    )

    fma: bool | None = None
    lookup: bool | None = None

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        fused = self.fma if self.fma is not None else bool(getattr(ctx.machine, "fma", True))
        lookup = self.lookup if self.lookup is not None else bool(getattr(ctx.machine, "lookup", False))
        for function in [op for op in module.walk() if isinstance(op, FuncOp) and op.body.blocks]:
            _Expansion(ctx, self.name, function.body.blocks[0], fused, lookup).run(function)


class _Expansion:
    """One function: constants go to the start of its entry block, once each."""

    def __init__(self, ctx: MlcContext, pass_name: str, entry: Block, fused: bool, lookup: bool) -> None:
        self.ctx, self.pass_name, self.entry, self.fused, self.lookup = ctx, pass_name, entry, fused, lookup
        self._constants: dict[Attribute, SSAValue] = {}
        self.location: LocationAttr = UNKNOWN_LOC

    def run(self, function: FuncOp) -> None:
        group: list[Operation] = []
        for op in [op for op in function.walk() if op.name in SINGLE or op.name in DOUBLE]:
            element = _element(op.results[0].type)
            if isinstance(element, Float32Type | Float16Type | BFloat16Type):
                if group and not _joins(op, group):
                    self._expand(group)
                    group = []
                group.append(op)
                kind, name = op.results[0].type, op.name
                self.ctx.remarks.applied(
                    self.pass_name, op, f"expanded {name} on {kind}", rule=name.removeprefix("math.")
                )
            else:
                reason = f"{element} is left to the C library"
                self.ctx.remarks.missed(self.pass_name, op, f"kept {op.name}", reason=reason)
        if group:
            self._expand(group)

    def _constant(self, value: Attribute) -> SSAValue:
        if value not in self._constants:
            assert isinstance(value, FloatAttr | IntegerAttr | DenseIntOrFPElementsAttr)
            op = arith.ConstantOp(value)
            op.location = self.location
            first = self.entry.first_op
            assert first is not None
            self.entry.insert_op_before(op, first)
            self._constants[value] = op.result
        return self._constants[value]

    def _expand(self, group: list[Operation]) -> None:
        """Neighbouring ops of one name: their expansions are written side by side, op by op."""
        chains = [self._expansion(op) for op in group]
        first = group[0]
        block = first.parent
        assert block is not None
        for step in zip_longest(*(ops for ops, _ in chains)):
            block.insert_ops_before([op for op in step if op is not None], first)
        for op, (_, result) in zip(group, chains, strict=True):
            if _is_beside_one(op):
                for use in list(op.results[0].uses):
                    _replace(use.operation, result)
            _replace(op, result)

    def _expansion(self, op: Operation) -> tuple[list[Operation], SSAValue]:
        """The ops that stand for `op`, and the value they compute."""
        self.location = op.location
        ops: list[Operation] = []

        def emit(new: Operation) -> SSAValue:
            with_location(new, op.location)
            ops.append(new)
            return new.results[0]

        kind = op.results[0].type
        m = MathBuilder(emit, self._constant, kind, fma=self.fused)
        narrow = not isinstance(_element(kind), Float32Type)
        formula, operands = _formula(op, _TABLES if self.lookup and can_look_up(kind) else _POLYNOMIALS)
        args = [m.value(v) for v in operands]
        if narrow:
            args = [m.widen(a, f32) for a in args]
        result = formula(m, *args)
        if narrow:
            result = m.narrow(result, _element(kind))
        return ops, result.ssa


def _joins(op: Operation, group: list[Operation]) -> bool:
    """Whether `op` follows those of `group`, is like them, and needs none of their results."""
    return (
        group[-1].next_op is op
        and len(group) < IN_STEP
        and op.name == group[0].name
        and _is_beside_one(op) == _is_beside_one(group[0])
        and not any(operand.owner in group for operand in op.operands)
    )


def _is_beside_one(op: Operation) -> bool:
    """Whether what `op` computes is only ever added to one, for which there is a shorter formula."""
    uses = list(op.results[0].uses)
    return (
        op.name in ONE_PLUS
        and bool(uses)
        and all(
            isinstance(use.operation, arith.AddfOp) and _is_one(use.operation.operands[1 - use.index]) for use in uses
        )
    )


def _bounded(op: Operation) -> tuple[SSAValue, float] | None:
    """What `op` is exp of, less a bound that is at most zero, and that bound."""
    bound = op.operands[0].owner
    if op.name != "math.exp" or not isinstance(bound, arith.MinimumfOp):
        return None
    for value, other in ((bound.lhs, bound.rhs), (bound.rhs, bound.lhs)):
        high = _number(other)
        if high is not None and -100 <= high <= 0:
            return value, high
    return None


def _is_one(value: SSAValue) -> bool:
    return _number(value) == 1.0


def _number(value: SSAValue) -> float | None:
    """The constant that `value` is, in all lanes."""
    owner = value.owner
    if not isinstance(owner, arith.ConstantOp):
        return None
    constant = owner.value
    if isinstance(constant, DenseIntOrFPElementsAttr):
        lane = constant.get_values()[0] if constant.is_splat() else None
        return lane if isinstance(lane, float) else None
    return constant.value.data if isinstance(constant, FloatAttr) else None


def _formula(op: Operation, formulas: _Formulas) -> tuple[Callable[..., Val], Sequence[SSAValue]]:
    """The formula for `op`, or for the sum of one and it, and what that is a formula of."""
    whole, one_plus, below_one = formulas
    if _is_beside_one(op):
        negated = op.operands[0].owner
        if op.name == "math.exp" and isinstance(negated, arith.NegfOp):
            return partial(one_plus[op.name], factor=-1.0), negated.operands
        return one_plus[op.name], op.operands
    if (bounded := _bounded(op)) is not None:
        value, high = bounded
        return partial(below_one, high=high), [value]
    if op.name in whole:
        return whole[op.name], op.operands
    return lambda m, *args: m.narrow(DOUBLE[op.name](m, *(m.widen(a) for a in args))), op.operands


def _replace(op: Operation, result: SSAValue) -> None:
    """Take `op`, and a negation or bound that only it used, out for `result`."""
    inner = op.operands[0].owner
    op.results[0].replace_all_uses_with(result)
    op.detach()
    op.erase()
    if isinstance(inner, arith.NegfOp | arith.MinimumfOp) and inner.result.first_use is None:
        inner.detach()
        inner.erase()


def _element(kind: Attribute) -> Attribute:
    return kind.element_type if isinstance(kind, VectorType) else kind
