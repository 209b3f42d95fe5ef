"""`tensor.reshape` with dynamic sizes: xDSL's verifier compares products of sizes that are not known."""

from __future__ import annotations

from math import prod

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.utils.exceptions import VerifyException


class ReshapeOp(tensor.ReshapeOp):
    """`tensor.reshape %x(%shape)`: the elements of `%x` in row-major order, in another shape."""

    def verify_(self) -> None:
        source, shape, result = self.source.type, self.shape.type, self.result.type
        assert isinstance(source, TensorType) and isinstance(shape, TensorType) and isinstance(result, TensorType)
        if source.element_type != result.element_type:
            raise VerifyException("source and result have different element types")
        if len(shape.get_shape()) != 1:
            raise VerifyException("the shape is no tensor of rank 1")
        if shape.get_shape()[0] not in (len(result.get_shape()), DYNAMIC_INDEX):
            raise VerifyException(f"a shape of {shape.get_shape()[0]} sizes for a result of another rank")
        sizes = (*source.get_shape(), *result.get_shape())
        if DYNAMIC_INDEX not in sizes and prod(source.get_shape()) != prod(result.get_shape()):
            raise VerifyException("source and result have different numbers of elements")


OPS = (ReshapeOp,)
