"""`linalg.generic` over broadcast views: elementwise ops and reductions.

A *frame* is the loop nest that suits the views of all inputs: dims that one input holds merged stay merged when the
others can follow (so a residual is added to a matrix product in two dimensions), and dims run in the order of the
values when the inputs agree (so elementwise ops pass under a transpose).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.errors import ShapeError
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim, static
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.emitter import Emitter, Groups, axes_map
from mlc.lowering.torch.to_linalg.tensor import Axes, Number, Scalar, Tensor

Operand = Tensor | Scalar | Number
BodyFn = Callable[..., SSAValue]


def broadcast_shape(e: Emitter, shapes: Sequence[Sequence[Dim]]) -> tuple[Dim, ...]:
    """Shape that all of `shapes` stretch to; dynamic sizes that may differ are checked at run time."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for d in range(-rank, 0):
        result: Dim = 1
        for shape in shapes:
            if len(shape) >= -d:
                result = _broadcast_size(e, result, shape[d])
        out.append(result)
    return tuple(out)


def _broadcast_size(e: Emitter, a: Dim, b: Dim) -> Dim:
    if b == 1 or e.dims.same(a, b):
        return a
    if a == 1:
        return b
    _must_agree(a, b)
    if isinstance(a, int) or isinstance(b, int):  # the other is that size, or one
        whole, open_size = (a, e.dims.value(b)) if isinstance(a, int) else (b, e.dims.value(a))
        fits = [e.op(arith.CmpiOp, open_size, e.index(n), "eq") for n in (1, whole) if isinstance(n, int)]
        e.check(e.op(arith.OrIOp, fits[0], fits[1]), "sizes of broadcast operands do not match")
        return whole
    if e.dims.range(a)[0] > 1 and e.dims.range(b)[0] > 1:
        e.check(e.op(arith.CmpiOp, a, b, "eq"), "sizes of broadcast operands do not match")
        e.dims.equate(b, a)
        return a
    key = ("broadcast", a, b)
    if key not in e.dims.known:
        one, x, y = e.index(1), a, b
        a_one, b_one = e.op(arith.CmpiOp, x, one, "eq"), e.op(arith.CmpiOp, y, one, "eq")
        same = e.op(arith.CmpiOp, x, y, "eq")
        e.check(e.op(arith.OrIOp, same, e.op(arith.OrIOp, a_one, b_one)), "sizes of broadcast operands do not match")
        e.dims.known[key] = e.op(arith.SelectOp, a_one, y, x)
    return e.dims.known[key]


@dataclass(frozen=True)
class Frame:
    """Loops of a generic: `groups[i]` are the logical dims (in order `perm`) that loop `i` covers."""

    shape: tuple[Dim, ...]
    groups: Groups
    perm: tuple[int, ...]


def _padded(t: Tensor, rank: int) -> Tensor:
    extra = rank - t.rank
    if not extra:
        return t
    return t.with_view((1,) * extra + t.shape, (None,) * extra + t.axes)


def _kind(t: Tensor, d: int, out: Dim) -> str:
    """r(eal), n(ot there: stretched), f(ree: size one)."""
    if out == 1:
        return "f"
    return "n" if t.axes[d] is None or t.shape[d] == 1 else "r"


def _order(tensors: Sequence[Tensor], shape: Sequence[Dim]) -> tuple[int, ...]:
    """Order of dims that all inputs have their values in, or the natural one."""
    rank = len(shape)
    natural = tuple(range(rank))
    real = [[d for d in natural if _kind(t, d, shape[d]) == "r"] for t in tensors]
    widest = max(range(len(tensors)), key=lambda i: len(real[i]), default=None)
    if widest is None:
        return natural
    lead = tensors[widest]
    inner = sorted(real[widest], key=lambda d: lead.axes[d] or 0)
    if inner == real[widest]:
        return natural
    rest = [d for d in natural if d not in inner]
    perm = tuple(rest + inner)
    at = {d: i for i, d in enumerate(perm)}
    for t, dims in zip(tensors, real, strict=True):
        places = [(t.axes[d] or 0, d) for d in sorted(dims, key=lambda d: at[d])]  # parts of one axis keep their order
        if places != sorted(places):
            return natural
    return perm


def _frame(e: Emitter, tensors: Sequence[Tensor], shape: tuple[Dim, ...], reduced: frozenset[int]) -> Frame:
    perm = _order(tensors, shape)
    views = [(t, [_kind(t, d, shape[d]) for d in range(len(shape))]) for t in tensors]
    full = [t for t, kinds in views if "n" not in kinds and any(k == "r" for k in kinds)]
    groups: list[list[int]] = []
    for position, d in enumerate(perm):
        if groups and (groups[-1][0] in reduced) == (d in reduced):
            before = groups[-1][-1]
            glued = any(t.axes[before] is not None and t.axes[before] == t.axes[d] for t in tensors)
            last = position == len(perm) - 1
            unit = any((shape[before] == 1 and t.axes[before] is None and len(groups[-1]) == 1) for t in full) or (
                last and shape[d] == 1 and any(t.axes[d] is None for t in full)
            )
            mixed = any(len({kinds[x] for x in (*groups[-1], d)} - {"f"}) > 1 for _, kinds in views)
            ordered = all(_follows(t, before, d) for t in tensors)
            if (glued or unit) and d == before + 1 and not mixed and ordered:
                groups[-1].append(d)
                continue
        groups.append([d])
    return Frame(shape, tuple(tuple(g) for g in groups), perm)


def _follows(t: Tensor, a: int, b: int) -> bool:
    """Whether merging neighbours `a`, `b` of the frame needs no transpose of `t`."""
    x, y = t.axes[a], t.axes[b]
    return x is None or y is None or y in (x, x + 1)


def _operand(e: Emitter, t: Tensor, frame: Frame) -> tuple[SSAValue, tuple[int, ...]]:
    """Value of `t` for the frame, and the loops its dims follow."""
    if frame.perm != tuple(range(t.rank)):
        at = {d: i for i, d in enumerate(frame.perm)}
        view = t.with_view(tuple(t.shape[d] for d in frame.perm), tuple(t.axes[d] for d in frame.perm))
        groups = tuple(tuple(at[d] for d in g) for g in frame.groups)
    else:
        view, groups = t, frame.groups
    drop = tuple(_dropped(t, g, frame.shape) for g in frame.groups)
    return e.realize(view, groups, drop), tuple(i for i, gone in enumerate(drop) if not gone)


def _dropped(t: Tensor, group: tuple[int, ...], shape: Sequence[Dim]) -> bool:
    kinds = {_kind(t, d, shape[d]) for d in group}
    if "n" in kinds:
        return True
    return kinds == {"f"} and all(t.axes[d] is None for d in group)


def _result_axes(frame: Frame, loops: Sequence[int]) -> Axes:
    """Axes of a result whose value has the dims of `loops`."""
    axes: list[int | None] = [None] * len(frame.shape)
    for axis, loop in enumerate(loops):
        group = frame.groups[loop]
        wide = [i for i, d in enumerate(group) if frame.shape[d] != 1] or [0]
        for d in group[wide[0] : wide[-1] + 1]:
            axes[d] = axis
    return tuple(axes)


def generic_elementwise(
    e: Emitter,
    inputs: Sequence[Tensor],
    dtypes: Sequence[DType],
    fn: Callable[..., SSAValue | tuple[SSAValue, ...]],
    shape: tuple[Dim, ...] | None = None,
) -> tuple[Tensor, ...]:
    """Elementwise op of one or more results; `fn(body, *scalars)` gets the inputs' elements."""
    shape = broadcast_shape(e, [t.shape for t in inputs]) if shape is None else shape
    padded = [fitted(e, t, shape) for t in inputs]
    frame = _frame(e, padded, shape, frozenset())
    operands = [_operand(e, t, frame) for t in padded]
    n = len(frame.groups)
    value_shape = tuple(e.dims.product(shape[d] for d in g) for g in frame.groups)
    outs = [(e.empty(value_shape, t), axes_map(n, tuple(range(n)))) for t in dtypes]
    results = e.generic(
        [(v, axes_map(n, loops)) for v, loops in operands],
        outs,
        "p" * n,
        lambda body, *args: fn(body, *args[: len(operands)]),
    )
    axes = _result_axes(frame, range(n))
    return tuple(Tensor(v, t, shape, axes, value_shape) for v, t in zip(results, dtypes, strict=True))


def fitted(e: Emitter, t: Tensor, shape: Sequence[Dim]) -> Tensor:
    """`t` with unit dims in front up to the rank of `shape`; a copy stretched to `shape` where only the run can tell
    whether a size is one or that of the result."""
    t = _padded(t, len(shape))
    unsure = [d for d in range(t.rank) if t.shape[d] != 1 and not e.dims.same(t.shape[d], shape[d])]
    if not unsure:
        return t
    t = e.plain(t)
    n = t.rank
    target = tuple(shape[d] if d in unsure else t.shape[d] for d in range(n))
    one, zero = e.index(1), e.index(0)
    is_one = {d: e.op(arith.CmpiOp, e.dims.value(t.shape[d]), one, "eq") for d in unsure}

    def fn(body: Body, _out: SSAValue) -> SSAValue:
        at = [body.loop_index(d) for d in range(n)]
        picks = [body.select(is_one[d], zero, i) if d in is_one else i for d, i in enumerate(at)]
        return body.extract(t.value, picks)

    (value,) = e.generic([], [(e.empty(target, t.dtype), axes_map(n, tuple(range(n))))], "p" * n, fn)
    return Tensor(value, t.dtype, target, tuple(range(n)), target)


def elementwise(
    e: Emitter,
    inputs: Sequence[Operand],
    dtype: DType,
    fn: BodyFn,
    *,
    compute: DType | None = None,
    returns: DType | None = None,
    shape: tuple[Dim, ...] | None = None,
    own: Sequence[int] = (),
) -> Tensor:
    """Elementwise op: inputs are converted to `compute`, the result of `fn` from `returns` to `dtype`.

    `compute` is by default what ATen calculates `dtype` in; numbers and splats become constants in the body. Tensors
    whose position is in `own` keep their own type.
    """
    compute = compute or dtype.compute
    recipe = Recipe(tuple(inputs), dtype, fn, compute, returns or compute, tuple(own))
    recipe.scalars = {i: e.cast_scalar(s, compute) for i, s in enumerate(inputs) if isinstance(s, Scalar)}
    if shape is None:
        shape = broadcast_shape(e, [t.shape for t in inputs if isinstance(t, Tensor)])
    else:
        for t in inputs:
            if isinstance(t, Tensor):
                _check_stretch(e, t.shape, shape)
    leaves = recipe.leaves()
    if leaves and not recipe.scalars and static(shape) and all(e.is_constant(t) for t in leaves):
        return Tensor(
            lambda: _built_at_head(e, recipe, shape), dtype, shape, tuple(range(len(shape))), shape, recipe=recipe
        )
    return _built(e, recipe, shape)


def _check_stretch(e: Emitter, had: Sequence[Dim], shape: Sequence[Dim]) -> None:
    """Sizes are those of `shape`, or one; where a stated shape decides, nobody else has compared them."""
    for a, b in zip(had[::-1], shape[::-1], strict=False):
        if a != 1 and not e.dims.same(a, b):
            _must_agree(a, b)
            fits = [e.op(arith.CmpiOp, e.dims.value(a), e.dims.value(n), "eq") for n in (1, b)]
            e.check(e.op(arith.OrIOp, *fits), "sizes of broadcast operands do not match")


def _must_agree(a: Dim, b: Dim) -> None:
    if isinstance(a, int) and isinstance(b, int):
        raise ShapeError(f"sizes {a} and {b} of broadcast operands do not match")


@dataclass
class Recipe:
    """An elementwise op that may not be built yet."""

    inputs: tuple[Operand, ...]
    dtype: DType
    fn: BodyFn
    compute: DType
    returns: DType
    own: tuple[int, ...]
    scalars: dict[int, SSAValue] = field(default_factory=dict)

    def leaves(self) -> list[Tensor]:
        """Tensors that the op reads, through inputs that are not built themselves."""
        out: list[Tensor] = []
        for x in self.inputs:
            if isinstance(x, Tensor):
                out += x.recipe.leaves() if x.recipe is not None else [x] if x.splat is None else []
        return out

    def build(self, body: Body, elements: Iterator[SSAValue]) -> SSAValue:
        """The scalar code, reading one element for each leaf."""
        values: list[SSAValue] = []
        for i, x in enumerate(self.inputs):
            if isinstance(x, Tensor):
                kind = x.dtype if i in self.own else self.compute
                if x.recipe is not None:
                    values.append(body.cast(x.recipe.build(body, elements), x.dtype, kind))
                elif x.splat is not None:
                    values.append(body.const(rounded(x.splat, x.dtype), kind))
                else:
                    values.append(body.cast(next(elements), x.dtype, kind))
            else:
                values.append(self.scalars[i] if isinstance(x, Scalar) else body.const(x, self.compute))
        return body.cast(self.fn(body, *values), self.returns, self.dtype)


def _built(e: Emitter, recipe: Recipe, shape: tuple[Dim, ...]) -> Tensor:
    leaves = recipe.leaves()
    return generic_elementwise(e, leaves, [recipe.dtype], lambda body, *args: recipe.build(body, iter(args)), shape)[0]


def _built_at_head(e: Emitter, recipe: Recipe, shape: tuple[Dim, ...]) -> SSAValue:
    with e.at_head():
        value = e.plain(_built(e, recipe, shape)).value
    e.constants.add(value)
    return value


def rounded(value: Number, dtype: DType) -> Number:
    """`value` as an element of `dtype` holds it."""
    match dtype.name:
        case "f16" | "f32":
            with np.errstate(over="ignore"):
                return float(np.array(value).astype(dtype.name.replace("f", "float")))
        case "bf16":
            return _to_bf16(float(value))
        case _:
            return value


def _to_bf16(value: float) -> float:
    """Round to nearest even at 16 bits of the f32 pattern."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if not np.isfinite(single):
        return float(single)
    bits = int(single.view(np.uint32))
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return float(np.uint32(bits).view(np.float32))


def reduce(
    e: Emitter,
    inputs: Sequence[Tensor],
    dims: Sequence[int],
    dtype: DType,
    init: Number | Sequence[Number],
    fn: Callable[..., SSAValue | tuple[SSAValue, ...]],
    *,
    keepdim: bool = False,
    dtypes: Sequence[DType] | None = None,
) -> tuple[Tensor, ...]:
    """Reduction over `dims` of broadcast `inputs`: `fn(body, *elements, *accumulators)`.

    One result of `dtype` starting from `init`, or one per `dtypes` with as many `init`s.
    """
    dtypes = dtypes or [dtype]
    inits = list(init) if isinstance(init, Sequence) else [init]
    shape = broadcast_shape(e, [t.shape for t in inputs])
    padded = [fitted(e, t, shape) for t in inputs]
    reduced = frozenset(dims)
    if any(_kind(t, d, shape[d]) == "n" for d in reduced for t in padded[:1]):
        padded[0] = e.plain(padded[0])
    frame = _frame(e, padded, shape, reduced)
    operands = [_operand(e, t, frame) for t in padded]
    named = {loop for _, loops in operands for loop in loops}
    loops = [i for i, g in enumerate(frame.groups) if i in named or g[0] not in reduced]
    at = {loop: i for i, loop in enumerate(loops)}
    kept = [i for i in loops if frame.groups[i][0] not in reduced]
    n = len(loops)
    value_shape = tuple(e.dims.product(shape[d] for d in frame.groups[i]) for i in kept)
    out_map = axes_map(n, tuple(at[i] for i in kept))
    outs = [(e.fill(value_shape, t, start), out_map) for t, start in zip(dtypes, inits, strict=True)]
    kinds = "".join("p" if i in kept else "r" for i in loops)
    ins = [(v, axes_map(n, tuple(at[i] for i in ls))) for v, ls in operands]
    results = e.generic(ins, outs, kinds, fn)
    axes = _result_axes(frame, kept)
    keep = [d for d in range(len(shape)) if d not in reduced or keepdim]
    # `kept` was numbered in frame order, which is the order of the result value's axes
    new_shape = tuple(1 if d in reduced else shape[d] for d in keep)
    new_axes = tuple(axes[d] for d in keep)
    return tuple(Tensor(v, t, new_shape, new_axes, value_shape) for v, t in zip(results, dtypes, strict=True))


def tensor_cast(e: Emitter, value: SSAValue, shape: Sequence[Dim], dtype: DType) -> SSAValue:
    """`tensor.cast` to the type of `shape`, when it differs."""
    target = e.type_of(shape, dtype)
    return value if value.type == target else e.op(tensor.CastOp, value, target)
