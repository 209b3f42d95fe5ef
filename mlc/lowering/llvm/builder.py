"""Builds the body of one llvm.func: values, constants, blocks, and address arithmetic placed where it is invariant.

Scopes mirror the loop nest. Address arithmetic goes to the outermost scope in which its operands exist, in front of
that scope's `anchor` (the branch into the nested region being built), and each scope remembers what it computed:
loads of one register tile share one base pointer and differ in their displacement only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    FunctionType,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
    VectorType,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.lowering.llvm.linear import ZERO, Linear
from mlc.lowering.llvm.types import PTR, dynamic_sizes, dynamic_strides, element_bytes, layout_strides, parts

_I32_MAX = (1 << 31) - 1
_DYNAMIC_GEP = DenseArrayBase.from_list(i32, [llvm.GEP_USE_SSA_VAL])
_NO_FLAGS = IntegerAttr(0, 32)
_INBOUNDS = IntegerAttr(3, 32)


@dataclass(frozen=True, slots=True)
class MemRefValue:
    """A lowered memref: where element [0, …] lies (pointer plus element offset), sizes and strides."""

    base: SSAValue
    offset: Linear
    sizes: tuple[Linear, ...]
    strides: tuple[Linear, ...]
    element: Attribute


Lowered = SSAValue | Linear | MemRefValue | tuple[SSAValue, ...]


@dataclass
class ModuleState:
    """What the functions of one module share while they are converted."""

    functions: dict[str, tuple[FunctionType, bool]] = field(default_factory=dict)
    """Signature of each function of the source, and whether it returns a status."""
    consts: dict[str, int] = field(default_factory=dict)
    """Globals held in the weight store: their place in the `consts` array of the entry."""
    externals: dict[str, llvm.LLVMFunctionType] = field(default_factory=dict)
    """C functions called, in order of first use."""
    calls: dict[Operation, int] = field(default_factory=dict)
    """Number of each `func.call` of the module, from 1 in order of the text: the upper half of a failure code."""
    output_dims: Region | None = None
    """Body of @output_dims, which gives the dynamic sizes of the entry's outputs."""


@dataclass(slots=True)
class Scope:
    """One level of the region nest: where its code currently ends and what address code it holds."""

    block: Block
    anchor: Operation | None = None
    cache: dict[tuple[object, ...], SSAValue] = field(default_factory=dict)


class FunctionBuilder:
    """State of one function's conversion."""

    def __init__(self, region: Region, module: ModuleState, *, returns_status: bool) -> None:
        self.region = region
        self.module = module
        self.returns_status = returns_status
        self.messages: list[str] = []
        self.fail_blocks: list[Block] = []
        self.consts: SSAValue | None = None
        self.scopes: list[Scope] = []
        self.values: dict[SSAValue, Lowered] = {}
        self.depth: dict[SSAValue, int] = {}
        self.nonneg: set[SSAValue] = set()
        self.loc: LocationAttr | None = None
        self._constants: dict[tuple[Attribute, Attribute], SSAValue] = {}
        self._constant_ops: list[Operation] = []
        self._entry_ops: list[Operation] = []
        self._ints: dict[tuple[int, int], SSAValue] = {}
        self._raw: dict[int, DenseArrayBase] = {}

    # Blocks and scopes

    def new_block(self, arg_types: Sequence[Attribute] = ()) -> Block:
        """A block at the end of the function; its arguments belong to the scope pushed next."""
        block = Block(arg_types=arg_types)
        self.region.add_block(block)
        return block

    @property
    def here(self) -> Scope:
        """The innermost scope."""
        return self.scopes[-1]

    def push(self, block: Block) -> None:
        """Enter a nested region that starts with `block`; the enclosing scope must have its branch emitted."""
        if self.scopes:
            self.here.anchor = self.here.block.last_op
        self.scopes.append(Scope(block))
        self.own(*block.args)

    def pop(self, continue_at: Block) -> None:
        """Leave the nested region; the enclosing scope goes on in `continue_at`."""
        self.scopes.pop()
        self.continue_at(continue_at)

    def continue_at(self, block: Block) -> None:
        """The innermost scope goes on in `block` (dominated by all it has computed)."""
        self.here.block = block
        self.here.anchor = None
        self.own(*block.args)

    def own(self, *values: SSAValue) -> None:
        """`values` exist from the innermost scope on."""
        for v in values:
            self.depth[v] = len(self.scopes) - 1

    # Operations

    def add(self, op: Operation) -> None:
        """Append an op without results of interest, or a terminator."""
        self.here.block.add_op(op)

    def emit(
        self,
        cls: type[Operation],
        operands: Sequence[SSAValue],
        result: Attribute,
        properties: Mapping[str, Attribute] | None = None,
    ) -> SSAValue:
        """Append a one-result op at the current place."""
        op = cls.create(
            operands=operands, result_types=(result,), properties=properties or {}, location=self.loc
        )
        scope = self.scopes[-1]
        scope.block.add_op(op)
        value = op.results[0]
        self.depth[value] = len(self.scopes) - 1
        return value

    def effect(
        self, cls: type[Operation], operands: Sequence[SSAValue], properties: Mapping[str, Attribute] | None = None
    ) -> None:
        """Append an op without results."""
        self.here.block.add_op(cls.create(operands=operands, properties=properties or {}, location=self.loc))

    def branch(self, target: Block, args: Sequence[SSAValue] = ()) -> None:
        """End the current block with a jump."""
        self.add(llvm.BrOp.create(operands=args, successors=(target,), location=self.loc))

    def cond_branch(
        self,
        cond: SSAValue,
        then: Block,
        then_args: Sequence[SSAValue],
        other: Block,
        other_args: Sequence[SSAValue],
    ) -> None:
        """End the current block with a conditional jump."""
        op = llvm.CondBrOp.build(
            operands=(cond, list(then_args), list(other_args)), successors=(then, other)
        )
        if self.loc is not None:
            op.location = self.loc
        self.add(op)

    def _hoisted(self, depth: int, key: tuple[object, ...], make: Operation) -> SSAValue:
        scope = self.scopes[depth]
        if depth == len(self.scopes) - 1 or scope.anchor is None:
            scope.block.add_op(make)
        else:
            scope.block.insert_op_before(make, scope.anchor)
        value = make.results[0]
        self.depth[value] = depth
        scope.cache[key] = value
        return value

    def pure(
        self, cls: type[Operation], operands: Sequence[SSAValue], result: Attribute, key: object = None,
        properties: Mapping[str, Attribute] | None = None,
    ) -> SSAValue:  # fmt: skip
        """A speculatable integer or pointer op, shared and placed in the outermost scope that has its operands."""
        depth = max((self.depth[v] for v in operands), default=0)
        full_key = (cls, *operands, key)
        found = self.scopes[depth].cache.get(full_key)
        if found is not None:
            return found
        op = cls.create(operands=operands, result_types=(result,), properties=properties or {}, location=self.loc)
        return self._hoisted(depth, full_key, op)

    # Constants

    def constant(self, value: Attribute, ty: Attribute) -> SSAValue:
        """A constant, once per function, at the top of the entry block."""
        key = (value, ty)
        found = self._constants.get(key)
        if found is None:
            op = llvm.ConstantOp.create(result_types=(ty,), properties={"value": value}, location=self.loc)
            self._constant_ops.append(op)
            found = self._constants[key] = op.results[0]
            self.depth[found] = 0
        return found

    def int_const(self, value: int, width: int = 64) -> SSAValue:
        """An integer constant; wraps to `width`."""
        key = (value, width)
        found = self._ints.get(key)
        if found is None:
            half = 1 << (width - 1)
            wrapped = ((value + half) % (1 << width)) - half
            if width == 1:
                wrapped = value & 1
            ty = IntegerType(width)
            found = self._ints[key] = self.constant(IntegerAttr(wrapped, ty), ty)
        return found

    def splat(self, value: float | int, ty: Attribute) -> SSAValue:
        """`value` in each element of a scalar or 1-D vector type."""
        element = ty.element_type if isinstance(ty, VectorType) else ty
        scalar: Attribute
        if isinstance(element, IntegerType):
            if not isinstance(ty, VectorType):
                return self.int_const(int(value), element.width.data)
            half = 1 << (element.width.data - 1)
            wrapped = int(value) & 1 if half == 1 else ((int(value) + half) % (2 * half)) - half
            return self.constant(DenseIntOrFPElementsAttr.from_list(ty, [wrapped]), ty)  # pyright: ignore[reportArgumentType, reportCallIssue]
        if isinstance(ty, VectorType):
            return self.constant(DenseIntOrFPElementsAttr.from_list(ty, [float(value)]), ty)  # pyright: ignore[reportArgumentType, reportCallIssue]
        scalar = FloatAttr(float(value), element)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return self.constant(scalar, ty)

    def zero(self, ty: Attribute) -> SSAValue:
        """The all-zero value of a scalar or vector type."""
        return self.splat(0, ty)

    def finish(self) -> None:
        """Put constants and static stack buffers at the top of the entry block and failure exits at the end."""
        for block in self.fail_blocks:
            self.region.add_block(block)
        first = self.region.blocks[0].first_op
        assert first is not None
        self.region.blocks[0].insert_ops_before([*self._constant_ops, *self._entry_ops], first)

    # Calls, stack, globals, failures

    def call(
        self, symbol: str, args: Sequence[SSAValue], arg_types: Sequence[Attribute], result: Attribute | None
    ) -> SSAValue:
        """Call a C function, declared on first use; without a result the callee itself is of no interest."""
        self.module.externals.setdefault(symbol, llvm.LLVMFunctionType(arg_types, result))
        op = llvm.CallOp(symbol, *args, return_type=result)
        if self.loc is not None:
            op.location = self.loc
        self.add(op)
        self.own(*op.results)
        return op.results[0] if result is not None else args[0]

    def entry_alloca(self, count: Linear, properties: Mapping[str, Attribute]) -> SSAValue:
        """A stack buffer of constant size, allocated once on entry."""
        op = llvm.AllocaOp.create(
            operands=(self.int_const(count.const),), result_types=(PTR,), properties=properties, location=self.loc
        )
        self._entry_ops.append(op)
        self.depth[op.results[0]] = 0
        return op.results[0]

    def global_pointer(self, name: str) -> SSAValue:
        """Address of a global: a slot of the consts array for one in the weight store, a symbol otherwise."""
        slot = self.module.consts.get(name)
        if slot is None:
            symbol = SymbolRefAttr(name)
            return self.pure(llvm.AddressOfOp, (), PTR, name, {"global_name": symbol})
        if self.consts is None:
            raise UnsupportedError(f"global '{name}' lives in the weight store: only the entry function can read it")
        address = self._gep(self.consts, slot, PTR, True) if slot else self.consts
        properties = {"ordering": IntegerAttr(0, i64), "alignment": IntegerAttr(8, i64)}
        return self.pure(llvm.LoadOp, (address,), PTR, "const", properties)

    def assertion_number(self, op: Operation) -> int:
        """Number of a `cf.assert` within its function: equal messages share one, counted from 1."""
        if not self.returns_status:
            raise UnsupportedError("cf.assert in a function that returns a value")
        message = op.properties.get("msg")
        text = message.data if isinstance(message, StringAttr) else "assertion failed"
        if text not in self.messages:
            self.messages.append(text)
        return self.messages.index(text) + 1

    # Values

    def lowered(self, value: SSAValue) -> Lowered:
        """What `value` of the source became."""
        try:
            return self.values[value]
        except KeyError:
            owner = value.owner
            name = owner.name if isinstance(owner, Operation) else "a block argument"
            where = format_location(owner.location) if isinstance(owner, Operation) else ""
            raise UnsupportedError(f"value of {name} is used before it is defined", where=where or None) from None

    def value(self, value: SSAValue) -> SSAValue:
        """A scalar or 1-D vector as one llvm value."""
        low = self.lowered(value)
        if isinstance(low, Linear):
            return self.materialize(low)
        if isinstance(low, tuple):
            if len(low) == 1:
                return low[0]
            raise UnsupportedError(f"a multi-dimensional vector {value.type} is used as a single register")
        if isinstance(low, MemRefValue):
            raise UnsupportedError("a memref is used as a scalar")
        return low

    def parts(self, value: SSAValue) -> tuple[SSAValue, ...]:
        """A scalar or vector as its 1-D parts."""
        low = self.lowered(value)
        return low if isinstance(low, tuple) else (self.value(value),)

    def linear(self, value: SSAValue) -> Linear:
        """An index as a linear form."""
        low = self.lowered(value)
        if isinstance(low, Linear):
            return low
        return Linear(0, {self.value(value): 1})

    def memref(self, value: SSAValue) -> MemRefValue:
        """A memref's parts."""
        low = self.lowered(value)
        assert isinstance(low, MemRefValue), f"{value.type} is not a memref"
        return low

    def flatten(self, value: SSAValue) -> list[SSAValue]:
        """`value` as calling-convention parts, in the order of `types.parts`."""
        low = self.lowered(value)
        if isinstance(low, MemRefValue):
            ty = value.type
            assert isinstance(ty, MemRefType)
            out = [self.address(low, ZERO)]
            out += [self.materialize(low.sizes[i]) for i in dynamic_sizes(ty)]
            out += [self.materialize(low.strides[i]) for i in dynamic_strides(ty)]
            return out
        return list(self.parts(value))

    def unflatten(self, ty: Attribute, args: Sequence[SSAValue]) -> Lowered:
        """The inverse of `flatten` for a value of type `ty`."""
        if isinstance(ty, MemRefType):
            rest = list(args[1:])
            sizes = [Linear(s) for s in ty.get_shape()]
            for i in dynamic_sizes(ty):
                size = rest.pop(0)
                self.nonneg.add(size)
                sizes[i] = Linear(0, {size: 1})
            strides = self.row_major(sizes)
            carried = {i: rest.pop(0) for i in dynamic_strides(ty)}
            for i, stride in enumerate(layout_strides(ty)):
                if i in carried:
                    strides[i] = Linear(0, {carried[i]: 1})
                elif stride is not None:
                    strides[i] = Linear(stride)
            return MemRefValue(args[0], ZERO, tuple(sizes), tuple(strides), ty.element_type)
        if isinstance(ty, VectorType):
            return tuple(args) if len(args) > 1 else args[0]
        return args[0]

    def bind(self, source: Sequence[SSAValue], args: Sequence[SSAValue]) -> None:
        """Give each source value its share of the flattened `args`."""
        at = 0
        for value in source:
            n = len(parts(value.type))
            self.values[value] = self.unflatten(value.type, args[at : at + n])
            at += n

    def row_major(self, sizes: Sequence[Linear]) -> list[Linear]:
        """Strides of a dense layout with `sizes`."""
        out: list[Linear] = []
        stride = Linear(1)
        for size in reversed(sizes):
            out.append(stride)
            stride = self.product(stride, size)
        return out[::-1]

    # Index arithmetic

    def is_nonneg(self, form: Linear) -> bool:
        """Whether no partial sum of the form can be negative."""
        return form.const >= 0 and all(c > 0 and v in self.nonneg for v, c in form.terms.items())

    def product(self, a: Linear, b: Linear) -> Linear:
        """Product of two forms; only a product of two unknowns needs a multiplication."""
        if not a.terms:
            return b.times(a.const)
        if not b.terms:
            return a.times(b.const)
        total = Linear(a.const * b.const)
        for v, c in a.terms.items():
            total = total.plus(Linear(0, {v: c * b.const}) if b.const else ZERO)
        for v, c in b.terms.items():
            total = total.plus(Linear(0, {v: c * a.const}) if a.const else ZERO)
        for v, c in a.terms.items():
            for w, d in b.terms.items():
                product = self.pure(llvm.MulOp, (v, w), i64, properties={"overflowFlags": _NO_FLAGS})
                if v in self.nonneg and w in self.nonneg:
                    self.nonneg.add(product)
                total = total.plus(Linear(0, {product: c * d}))
        return total

    def _scaled(self, value: SSAValue, factor: int) -> SSAValue:
        if factor == 1:
            return value
        return self.pure(
            llvm.MulOp, (value, self.int_const(factor)), i64, properties={"overflowFlags": _NO_FLAGS}
        )

    def _sum(self, terms: Sequence[tuple[SSAValue, int]]) -> SSAValue:
        total: SSAValue | None = None
        for value, factor in terms:
            scaled = self._scaled(value, factor)
            if total is None:
                total = scaled
            else:
                total = self.pure(llvm.AddOp, (total, scaled), i64, properties={"overflowFlags": _NO_FLAGS})
        assert total is not None
        return total

    def by_depth(self, form: Linear) -> list[tuple[int, list[tuple[SSAValue, int]]]]:
        """The form's terms grouped by the scope of their values, outermost first."""
        groups: dict[int, list[tuple[SSAValue, int]]] = {}
        for value, factor in form.terms.items():
            groups.setdefault(self.depth[value], []).append((value, factor))
        return sorted(groups.items())

    def materialize(self, form: Linear) -> SSAValue:
        """The form as one i64 value."""
        if not form.terms:
            return self.int_const(form.const)
        nonneg = self.is_nonneg(form)
        total = self._sum([term for _, terms in self.by_depth(form) for term in terms])
        if form.const:
            total = self.pure(
                llvm.AddOp, (total, self.int_const(form.const)), i64, properties={"overflowFlags": _NO_FLAGS}
            )
        if nonneg:
            self.nonneg.add(total)
        return total

    # Addresses

    def _gep(self, base: SSAValue, index: SSAValue | int, element: Attribute, inbounds: bool) -> SSAValue:
        operands: tuple[SSAValue, ...]
        if isinstance(index, int) and abs(index) <= _I32_MAX:
            operands = (base,)
            raw = self._raw.get(index)
            if raw is None:
                raw = self._raw[index] = DenseArrayBase.from_list(i32, [index])
        else:
            operands = (base, self.int_const(index) if isinstance(index, int) else index)
            raw = _DYNAMIC_GEP
        props: dict[str, Attribute] = {"elem_type": element, "rawConstantIndices": raw, "noWrapFlags": _NO_FLAGS}
        if inbounds:
            props["inbounds"] = UnitAttr()
            props["noWrapFlags"] = _INBOUNDS
        key = (raw.data, element_bytes(element), inbounds) if len(operands) == 1 else (element_bytes(element), inbounds)
        return self.pure(llvm.GEPOp, operands, PTR, key, props)

    def address(self, ref: MemRefValue, index: Linear) -> SSAValue:
        """Pointer to the element `index` elements from the start of `ref`."""
        form = ref.offset.plus(index)
        element = memory_type(ref.element)
        inbounds = self.is_nonneg(form)
        pointer = ref.base
        for _, terms in self.by_depth(form):
            pointer = self._gep(pointer, self._sum(terms), element, inbounds)
        if form.const:
            pointer = self._gep(pointer, form.const, element, inbounds)
        return pointer

    def element_index(self, ref: MemRefValue, indices: Sequence[SSAValue]) -> Linear:
        """Element offset of `ref[indices]` from its start."""
        total = ZERO
        for index, stride in zip(indices, ref.strides, strict=True):
            total = total.plus(self.product(self.linear(index), stride))
        return total


def memory_type(element: Attribute) -> Attribute:
    """The type a memref element has in memory: a bool is a byte, index is i64."""
    scalar = parts(element)[0]
    if isinstance(scalar, IntegerType) and scalar.width.data != 8 * element_bytes(element):
        return IntegerType(8 * element_bytes(element))
    return scalar
