"""Replace transcendental `math` ops on f32, f16 and bf16 by polynomial arithmetic, on scalars and vectors alike.

    %y = math.exp %x : vector<16xf32>   -->   arith, math.fma, bit casts: no call, 16 lanes at once

f16 and bf16 are worked out in f32. f64 stays for the backend, which calls the C library: its results are within
one ULP, and no model spends its time there. `math.sqrt`, `absf`, `fma`, `floor`, ... are machine instructions and stay.

Runs after vectorize-structured and linalg-to-loops. Runs before convert-to-llvm.
Preserves values within 2 ULP; inf, NaN, denormals and signed zeros as IEEE 754 and ATen have them.
Tests: tests/lowering/vector/expand_math.mlir, tests/lowering/vector/test_expand_math.py
"""

from __future__ import annotations

from dataclasses import dataclass
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
from mlc.lowering.vector.math_builder import MathBuilder, Val
from mlc.lowering.vector.math_double import DOUBLE
from mlc.lowering.vector.math_single import BESIDE_ONE, SINGLE


IN_STEP = 8  # neighbouring ops expanded together


@dataclass(frozen=True)
class ExpandMath(MlcPass):
    """See the module. `fma` overrides whether the machine has fused multiply-add."""

    name = "expand-math"
    contract = Contract(
        level_in="loops",
        level_out="loops",
        preserves=WithinUlp(2, "polynomials of 27 bits and more, f32 reconstruction"),
        profile="vector-math",
        options=({"fma": True}, {"fma": False}),
        establishes=("no transcendental math op on f32 and narrower floats",),
        nests=True,
        rules={name.removeprefix("math."): "polynomial arithmetic" for name in sorted({*SINGLE, *DOUBLE})},
    )

    fma: bool | None = None

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        fused = self.fma if self.fma is not None else bool(getattr(ctx.machine, "fma", True))
        for function in [op for op in module.walk() if isinstance(op, FuncOp) and op.body.blocks]:
            _Expansion(ctx, self.name, function.body.blocks[0], fused).run(function)


class _Expansion:
    """One function: constants go to the start of its entry block, once each."""

    def __init__(self, ctx: MlcContext, pass_name: str, entry: Block, fused: bool) -> None:
        self.ctx, self.pass_name, self.entry, self.fused = ctx, pass_name, entry, fused
        self._constants: dict[Attribute, SSAValue] = {}
        self.location: LocationAttr = UNKNOWN_LOC

    def run(self, function: FuncOp) -> None:
        group: list[Operation] = []
        for op in [op for op in function.walk() if op.name in SINGLE or op.name in DOUBLE]:
            element = _element(op.results[0].type)
            if isinstance(element, Float32Type | Float16Type | BFloat16Type):
                if group and (group[-1].next_op is not op or len(group) == IN_STEP or not _alike(op, group[0])):
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
            op.results[0].replace_all_uses_with(result)
            op.detach()
            op.erase()

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
        args = [m.value(v) for v in op.operands]
        if narrow:
            args = [m.widen(a, f32) for a in args]
        result = BESIDE_ONE[op.name](m, args[0]) if _is_beside_one(op) else _formula(m, op.name, args)
        if narrow:
            result = m.narrow(result, _element(kind))
        return ops, result.ssa


def _alike(a: Operation, b: Operation) -> bool:
    return a.name == b.name and _is_beside_one(a) == _is_beside_one(b)


def _is_beside_one(op: Operation) -> bool:
    """Whether what `op` computes is only ever added to one, for which there is a shorter formula."""
    return op.name in BESIDE_ONE and all(
        isinstance(use.operation, arith.AddfOp) and _is_one(use.operation.operands[1 - use.index])
        for use in op.results[0].uses
    )


def _is_one(value: SSAValue) -> bool:
    owner = value.owner
    if not isinstance(owner, arith.ConstantOp):
        return False
    constant = owner.value
    if isinstance(constant, DenseIntOrFPElementsAttr):
        return constant.is_splat() and constant.get_values()[0] == 1.0
    return isinstance(constant, FloatAttr) and constant.value.data == 1.0


def _formula(m: MathBuilder, name: str, args: list[Val]) -> Val:
    if name in SINGLE:
        return SINGLE[name](m, args[0])
    return m.narrow(DOUBLE[name](m, *(m.widen(a) for a in args)))


def _element(kind: Attribute) -> Attribute:
    return kind.element_type if isinstance(kind, VectorType) else kind
