"""Lower `tm_tensor` ops, which torch-mlir's files use, to loops over tensors and `linalg.generic`.

    %y, %acc = tm_tensor.scan dimension(0)     %y = scf.for %i … iter_args(%t = %y0, %a = %acc0) {
      inclusive(true) ins(%x) outs(…)    -->     %v = body(extract %t[%i - 1], extract %x[%i]) … tensor.insert }

What: scan, scatter and topk become loops in the order of their semantics, sort a merge sort where its region orders
wholly (`sort_loops`), otherwise the loops of its semantics, attention five generics (scores,
maximum, exponentials, sum, weighted sum).
Runs after: convert-torch-to-linalg (which makes none of them: files bring them). Runs before:
linalg-decompose-named-ops.
Tests: tests/lowering/linalg/convert_tm_tensor_to_linalg.mlir, tests/lowering/linalg/test_tm_tensor.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, cf, math, scf, tensor
from xdsl.dialects.builtin import AnyFloat, IndexType, ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from mlc.dialects.tm_tensor.ops import AttentionOp, ScanOp, ScatterOp, SortOp, TopkOp, YieldOp
from mlc.dialects.tm_tensor.semantics import scale
from mlc.errors import UnsupportedError
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import format_location
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, Body, element_type
from mlc.lowering.linalg.sort_loops import MergeSort, compared, no_nan
from mlc.lowering.linalg.structure import dims_map, shape_of

Values = list[SSAValue]
Step = Callable[[At, Values, Values], Values]


@dataclass(frozen=True)
class ConvertTMTensorToLinalg(MlcPass):
    name = "convert-tm-tensor-to-linalg"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="tm-tensor",
        establishes=("no tm_tensor op is left",),
        nests=True,
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            lower = LOWERINGS.get(type(op))
            if lower is not None:
                ctx.remarks.applied(self.name, op, "made loops and generics")
                for old, new in zip(op.results, lower(op, At(op)), strict=True):
                    new.name_hint = old.name_hint
                    old.replace_all_uses_with(new)
                op.detach()
                op.erase()


def _loops(at: At, sizes: Sequence[SSAValue], carried: Values, step: Step) -> Values:
    """Nested loops over `sizes` that carry tensors or scalars: `step(inside, indices, carried)` gives the next ones."""

    def nest(outer: At, d: int, indices: Values, values: Values) -> Values:
        if d == len(sizes):
            return step(outer, indices, values)
        block = Block(arg_types=[IndexType(), *(v.type for v in values)])
        end = scf.YieldOp(*block.args[1:])
        end.location = at.location
        block.add_op(end)
        loop = outer.add(scf.ForOp(outer.index(0), sizes[d], outer.index(1), values, block))
        end.operands = nest(At(end), d + 1, [*indices, block.args[0]], list(block.args[1:]))
        return list(loop.results)

    return nest(at, 0, [], carried)


def _extract(at: At, value: SSAValue, indices: Sequence[SSAValue]) -> SSAValue:
    return at.add(tensor.ExtractOp(value, list(indices), element_type(value))).result


def _insert(at: At, scalar: SSAValue, dest: SSAValue, indices: Sequence[SSAValue]) -> SSAValue:
    return at.add(tensor.InsertOp(scalar, dest, list(indices))).result


def _call(at: At, body: Block, args: Sequence[SSAValue]) -> SSAValue:
    """What the region yields for these scalars, written out here."""
    mapping: dict[SSAValue, SSAValue] = dict(zip(body.args, args, strict=True))
    for op in body.ops:
        if isinstance(op, YieldOp):
            return mapping.get(op.arguments[0], op.arguments[0])
        copy = op.clone(value_mapper=mapping)
        at.block.insert_op_before(copy, at.op)
    raise AssertionError("the verifier wants tm_tensor.yield at the end")


def _sizes(at: At, value: SSAValue) -> Values:
    return [at.index(n) if isinstance(n, int) else n for n in at.sizes(value)]


def _op(at: At, op: Operation) -> SSAValue:
    return at.add(op).results[0]


def _scan(op: Operation, at: At) -> Values:
    assert isinstance(op, ScanOp)
    d, inclusive = op.dimension.value.data, bool(op.inclusive.value.data)
    x = op.inputs[0]

    def step(inner: At, i: Values, carried: Values) -> Values:
        y, acc = carried
        rest = [*i[:d], *i[d + 1 :]]
        first = _op(inner, arith.CmpiOp(i[d], inner.index(0), "eq"))
        before = [*i[:d], _op(inner, arith.SubiOp(i[d], inner.index(1))), *i[d + 1 :]]
        start, further = Block(), Block()
        kind = element_type(y)
        then = At(_yields(start, at))
        last = _extract(then, acc, rest)
        then.op.operands = [_extract(then, x, i) if inclusive else last, last]
        other = At(_yields(further, at))
        made = _call(other, op.body.block, [_extract(other, y, before), _extract(other, x, i if inclusive else before)])
        other.op.operands = [made, made]
        found = inner.add(scf.IfOp(first, [kind, kind], [start], [further]))
        return [_insert(inner, found.results[0], y, i), _insert(inner, found.results[1], acc, rest)]

    return _loops(at, _sizes(at, x), list(op.outputs), step)


def _yields(block: Block, at: At) -> scf.YieldOp:
    end = scf.YieldOp()
    end.location = at.location
    block.add_op(end)
    return end


def _scatter(op: Operation, at: At) -> Values:
    assert isinstance(op, ScatterOp)
    updates, indices = op.inputs
    original = op.outputs[0]
    moved = [int(d) for d in op.dimension_map.get_values()]
    rank, limits = len(shape_of(original)), _sizes(at, original)
    place = format_location(op.location)
    message = f"tm_tensor.scatter: index out of range{f' at {place}' if place else ''}"

    def step(inner: At, i: Values, carried: Values) -> Values:
        window = i[1:]
        where: list[SSAValue | None] = [None] * (rank - len(window)) + list(window)
        for column, d in enumerate(moved):
            index = _extract(inner, indices, [i[0], inner.index(column)])
            if not isinstance(index.type, IndexType):
                index = _op(inner, arith.IndexCastOp(index, IndexType()))
            shift = where[d]
            moved_to = index if shift is None else _op(inner, arith.AddiOp(index, shift))
            inside = _op(inner, arith.CmpiOp(moved_to, limits[d], "ult"))
            inner.add(cf.AssertOp(inside, message))
            where[d] = moved_to
        here = [w for w in where if w is not None]
        new = _call(inner, op.body.block, [_extract(inner, updates, i), _extract(inner, carried[0], here)])
        return [_insert(inner, new, carried[0], here)]

    return _loops(at, _sizes(at, updates), [original], step)


def _sort(op: Operation, at: At) -> Values:
    assert isinstance(op, SortOp)
    d = op.dimension.value.data
    sizes = _sizes(at, op.outputs[0])
    pairs = _op(at, arith.SubiOp(sizes[d], at.index(1)))
    starts = list(op.outputs)
    rounds = sizes[d]
    key = compared(op)
    if key is not None:

        def keep(inner: At, i: Values, j: Values) -> SSAValue:
            return _call(inner, op.body.block, [_extract(inner, t, k) for t in op.outputs for k in (i, j)])

        sorts = no_nan(at, starts[key], sizes, _loops)
        starts = MergeSort(at, d, sizes, _loops).run(at, starts, sorts, keep)
        if not isinstance(element_type(op.outputs[key]), AnyFloat):
            return starts
        rounds = _op(at, arith.SelectOp(sorts, at.index(0), rounds))
    loops = [*sizes[:d], *sizes[d + 1 :], rounds, pairs]

    def step(inner: At, i: Values, carried: Values) -> Values:
        rows, j = i[:-2], i[-1]
        here = [*rows[:d], j, *rows[d:]]
        next_ = [*rows[:d], _op(inner, arith.AddiOp(j, inner.index(1))), *rows[d:]]
        both = [(_extract(inner, t, here), _extract(inner, t, next_)) for t in carried]
        keep = _call(inner, op.body.block, [v for pair in both for v in pair])
        out: Values = []
        for t, (a, b) in zip(carried, both, strict=True):
            front = _op(inner, arith.SelectOp(keep, a, b))
            back = _op(inner, arith.SelectOp(keep, b, a))
            out.append(_insert(inner, back, _insert(inner, front, t, here), next_))
        return out

    return _loops(at, loops, starts, step)


def _topk(op: Operation, at: At) -> Values:
    assert isinstance(op, TopkOp)
    d = op.dimension.value.data
    x = op.inputs[0]
    places = element_type(op.outputs[1])
    k = _sizes(at, op.outputs[0])[d]

    def walk(inner: At, i: Values, carried: Values) -> Values:
        if len(op.inputs) == 2:
            place = _extract(inner, op.inputs[1], i)
        else:
            place = i[d] if isinstance(places, IndexType) else _op(inner, arith.IndexCastOp(i[d], places))

        def down(deep: At, at_rank: Values, state: Values) -> Values:
            best, held, value, mark = state
            here = [*i[:d], at_rank[0], *i[d + 1 :]]
            kept, kept_mark = _extract(deep, best, here), _extract(deep, held, here)
            first = _call(deep, op.body.block, [value, kept])
            second = _call(deep, op.body.block, [kept, value])
            tie = _op(deep, arith.CmpiOp(first, second, "eq"))
            smaller = _op(deep, arith.CmpiOp(mark, kept_mark, "slt"))
            takes = _op(deep, arith.OrIOp(first, _op(deep, arith.AndIOp(tie, smaller))))
            best = _insert(deep, _op(deep, arith.SelectOp(first, value, kept)), best, here)
            held = _insert(deep, _op(deep, arith.SelectOp(takes, mark, kept_mark)), held, here)
            on, on_mark = arith.SelectOp(first, kept, value), arith.SelectOp(takes, kept_mark, mark)
            return [best, held, _op(deep, on), _op(deep, on_mark)]

        return _loops(inner, [k], [*carried, _extract(inner, x, i), place], down)[:2]

    return _loops(at, _sizes(at, x), list(op.outputs), walk)


def _attention(op: Operation, at: At) -> Values:
    assert isinstance(op, AttentionOp)
    q, k, v = op.inputs[:3]
    t = element_type(q)
    if not isinstance(t, AnyFloat) or shape_of(q)[-1] < 0:
        raise UnsupportedError(
            f"tm_tensor.attention on {q.type}", where=format_location(op.location) or None,
            expected="floats, and a head of static size",
        )  # fmt: skip
    batch = len(shape_of(q)) - 2
    b = tuple(range(batch))
    rows, keys, depth = (at.sizes(q)[batch], at.sizes(k)[batch], at.sizes(v)[batch + 1])
    outer = at.sizes(q)[:batch]
    wide = batch + 3
    zero = at.scalar(0.0, t)

    def cell(dims: tuple[int, ...], loops: int = batch + 2):
        return dims_map(loops, dims)

    full, row = cell((*b, batch, batch + 1)), cell((*b, batch))
    elementwise, along = "p" * (batch + 2), "p" * (batch + 1) + "r"
    scores = at.generic(
        [(q, cell((*b, batch, batch + 2), wide)), (k, cell((*b, batch + 1, batch + 2), wide))],
        [(at.fill(zero, at.empty([*outer, rows, keys], t)), cell((*b, batch, batch + 1), wide))],
        "p" * (batch + 2) + "r",
        lambda body, x, y, acc: body.op(arith.AddfOp, acc, body.op(arith.MulfOp, x, y)),
    )
    width = at.scalar(scale(shape_of(q)[-1]), t)
    masks = [(m, full) for m in op.inputs[3:]]

    def scaled(body: Body, x: SSAValue, *rest: SSAValue) -> SSAValue:
        y = body.op(arith.DivfOp, x, width)
        return body.op(arith.AddfOp, y, rest[0]) if masks else y

    scores = at.generic([(scores, full), *masks], [(at.empty([*outer, rows, keys], t), full)], elementwise, scaled)
    start = at.fill(at.scalar(float("-inf"), t), at.empty([*outer, rows], t))
    peak = at.generic([(scores, full)], [(start, row)], along, lambda body, x, acc: body.op(arith.MaximumfOp, x, acc))
    powers = at.generic(
        [(scores, full), (peak, row)],
        [(at.empty([*outer, rows, keys], t), full)],
        elementwise,
        lambda body, x, top, _: body.op(math.ExpOp, body.op(arith.SubfOp, x, top)),
    )
    total = at.generic(
        [(powers, full)],
        [(at.fill(zero, at.empty([*outer, rows], t)), row)],
        along,
        lambda body, x, acc: body.op(arith.AddfOp, acc, x),
    )

    def share(body: Body, x: SSAValue, whole: SSAValue, _: SSAValue) -> SSAValue:
        part = body.op(arith.DivfOp, x, whole)
        empty = body.add(arith.CmpfOp(whole, zero, "oeq")).result
        return body.op(arith.SelectOp, empty, zero, part)

    out = [(at.empty([*outer, rows, keys], t), full)]
    shares = at.generic([(powers, full), (total, row)], out, elementwise, share)
    return [
        at.generic(
            [(shares, cell((*b, batch, batch + 2), wide)), (v, cell((*b, batch + 2, batch + 1), wide))],
            [(at.fill(zero, at.empty([*outer, rows, depth], t)), cell((*b, batch, batch + 1), wide))],
            "p" * (batch + 2) + "r",
            lambda body, x, y, acc: body.op(arith.AddfOp, acc, body.op(arith.MulfOp, x, y)),
        )
    ]


LOWERINGS: dict[type[Operation], Callable[[Operation, At], Values]] = {
    ScanOp: _scan,
    ScatterOp: _scatter,
    SortOp: _sort,
    TopkOp: _topk,
    AttentionOp: _attention,
}
