"""Python numbers: sizes and arithmetic on them, folded where they are known."""

from __future__ import annotations

import operator
from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F64, I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor

Value = Number | Scalar


def as_scalar(size: object) -> Value:
    """A size as a Python number or run-time scalar."""
    return size if isinstance(size, int) else Scalar(size, I64)  # pyright: ignore[reportArgumentType]


@lowers("aten.size.int", "aten.sym_size.int")
def size_int(c: Conversion, x: Tensor, dim: int) -> Value:
    return as_scalar(x.shape[x.dim(dim)])


@lowers("aten.size", "aten.sym_size")
def size(c: Conversion, x: Tensor) -> list[Value]:
    return [as_scalar(s) for s in x.shape]


@lowers("aten.numel", "aten.sym_numel")
def numel(c: Conversion, x: Tensor) -> Value:
    return as_scalar(c.dims.product(x.shape))


@lowers("aten.dim", "aten.len.Tensor")
def dim(c: Conversion, x: Tensor) -> Value:
    assert c.operation is not None
    return x.rank if c.operation.name == "torch.aten.dim" else as_scalar(x.shape[0])


def _integer(names: tuple[str, ...], known: Callable[[int, int], int], method: str) -> None:
    def lower(c: Conversion, a: int | Scalar, b: int | Scalar) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return known(a, b)
        return as_scalar(getattr(c.dims, method)(c.size(a), c.size(b)))

    lowers(*names)(lower)


_integer(("aten.add.int", "_operator.add"), operator.add, "add")
_integer(("aten.sub.int", "_operator.sub"), operator.sub, "sub")
_integer(("aten.mul.int", "_operator.mul"), operator.mul, "mul")
_integer(("aten.floordiv.int", "_operator.floordiv"), operator.floordiv, "floordiv")
_integer(("prim.min.int",), min, "minimum")
_integer(("prim.max.int",), max, "maximum")


def _of_list(name: str, known: Callable[[int, int], int], method: str) -> None:
    def lower(c: Conversion, items: list[int | Scalar]) -> Value:
        result: Value = items[0]
        for item in items[1:]:
            if isinstance(result, int) and isinstance(item, int):
                result = known(result, item)
            else:
                assert isinstance(result, int | Scalar)
                result = as_scalar(getattr(c.dims, method)(c.size(result), c.size(item)))
        return result

    lowers(f"prim.{name}.self_int")(lower)


_of_list("min", min, "minimum")
_of_list("max", max, "maximum")


@lowers("aten.neg.int")
def neg_int(c: Conversion, a: int | Scalar) -> Value:
    return -a if isinstance(a, int) else as_scalar(c.dims.sub(0, c.size(a)))


@lowers("aten.remainder.int")
def remainder_int(c: Conversion, a: int | Scalar, b: int | Scalar) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    x, y = c.size(a), c.size(b)
    return as_scalar(c.dims.sub(x, c.dims.mul(c.dims.floordiv(x, y), y)))


def _float(names: tuple[str, ...], known: Callable[[float, float], float], op: type) -> None:
    def lower(c: Conversion, a: Value, b: Value) -> Value:
        if not isinstance(a, Scalar) and not isinstance(b, Scalar):
            return known(a, b)
        return Scalar(c.op(op, c.cast_scalar(a, F64), c.cast_scalar(b, F64)), F64)

    lowers(*names)(lower)


_float(("aten.add.float", "aten.add.float_int", "aten.add.int_float"), operator.add, arith.AddfOp)
_float(("aten.sub.float", "aten.sub.float_int", "aten.sub.int_float"), operator.sub, arith.SubfOp)
_float(("aten.mul.float", "aten.mul.float_int", "aten.mul.int_float"), operator.mul, arith.MulfOp)
_float(("aten.div.int", "aten.div.float", "aten.div", "_operator.truediv"), operator.truediv, arith.DivfOp)


@lowers("aten.sqrt.int", "aten.sqrt.float")
def sqrt(c: Conversion, a: Value) -> Value:
    if isinstance(a, Scalar):
        raise c.refuse("the square root of a number known only at run time has no lowering")
    return float(a) ** 0.5


@lowers("aten.Float.Scalar", "aten.Float.int")
def to_float(c: Conversion, a: Value) -> Value:
    return float(a) if not isinstance(a, Scalar) else Scalar(c.cast_scalar(a, F64), F64)


@lowers("aten.Int.Scalar", "aten.Int.int", "aten.Int.bool")
def to_int(c: Conversion, a: Value) -> Value:
    if isinstance(a, Scalar):
        if a.dtype == I64:
            return a
        raise c.refuse("an integer made of a float known only at run time has no lowering")
    return int(a)


def _comparison(names: tuple[str, ...], known: Callable[[Number, Number], bool], kind: str) -> None:
    def lower(c: Conversion, a: Value, b: Value) -> Value:
        if not isinstance(a, Scalar) and not isinstance(b, Scalar):
            return known(a, b)
        body = Body(c.block, c.location)
        x, y = (c.dims.value(c.size(v)) for v in (a, b))  # pyright: ignore[reportArgumentType]
        return Scalar(body.index_compare(kind, x, y), BOOL)

    lowers(*names)(lower)


for _name, _known in (
    ("eq", operator.eq),
    ("ne", operator.ne),
    ("lt", operator.lt),
    ("le", operator.le),
    ("gt", operator.gt),
    ("ge", operator.ge),
):
    _comparison((f"aten.{_name}.int", f"_operator.{_name}"), _known, _name)


# -- checks ------------------------------------------------------------------------------------------------------


@lowers("aten._assert_tensor_metadata")
def assert_tensor_metadata(c: Conversion, *_: object) -> tuple[()]:
    """Says what the types already say."""
    return ()


@lowers("aten._assert_scalar")
def assert_scalar(c: Conversion, condition: Value, message: str) -> tuple[()]:
    if isinstance(condition, Scalar):
        body = Body(c.block, c.location)
        c.check(
            body.cast(condition.value, condition.dtype, BOOL) if condition.dtype != I64 else _nonzero(c, condition),
            message,
        )
    elif not condition:
        raise c.refuse(f"the check '{message}' fails")
    return ()


def _nonzero(c: Conversion, n: Scalar) -> SSAValue:
    return Body(c.block, c.location).index_compare("ne", n.value, c.index(0))


@lowers("aten._assert_async.msg")
def assert_async(c: Conversion, condition: Tensor, message: str) -> tuple[()]:
    held = cast(c, condition, BOOL)
    value = c.reshape(held.value, held.value_shape, (), BOOL) if held.value_shape else held.value
    c.check(Body(c.block, c.location).extract(value, []), c.message(message))
    return ()
