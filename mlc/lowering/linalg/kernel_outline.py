"""Move a group of ops into a kernel function in destination-passing style, or reuse an equal one.

    %0 = linalg.fill ins(%z) outs(%e)                     func.func private @matmul(%a, %b, %bias, %out) {kernel} {
    %1 = linalg.generic #matmul ins(%a, %b) outs(%0)        %0 = linalg.fill ins(%z) outs(%out)
    %2 = linalg.generic #bias ins(%1, %bias) outs(%e2) -->  %1 = linalg.generic #matmul ins(%a, %b) outs(%0)
                                                            %2 = linalg.generic #bias ins(%bias) outs(%1)
                                                            return %2 }
                                                          %2 = func.call @matmul(%a, %b, %bias, %e2)

Every result of the kernel is written into its own trailing argument. Where an elementwise op reads a value of the
result's type for the last time, it overwrites it: the chain fill, root, epilogue uses one buffer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, func, scf, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, LocationAttr, ModuleOp, StringAttr, TensorType, UnitAttr
from xdsl.dialects.linalg.ops import FillOp, GenericOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, OpResult, Region, SSAValue

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.ir.locations import fuse_locations
from mlc.ir.structural_key import Numbering, sequence_key
from mlc.lowering.linalg.kernel_names import kernel_name
from mlc.lowering.linalg.structure import (
    identity_map,
    inputs_of,
    is_elementwise,
    is_identity,
    is_tensor,
    iterators,
    maps_of,
    reads_output,
    shape_of,
    starts_loop,
)

_ONTO = (GenericOp, PreparedMatmulOp)  # ops that go on with what their destinations hold
_OVER = (WinogradConv2DOp, AttentionOp)  # ops that do not look at what their destinations hold
_CLONED = ("arith.", "math.", "tensor.dim", "tensor.extract", "tensor.empty")


@dataclass(frozen=True)
class Kernel:
    """A kernel function; `kept` are the positions of the free values that it takes as arguments."""

    function: func.FuncOp
    kept: tuple[int, ...]


class KernelTable:
    """Kernel functions made so far, by structure, with unique names."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module
        self.by_key: dict[Hashable, Kernel] = {}
        self.taken = {op.sym_name.data for op in module.ops if isinstance(op, func.FuncOp)}
        self.reused = 0

    def unique(self, name: str) -> str:
        n = 0
        while f"{name}_{n}" in self.taken:
            n += 1
        self.taken.add(f"{name}_{n}")
        return f"{name}_{n}"


class Outline:
    """One group on its way into a kernel: what it needs from outside and what it returns.

    `given[v]`: the tensor that is passed as the destination of output `v`; only the op that makes `v` may read it.
    """

    def __init__(
        self,
        members: Sequence[Operation],
        outputs: Sequence[OpResult],
        given: Mapping[SSAValue, SSAValue] | None = None,
    ) -> None:
        self.members = list(members)
        self.outputs = list(outputs)
        self.given = {v: given[v] for v in outputs if v in given} if given else {}
        self.helpers = _helpers(self.members)
        numbering = Numbering()
        body = sequence_key([*self.helpers, *self.members], numbering)
        self.key = (body, tuple((numbering.ids[v], v in self.given) for v in self.outputs))
        self.free = [v for v in numbering.free if is_tensor(v)] + [v for v in numbering.free if not is_tensor(v)]
        self.location = fuse_locations(op.location for op in self.members)

    def kernel(self, table: KernelTable) -> Kernel:
        """The kernel: an equal one made before, or a new one that the members are moved into."""
        known = table.by_key.get(self.key)
        if known is None:
            known = table.by_key[self.key] = self._build(table)
        else:
            table.reused += 1
            for op in reversed(self.members):
                op.detach()
                op.erase(safe_erase=False)
        return known

    def _build(self, table: KernelTable) -> Kernel:
        name = table.unique(kernel_name(self.members))
        out_types = [v.type for v in self.outputs]
        block = Block(arg_types=[*(v.type for v in self.free), *out_types])
        args, outs = list(block.args[: len(self.free)]), list(block.args[len(self.free) :])
        for arg, value in zip(block.args, [*self.free, *self.outputs], strict=True):
            arg.name_hint = value.name_hint
        values: dict[SSAValue, SSAValue] = dict(zip(self.free, args, strict=True))
        values.update((self.given[v], arg) for v, arg in zip(self.outputs, outs, strict=True) if v in self.given)
        plan = _Destinations(self.members, self.outputs, outs)
        for op in self.helpers:
            copy = op.clone(values)
            values.update(zip(op.results, copy.results, strict=True))
            plan.redirect_fill(op, copy)
            block.add_op(copy)
        for op in self.members:
            op.detach()
            _remap(op, values)
            block.add_ops(plan.rewrite(op, values))
        returned: list[SSAValue] = []
        for value, arg in zip(self.outputs, outs, strict=True):
            inner = values.get(value, value)
            if value not in plan.target:
                copy = identity_copy(inner, arg, self.location)
                block.add_op(copy)
                inner = copy.results[0]
            returned.append(inner)
        final = func.ReturnOp(*returned)
        final.location = self.location
        block.add_op(final)
        _drop_dead_helpers(block)
        kept = tuple(i for i, arg in enumerate(args) if arg.uses)
        for arg in args:
            if not arg.uses:
                block.erase_arg(arg)
        types = [a.type for a in block.args]
        function = func.FuncOp(name, (types, out_types), Region(block), StringAttr("private"))
        function.attributes["kernel"] = UnitAttr()
        function.location = self.location
        table.module.body.block.add_op(function)
        return Kernel(function, kept)


def _helpers(members: Sequence[Operation]) -> list[Operation]:
    """Scalar arithmetic, sizes, empties and initial fills that the members need, operands first; they are copied."""
    inside = set(members)
    order: dict[Operation, None] = {}

    def visit(value: SSAValue, user: Operation) -> None:
        if not isinstance(value, OpResult) or value.op in inside or value.op in order:
            return
        op = value.op
        if isinstance(op, FillOp):
            onto = isinstance(user, _ONTO) and value in user.outputs and value not in user.inputs
            if not onto and not starts_loop(value, user):
                return
        elif not op.name.startswith(_CLONED) or (is_tensor(value) and not isinstance(op, tensor.EmptyOp)):
            return
        for v in op.operands:
            visit(v, op)
        order[op] = None

    for member in members:
        for v in inputs_of(member):
            visit(v, member)
    return list(order)


class _Destinations:
    """Where each member writes: a destination argument, in place over a dead value, or a temporary."""

    def __init__(self, members: Sequence[Operation], outputs: Sequence[OpResult], args: Sequence[SSAValue]) -> None:
        self.position = {op: i for i, op in enumerate(members)}
        # value -> the argument its storage is
        self.target: dict[SSAValue, SSAValue] = {}
        # op -> the input it overwrites
        self.in_place: dict[Operation, SSAValue] = {}
        for value, arg in zip(outputs, args, strict=True):
            self._follow(value, arg)

    def _follow(self, value: SSAValue, arg: SSAValue) -> None:
        """Give `value` and the values it can overwrite the storage `arg`."""
        while isinstance(value, OpResult) and value not in self.target:
            op = value.op
            if isinstance(op, (*_OVER, scf.ForOp)):
                self.target[value] = arg
            if isinstance(op, scf.ForOp):
                init = op.iter_args[value.index]
                if isinstance(init, OpResult) and isinstance(init.op, FillOp) and init.has_one_use():
                    self.target[init] = arg
            if not isinstance(op, (*_ONTO, FillOp)):
                return
            self.target[value] = arg
            if op not in self.position:
                return
            init = op.outputs[value.index]
            if isinstance(init, OpResult) and (isinstance(init.op, FillOp) or init.op in self.position):
                if not init.has_one_use():
                    return
                value = init
                continue
            found = self._overwritten(op) if isinstance(op, GenericOp) else None
            if found is None:
                return
            self.in_place[op] = found
            value = found

    def _overwritten(self, op: GenericOp) -> SSAValue | None:
        """An input of `op` that its result may overwrite: read in order, for the last time."""
        if len(op.results) != 1 or reads_output(op) or not is_elementwise(op):
            return None
        for value, map_ in zip(op.inputs, maps_of(op), strict=False):
            if not isinstance(value, OpResult) or value.op not in self.position or value in self.target:
                continue
            if value.type != op.results[0].type or not is_identity(map_) or list(op.operands).count(value) != 1:
                continue
            if isinstance(value.op, (*_ONTO, *_OVER, scf.ForOp)) and all(
                self.position.get(use.operation, len(self.position)) <= self.position[op] for use in value.uses
            ):
                return value
        return None

    def redirect_fill(self, op: Operation, copy: Operation) -> None:
        """`copy` of a fill writes to the argument that `op`'s result is to live in."""
        if isinstance(op, FillOp) and op.res[0] in self.target:
            copy.operands[1] = self.target[op.res[0]]

    def rewrite(self, op: Operation, values: dict[SSAValue, SSAValue]) -> list[Operation]:
        """`op` writing where it should; operands are already mapped, replaced results are noted in `values`."""
        if isinstance(op, _OVER):
            first = len(op.inputs) if isinstance(op, AttentionOp) else 2
            for i, result in enumerate(op.res):
                if result in self.target:
                    op.operands[first + i] = self.target[result]
        if isinstance(op, scf.ForOp):
            return [*self._start_in_place(op), op]
        if not isinstance(op, (*_ONTO, FillOp)):
            return [op]
        if isinstance(op, GenericOp) and op in self.in_place:
            inner = self.in_place[op]
            return [overwrite(op, values.get(inner, inner), values)]
        before: list[Operation] = []
        outputs = list(op.outputs)
        for i, result in enumerate(op.results):
            init = outputs[i]
            temporary = isinstance(init, OpResult) and isinstance(init.op, tensor.EmptyOp)
            arg = self.target.get(result)
            if (temporary and arg is None) or (isinstance(init, OpResult) and not temporary and init.has_one_use()):
                continue
            if arg is None:
                arg = _empty_like(init, op.location, before)
            reads = reads_output(op, i) if isinstance(op, GenericOp) else isinstance(op, PreparedMatmulOp) and i == 0
            if reads and init is not arg:
                copy = identity_copy(init, arg, op.location)
                before.append(copy)
                arg = copy.results[0]
            outputs[i] = arg
        op.operands = [*op.inputs, *outputs]
        return [*before, op]

    def _start_in_place(self, op: scf.ForOp) -> list[Operation]:
        """Let a loop carry the arguments that its results are to live in; copies of the initial values are returned."""
        copies: list[Operation] = []
        for i, (init, result) in enumerate(zip(op.iter_args, op.results, strict=True)):
            arg = self.target.get(result)
            filled = isinstance(init, OpResult) and isinstance(init.op, FillOp) and init.op.outputs[0] is arg
            if arg is None or filled:
                continue
            if not (isinstance(init, OpResult) and isinstance(init.op, tensor.EmptyOp)):
                copy = identity_copy(init, arg, op.location)
                copies.append(copy)
                arg = copy.results[0]
            op.operands[3 + i] = arg
        return copies


def _empty_like(value: SSAValue, location: LocationAttr, into: list[Operation]) -> SSAValue:
    """An uninitialised tensor of the sizes of `value`; its ops are appended to `into`."""
    sizes: list[SSAValue] = []
    ops: list[Operation] = []
    for i, size in enumerate(shape_of(value)):
        if size == DYNAMIC_INDEX:
            index = arith.ConstantOp(IntegerAttr.from_index_int_value(i))
            dim = tensor.DimOp(value, index)
            ops += [index, dim]
            sizes.append(dim.result)
    empty = tensor.EmptyOp(sizes, value.type)
    for op in (*ops, empty):
        op.location = location
    into += [*ops, empty]
    return empty.tensor


def _remap(op: Operation, values: dict[SSAValue, SSAValue]) -> None:
    """Replace operands, in nested regions too."""
    for inner in op.walk():
        for i, operand in enumerate(inner.operands):
            if operand in values:
                inner.operands[i] = values[operand]


def overwrite(op: GenericOp, value: SSAValue, values: dict[SSAValue, SSAValue]) -> GenericOp:
    """`op`, its results noted in `values`, with its input `value` read from, and its result written to, the same
    tensor."""
    index = list(op.inputs).index(value)
    maps = list(op.indexing_maps.data)
    inputs = [v for i, v in enumerate(op.inputs) if i != index]
    del maps[index]
    region = op.detach_region(0)
    body = region.block
    body.args[index].replace_all_uses_with(body.args[len(op.inputs)])
    body.erase_arg(body.args[index])
    new = GenericOp(inputs, [value], region, maps, op.iterator_types, [op.results[0].type])
    new.attributes.update(op.attributes)
    new.location = op.location
    new.results[0].name_hint = op.results[0].name_hint
    values[op.results[0]] = new.results[0]
    op.drop_all_references()
    return new


def identity_copy(source: SSAValue, dest: SSAValue, location: LocationAttr) -> GenericOp:
    """`linalg.generic` that copies `source` into `dest`."""
    assert isinstance(source.type, TensorType)
    element: Attribute = source.type.element_type
    block = Block(arg_types=[element, element])
    end = YieldOp(block.args[0])
    end.location = location
    block.add_op(end)
    rank = len(shape_of(source))
    op = GenericOp(
        [source],
        [dest],
        Region(block),
        [identity_map(rank), identity_map(rank)],
        iterators("p" * rank),
        [dest.type],
    )
    op.location = location
    return op


def _drop_dead_helpers(block: Block) -> None:
    op = block.last_op
    while op is not None:
        previous = op.prev_op
        if op.results and not any(r.uses for r in op.results) and op.name.startswith((*_CLONED, "linalg.fill")):
            op.detach()
            op.erase()
        op = previous
