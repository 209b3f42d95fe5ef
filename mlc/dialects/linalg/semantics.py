"""Reference semantics of structured `linalg` ops: one routine for `linalg.generic` and every named op.

The op means a loop nest in the order of its iterators. It is run in numpy: dimensions that place the results
(parallel ones) as whole arrays, all others one index after another in nest order. Each element of the result therefore
sees exactly the additions of the loop nest, in its order. Operands are strided views, never copies, where their maps
are linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerAttr
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Block, Operation
from xdsl.ir.affine import AffineMap

from mlc.arrays.blocks import Part, in_blocks, part_of, write_all
from mlc.dialects.linalg.access import Access, loop_ranges
from mlc.dialects.linalg.accumulate import accumulate
from mlc.dialects.linalg.named_ops import NAMES
from mlc.dialects.linalg.products import multiply
from mlc.dialects.linalg.structured_step import structured_step
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, fail, semantics

NAMED = [
    "linalg.add",
    "linalg.sub",
    "linalg.mul",
    "linalg.max",
    "linalg.min",
    "linalg.exp",
    "linalg.log",
    "linalg.sqrt",
    "linalg.select",
    "linalg.fill",
    "linalg.copy",
    "linalg.matmul",
    "linalg.batch_matmul",
    "linalg.quantized_matmul",
    "linalg.pooling_nchw_max",
    "linalg.pooling_nchw_sum",
    "linalg.pooling_nhwc_max",
    "linalg.pooling_nhwc_sum",
    "linalg.conv_2d_nchw_fchw",
    "linalg.conv_2d_nhwgc_gfhwc",
    "linalg.conv_2d_nhwc_hwcf",
    "linalg.conv_2d_ngchw_gfchw",
    "linalg.conv_2d_ngchw_fgchw",
    "linalg.conv_2d_nhwc_fhwc",
    "linalg.depthwise_conv_2d_nchw_chw",
    "linalg.depthwise_conv_2d_nhwc_hwc",
    *NAMES,
]


@semantics("linalg.yield")
def yield_(op: Operation, args: Args, run: Runner) -> Results:
    return args


@semantics("linalg.index")
def index(op: Operation, args: Args, run: Runner) -> Results:
    dim = op.properties["dim"]
    assert isinstance(dim, IntegerAttr)
    return (run.iteration[-1][dim.value.data],)


@semantics("linalg.generic", *NAMED, step=structured_step)
def structured(op: Operation, args: Args, run: Runner) -> Results:
    forms = run.state.setdefault("linalg.forms", {})
    form = forms.get(op)
    if form is None:
        assert isinstance(op, LinalgStructuredOperation)
        form = forms[op] = [m.data for m in op.get_indexing_maps().data], len(op.inputs), op.body.block
    maps, n_inputs, body = form
    return run_structured(op, maps, args, n_inputs, body, run)


class _Nest:
    """The loops of an op on operands of known shapes: extents, accesses, and which loops place the results."""

    def __init__(
        self, op: Operation, maps: Sequence[AffineMap], shapes: Sequence[tuple[int, ...]], n_inputs: int, body: Block
    ) -> None:
        self.ranges = loop_ranges(op, maps, shapes)
        self.accesses = [Access(op, m, shape, self.ranges) for m, shape in zip(maps, shapes, strict=True)]
        outputs, loops = self.accesses[n_inputs:], range(len(self.ranges))
        placed = set(loops).intersection(*(acc.placing_dims() for acc in outputs))
        self.parallel = [d for d in loops if d in placed]
        self.sequential = [d for d in loops if d not in placed]
        self.by_arrays = _is_elementwise_code(body) and all(acc.is_projection(placed) for acc in outputs)
        self.indices = [
            np.arange(self.ranges[d], dtype=np.int64).reshape([-1 if e == d else 1 for e in self.parallel])
            if d in placed
            else None
            for d in loops
        ]


def run_structured(
    op: Operation, maps: Sequence[AffineMap], args: Args, n_inputs: int, body: Block, run: Runner
) -> Results:
    """Run a structured op given by maps and body; writes buffers in place, returns new tensors."""
    values = [a.array if isinstance(a, Buffer) else np.asarray(a) for a in args]
    shapes = tuple(v.shape for v in values)
    nests = run.state.setdefault("linalg.nests", {})
    nest: _Nest | None = nests.get((op, shapes))
    if nest is None:
        nest = nests[op, shapes] = _Nest(op, maps, shapes, n_inputs, body)
    ranges = nest.ranges
    outs = [_output_array(a, v) for a, v in zip(args[n_inputs:], values[n_inputs:], strict=True)]
    values[n_inputs:] = outs
    values = [_detach(v, k, args, n_inputs) for k, v in enumerate(values)]
    if all(n > 0 for n in ranges):
        if nest.by_arrays:
            _run_arrays(op, nest, values, n_inputs, body, run)
        else:
            _run_points(nest.accesses, values, ranges, n_inputs, body, run)
    for a, o in zip(args[n_inputs:], outs, strict=True):
        if isinstance(a, Buffer):
            a.write(o)
    return tuple(o for a, o in zip(args[n_inputs:], outs, strict=True) if not isinstance(a, Buffer))


def _output_array(original: Any, value: np.ndarray) -> np.ndarray:
    if isinstance(original, Buffer):
        return original.read()
    return np.array(value)


def _detach(value: np.ndarray, k: int, args: Args, n_inputs: int) -> np.ndarray:
    """Inputs of buffers are read as values (bf16 widened); they may alias an output only element by element."""
    a = args[k]
    return a.read() if k < n_inputs and isinstance(a, Buffer) else value


def _is_elementwise_code(body: Block) -> bool:
    """Whether the body may run on whole arrays: no regions, no calls, no memory."""
    return all(not o.regions and o.name.partition(".")[0] not in ("func", "memref", "scf") for o in body.ops)


def _run_points(
    accesses: Sequence[Access], values: list[np.ndarray], ranges: Sequence[int], n_inputs: int, body: Block, run: Runner
) -> None:
    """The loop nest itself, point by point: the definition, and what bodies with control flow take."""
    for point in np.ndindex(*ranges):
        run.tick()
        at = [acc.at(point) for acc in accesses]
        run.iteration.append([np.int64(i) for i in point])
        try:
            results = run.run_block(body, [v[i] for v, i in zip(values, at, strict=True)])
        finally:
            run.iteration.pop()
        for v, i, r in zip(values[n_inputs:], at[n_inputs:], results, strict=True):
            v[i] = r


def _run_arrays(op: Operation, nest: _Nest, values: list[np.ndarray], n_inputs: int, body: Block, run: Runner) -> None:
    ranges, parallel, sequential, indices = nest.ranges, nest.parallel, nest.sequential, nest.indices
    shape = [ranges[d] for d in parallel]
    inputs, outputs = nest.accesses[:n_inputs], nest.accesses[n_inputs:]
    reads = [acc.view(v, sequential, parallel) for acc, v in zip(inputs, values, strict=False)]
    writes = [acc.writable(v, parallel) for acc, v in zip(outputs, values[n_inputs:], strict=True)]

    def evaluate(point: Sequence[Any], inputs: Sequence[Any], state: Sequence[Any]) -> Results:
        run.iteration.append([point[sequential.index(d)] if i is None else i for d, i in enumerate(indices)])
        try:
            return run.run_block(body, [*inputs, *state])
        finally:
            run.iteration.pop()

    if not sequential:
        read = [r() for r in reads]
        if run.domain.name != "ieee":
            write_all(writes, evaluate((), read, writes))
            return
        whole = indices

        def compute(inputs: list[Any], outputs: list[Any], part: Part) -> Results:
            nonlocal indices
            indices = [None if i is None else part_of(i, part) for i in whole]
            return evaluate((), inputs, outputs)

        in_blocks(read, writes, shape, compute)
        return
    trip = [ranges[d] for d in sequential]
    if multiply(body, reads, writes, trip, shape, run):
        return
    if accumulate(op, body, reads, writes, trip, shape, n_inputs, evaluate, run):
        return
    state: list[Any] = list(writes)
    for point in np.ndindex(*trip):
        run.tick()
        state = list(evaluate([np.int64(i) for i in point], [r(point) for r in reads], state))
    write_all(writes, state)


Evaluate = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], Results]


@semantics("linalg.reduce")
def reduce(op: Operation, args: Args, run: Runner) -> Results:
    dims = getattr(op, "dimensions").get_values()  # noqa: B009  (one class here, another upstream with several inputs)
    body = op.regions[0].block
    n = len(args) // 2
    rank = len(args[0].sizes) if isinstance(args[0], Buffer) else np.ndim(args[0])
    identity = AffineMap.identity(rank)
    kept = AffineMap(rank, 0, tuple(identity.results[d] for d in range(rank) if d not in dims))
    if len(args) % 2:
        fail(op, "as many inits as inputs are needed")
    return run_structured(op, [identity] * n + [kept] * n, args, n, body, run)
