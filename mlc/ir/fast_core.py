"""The same as xDSL does, sooner: making ops and walking over them.

    def walk(op): yield op; for region …: yield from region.walk() …  -->  one generator for each block

Making an op in xDSL asks again and again, through abstract base classes, what its operands and results are; a walk goes
through three generators for each level of nesting, for each op. `fast_build` puts these functions in their places.
They give the same ops in the same order, also while the IR changes under a walk. Tests: `tests/ir/test_fast_core.py`.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import inf
from typing import Any

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    DenseArrayBase,
    IntAttr,
    LocationAttr,
    MemRefType,
    NoneAttr,
    i32,
)
from xdsl.ir import (
    Attribute,
    Block,
    BlockArgument,
    Operation,
    OpResult,
    ParametrizedAttribute,
    Region,
    SSAValue,
    SSAValues,
    Use,
)
from xdsl.ir.core import OpOperands
from xdsl.irdl import IRDLOperation, OpDef, OptionalDef, VariadicDef
from xdsl.irdl import operations as irdl

_walk_op, _walk_block, _walk_region = Operation.walk, Block.walk, Region.walk
_build_arg_list, _build_operand = irdl.irdl_build_arg_list, irdl.irdl_build_operations_arg
_init_irdl_op, _attach_op, _op_constructs = irdl.irdl_op_init, Block._attach_op, irdl.get_op_constructs
_OPERAND, _RESULT = irdl.VarIRConstruct.OPERAND, irdl.VarIRConstruct.RESULT
_get_values: Any = DenseArrayBase.get_values  # pyright: ignore[reportAttributeAccessIssue]
_NONE: Mapping[str, Attribute] = {}
_NO_ATTR = NoneAttr()


def _ops_below(block: Block) -> Iterator[Operation]:
    """The ops of a block and of its regions, in order of the text. An op may go once it was given."""
    op = block.first_op
    while op is not None:
        following = op._next_op
        yield op
        for region in op.regions:
            for inner in region.blocks:
                yield from _ops_below(inner)
        op = following


def walk_op(self: Operation, *, reverse: bool = False, region_first: bool = False) -> Iterator[Operation]:
    """`Operation.walk`."""
    if reverse or region_first:
        yield from _walk_op(self, reverse=reverse, region_first=region_first)
        return
    yield self
    for region in self.regions:
        for block in region.blocks:
            yield from _ops_below(block)


def walk_block(self: Block, *, reverse: bool = False, region_first: bool = False) -> Iterator[Operation]:
    """`Block.walk`."""
    if reverse or region_first:
        return iter(_walk_block(self, reverse=reverse, region_first=region_first))
    return _ops_below(self)


def walk_region(self: Region, *, reverse: bool = False, region_first: bool = False) -> Iterator[Operation]:
    """`Region.walk`."""
    if reverse or region_first:
        yield from _walk_region(self, reverse=reverse, region_first=region_first)
        return
    for block in self.blocks:
        yield from _ops_below(block)


def _use_all(op: Operation, operands: Sequence[SSAValue]) -> None:
    """Make `operands` the operands of an op that uses none."""
    op._operands = operands = SSAValues(operands)
    uses: list[Use] = []
    for index, value in enumerate(operands):
        use = Use(op, index)
        first = value.first_use
        if first is not None:
            use._next_use = first
            first._prev_use = use
        value.first_use = use
        uses.append(use)
    op._operand_uses = tuple(uses)


def set_operands(self: Operation, new: Sequence[SSAValue]) -> None:
    """`Operation.operands = new`."""
    new = SSAValues(new)
    for operand, use in zip(self._operands, self._operand_uses, strict=True):
        operand.remove_use(use)
    _use_all(self, new)


def init_op(
    self: Operation,
    *,
    operands: Sequence[SSAValue] = (),
    result_types: Sequence[Attribute] = (),
    properties: Mapping[str, Attribute] = _NONE,
    attributes: Mapping[str, Attribute] = _NONE,
    location: LocationAttr | None = None,
    successors: Sequence[Block] = (),
    regions: Sequence[Region] = (),
) -> None:
    """`Operation.__init__`."""
    _use_all(self, operands)
    self.results = SSAValues([OpResult(t, self, i) for i, t in enumerate(result_types)])
    self.properties = dict(properties)
    self.attributes = dict(attributes)
    self.location = UNKNOWN_LOC if location is None else location
    if successors:
        self.successors = list(successors)
    else:
        self._successors = self._successor_uses = ()
    self.regions = ()
    for region in regions:
        self.add_region(region)
    self.__post_init__()


def append_op(
    block: Block, cls: type[Operation], operands: Sequence[SSAValue], types: Sequence[Attribute], location: LocationAttr
) -> SSAValues[OpResult]:
    """The results of an op of class `cls` without attributes, made at the end of `block`."""
    op = cls.__new__(cls)
    init_op(op, operands=operands, result_types=types, location=location)
    before = block._last_op
    op.parent, op._prev_op, block._last_op = block, before, op
    if before is None:
        block._first_op = op
    else:
        before._next_op = op
    return op.results


@cache
def _defaults(cls: type[IRDLOperation]) -> tuple[list[tuple[str, Attribute]], list[tuple[str, Attribute]]]:
    """Properties and attributes that an op has when nothing else is said."""
    definition = cls.get_irdl_definition()
    properties, attributes = (
        [(n, d.default_value) for n, d in defs if not isinstance(d, OptionalDef) and d.default_value is not None]
        for defs in (definition.properties.items(), definition.attributes.items())
    )
    return properties, attributes


def post_init_op(self: IRDLOperation) -> None:
    """`IRDLOperation.__post_init__`."""
    properties, attributes = _defaults(type(self))
    for name, value in properties:
        self.properties.setdefault(name, value)
    for name, value in attributes:
        self.attributes.setdefault(name, value)
    super(IRDLOperation, self).__post_init__()  # another base of the op may have one, too


@cache
def _is_sequence(cls: type) -> bool:
    return issubclass(cls, Sequence)


def build_arg_list(
    construct: Any, args: Sequence[Any], arg_defs: Sequence[Any], error_prefix: str = ""
) -> tuple[list[Any], list[int]]:
    """`irdl_build_arg_list`, for the usual case that each argument is a single one."""
    if len(args) != len(arg_defs) or any(arg is None or _is_sequence(arg.__class__) for arg in args):
        return _build_arg_list(construct, args, arg_defs, error_prefix)  # pyright: ignore[reportArgumentType]
    return list(args), [1] * len(args)


def build_operand(operand: Any) -> Any:
    """`irdl_build_operations_arg`."""
    cls = operand.__class__
    return operand if cls is OpResult or cls is BlockArgument else _build_operand(operand)


class _Shape:
    """What the constructor of an op class has to know: how many values each argument may be in a list (0: it is none),
    where segments are noted."""

    def __init__(self, definition: OpDef) -> None:
        groups = (definition.operands, definition.results, definition.regions)
        self.operands, self.results, self.regions = ([_most(d) for _, d in g] for g in groups)
        self.plain = not definition.successors
        self.segments: list[tuple[bool, str, int]] = []
        for option in definition.options:
            kind = next((k for k, cls in enumerate(_SEGMENTS) if isinstance(option, cls)), None)
            if kind is not None and isinstance(option, irdl.AttrSizedSegments):
                self.segments.append((option.as_property, option.attribute_name, kind))
            elif not isinstance(option, irdl.ParsePropInAttrDict):
                self.plain = False


def _most(definition: object) -> float:
    if isinstance(definition, OptionalDef):
        return 1
    return inf if isinstance(definition, VariadicDef) else 0


_SEGMENTS = (irdl.AttrSizedOperandSegments, irdl.AttrSizedResultSegments, irdl.AttrSizedRegionSegments)


@cache
def _shape_of(definition: type[IRDLOperation]) -> _Shape:
    return _Shape(definition.get_irdl_definition())


@cache
def _segment_sizes(sizes: tuple[int, ...]) -> DenseArrayBase:
    return DenseArrayBase.from_list(i32, sizes)


def _flat(args: Sequence[Any], most: Sequence[float], kinds: tuple[type, ...]) -> tuple[list[Any], list[int]] | None:
    """The arguments one after the other and how many each stands for; None where that takes a longer look."""
    if len(args) != len(most):
        return None
    found: list[Any] = []
    sizes: list[int] = []
    for arg, limit in zip(args, most, strict=True):
        if isinstance(arg, kinds):
            found.append(arg)
            sizes.append(1)
            continue
        fits = isinstance(arg, list | tuple) and (len(arg) == 1 or (limit and len(arg) <= limit))
        if not fits or not all(isinstance(a, kinds) for a in arg):
            return None
        found += arg
        sizes.append(len(arg))
    return found, sizes


def init_irdl_op(
    self: IRDLOperation,
    op_def: OpDef,
    *,
    operands: Sequence[Any],
    result_types: Sequence[Any],
    properties: Mapping[str, Attribute | None],
    attributes: Mapping[str, Attribute | None],
    successors: Sequence[Any],
    regions: Sequence[Any],
) -> None:
    """`irdl_op_init`, for values, types and regions, and lists of them for what is variadic."""
    shape = _shape_of(type(self))
    parts = [
        _flat(operands, shape.operands, (OpResult, BlockArgument)),
        _flat(result_types, shape.results, (Attribute,)),
        _flat(regions, shape.regions, (Region,)),
    ]
    if not shape.plain or successors or None in parts:
        _init_irdl_op(
            self,
            op_def,
            operands=operands,
            result_types=result_types,
            properties=properties,
            attributes=attributes,
            successors=successors,
            regions=regions,
        )
        return
    values, types, bodies = (part for part in parts if part is not None)
    held = {name: value for name, value in properties.items() if value is not None}
    noted = {name: value for name, value in attributes.items() if value is not None}
    for as_property, name, kind in shape.segments:
        sizes = (values, types, bodies)[kind][1]
        (held if as_property else noted)[name] = _segment_sizes(tuple(sizes))
    init_op(self, operands=values[0], result_types=types[0], properties=held, attributes=noted, regions=bodies[0])


def attach_op(self: Block, operation: Operation) -> None:
    """`Block._attach_op`."""
    if operation.parent is not None or (operation.regions and operation.is_ancestor(self)):
        _attach_op(self, operation)
    operation.parent = self


def op_constructs(op: Operation, construct: irdl.VarIRConstruct) -> Any:
    """`get_op_constructs`, what named operands and results are looked up in."""
    if construct is _OPERAND:
        return op._operands
    return op.results if construct is _RESULT else _op_constructs(op, construct)


@cache
def _parameters(cls: type[ParametrizedAttribute]) -> list[tuple[str, Any]]:
    return [(name, definition.converter) for name, definition in cls.get_irdl_definition().parameters]


def init_attribute(self: ParametrizedAttribute, *parameters: Any) -> None:
    """`ParametrizedAttribute.__init__`."""
    values: Any = self.__dict__
    for (name, converter), value in zip(_parameters(type(self)), parameters, strict=True):
        values[name] = value if converter is None else converter(value)
    self.__post_init__()


def init_memref_type(
    self: MemRefType,
    element_type: Attribute,
    shape: Any,
    layout: Any = _NO_ATTR,
    memory_space: Attribute = _NO_ATTR,
) -> None:
    """`MemRefType.__init__`."""
    if not isinstance(shape, ArrayAttr) or not all(isinstance(dim, IntAttr) for dim in shape.data):
        shape = ArrayAttr([IntAttr(dim) if isinstance(dim, int) else dim for dim in shape])
    super(MemRefType, self).__init__(shape, element_type, layout, memory_space)  # pyright: ignore[reportArgumentType]


def operand_at(self: OpOperands, idx: Any) -> Any:
    """`op.operands[idx]`."""
    values = self._op._operands
    return tuple.__getitem__(values, idx) if idx.__class__ is int else values[idx]


def result_at(self: SSAValues[SSAValue], idx: Any) -> Any:
    """`op.results[idx]`."""
    found = tuple.__getitem__(self, idx)
    return SSAValues(found) if idx.__class__ is slice else found  # pyright: ignore[reportArgumentType]


def get_values(self: DenseArrayBase) -> Any:
    """`DenseArrayBase.get_values`, unpacked once."""
    found = self.__dict__.get("_unpacked")
    if found is None:
        found = _get_values(self)
        object.__setattr__(self, "_unpacked", found)
    return found


REPLACED: tuple[tuple[Any, str, Any], ...] = (
    (Operation, "walk", walk_op),
    (Block, "walk", walk_block),
    (Region, "walk", walk_region),
    (Operation, "__init__", init_op),
    (Operation, "operands", Operation.operands.setter(set_operands)),  # pyright: ignore[reportAttributeAccessIssue]
    (IRDLOperation, "__post_init__", post_init_op),
    (irdl, "irdl_build_arg_list", build_arg_list),
    (irdl, "irdl_build_operations_arg", build_operand),
    (irdl, "irdl_op_init", init_irdl_op),
    (irdl, "get_op_constructs", op_constructs),
    (ParametrizedAttribute, "__init__", init_attribute),
    (MemRefType, "__init__", init_memref_type),
    (Block, "_attach_op", attach_op),
    (OpOperands, "__getitem__", operand_at),
    (SSAValues, "__getitem__", result_at),
    (DenseArrayBase, "get_values", get_values),
)
"""Where, under which name, and what stands there inside `fast_build`."""
