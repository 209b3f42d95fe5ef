"""Float ops that xDSL's arith lacks: `arith.remf`, C's fmod.

%r = arith.remf %x, %y : f32
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.irdl import irdl_op_definition, traits_def
from xdsl.traits import Pure


@irdl_op_definition
class RemfOp(arith.FloatingPointLikeBinaryOperation):
    """Remainder with the sign of the dividend."""

    name = "arith.remf"

    traits = traits_def(Pure())


OPS = (RemfOp,)
