"""What products have in common that multiply weights prepared when the model is compiled: which ops they take, where
they put what they make, what of it others read.

    products over packed panels, in the form that linalg-pack-matmul gives them (m, n1, n0, k)
    1x1 convolutions in blocked layout, in the form that linalg-block-layouts gives them (n, f1, oh, ow, f0, c1, kh, kw,
    c0), whose pixels are rows

Part of linalg-winograd-matmul, linalg-winograd-pointwise and linalg-split-matmul, and tested with them.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineMap

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.dialects.linalg.structured_ops import is_multiply_add
from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.lowering.linalg.blocked_convolution import LOOPS, is_blocked_convolution
from mlc.lowering.linalg.build import At
from mlc.lowering.linalg.linalg_hoist_constants import is_hoisted
from mlc.lowering.linalg.structure import dims_map, iterators_of, maps_of, shape_of

_MAPS = [dims_map(4, (0, 3)).data, dims_map(4, (1, 3, 2)).data, dims_map(4, (0, 1, 2)).data]


def is_product_of_panels(op: Operation) -> bool:
    """Whether `op` is a product of rows and packed panels."""
    if not isinstance(op, GenericOp) or len(op.inputs) != 2 or len(op.results) != 1 or iterators_of(op) != "pppr":
        return False
    return (
        maps_of(op) == _MAPS
        and is_multiply_add(op.body.block)
        and all(isinstance(v.type, TensorType) and v.type.element_type == f32 for v in op.operands)
    )


def is_pointwise(op: Operation) -> bool:
    """Whether `op` is a convolution of 1x1 filters in blocked layout."""
    return is_blocked_convolution(op) and shape_of(op.operands[1])[2:4] == (1, 1)


def product_obstacle(op: GenericOp) -> str:
    """Why the panels of a product cannot be prepared; empty if they can."""
    if _is_open(op):
        return "dynamic or empty sizes"
    if not isinstance(op.inputs[1].owner, PackOp) or not is_hoisted(op.inputs[1]):
        return "panels that are not packed from constants"
    return ""


def pointwise_obstacle(op: GenericOp) -> str:
    """Why the filters of a 1x1 convolution cannot be prepared as panels; empty if they can."""
    if _is_open(op):
        return "dynamic or empty sizes"
    if stride_of(op) is None:
        return "other strides"
    pack = op.inputs[1].owner
    if not isinstance(pack, PackOp) or not is_hoisted(pack.source):
        return "filters that are not constant"
    if pack.positions != (1, 0) or pack.permutation(4) != (0, 1, 2, 3):
        return "filters packed in another way"
    filters, channels = shape_of(pack.source)[:2]
    shape = shape_of(op.inputs[1])
    if filters != shape[0] * shape[5] or channels != shape[1] * shape[4]:
        return "channels that do not fill their blocks"
    return ""


def _is_open(op: GenericOp) -> bool:
    return any(DYNAMIC_INDEX in s or 0 in s for s in map(shape_of, op.operands))


def stride_of(op: GenericOp) -> int | None:
    """The stride of a 1x1 convolution, one for rows and columns; None for others."""
    _, _, height, width, _ = shape_of(op.inputs[0])
    for stride in range(1, max(height, width, 1) + 1):
        rows, columns = (LOOPS[2 + d] if stride == 1 else LOOPS[2 + d] * stride for d in (0, 1))
        if maps_of(op)[0] == AffineMap(9, 0, (LOOPS[0], LOOPS[5], rows + LOOPS[6], columns + LOOPS[7], LOOPS[8])):
            return stride
    return None


def pixels_of(at: At, op: GenericOp) -> SSAValue:
    """The inputs of a 1x1 convolution that count: all of them, or those that the stride does not skip."""
    x, stride = op.inputs[0], stride_of(op)
    assert stride is not None
    images, blocks, height, width, lanes = shape_of(x)
    sizes = [images, blocks, *shape_of(op.outputs[0])[2:4], lanes]
    if sizes == [images, blocks, height, width, lanes]:
        return x
    strides = [1, 1, stride, stride, 1]
    return at.add(tensor.ExtractSliceOp(x, [0] * 5, sizes, strides, TensorType(f32, sizes))).result


def filter_panels(before: At, op: GenericOp) -> SSAValue:
    """Filters of a 1x1 convolution as panels: all channels of a block of filters."""
    return before.collapse(op.inputs[1], [[0], [1, 2, 3, 4], [5]])


def replace(op: GenericOp, new: PreparedMatmulOp) -> None:
    """Let all that read `op` read `new`."""
    new.res[0].name_hint = op.results[0].name_hint
    op.results[0].replace_all_uses_with(new.res[0])
    op.detach()
    op.erase()


def reads_of(panels: SSAValue) -> list[tensor.ExtractOp]:
    """What else reads single elements of panels."""
    return [use.operation for use in panels.uses if isinstance(use.operation, tensor.ExtractOp)]


def read_prepared(read: tensor.ExtractOp, weights: SSAValue, place: Sequence[SSAValue], unscale: int) -> None:
    """The same element of the prepared weights, without its column's factor: they need not be held beside the panels.
    `place`: where it is; `unscale`: the row of what the factors are divided by. To the bit, unless it is less than
    2^-126 times the root mean square of its column, which scales it to a denormal."""
    at = At(read)
    block, _, lane = read.indices
    element = at.add(tensor.ExtractOp(weights, place, f32)).result
    factor = at.add(tensor.ExtractOp(weights, [block, at.index(unscale), lane], f32)).result
    value = at.add(arith.MulfOp(element, factor)).result
    value.name_hint = read.result.name_hint
    read.result.replace_all_uses_with(value)
    read.detach()
    read.erase()
