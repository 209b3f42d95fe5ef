"""Products and convolutions as models of bf16 have them: operands rounded to bf16 and extended again.

The rounding and the extension stand right at the product, or before ops that move elements (transposes, padding,
concatenations, reshapes). Near misses: one operand of f32, an extension that computes something besides.
"""

from __future__ import annotations

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import bf16, f32
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import TransposeOp
from xdsl.ir import Operation, SSAValue

from fuzz.generators.demoted_convolutions import JoinedGenerator
from fuzz.generators.linalg import ALL_STEPS, LinalgGenerator
from fuzz.generators.linalg_witnesses import WITNESSES, WitnessGenerator
from fuzz.generators.staged import run
from fuzz.generators.winograd import WinogradGenerator, laid_out
from fuzz.generators.winograd_pointwise import WinogradPointwiseGenerator
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.lowering.linalg.build import behind, converted, element_type
from mlc.lowering.linalg.structure import identity_map, shape_of
from mlc.testing.program import Program

_PASS = "linalg-fold-arith-extension"
_SUMS = ("linalg.matmul", "linalg.batch_matmul", "linalg.conv_2d_nchw_fchw")
_MOVING = (tensor.PadOp, tensor.ConcatOp, TransposeOp, tensor.CollapseShapeOp, tensor.ExpandShapeOp)
_MOVING = (*_MOVING, tensor.ExtractSliceOp)


class _ProductGenerator(WitnessGenerator):
    """Products of f32, of any kind that the pass looks at."""

    most_steps = 1

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape, ALL_STEPS, WITNESSES[_PASS])
        self.element, self.witnesses = "f32", WITNESSES[_PASS]

    def body_steps(self) -> None:
        """Products in every program."""
        LinalgGenerator.body_steps(self)
        for _ in range(self.tape.between(1, 4)):
            getattr(self, self.tape.pick(self.witnesses))()


def extended_products(tape: Tape) -> Program:
    """Matrix products of constants and of computed matrices."""
    return _extended(tape, _ProductGenerator(tape).program())


def extended_convolutions(tape: Tape) -> Program:
    """1x1 and 3x3 convolutions, in blocked layout."""
    generator = tape.pick((WinogradPointwiseGenerator, WinogradGenerator, JoinedGenerator))(tape)
    return laid_out(_extended(tape, generator.program()), tape.pick((4, 8, 4)))


def folded_products(tape: Tape) -> Program:
    """The products as they read bf16, before panels are chosen."""
    return run(extended_products(tape), [make_pass(_PASS, {"pairs": not tape.chance(15)})])


def _extended(tape: Tape, program: Program) -> Program:
    for op in list(program.module.walk()):
        if op.name not in _SUMS or not isinstance(op, LinalgStructuredOperation):
            continue
        for i in range(2):
            if element_type(op.operands[i]) == f32 and not tape.chance(10):
                _extend(tape, op, i)
    return run(program, [])


def _extend(tape: Tape, op: Operation, i: int) -> None:
    """Let operand `i` of `op` be bf16, from there or from behind what moves it."""
    while isinstance(moving := op.operands[i].owner, _MOVING) and not tape.chance(25):
        if isinstance(moving, tensor.ConcatOp):
            for j in range(1, len(moving.inputs)):
                if not tape.chance(15):
                    _extend(tape, moving, j)
        op, i = moving, 0
    value = op.operands[i]
    narrow = converted(behind(value), value, arith.TruncFOp, bf16)
    op.operands[i] = _odd(narrow) if tape.chance(8) else converted(behind(narrow), narrow, arith.ExtFOp, f32)


def _odd(narrow: SSAValue) -> SSAValue:
    """Extended, and negated at once."""
    at, same = behind(narrow), identity_map(len(shape_of(narrow)))
    out = at.empty(at.sizes(narrow), f32)
    kinds = "p" * len(shape_of(narrow))
    return at.generic(
        [(narrow, same)],
        [(out, same)],
        kinds,
        lambda body, x, _: body.op(arith.NegfOp, body.op(arith.ExtFOp, x, f32)),
    )
