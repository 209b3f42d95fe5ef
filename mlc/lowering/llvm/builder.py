"""Builds the body of one llvm.func: the lowered values of the source, and address arithmetic on them.

Loads of one register tile share one base pointer and differ in their displacement only (see `blocks` for where address
arithmetic is placed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    FunctionType,
    IntegerAttr,
    IntegerType,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
    VectorType,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.lowering.llvm.attributes import i32_array
from mlc.lowering.llvm.blocks import BlockBuilder
from mlc.lowering.llvm.linear import ZERO, Linear
from mlc.lowering.llvm.types import PTR, dynamic_sizes, dynamic_strides, element_bytes, layout_strides, parts

_I32_MAX = (1 << 31) - 1
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


@dataclass(frozen=True, slots=True)
class ParallelLoop:
    """Of a function marked `parallel`: the smallest piece of its range, the cycles of an iteration, and whether memory
    takes longer than arithmetic."""

    grain: int
    cost: int
    streams: bool


@dataclass
class ModuleState:
    """What the functions of one module share while they are converted."""

    functions: dict[str, tuple[FunctionType, bool]] = field(default_factory=dict)
    """Signature of each function of the source, and whether it returns a status."""
    consts: dict[str, int] = field(default_factory=dict)
    """Globals held in the weight store: their place in the `consts` array of the entry."""
    weights: list[str] = field(default_factory=list)
    """What the weight store calls them, in the same order."""
    externals: dict[str, llvm.LLVMFunctionType] = field(default_factory=dict)
    """C functions called, in order of first use."""
    calls: dict[Operation, int] = field(default_factory=dict)
    """Number of each `func.call` of the module, from 1 in order of the text: the upper half of a failure code."""
    kernels: set[str] = field(default_factory=set)
    """Functions marked `kernel`: they take a team, last."""
    parallel: dict[str, ParallelLoop] = field(default_factory=dict)
    """Functions marked `parallel`."""
    output_dims: Region | None = None
    """Body of @output_dims, which gives the dynamic sizes of the entry's outputs."""
    converted: Counter[str] = field(default_factory=Counter)
    """How many ops of each name were converted."""


class FunctionBuilder(BlockBuilder):
    """State of one function's conversion."""

    def __init__(self, region: Region, module: ModuleState, *, returns_status: bool) -> None:
        super().__init__(region)
        self.module = module
        self.returns_status = returns_status
        self.messages: list[str] = []
        self.fail_blocks: list[Block] = []
        self.consts: SSAValue | None = None
        self.team: SSAValue | None = None
        self.values: dict[SSAValue, Lowered] = {}
        self.nonneg: set[SSAValue] = set()
        self._entry_ops: list[Operation] = []

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
        return self.pure(llvm.MulOp, (value, self.int_const(factor)), i64, properties={"overflowFlags": _NO_FLAGS})

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
        size = element_bytes(element)
        if isinstance(index, int) and abs(index) <= _I32_MAX:
            return self.pure(
                llvm.GEPOp, (base,), PTR, (index, size, inbounds), _gep_properties(index, element, inbounds)
            )
        operands = (base, self.int_const(index) if isinstance(index, int) else index)
        properties = _gep_properties(llvm.GEP_USE_SSA_VAL, element, inbounds)
        return self.pure(llvm.GEPOp, operands, PTR, (size, inbounds), properties)

    def address(self, ref: MemRefValue, index: Linear, *, outside: bool = False) -> SSAValue:
        """Pointer to the element `index` elements from the start of `ref`; `outside`: it may not be there."""
        form = ref.offset.plus(index)
        element = memory_type(ref.element)
        inbounds = not outside and self.is_nonneg(form)
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


@lru_cache(maxsize=4096)
def _gep_properties(index: int, element: Attribute, inbounds: bool) -> Mapping[str, Attribute]:
    properties: dict[str, Attribute] = {"elem_type": element, "rawConstantIndices": i32_array(index)}
    if inbounds:
        return {**properties, "inbounds": UnitAttr(), "noWrapFlags": _INBOUNDS}
    return {**properties, "noWrapFlags": _NO_FLAGS}


@lru_cache(maxsize=4096)
def memory_type(element: Attribute) -> Attribute:
    """The type a memref element has in memory: a bool is a byte, index is i64."""
    scalar = parts(element)[0]
    if isinstance(scalar, IntegerType) and scalar.width.data != 8 * element_bytes(element):
        return IntegerType(8 * element_bytes(element))
    return scalar
