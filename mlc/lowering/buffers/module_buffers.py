"""What the functions of one module share while they are bufferized: globals, copy kernels, specialised kernels.

    call @kernel_3(%view, …)  with %view : memref<8x8xf32, strided<[16, 1], offset: 4>>
        -->  call @kernel_3(%cast, …), @kernel_3's parameter being memref<8x8xf32, strided<[16, 1], offset: ?>>

A kernel is bufferized once for each set of parameter layouts it is called with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from xdsl.dialects import func
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    MemRefType,
    ModuleOp,
    NoneAttr,
    ShapedType,
    StridedLayoutAttr,
    StringAttr,
    TensorType,
    UnitAttr,
)
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.ir.affine import AffineMap

from mlc.dialects.memref.global_op import GlobalOp
from mlc.errors import UnsupportedError
from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location, with_location
from mlc.ir.values import attribute_array
from mlc.lowering.buffers.destination_style import copying_generic
from mlc.lowering.buffers.destinations import Destinations
from mlc.lowering.buffers.extents import Extent


@lru_cache(maxsize=4096)
def buffer_type(t: Attribute) -> MemRefType:
    """The dense memref of a tensor type (a 0-d memref for a scalar)."""
    if isinstance(t, TensorType):
        return MemRefType(t.element_type, t.shape)
    return MemRefType(t, [])


@lru_cache(maxsize=4096)
def parameter_type(t: MemRefType) -> MemRefType:
    """The type a kernel parameter has for an argument of type `t`: dense, or strided with any offset."""
    strides = t.get_strides()
    if isinstance(t.layout, NoneAttr) or strides is None:
        return t
    dense = ShapedType.strides_for_shape(t.get_shape())
    if t.get_offset() == 0 and None not in strides and tuple(strides) == tuple(dense):
        return MemRefType(t.element_type, t.shape)
    return MemRefType(t.element_type, t.shape, StridedLayoutAttr(list(strides), None))


@dataclass
class ExtraArgument:
    """A trailing kernel parameter that callers provide: scratch of `extents`, or the constant `value`."""

    type: MemRefType
    extents: tuple[Extent, ...] = ()
    value: Attribute | None = None


@dataclass
class Specialised:
    """A bufferized kernel. `parameters`: its arguments before bufferization, in terms of which extents speak."""

    symbol: str
    types: tuple[Attribute, ...]
    parameters: tuple[BlockArgument, ...]
    extras: list[ExtraArgument]


@dataclass
class ModuleBuffers:
    """State shared by the functions of `module`. `bufferize_kernel` turns a fresh clone of a kernel into buffers."""

    ctx: MlcContext
    module: ModuleOp
    destinations: Destinations
    bufferize_kernel: Callable[[ModuleBuffers, func.FuncOp, tuple[Attribute, ...]], list[ExtraArgument]]
    _kernels: dict[tuple[str, tuple[Attribute, ...]], Specialised] = field(default_factory=dict)
    _copies: dict[tuple[Attribute, Attribute], str] = field(default_factory=dict)
    _globals: dict[Attribute, str] = field(default_factory=dict)
    _symbols: set[str] = field(default_factory=set)
    _last_global: Operation | None = None

    def __post_init__(self) -> None:
        for op in self.module.body.block.ops:
            name = op.get_attr_or_prop("sym_name")
            if isinstance(name, StringAttr):
                self._symbols.add(name.data)

    def unique_symbol(self, hint: str) -> str:
        """`hint`, or `hint` with the first free number."""
        name, n = hint, 0
        while name in self._symbols:
            name, n = f"{hint}_{n}", n + 1
        self._symbols.add(name)
        return name

    # --- kernels ---

    def specialise(self, call: func.CallOp, types: tuple[Attribute, ...]) -> Specialised:
        """The kernel that `call` calls, bufferized for arguments of `types`."""
        name = call.callee.string_value()
        key = (name, types)
        if key in self._kernels:
            return self._kernels[key]
        original = self.destinations.functions.get(name)
        if original is None or "kernel" not in original.attributes or not original.body.blocks:
            raise UnsupportedError(
                f"call of @{name}, which is no kernel of this module",
                where=format_location(call.location) or None,
                hint="only functions with the attribute `kernel` and a body can be called",
            )
        first = not any(k[0] == name for k in self._kernels)
        clone = original.clone()
        if not first:
            clone.properties["sym_name"] = StringAttr(self.unique_symbol(name))
            self.ctx.remarks.missed(
                "bufferize", call, f"@{name} is compiled once more", reason="its arguments have another layout here"
            )
        self.module.body.block.insert_op_before(clone, original)
        found = Specialised(clone.sym_name.data, types, clone.body.block.args, [])
        self._kernels[key] = found
        found.extras = self.bufferize_kernel(self, clone, types)
        found.types = tuple(clone.function_type.inputs)
        return found

    def copy_kernel(self, source: MemRefType, dest: MemRefType, like: Operation) -> str:
        """A kernel that copies `source` to `dest`."""
        key = (source, dest)
        if key not in self._copies:
            self._copies[key] = self.unique_symbol(f"copy_{len(self._copies)}")
            block = Block(arg_types=key)
            identity = AffineMap.identity(source.get_num_dims())
            block.add_op(copying_generic(block.args[0], block.args[1], identity, identity))
            block.add_op(func.ReturnOp())
            with_location(list(block.ops), like.location)
            kernel = func.FuncOp(self._copies[key], (list(key), []), Region(block), StringAttr("private"))
            kernel.attributes["kernel"] = UnitAttr()
            kernel.location = like.location
            self.module.body.block.add_op(kernel)
        return self._copies[key]

    # --- constants ---

    def global_for(self, value: Attribute, like: Operation) -> str:
        """The global that holds a tensor constant."""
        if value not in self._globals:
            assert isinstance(value, DenseResourceAttr | DenseIntOrFPElementsAttr)
            held = value.type
            assert isinstance(held, TensorType)
            resource = value if isinstance(value, DenseResourceAttr) else self._literal(value, held, like)
            handle = resource.resource_handle.data
            functions = self.destinations.functions
            name = self.unique_symbol(f"{handle}.data" if handle in functions else handle)
            op = GlobalOp.create(
                properties={
                    "sym_name": StringAttr(name),
                    "sym_visibility": StringAttr("private"),
                    "type": buffer_type(held),
                    "initial_value": resource,
                    "constant": UnitAttr(),
                }
            )
            op.location = like.location
            self._insert_global(op)
            self._globals[value] = name
        return self._globals[value]

    def _insert_global(self, op: GlobalOp) -> None:
        block = self.module.body.block
        if self._last_global is not None:
            block.insert_op_after(op, self._last_global)
        elif block.first_op is not None:
            block.insert_op_before(op, block.first_op)
        else:
            block.add_op(op)
        self._last_global = op

    def _literal(self, value: DenseIntOrFPElementsAttr, held: TensorType, like: Operation) -> DenseResourceAttr:
        """A resource with the contents of a literal, and the function that makes it for a cached model."""
        name = self.ctx.resources.unique(self.unique_symbol("const.literal"))
        self.ctx.resources.set(name, attribute_array(value, None))
        constant = ConstantOp(value)
        block = Block([constant, func.ReturnOp(constant.result)])
        maker = func.FuncOp(name, ([], [held]), Region(block), StringAttr("private"))
        maker.attributes["constant"] = UnitAttr()
        for op in maker.walk():
            op.location = like.location
        self.module.body.block.add_op(maker)
        self.destinations.functions[name] = maker
        return DenseResourceAttr.from_params(name, held)


def insert_before(op: Operation, anchor: Operation) -> SSAValue | None:
    """Put `op` before `anchor` with its location; its first result."""
    op.location = anchor.location
    block = anchor.parent_block()
    assert block is not None
    block.insert_op_before(op, anchor)
    return op.results[0] if op.results else None
