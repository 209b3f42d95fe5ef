"""Integer divisions and shifts with the flag that xDSL leaves out.

    %q = arith.divsi %a, %b exact : i32                 also divui, shrsi, shrui: nothing is lost

The classes derive from xDSL's; irdl wants their fields spelled out again. Where the flag does not
hold, the result is not defined: `--run` says so. Native code makes no use of it.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import UnitAttr
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, result_def

from mlc.dialects.redefined import Redefined

_T = arith.SignlessIntegerBinaryOperation.T


class _Exact(Redefined):
    """Fields and syntax of them all."""

    lhs = operand_def(_T)
    rhs = operand_def(_T)
    result = result_def(_T)
    is_exact = opt_prop_def(UnitAttr, prop_name="isExact")
    assembly_format = "$lhs `,` $rhs (`exact` $isExact^)? attr-dict `:` type($result)"


@irdl_op_definition
class DivSIOp(_Exact, arith.DivSIOp):
    """`arith.divsi`; exact: without a remainder."""


@irdl_op_definition
class DivUIOp(_Exact, arith.DivUIOp):
    """`arith.divui`; exact: without a remainder."""


@irdl_op_definition
class ShRSIOp(_Exact, arith.ShRSIOp):
    """`arith.shrsi`; exact: no bit that is set is shifted out."""


@irdl_op_definition
class ShRUIOp(_Exact, arith.ShRUIOp):
    """`arith.shrui`; exact: no bit that is set is shifted out."""


OPS = (DivSIOp, DivUIOp, ShRSIOp, ShRUIOp)
