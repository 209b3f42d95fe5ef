"""An op of a `torch.library` namespace, as the package that brings it says it.

    %2 = torch.operator "tacc.bias_relu"(%0, %1) : (!torch.vtensor<[4,6],f32>, !torch.vtensor<[6],f32>) -> …
    -->
    %2 = tacc.bias_relu %0, %1 : tensor<4x6xf32>, tensor<6xf32> -> tensor<4x6xf32>

What the package's function gives is checked here, where its name is known. Part of `convert-torch-to-linalg`.
Tests: tests/repo/test_custom_ops.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.types import VTensorType
from mlc.errors import MlcError
from mlc.ir.custom_ops import CustomOp
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor, plain


def lower_custom(c: Conversion, custom: CustomOp, operands: Sequence[Any]) -> tuple[Tensor, ...]:
    """Emit what stands for the op; its results."""
    arguments = [_argument(c, v) for v in operands]
    types = [_result_type(c, i) for i in range(len(c.result_types))]
    try:
        made = custom.make(arguments, types)
        ops = _checked(made, list(_values(arguments)), types)
    except MlcError:
        raise
    except (Exception, SystemExit) as e:
        raise custom.failure(e) from e
    for op in ops:
        c.emit(op)
        for inner in op.walk():
            inner.location = c.location
    return tuple(_tensor(c, v, i) for i, v in enumerate(ops[-1].results))


def _argument(c: Conversion, value: Any) -> Any:
    """An operand as the function gets it."""
    match value:
        case list() | tuple():
            return [_argument(c, v) for v in value]
        case Tensor():
            return c.plain(value).value
        case Scalar():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise c.refuse(f"an argument of type {type(value).__name__} cannot be handed to another package")


def _result_type(c: Conversion, i: int) -> TensorType[Any]:
    stated = c.result_types[i]
    sizes = c.out_sizes(i) if isinstance(stated, VTensorType) else None
    if sizes is None:
        raise c.refuse(f"a result of type {stated}", hint="return tensors whose rank is known")
    return TensorType(c.out_type(i).mlir, [DYNAMIC_INDEX if n < 0 else n for n in sizes])


def _checked(made: Any, given: list[SSAValue], types: list[TensorType[Any]]) -> list[Operation]:
    """What the function gave, if it is ops that can stand here: each reads what came before, and is what it says."""
    if isinstance(made, Operation) or not isinstance(made, Sequence) or not made:
        raise TypeError(f"it gave {made!r}, expected a list of ops, the last of which has the results")
    ops: list[Operation] = []
    known = set(given)
    for op in made:
        if not isinstance(op, Operation) or op.parent is not None or op in ops:
            raise TypeError(f"it gave {op!r} among the ops, expected new ops, each once")
        for inner in op.walk():
            for value in inner.operands:
                if value not in known and not _is_inside(value, op):
                    raise ValueError(f"'{inner.name}' reads a value that is neither an argument nor made before it")
        try:
            op.verify()
        except VerifyException as e:
            raise ValueError(f"'{op.name}' is not valid: {e}") from e
        ops.append(op)
        known.update(op.results)
    results = [r.type for r in ops[-1].results]
    if results != types:
        shown = [", ".join(map(str, ts)) or "nothing" for ts in (results, types)]
        raise TypeError(f"the last op, '{ops[-1].name}', gives {shown[0]}, expected {shown[1]}")
    return ops


def _is_inside(value: SSAValue, op: Operation) -> bool:
    """Whether the value is made in a region of the op."""
    owner = value.owner
    return owner is not op and op.is_ancestor(owner)


def _values(arguments: Sequence[Any]) -> Iterator[SSAValue]:
    for argument in arguments:
        if isinstance(argument, list):
            yield from _values(argument)
        elif isinstance(argument, SSAValue):
            yield argument


def _tensor(c: Conversion, value: SSAValue, i: int) -> Tensor:
    """A result with its sizes; those that are open are asked of the value."""
    shape: list[Dim] = []
    for d, n in enumerate(c.out_sizes(i) or ()):
        if n < 0:
            size = c.op(tensor.DimOp, value, c.index(d))
            c.dims.limit(size, 0, math.inf)
            shape.append(size)
        else:
            shape.append(n)
    return plain(value, c.out_type(i), tuple(shape))
