"""`cf.cond_br` with the weights of its branches, which xDSL's leaves out.

cf.cond_br %c weights([10, 20]), ^a, ^b
"""

from __future__ import annotations

from xdsl.dialects import cf
from xdsl.dialects.builtin import DenseArrayBase, IntegerType, i32
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    successor_def,
    var_operand_def,
)

from mlc.dialects.redefined import Redefined


@irdl_op_definition
class ConditionalBranchOp(Redefined, cf.ConditionalBranchOp):
    """`cf.cond_br`; `weights` say how often each branch is taken."""

    cond = operand_def(IntegerType(1))
    then_arguments = var_operand_def()
    else_arguments = var_operand_def()
    branch_weights = opt_prop_def(DenseArrayBase.constr(i32))
    then_block = successor_def()
    else_block = successor_def()
    assembly_format = """
    $cond (`weights` `(` $branch_weights^ `)`)? `,`
    $then_block (`(` $then_arguments^ `:` type($then_arguments) `)`)? `,`
    $else_block (`(` $else_arguments^ `:` type($else_arguments) `)`)?
    attr-dict
    """


OPS = (ConditionalBranchOp,)
