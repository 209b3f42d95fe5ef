"""One kernel for several that differ in a single size, or fill memory of any size: what differs is left open, their
calls pass it.

    call @conv_0(%a, %w, %o) : memref<1x8x56x56x16xf32>, …     %x = memref.cast %a : … to memref<1x?x56x56x16xf32>
    call @conv_1(%b, %v, %o) : memref<1x12x56x56x16xf32>, … -> call @conv_0(%x, %y, %o)
    … and more of its kind                                     … likewise, with %b, %v

Each kernel costs compile time, each size that is not known costs speed. So a size is opened only where at least `least`
kernels need it for nothing else, and only one that seldom matters to the code: the number of whole pieces that a
product adds up (blocks of channels, say), or that an elementwise kernel goes through. Loops over what lies side by side
in memory, windows, and loops that become register tiles keep their numbers. Kernels that only fill (borders of padded
images, say) may differ in all sizes and distances but for what lies side by side (`share_fills.py`). Arguments of the
shared kernel say how large they are at most (`mlc.at_most`).

What: fewer kernel functions; calls of others, through casts. Runs after bufferize, before kernels are split off.
Tests: tests/lowering/buffers/share_kernels.mlir, tests/lowering/buffers/test_share_kernels.py
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod

from xdsl.dialects import arith, func, memref
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FunctionType,
    MemRefType,
    ModuleOp,
    NoneAttr,
    StridedLayoutAttr,
    SymbolRefAttr,
    TensorType,
    i64,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr
from xdsl.rewriter import Rewriter

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import fuse_locations
from mlc.ir.own_memory import MAY_ALIAS
from mlc.ir.passes import MlcPass, Span, option
from mlc.ir.size_bounds import AT_MOST
from mlc.ir.structural_key import Numbering, sequence_key
from mlc.lowering.buffers.share_fills import Family, fill_families, is_fill

Place = tuple[int, int]  # argument, dimension


@dataclass(frozen=True)
class ShareKernels(MlcPass):
    """See the module. `least`: kernels that one size has to serve."""

    name = "share-kernels"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Bitwise(),
        profile="kernel-families",
        options=({"least": 2}, {"least": 3}),
        establishes=("no `least` kernels differ only in one size that can be left open, or only in what they fill",),
        rules={
            "reduction": "products that add up other numbers of pieces -> one with that number open",
            "elementwise": "elementwise kernels over other numbers of pieces -> one with that number open",
            "fill": "kernels that fill memory of other sizes or strides -> one with these open",
        },
    )

    least: int = option(4, Span(2, 1 << 20))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        kernels = {
            op.sym_name.data: op for op in module.body.block.ops if isinstance(op, func.FuncOp) and _may_share(op)
        }
        calls: dict[str, list[func.CallOp]] = {name: [] for name in kernels}
        for op in module.walk():
            if isinstance(op, func.CallOp) and (name := op.callee.root_reference.data) in calls:
                calls[name].append(op)
        fills = [kernel for kernel in kernels.values() if is_fill(kernel)]
        others = [kernel for kernel in kernels.values() if not is_fill(kernel)]
        for family in chain(_families(others, self.least), fill_families(fills, self.least)):
            _share(family, calls)
            sizes = sorted(family.sizes)
            text = f"{len(family.members)} kernels of sizes {sizes[0]} to {sizes[-1]} became one"
            ctx.remarks.applied(self.name, family.members[0], text, rule=family.rule, sizes=sizes)


@dataclass(frozen=True)
class _Loop:
    """A loop of a kernel that can be left open: the dimensions it runs along, and its extent."""

    places: tuple[Place, ...]
    size: int
    reduction: bool


def _may_share(op: func.FuncOp) -> bool:
    """Whether `op` is a kernel of nothing but structured ops on its arguments."""
    if "kernel" not in op.attributes or len(op.body.blocks) != 1:
        return False
    if any(isinstance(t, TensorType) for t in op.function_type.inputs):  # before bufferize
        return False
    flags = [set(a.data) - {MAY_ALIAS} for a in op.arg_attrs.data] if op.arg_attrs is not None else []
    return not any(flags) and all(
        isinstance(inner, (GenericOp, FillOp, arith.ConstantOp, func.ReturnOp)) and not _has_memref(inner)
        for inner in op.body.block.ops
    )


def _has_memref(op: Operation) -> bool:
    return any(isinstance(r.type, MemRefType) for r in op.results) or any(
        isinstance(inner, memref.LoadOp) for inner in op.walk()
    )


def _families(kernels: Iterable[func.FuncOp], least: int) -> list[Family]:
    """Families without a kernel in common, the largest first."""
    found: dict[Hashable, list[tuple[func.FuncOp, _Loop]]] = {}
    bodies: dict[Hashable, int] = {}
    for kernel in kernels:
        if loops := _loops(kernel):
            body = bodies.setdefault(_body_key(kernel), len(bodies))
            for loop in loops:
                found.setdefault((body, *_arguments_key(kernel, loop)), []).append((kernel, loop))
    families: list[Family] = []
    taken: set[func.FuncOp] = set()
    for group in sorted(found.values(), key=len, reverse=True):
        left = [(kernel, loop) for kernel, loop in group if kernel not in taken]
        if len(left) >= least:
            members, loops = [k for k, _ in left], [loop for _, loop in left]
            taken.update(members)
            rule = "reduction" if loops[0].reduction else "elementwise"
            families.append(_family(members, loops[0].places, [loop.size for loop in loops], rule))
    return families


def _loops(kernel: func.FuncOp) -> list[_Loop]:
    """Loops of `kernel` that can be left open."""
    args: dict[SSAValue, int] = {arg: i for i, arg in enumerate(kernel.body.block.args)}
    same: dict[Hashable, set[Hashable]] = {}  # loops of ops and dimensions of arguments -> those of equal extent
    reductions: set[Hashable] = set()
    fixed: set[Hashable] = set()
    for n, op in enumerate(kernel.body.block.ops):
        if not isinstance(op, LinalgStructuredOperation):
            continue
        kinds = [t.data is IteratorType.REDUCTION for t in op.get_iterator_types()]
        reductions.update(("loop", n, d) for d, kind in enumerate(kinds) if kind)
        for value, map_ in zip(op.operands, op.get_indexing_maps(), strict=True):
            for dim, expr in enumerate(map_.data.results):
                if isinstance(expr, AffineDimExpr):
                    _join(same, ("loop", n, expr.position), (args[value], dim))
                else:
                    fixed.update([(args[value], dim), *(("loop", n, d) for d in expr.used_dims())])
    found: list[_Loop] = []
    for whole in {id(s): s for s in same.values()}.values():
        loops = {p for p in whole if isinstance(p, tuple) and len(p) == 3}
        places = tuple(sorted(p for p in whole if isinstance(p, tuple) and len(p) == 2))
        reducing = bool(loops & reductions)
        if whole & fixed or (loops - reductions if reducing else reductions):
            continue
        sizes = {_shape(kernel, arg)[dim] for arg, dim in places}
        if len(sizes) == 1 and all(_is_of_pieces(kernel, *place) for place in places):
            found.append(_Loop(places, sizes.pop(), reducing))
    return found


def _join(same: dict[Hashable, set[Hashable]], a: Hashable, b: Hashable) -> None:
    whole = same.get(a, {a}) | same.get(b, {b})
    same.update(dict.fromkeys(whole, whole))


def _shape(kernel: func.FuncOp, arg: int) -> tuple[int, ...]:
    type_ = kernel.body.block.args[arg].type
    assert isinstance(type_, MemRefType)
    return tuple(type_.get_shape())


def _is_of_pieces(kernel: func.FuncOp, arg: int, dim: int) -> bool:
    """Whether neighbours along `dim` are pieces of several elements, at a distance that does not depend on its size."""
    type_ = kernel.body.block.args[arg].type
    assert isinstance(type_, MemRefType)
    shape = tuple(type_.get_shape())
    if DYNAMIC_INDEX in shape or prod(shape[dim + 1 :]) == 1 or shape[dim] < 2:
        return False
    if isinstance(type_.layout, StridedLayoutAttr):
        return None not in tuple(type_.layout.get_strides())
    return isinstance(type_.layout, NoneAttr)


def _body_key(kernel: func.FuncOp) -> Hashable:
    """What is equal for kernels that compute the same, but for the sizes of their arguments."""
    numbering = Numbering()
    for arg in kernel.body.block.args:
        numbering.define(arg)
    return sequence_key(list(kernel.body.block.ops), numbering), tuple(sorted(kernel.attributes.items()))


def _arguments_key(kernel: func.FuncOp, loop: _Loop) -> tuple[Hashable, ...]:
    """What is equal for the arguments of kernels that can become one with `loop` open."""
    arguments: list[Hashable] = []
    for i, arg in enumerate(kernel.body.block.args):
        about = kernel.arg_attrs.data[i] if kernel.arg_attrs is not None else DictionaryAttr({})
        arguments.append((_opened(arg.type, [d for a, d in loop.places if a == i]), about))
    return loop.places, loop.reduction, *arguments


def _opened(type_: Attribute, dims: Sequence[int]) -> Attribute:
    if not dims:
        return type_
    assert isinstance(type_, MemRefType)
    shape = [DYNAMIC_INDEX if d in dims else n for d, n in enumerate(type_.get_shape())]
    return MemRefType(type_.element_type, shape, type_.layout, type_.memory_space)


def _family(members: list[func.FuncOp], places: Sequence[Place], sizes: list[int], rule: str) -> Family:
    """Kernels that are equal but for the size at `places`."""
    first = members[0]
    types: list[Attribute] = []
    most: list[list[int] | None] = []
    for i, arg in enumerate(first.body.block.args):
        dims = [d for a, d in places if a == i]
        types.append(_opened(arg.type, dims))
        most.append([max(sizes) if d in dims else n for d, n in enumerate(_shape(first, i))] if dims else None)
    return Family(members, types, most, sizes, rule)


def _share(family: Family, calls: Mapping[str, Sequence[func.CallOp]]) -> None:
    """Make the first member serve all."""
    shared, others = family.members[0], family.members[1:]
    for ops in zip(*(list(m.walk()) for m in family.members), strict=True):
        ops[0].location = fuse_locations(op.location for op in ops)
    about: list[DictionaryAttr] = []
    types = family.types
    for i, most in enumerate(family.at_most):
        given = dict(shared.arg_attrs.data[i].data) if shared.arg_attrs is not None else {}
        if most is not None:
            given[AT_MOST] = DenseArrayBase.from_list(i64, most)
        about.append(DictionaryAttr(given))
    for arg, type_ in zip(list(shared.body.block.args), types, strict=True):
        if type_ != arg.type:
            Rewriter.replace_value_with_new_type(arg, type_)
    shared.properties["function_type"] = FunctionType.from_lists(types, list(shared.function_type.outputs))
    shared.properties["arg_attrs"] = ArrayAttr(about)
    for member in family.members:
        for call in calls[member.sym_name.data]:
            _retarget(call, shared.sym_name.data, types)
    for member in others:
        member.detach()
        member.erase()


def _retarget(call: func.CallOp, name: str, types: Sequence[Attribute]) -> None:
    """Let `call` call the shared kernel `name`."""
    block = call.parent
    assert block is not None
    call.properties["callee"] = SymbolRefAttr(name)
    for i, (value, type_) in enumerate(zip(call.operands, types, strict=True)):
        if value.type != type_:
            assert isinstance(type_, MemRefType)
            cast = memref.CastOp.get(value, type_)
            cast.location = call.location
            block.insert_op_before(cast, call)
            call.operands[i] = cast.dest
