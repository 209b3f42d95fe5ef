"""torch's type promotion of operands: tensors with dims count before 0-d tensors, those before Python numbers."""

from __future__ import annotations

from collections.abc import Sequence

from mlc.lowering.torch.to_linalg.dtypes import BOOL, F32, F64, I64, DType, promote
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def number_type(value: Scalar | Number) -> DType:
    """Type of a Python number among tensors: bool, i64 or the default float type."""
    if isinstance(value, Scalar):
        return F32 if value.dtype == F64 else value.dtype
    return BOOL if isinstance(value, bool) else I64 if isinstance(value, int) else F32


def result_type(operands: Sequence[Tensor | Scalar | Number]) -> DType:
    """torch.result_type of all `operands`."""
    levels: list[DType | None] = [None, None, None]
    for x in operands:
        level = 2 if not isinstance(x, Tensor) else 0 if x.rank else 1
        t = x.dtype if isinstance(x, Tensor) else number_type(x)
        known = levels[level]
        levels[level] = t if known is None else promote(known, t)
    result: DType | None = None
    for t in levels:
        if t is not None and (result is None or _CATEGORY[t.kind] > _CATEGORY[result.kind]):
            result = t if result is None else promote(result, t) if t.is_float and result.is_float else t
    assert result is not None
    return result
