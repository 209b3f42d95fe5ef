"""Rules of single ops that xDSL's verifier leaves out: where a program breaks one, what it computes is not defined.

    cf.br ^a(%x : f32) to ^a(%y: i32)                   a branch must give what the block takes
    scf.if -> f32 whose yield gives i32                 a region must give what its op returns
    tensor<2x3xf32> into tensor<7xf32>                  reshapes keep the number of elements
    tensor.extract_slice %x[1, 0] [2, 3] of 2x3         slices stay inside, as far as sizes are known
    tensor.extract_slice %x[0, 0] [2, 2] to 2x3         and have the sizes that their type says
    tensor.empty() : tensor<?xf32>                      sizes that a type leaves open are given
    linalg.index 3 in two loops

`problem(op)` says what is wrong, None where nothing is. Used by the verifier after every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, TensorType, VectorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

if TYPE_CHECKING:  # a start from the cache meets none of these dialects
    from xdsl.dialects import cf, scf, tensor

Rule = Callable[[Any], str | None]


def problem(op: Operation) -> str | None:
    """What `op` does that its definition forbids."""
    rule = _RULES.get(op.name)
    return rule(op) if rule is not None else None


def _types(types: Sequence[Attribute]) -> str:
    return "(" + ", ".join(str(t) for t in types) + ")"


def _passed(values: Sequence[SSAValue], block: Block) -> str | None:
    """Values that a branch gives to a block."""
    given, taken = [v.type for v in values], [a.type for a in block.args]
    return f"gives {_types(given)} to a block that takes {_types(taken)}" if given != taken else None


def _branch(op: cf.BranchOp) -> str | None:
    return _passed(op.arguments, op.successor)


def _conditional_branch(op: cf.ConditionalBranchOp) -> str | None:
    return _passed(op.then_arguments, op.then_block) or _passed(op.else_arguments, op.else_block)


def _yielded(op: Operation, wanted: Sequence[Attribute], what: str = "returns") -> str | None:
    """Whether each region of one block ends with a yield of these types."""
    for region in op.regions:
        last = region.blocks[-1].last_op if region.blocks else None
        given = [v.type for v in last.operands] if last is not None else []
        if last is not None and last.name.endswith(".yield") and given != list(wanted):
            return f"its region yields {_types(given)}, but it {what} {_types(wanted)}"
    return None


def _if(op: scf.IfOp) -> str | None:
    if op.results and not op.false_region.blocks:
        return "returns something and has no else region"
    used = op.true_region.blocks and op.true_region.block.ops
    return _yielded(op, [r.type for r in op.results]) if used else None


def _while(op: scf.WhileOp) -> str | None:
    before, after = op.before_region.blocks, op.after_region.blocks
    if not before or not after:
        return "needs two regions"
    condition, end = op.before_region.block.last_op, op.after_region.block.last_op
    kept = [v.type for v in condition.operands[1:]] if condition is not None else []
    if kept != [r.type for r in op.results]:
        return f"its condition passes on {_types(kept)}, but it returns {_types([r.type for r in op.results])}"
    if [a.type for a in op.after_region.block.args] != kept:
        return "its second region takes other types than its condition passes on"
    again = [v.type for v in end.operands] if end is not None else []
    wanted = [v.type for v in op.operands]
    return f"its second region yields {_types(again)} for {_types(wanted)}" if again != wanted else None


def _index_switch(op: scf.IndexSwitchOp) -> str | None:
    return _yielded(op, [r.type for r in op.results])


def _structured(op: Any) -> str | None:
    """The body of a `linalg.generic` and the indices it asks for."""
    element = [_element(v.type) for v in op.outputs]
    loops = len(op.iterator_types.data)
    for inner in op.body.walk():
        if inner.name == "linalg.index" and inner.dim.value.data >= loops:
            return f"linalg.index {inner.dim.value.data} in {loops} loops"
    return _yielded(op, element, "writes elements of")


def _element(t: Attribute) -> Attribute:
    return t.element_type if isinstance(t, TensorType | MemRefType | VectorType) else t


def _rank(t: Attribute) -> int | None:
    return t.get_num_dims() if isinstance(t, TensorType | MemRefType | VectorType) else None


def _indices(shaped: SSAValue, indices: Sequence[SSAValue]) -> str | None:
    rank = _rank(shaped.type)
    return f"{len(indices)} indices into {shaped.type}" if rank is not None and len(indices) != rank else None


def _vector_access(shaped: SSAValue, indices: Sequence[SSAValue], t: Attribute) -> str | None:
    rank, lanes = _rank(shaped.type), _rank(t)
    if rank is not None and lanes is not None and lanes > rank:
        return f"{t} out of {shaped.type}, which has fewer dimensions"
    return _indices(shaped, indices)


def _shapes(a: Attribute, b: Attribute) -> tuple[list[int], list[int]] | None:
    if isinstance(a, TensorType | MemRefType) and isinstance(b, TensorType | MemRefType):
        return list(a.get_shape()), list(b.get_shape())
    return None


def _reassociated(op: Any, long: Attribute, short: Attribute) -> str | None:
    """Each dimension of the shorter shape is the product of its group in the longer one."""
    shapes = _shapes(long, short)
    if shapes is None:
        return None
    groups = [[int(i.value.data) for i in group.data] for group in op.reassociation.data]
    many, few = shapes
    if not groups and not few:  # to or from rank 0
        same = all(n in (1, DYNAMIC_INDEX) for n in many)
        return None if same else f"{op.operands[0].type} and {op.results[0].type} have different numbers of elements"
    if [i for group in groups for i in group] != list(range(len(many))) or len(groups) != len(few):
        return f"its groups {groups} do not fit {long} and {short}"
    for group, n in zip(groups, few, strict=True):
        parts = [many[i] for i in group]
        if DYNAMIC_INDEX in parts or n == DYNAMIC_INDEX:
            known = prod(p for p in parts if p != DYNAMIC_INDEX)
            if n != DYNAMIC_INDEX and (n % known if known else n):
                return f"a dimension of {n} for a group of {parts}"
        elif prod(parts) != n:
            return f"{op.operands[0].type} and {op.results[0].type} have different numbers of elements"
    return None


def _collapse(op: Any) -> str | None:
    return _reassociated(op, op.operands[0].type, op.results[0].type)


def _expand(op: Any) -> str | None:
    return _reassociated(op, op.results[0].type, op.operands[0].type)


def _pad(op: tensor.PadOp) -> str | None:
    shapes = _shapes(op.source.type, op.result.type)
    if shapes is None:
        return None
    lows, highs = op.static_low.get_values(), op.static_high.get_values()
    for k, (n, m, low, high) in enumerate(zip(*shapes, lows, highs, strict=False)):
        if any(amount < 0 and amount != DYNAMIC_INDEX for amount in (low, high)):
            return f"dimension {k}: a negative amount of padding (take a slice instead)"
        if DYNAMIC_INDEX not in (n, m, low, high) and n + low + high != m:
            return f"dimension {k}: {n} padded by {low} and {high} makes {n + low + high}, not {m}"
    return None


def _inside(shape: Sequence[int], op: Any) -> str | None:
    """A box given by offsets, sizes and strides lies in `shape`, as far as they are known."""
    boxes = (op.static_offsets.get_values(), op.static_sizes.get_values(), op.static_strides.get_values())
    for k, (n, offset, size, stride) in enumerate(zip(shape, *boxes, strict=False)):
        if any(v < 0 and v != DYNAMIC_INDEX for v in (offset, size)):
            return f"dimension {k}: a negative offset or size"
        if DYNAMIC_INDEX in (n, size, stride) or size == 0:
            continue
        last = (0 if offset == DYNAMIC_INDEX else offset) + (size - 1) * stride
        if last >= n:
            return f"dimension {k}: element {last} of {n} is outside"
    return None


def _has_sizes(t: Any, op: Any) -> str | None:
    """The type of a slice has the sizes that the op names, maybe without some that are 1."""
    if not isinstance(t, TensorType | MemRefType):
        return None
    sizes, shape = list(op.static_sizes.get_values()), list(t.get_shape())
    if len(sizes) == len(shape):
        fits = all(a == b or DYNAMIC_INDEX in (a, b) for a, b in zip(sizes, shape, strict=True))
    elif DYNAMIC_INDEX in (*sizes, *shape):
        fits = len(shape) < len(sizes)
    else:
        fits = len(shape) < len(sizes) and [n for n in sizes if n != 1] == [n for n in shape if n != 1]
    return None if fits else f"sizes {sizes} do not fit {t}".replace(str(DYNAMIC_INDEX), "?")


def _slice(op: Any) -> str | None:
    return _inside(op.source.type.get_shape(), op) or _has_sizes(op.results[0].type, op)


def _insert_slice(op: Any) -> str | None:
    return _inside(op.dest.type.get_shape(), op) or _has_sizes(op.source.type, op)


def _cast(op: Operation) -> str | None:
    shapes = _shapes(op.operands[0].type, op.results[0].type)
    if shapes is None or len(shapes[0]) != len(shapes[1]):
        return None if shapes is None else f"{op.operands[0].type} and {op.results[0].type} differ in rank"
    if any(a != b and DYNAMIC_INDEX not in (a, b) for a, b in zip(*shapes, strict=True)):
        return f"{op.operands[0].type} can never be {op.results[0].type}"
    return None


def _empty(op: tensor.EmptyOp) -> str | None:
    """Whether a fresh tensor is told each size that its type leaves open."""
    t = op.tensor.type
    open_sizes = list(t.get_shape()).count(DYNAMIC_INDEX) if isinstance(t, TensorType) else 0
    given = len(op.dynamic_sizes)
    return f"is given {given} sizes for the {open_sizes} that {t} leaves open" if given != open_sizes else None


def _reduce(op: Any) -> str | None:
    rank = _rank(op.operands[0].type)
    dims = [int(d) for d in op.dimensions.get_values()]
    wrong = [d for d in dims if rank is not None and not 0 <= d < rank]
    return f"reduces dimensions {wrong} of {op.operands[0].type}" if wrong else None


_RULES: dict[str, Rule] = {
    "cf.br": _branch,
    "cf.cond_br": _conditional_branch,
    "scf.if": _if,
    "scf.while": _while,
    "scf.index_switch": _index_switch,
    "linalg.generic": _structured,
    "linalg.reduce": _reduce,
    "tensor.empty": _empty,
    "tensor.extract": lambda op: _indices(op.tensor, op.indices),
    "tensor.insert": lambda op: _indices(op.dest, op.indices),
    "tensor.collapse_shape": _collapse,
    "memref.collapse_shape": _collapse,
    "memref.expand_shape": _expand,
    "tensor.pad": _pad,
    "tensor.extract_slice": _slice,
    "tensor.insert_slice": _insert_slice,
    "memref.subview": _slice,
    "memref.cast": _cast,
    "memref.load": lambda op: _indices(op.memref, op.indices),
    "memref.store": lambda op: _indices(op.memref, op.indices),
    "vector.load": lambda op: _vector_access(op.base, op.indices, op.result.type),
    "vector.store": lambda op: _vector_access(op.base, op.indices, op.vector.type),
}
