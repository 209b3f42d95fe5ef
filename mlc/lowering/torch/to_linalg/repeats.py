"""Elements repeated as often as a tensor says: at each place of the result, the number of the element it copies."""

from __future__ import annotations

from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import take
from mlc.lowering.torch.to_linalg.miscellaneous import count_before
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.scans import scan
from mlc.lowering.torch.to_linalg.structured import reduce
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor
from mlc.lowering.torch.to_linalg.view import stretched, unsqueeze


@lowers("aten.repeat_interleave.Tensor")
def repeat_indices(c: Conversion, repeats: Tensor, output_size: int | Scalar | None = None) -> Tensor:
    """Index i as many times as repeats[i] says: at place p, the number of elements whose last copy lies before it."""
    stated = c.out_sizes() or (-1,)
    return cast(c, _repeated(c, repeats, c.size(output_size) if output_size is not None else stated[0]), c.out)


def _repeated(c: Conversion, repeats: Tensor, size: Dim) -> Tensor:
    if size == -1:
        raise c.refuse("the sum of the repeats is known only at run time", hint="pass output_size")
    ends = scan(c, cast(c, repeats, I64), 0, I64, "add")
    negative = c.message("repeats must not be negative")

    def add(b: Body, v: SSAValue, acc: SSAValue) -> SSAValue:
        b.check(b.compare("ge", v, b.const(0, I64), I64), negative)
        return b.add(acc, v, I64)

    total = reduce(c, [cast(c, repeats, I64)], [0], I64, 0, add)[0]
    body = Body(c.block, c.location)
    sum_of = body.to_index(body.extract(c.plain(total).value, []))
    c.check(body.index_compare("eq", sum_of, c.dims.value(size)), c.message("output_size is not the sum of repeats"))
    places = indexed(c, (size,), I64, lambda b, at: b.from_index(at[0], I64))
    return count_before(c, places, ends, right=True)


@lowers("aten.repeat_interleave.self_Tensor")
def repeat_interleave(
    c: Conversion, x: Tensor, repeats: Tensor, dim: int | None = None, output_size: int | Scalar | None = None
) -> Tensor:
    if dim is None:
        x, dim = c.viewed(x, (c.dims.product(x.shape),)), 0
    d = x.dim(dim)
    stated = (c.out_sizes() or (-1,) * x.rank)[d]
    size = c.size(output_size) if output_size is not None else stated
    repeats = stretched(c, repeats if repeats.rank else unsqueeze(c, repeats, 0), (x.shape[d],))
    return take(c, x, _repeated(c, repeats, size), d, wraps=False)
