"""Scaled dot product attention as one op, kept whole until it is written as loops over tiles.

    %y = "linalg_ext.attention"(%q, %k, %v, %o) {scale = 0.125 : f32, causal}
        : (tensor<12x512x64xf32>, tensor<12x512x64xf32>, tensor<12x512x64xf32>,      ins
           tensor<12x512x64xf32>)                                                    outs
        -> tensor<12x512x64xf32>

    q  heads, rows, width          y = softmax(scale * q k^T) v of every head; `causal`: a row sees the keys up to its
    k  heads, keys, width          own number alone, of which there are as many as rows
    v  heads, keys, columns
    m  groups, rows or 1, keys     before the destination, where given: of i1, which keys are seen; of f32, what is
                                   added to the scores; each for as many heads as there are for a group
    y  heads, rows, columns        what the destination holds is not read; a row that sees no key is zero

The op is written in the generic form, which upstream's tools read without knowing the dialect.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX, FloatAttr, MemRefType, ShapedType, TensorType, UnitAttr, f32, i1
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_attr_def,
    var_operand_def,
    var_result_def,
)
from xdsl.utils.exceptions import VerifyException


@irdl_op_definition
class AttentionOp(IRDLOperation):
    """See the module."""

    name = "linalg_ext.attention"

    inputs = var_operand_def()
    output = operand_def()
    scale = attr_def(FloatAttr)
    causal = opt_attr_def(UnitAttr)
    res = var_result_def(TensorType)

    def __init__(self, inputs: Sequence[SSAValue], output: SSAValue, scale: float, *, causal: bool = False) -> None:
        made = [output.type] if isinstance(output.type, TensorType) else []
        super().__init__(
            operands=[list(inputs), output],
            attributes={"scale": FloatAttr(scale, f32), **({"causal": UnitAttr()} if causal else {})},
            result_types=[made],
        )

    @property
    def query(self) -> SSAValue:
        """What is looked for."""
        return self.inputs[0]

    @property
    def key(self) -> SSAValue:
        """What it is compared with."""
        return self.inputs[1]

    @property
    def value(self) -> SSAValue:
        """What is summed."""
        return self.inputs[2]

    @property
    def mask(self) -> SSAValue | None:
        """Which scores count, or what is added to them."""
        return self.inputs[3] if len(self.inputs) > 3 else None

    @property
    def outputs(self) -> list[SSAValue]:
        """The destination."""
        return [self.output]

    def sizes(self) -> tuple[int, int, int, int, int]:
        """Heads, rows, keys, width, columns."""
        heads, rows, width = _shape(self.query, "query")
        _, keys, columns = _shape(self.value, "value")
        return heads, rows, keys, width, columns

    def verify_(self) -> None:
        if len(self.inputs) not in (3, 4):
            raise VerifyException(f"expected query, key, value and perhaps a mask, got {len(self.inputs)} inputs")
        heads, rows, keys, width, columns = self.sizes()
        for what, value, wanted in (
            ("key", self.key, (heads, keys, width)),
            ("value", self.value, (heads, keys, columns)),
            ("output", self.output, (heads, rows, columns)),
        ):
            if _shape(value, what) != wanted:
                raise VerifyException(f"expected the {what} to be of shape {list(wanted)}, got {value.type}")
        if self.mask is not None:
            groups, some, seen = _shape(self.mask, "mask", i1)
            if not groups or heads % groups or some not in (1, rows) or seen != keys:
                wanted = f"groups of the {heads} heads, {rows} rows or 1, {keys} keys"
                raise VerifyException(f"expected a mask of {wanted}, got {self.mask.type}")
        if self.causal is not None and rows != keys:
            raise VerifyException(f"expected as many keys as rows where attention is causal, got {keys} and {rows}")
        if not keys:
            raise VerifyException("expected at least one key")
        if self.scale.type != f32:
            raise VerifyException(f"expected a scale of f32, got {self.scale.type}")
        if bool(self.res) != isinstance(self.output.type, TensorType):
            raise VerifyException("expected a result on tensors, and none on buffers")
        if self.res and self.res[0].type != self.output.type:
            raise VerifyException("expected the type of the result to be that of the destination")


def _shape(value: SSAValue, what: str, other: Attribute = f32) -> tuple[int, int, int]:
    ty: Attribute = value.type
    if not isinstance(ty, TensorType | MemRefType) or ty.element_type not in (f32, other):
        kinds = "f32" if other == f32 else f"f32 or {other}"
        raise VerifyException(f"expected the {what} to be a tensor or memref of {kinds}, got {ty}")
    assert isinstance(ty, ShapedType)
    shape = tuple(ty.get_shape())
    if len(shape) != 3 or DYNAMIC_INDEX in shape:
        raise VerifyException(f"expected the {what} to have 3 static dimensions, got {ty}")
    return shape[0], shape[1], shape[2]
