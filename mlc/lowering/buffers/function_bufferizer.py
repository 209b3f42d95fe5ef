"""One function from tensors to memrefs, walked once in program order.

    %r = linalg.generic ins(%x) outs(%d) …       the memref of %d is written; %r is that memref
                                                 (or a fresh buffer, when `alias_analysis` says %d must stay)

The tensor ops stay in place while the walk goes on, because the analysis asks them about later uses; they are erased at
the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, func, memref, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AffineMapAttr,
    ArrayAttr,
    IndexType,
    IntegerAttr,
    MemRefType,
    TensorType,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineMap

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.dialects.linalg_ext.split_matmul_ops import SplitMatmulOp
from mlc.dialects.linalg_ext.winograd_matmul_ops import WinogradMatmulOp
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.dialects.memref.syntax import CastOp
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.ir.values import byte_size
from mlc.lowering.buffers.alias_analysis import AliasAnalysis
from mlc.lowering.buffers.destination_style import copying_generic
from mlc.lowering.buffers.destinations import indexing_maps, is_elementwise, is_permutation, is_tensor
from mlc.lowering.buffers.extents import Extent, Materializer, dims_of
from mlc.lowering.buffers.module_buffers import ExtraArgument, ModuleBuffers, buffer_type, parameter_type
from mlc.lowering.buffers.views import Root, View, disjoint, same_place, whole

PASS = "bufferize"
ALIGNMENT = 64
STACK_BUFFER = 4096
"""Bytes up to which a temporary of a kernel lies on the stack."""
STACK_TOTAL = 16384
"""Bytes of the stack that one kernel may take for such temporaries."""

Rule = Callable[["FunctionBufferizer", Operation], None]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register how ops of these names are bufferized."""

    def register(fn: Rule) -> Rule:
        for name in names:
            RULES[name] = fn
        return fn

    return register


class FunctionBufferizer:
    """Walks one function. `kernel`: temporaries go on the stack or become scratch arguments."""

    def __init__(self, module: ModuleBuffers, function: func.FuncOp, *, kernel: bool) -> None:
        self.module = module
        self.function = function
        self.kernel = kernel
        self.extras: list[ExtraArgument] = []
        self.memrefs: dict[SSAValue, SSAValue] = {}
        self.analysis = AliasAnalysis(function, module.destinations)
        self.outs: list[SSAValue] = []
        self.erased: list[Operation] = []
        self.erased_args: list[BlockArgument] = []
        self.finishers: list[Callable[[], None]] = []
        self.reserved: dict[Operation, tuple[SSAValue, View]] = {}
        self._replaced: list[tuple[SSAValue, SSAValue]] = []
        self._anchor: Operation | None = None
        self._stack = 0

    # --- arguments ---

    def take_arguments(self, types: Sequence[Attribute], outs: Sequence[SSAValue]) -> None:
        """Replace tensor arguments by memrefs of `types`; `outs` are those that may be written."""
        block = self.function.body.block
        self.outs = list(outs)
        for old, t in zip(list(block.args), types, strict=True):
            if not is_tensor(old):
                continue
            assert isinstance(t, MemRefType)
            new = block.insert_arg(t, old.index)
            new.name_hint = old.name_hint
            root = Root(f"argument %{old.name_hint or old.index}", dims_of(old), old in self.outs)
            self.erased_args.append(old)
            fresh = not self.kernel and old in self.outs  # nobody has given an out-parameter any contents
            self.bind(old, new, whole(root, t.get_strides()), undefined=fresh)

    # --- emission ---

    @property
    def anchor(self) -> Operation:
        """The op being bufferized; new ops go before it."""
        assert self._anchor is not None
        return self._anchor

    def insert(self, op: Operation) -> None:
        """Put `op` before the op at hand, with its location."""
        op.location = self.anchor.location
        block = self.anchor.parent_block()
        assert block is not None
        block.insert_op_before(op, self.anchor)

    def emit(self, op: Operation) -> SSAValue:
        """`insert`, returning the first result."""
        self.insert(op)
        return op.results[0]

    def index(self, extent: Extent) -> SSAValue:
        """An extent as an index value at the op at hand."""
        return Materializer(self.insert, self._dim)(extent)

    def _dim(self, value: SSAValue, dim: int) -> SSAValue:
        constant = self.emit(arith.ConstantOp.from_int_and_width(dim, IndexType()))
        return self.emit(memref.DimOp(self.memrefs[value], constant))

    def bind(self, value: SSAValue, buffer: SSAValue, view: View, *, undefined: bool = False) -> None:
        """`value` lies in `buffer`, which is `view` of its root."""
        self.memrefs[value] = buffer
        if buffer.name_hint is None:
            buffer.name_hint = value.name_hint
        self.analysis.place(value, view, undefined=undefined)

    def type_of(self, value: SSAValue) -> MemRefType:
        """The memref type that a tensor value has become."""
        t = self.memrefs[value].type
        assert isinstance(t, MemRefType)
        return t

    def fail(self, op: Operation, message: str, hint: str | None = None) -> UnsupportedError:
        """The error for an op that cannot be bufferized."""
        return UnsupportedError(message, where=format_location(op.location) or None, hint=hint)

    # --- memory ---

    def allocate(self, tensor_type: Attribute, extents: Sequence[Extent]) -> tuple[SSAValue, View]:
        """A fresh buffer."""
        t = buffer_type(tensor_type)
        root = Root("a temporary", tuple(extents), True)
        return self._memory(t, extents), whole(root, t.get_strides())

    def _memory(self, t: MemRefType, extents: Sequence[Extent]) -> SSAValue:
        shape = t.get_shape()
        if not self.kernel:
            sizes = [self.index(e) for e, d in zip(extents, shape, strict=True) if d == DYNAMIC_INDEX]
            return self.emit(memref.AllocOp(sizes, [], t, IntegerAttr(ALIGNMENT, 64)))
        static = DYNAMIC_INDEX not in shape
        size = byte_size(t)
        for d in shape:
            size *= d
        block = self.function.body.block
        if static and size <= STACK_BUFFER and self._stack + size <= STACK_TOTAL:
            self._stack += size
            op = memref.AllocaOp.get(t.element_type, ALIGNMENT, shape)
            op.location = self.anchor.location
            first = block.first_op
            assert first is not None
            block.insert_op_before(op, first)
            return op.memref
        self.extras.append(ExtraArgument(t, tuple(extents)))
        arg = block.insert_arg(t, len(block.args))
        arg.name_hint = "scratch"
        return arg

    def constant(self, value: Attribute, t: TensorType) -> SSAValue:
        """A buffer that holds a tensor constant."""
        buffer = buffer_type(t)
        if not self.kernel:
            return self.emit(memref.GetGlobalOp(self.module.global_for(value, self.anchor), buffer))
        self.extras.append(ExtraArgument(buffer, value=value))
        block = self.function.body.block
        arg = block.insert_arg(buffer, len(block.args))
        arg.name_hint = "constant"
        return arg

    def copy(self, source: SSAValue, dest: SSAValue) -> None:
        """Emit a copy: a loop nest inside kernels, a call of a copy kernel outside."""
        a, b = source.type, dest.type
        assert isinstance(a, MemRefType) and isinstance(b, MemRefType)
        if 0 in a.get_shape():
            return
        if self.kernel:
            identity = AffineMap.identity(a.get_num_dims())
            op = copying_generic(source, dest, identity, identity)
            self.insert(op)
            for inner in op.body.block.ops:
                inner.location = self.anchor.location
            return
        args = [self.as_parameter(source), self.as_parameter(dest)]
        name = self.module.copy_kernel(args[0].type, args[1].type, self.anchor)  # pyright: ignore[reportArgumentType]
        self.insert(func.CallOp(name, args, []))

    def as_parameter(self, buffer: SSAValue) -> SSAValue:
        """`buffer` cast to the type that kernels take for it."""
        assert isinstance(buffer.type, MemRefType)
        wanted = parameter_type(buffer.type)
        return buffer if wanted == buffer.type else self.emit(CastOp.build(operands=[buffer], result_types=[wanted]))

    def destination(self, op: Operation, index: int) -> tuple[SSAValue, View]:
        """The buffer to write for destination operand `index` of `op`: its own, or a fresh one with its contents."""
        value = op.operands[index]
        view = self.analysis.places[value]
        reason = self.analysis.conflict(op, index, view)
        if reason is None:
            return self.memrefs[value], view
        needs = value not in self.analysis.undefined and self.module.destinations.reads_contents(op, index)
        what = "written to a fresh buffer" + (" with a copy" if needs else "")
        self.module.ctx.remarks.missed(PASS, op, what, reason=reason)
        buffer, fresh = self.allocate(value.type, dims_of(value))
        if needs:
            self.copy(self.memrefs[value], buffer)
        return buffer, fresh

    def move_all(self, moves: Sequence[tuple[SSAValue, View, SSAValue, View]]) -> None:
        """Copy each source to its destination as if at once (sources may lie in other destinations)."""
        pending = [m for m in moves if not same_place(m[1], m[3])]
        ready: list[tuple[SSAValue, SSAValue]] = []
        for source, view, dest, _ in pending:
            if any(not disjoint(view, m[3]) for m in pending):
                t = source.type
                assert isinstance(t, MemRefType)
                held, _ = self.allocate(TensorType(t.element_type, t.shape), view.shape)
                self.copy(source, held)
                source = held
            ready.append((source, dest))
        for source, dest in ready:
            self.copy(source, dest)

    # --- the walk ---

    def run(self) -> None:
        """Bufferize the body; `take_arguments` has been called."""
        self.block(self.function.body.block)
        for finish in self.finishers:
            finish()
        for old, new in self._replaced:
            old.replace_all_uses_with(new)
        for op in reversed(self.erased):
            op.detach()
            op.erase(safe_erase=False)
        for arg in reversed(self.erased_args):
            arg.block.erase_arg(arg)

    def block(self, block: Block) -> None:
        """Bufferize the ops of a block in order."""
        for op in list(block.ops):
            self._anchor = op
            tensors = any(is_tensor(v) for v in (*op.operands, *op.results))
            known = RULES.get(op.name)
            if known is None and isinstance(op, LinalgStructuredOperation):
                known = structured
            if known is not None and (tensors or op.regions or isinstance(op, func.ReturnOp)):
                self.module.ctx.remarks.count(PASS, op.name if op.name in RULES else "structured")
                known(self, op)
            elif tensors:
                raise self.fail(op, f"op '{op.name}' has no form on buffers")
            elif op.regions:
                raise self.fail(op, f"op '{op.name}' with regions has no form on buffers")

    def replace(self, old: SSAValue, new: SSAValue) -> None:
        """Scalar `new` takes the place of `old`, at the end: extents speak of `old` until then."""
        new.name_hint = old.name_hint
        self._replaced.append((old, new))

    def drop(self, op: Operation) -> None:
        """`op` has been replaced; erase it at the end."""
        self.erased.append(op)


@rule("tensor.empty")
def _empty(b: FunctionBufferizer, op: Operation) -> None:
    value = op.results[0]
    buffer, view = b.reserved.get(op) or b.allocate(value.type, dims_of(value))
    b.bind(value, buffer, view, undefined=True)
    b.drop(op)


@rule("arith.constant")
def _constant(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, arith.ConstantOp) and isinstance(op.result.type, TensorType)
    buffer = b.constant(op.value, op.result.type)
    t = buffer_type(op.result.type)
    b.bind(op.result, buffer, whole(Root("a constant", t.get_shape(), False), t.get_strides()))
    b.drop(op)


@rule("tensor.dim")
def _dim(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.DimOp)
    b.replace(op.result, b.emit(memref.DimOp(b.memrefs[op.source], op.index)))
    b.drop(op)


@rule("tensor.extract")
def _extract(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.ExtractOp)
    b.replace(op.result, b.emit(memref.LoadOp.get(b.memrefs[op.tensor], op.indices)))
    b.drop(op)


@rule("tensor.insert")
def _insert(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.InsertOp)
    buffer, view = b.destination(op, 1)
    b.insert(memref.StoreOp.get(op.scalar, buffer, op.indices))
    b.bind(op.result, buffer, view)
    b.drop(op)


def structured(b: FunctionBufferizer, op: Operation) -> None:
    """A linalg op: the same op on buffers, its input dropped where it is the buffer that is written."""
    indices = b.module.destinations.indices(op)
    targets = [b.destination(op, i) for i in indices]
    operands = [b.memrefs.get(v, v) for v in op.operands]
    for i, (buffer, _) in zip(indices, targets, strict=True):
        operands[i] = buffer
    inputs = {i: b.analysis.places[v] for i, v in enumerate(op.operands) if v in b.analysis.places and i not in indices}
    b.module.destinations.remember(op)
    new = op.create(
        operands=operands,
        properties=dict(op.properties),
        attributes=dict(op.attributes),
        regions=[op.detach_region(r) for r in list(op.regions)],
    )
    b.insert(new)
    _reads_inside(b, new)
    if isinstance(new, linalg.GenericOp) and is_elementwise(new):
        _drop_written_inputs(new, inputs, [(i, view) for i, (_, view) in zip(indices, targets, strict=True)])
    for result, (buffer, view) in zip(op.results, targets, strict=True):
        b.bind(result, buffer, view)
    b.drop(op)


def _reads_inside(b: FunctionBufferizer, op: Operation) -> None:
    """Tensors that a body reads by index or asks for a size (to the analysis: reads after the op's writes)."""
    for region in op.regions:
        for inner in list(region.walk()):
            match inner:
                case tensor.ExtractOp():
                    new: Operation = memref.LoadOp.get(b.memrefs[inner.tensor], inner.indices)
                case tensor.DimOp():
                    new = memref.DimOp(b.memrefs[inner.source], inner.index)
                case _:
                    continue
            new.location = inner.location
            block = inner.parent_block()
            assert block is not None
            block.insert_op_before(new, inner)
            b.replace(inner.results[0], new.results[0])
            b.drop(inner)


def _drop_written_inputs(op: linalg.GenericOp, inputs: dict[int, View], outs: list[tuple[int, View]]) -> None:
    maps = indexing_maps(op)
    assert maps is not None
    gone: list[int] = []
    for i, view in inputs.items():
        for j, target in outs:
            if same_place(view, target) and maps[i] == maps[j] and is_permutation(maps[j]):
                args = op.body.block.args
                args[i].replace_all_uses_with(args[j])
                gone.append(i)
                break
    if not gone:
        return
    kept = [i for i in range(len(op.operands)) if i not in gone]
    count = len(op.inputs)
    values = list(op.operands)
    for i in reversed(gone):
        op.body.block.erase_arg(op.body.block.args[i])
    slim = linalg.GenericOp(
        [values[i] for i in kept if i < count],
        values[count:],
        op.detach_region(op.body),
        ArrayAttr([AffineMapAttr(maps[i]) for i in kept]),
        op.iterator_types,
    )
    slim.attributes.update(op.attributes)
    slim.location = op.location
    block = op.parent_block()
    assert block is not None
    block.insert_op_after(slim, op)
    op.detach()
    op.erase()


_STRUCTURED = (WinogradConv2DOp.name, WinogradMatmulOp.name, SplitMatmulOp.name, AttentionOp.name)
for _name in ("linalg.softmax", "linalg.broadcast", "linalg.reduce", *_STRUCTURED):
    RULES[_name] = structured
