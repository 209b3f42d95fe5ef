"""One arena for all temporaries of @forward, planned by liveness.

    func.func @forward(%x, %out0) {                 func.func @forward(%x, %out0, %arena: memref<?xi8>) {
      %a = memref.alloc() : memref<8xf32>             %c0 = arith.constant 0 : index
      call @k(%x, %a)                                 %a = memref.view %arena[%c0][] : memref<?xi8> to memref<8xf32>
      %b = memref.alloc() : memref<8xf32>      -->    %b = memref.view %arena[%c64][] …
      call @k(%a, %b)                                 …
      call @k(%b, %out0)                            func.func @arena_size() -> index { return 128 }

With dynamic sizes offsets are expressions of the inputs' dims: the order of conflicting buffers is fixed from the sizes
at a nominal dim, and each begins where the highest conflicting one below it ends, which holds for every size. Where
the sizes are beyond 61 bits, `@arena_size` gives -1.

What: gives @forward its last argument and the module `@arena_size`. Runs after bufferize; runs before kernels are split
off.
Tests: tests/lowering/buffers/plan_memory.mlir, tests/lowering/buffers/test_plan_memory.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import func, memref
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    i8,
)
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from mlc.errors import UnsupportedError
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import format_location
from mlc.ir.passes import MlcPass
from mlc.ir.values import byte_size
from mlc.lowering.buffers.arena import ALIGNMENT, Item, aligned, peak, plan
from mlc.lowering.buffers.checked_extents import CheckedMaterializer
from mlc.lowering.buffers.extents import Extent, Materializer, Scalar, combine, extent_of, leaves, product, substitute
from mlc.lowering.buffers.liveness import LiveRange, live_ranges

NOMINAL = 16
"""What a dynamic dim is taken for when the order of buffers in the arena is chosen."""


@dataclass(frozen=True)
class PlanMemory(MlcPass):
    """Replaces the allocations of the entry function by views of an arena argument."""

    name = "plan-memory"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Bitwise(),
        profile="allocations",
        establishes=("the entry function allocates nothing", "@arena_size gives the bytes its last argument must have"),
        rules={
            "place-static": "a buffer of known size -> a view of the arena",
            "place-dynamic": "a buffer of dynamic size -> a view of the arena",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        functions = [op for op in module.body.block.ops if isinstance(op, func.FuncOp)]
        if any(f.sym_name.data == "arena_size" for f in functions):
            return
        entries = [f for f in functions if "num_inputs" in f.attributes]
        if not entries:
            return
        if len(entries) > 1:
            raise UnsupportedError(
                f"memory is planned for one entry function, here are {len(entries)}: "
                + ", ".join(f"@{f.sym_name.data}" for f in entries),
                where=format_location(entries[1].location) or None,
                expected="one function that is no kernel",
                hint="put each into a file of its own",
            )
        dims = next((f for f in functions if f.sym_name.data == "output_dims"), None)
        _Planner(ctx, module, entries[0], dims).run()


class _Planner:
    """Plans one entry function. Sizes are kept as extents over the dims of the inputs."""

    def __init__(self, ctx: MlcContext, module: ModuleOp, entry: func.FuncOp, output_dims: func.FuncOp | None) -> None:
        self.ctx = ctx
        self.module = module
        self.entry = entry
        count = entry.attributes["num_inputs"]
        assert isinstance(count, IntegerAttr)
        args = entry.body.block.args
        self.inputs = args[: count.value.data]
        for a in self.inputs:
            if not isinstance(a.type, MemRefType):
                raise UnsupportedError(
                    f"argument {a.index} of @{entry.sym_name.data} is a scalar of type {a.type}",
                    where=format_location(entry.location) or None,
                    expected="tensors",
                    hint="pass it as a tensor without dimensions and take the value out with tensor.extract",
                )
        self.known = _output_extents(self.inputs, args[count.value.data :], output_dims)

    def run(self) -> None:
        for op in [o for o in self.entry.walk() if isinstance(o, memref.AllocOp) and not o.memref.uses]:
            op.detach()
            op.erase()
        ranges = live_ranges(self.entry)
        shapes = [self._shape(r) for r in ranges]
        sizes = [self._bytes(r, s) for r, s in zip(ranges, shapes, strict=True)]
        items = [Item(_nominal(s), r.start, r.end) for s, r in zip(sizes, ranges, strict=True)]
        offsets, total = plan(items)
        least = peak(items)
        place = _offsets(ranges, sizes, offsets)
        size = _highest([combine("arith.addi", o, s) for o, s in zip(place, sizes, strict=True)])
        self._rewrite(ranges, shapes, place)
        self._add_arena_size(size)
        dynamic = not all(isinstance(s, int) for s in sizes)
        self.ctx.remarks.analysis(
            "plan-memory",
            self.entry,
            f"arena of {total} bytes for {len(ranges)} buffers, {least} live at most"
            + (f" (with dynamic dims of {NOMINAL})" if dynamic else ""),
            arena=total,
            peak=least,
            buffers=len(ranges),
            dynamic=dynamic,
        )

    # --- sizes ---

    def _shape(self, r: LiveRange) -> tuple[Extent, ...]:
        t = r.op.memref.type
        dynamic = iter(r.op.dynamic_sizes)
        shape = tuple(self._resolve(extent_of(next(dynamic)), r.op) if d == DYNAMIC_INDEX else d for d in t.get_shape())
        return shape

    def _resolve(self, extent: Extent, op: Operation) -> Extent:
        """`extent` over dims of inputs only."""
        if isinstance(extent, tuple) and extent[0] == "dim":
            found = self.known.get((extent[1], extent[2]))  # pyright: ignore[reportArgumentType]
            return self._checked(extent if found is None else found, op)
        if isinstance(extent, tuple):
            name = extent[0]
            args = [self._resolve(part, op) for part in extent[1:] if not isinstance(part, str | Scalar)]
            if isinstance(name, Scalar):
                return (name, *args)
            assert isinstance(name, str)
            return combine(name, args[0], args[1])
        return self._checked(extent, op)

    def _checked(self, extent: Extent, op: Operation) -> Extent:
        if not all(isinstance(leaf, BlockArgument) and leaf in self.inputs for leaf in leaves(extent)):
            raise UnsupportedError(
                "a temporary whose size depends on data, not only on the shapes of the inputs",
                where=format_location(op.location) or None,
                hint="give the operation static sizes",
            )
        return extent

    def _bytes(self, r: LiveRange, shape: Sequence[Extent]) -> Extent:
        count = combine("arith.muli", product(shape), byte_size(r.op.memref.type))
        if isinstance(count, int):
            return aligned(count)
        blocks = combine("arith.floordivsi", combine("arith.addi", count, ALIGNMENT - 1), ALIGNMENT)
        return combine("arith.muli", blocks, ALIGNMENT)

    # --- rewriting ---

    def _rewrite(
        self, ranges: Sequence[LiveRange], shapes: Sequence[tuple[Extent, ...]], offsets: Sequence[Extent]
    ) -> None:
        block = self.entry.body.block
        arena = block.insert_arg(MemRefType(i8, [DYNAMIC_INDEX]), len(block.args))
        arena.name_hint = "arena"
        made: list[Operation] = []

        def at_top(op: Operation) -> None:
            op.location = self.entry.location
            first = block.first_op
            assert first is not None
            if made:
                block.insert_op_after(op, made[-1])
            else:
                block.insert_op_before(op, first)
            made.append(op)

        make = Materializer(at_top, lambda v, i: _emit(at_top, memref.DimOp(v, make(i))))
        for r, shape, offset in zip(ranges, shapes, offsets, strict=True):
            op = r.op
            sizes = [make(e) for e, d in zip(shape, op.memref.type.get_shape(), strict=True) if d == DYNAMIC_INDEX]
            self.ctx.remarks.count("plan-memory", "place-dynamic" if sizes else "place-static")
            view = memref.ViewOp(arena, make(offset), sizes, op.memref.type)
            view.location = op.location
            view.result.name_hint = op.memref.name_hint
            home = op.parent_block()
            assert home is not None
            home.insert_op_before(view, op)
            op.memref.replace_all_uses_with(view.result)
            op.detach()
            op.erase()
        self.entry.properties["function_type"] = FunctionType.from_lists([a.type for a in block.args], [])
        given = self.entry.arg_attrs
        if given is not None:
            self.entry.properties["arg_attrs"] = ArrayAttr([*given, DictionaryAttr({})])

    def _add_arena_size(self, size: Extent) -> None:
        dims = [(a, i) for a in self.inputs for i in dynamic_dims(a)]
        block = Block(arg_types=[IndexType()] * len(dims))
        args = dict(zip(dims, block.args, strict=True))

        def add(op: Operation) -> None:
            op.location = self.entry.location
            block.add_op(op)

        make = CheckedMaterializer(add, lambda v, i: args[(v, i)])  # pyright: ignore[reportArgumentType]
        add(func.ReturnOp(make.checked(size)))
        function = func.FuncOp("arena_size", ([IndexType()] * len(dims), [IndexType()]), Region(block))
        function.location = self.entry.location
        self.module.body.block.insert_op_after(function, self.entry)


def _emit(insert: Callable[[Operation], None], op: Operation) -> SSAValue:
    insert(op)
    return op.results[0]


def dynamic_dims(value: SSAValue) -> list[int]:
    """Which dims of a memref are dynamic."""
    assert isinstance(value.type, MemRefType)
    return [i for i, d in enumerate(value.type.get_shape()) if d == DYNAMIC_INDEX]


def _output_extents(
    inputs: Sequence[BlockArgument], outputs: Sequence[BlockArgument], output_dims: func.FuncOp | None
) -> dict[tuple[SSAValue, int], Extent]:
    """What `@output_dims` says about the dynamic dims of the outputs, over dims of the inputs."""
    if output_dims is None:
        return {}
    block = output_dims.body.block
    slots = [("dim", a, i) for a in inputs for i in dynamic_dims(a)]
    dims = dict(zip(block.args, slots, strict=True))
    last = block.last_op
    assert last is not None
    wanted = [(a, i) for a in outputs for i in dynamic_dims(a)]
    found: dict[tuple[SSAValue, int], Extent] = {}
    for key, value in zip(wanted, last.operands, strict=True):
        found[key] = substitute(extent_of(value), lambda v: dims[v])  # pyright: ignore
    return found


def _nominal(size: Extent) -> int:
    """`size` with every dynamic dim taken for `NOMINAL`."""
    if isinstance(size, int):
        return size
    if isinstance(size, SSAValue) or size[0] == "dim":
        return NOMINAL
    name, *parts = size
    if isinstance(name, Scalar):
        return NOMINAL
    a, b = (_nominal(p) for p in parts if not isinstance(p, str | Scalar))
    match name:
        case "arith.addi":
            return a + b
        case "arith.subi":
            return max(a - b, 0)
        case "arith.muli":
            return a * b
        case "arith.minsi":
            return min(a, b)
        case "arith.maxsi":
            return max(a, b)
        case "arith.remsi":
            return a % b if b else 0
        case "arith.ceildivsi" | "arith.ceildivui":
            return -(-a // b) if b else 0
        case _:
            return a // b if b else 0


def _offsets(ranges: Sequence[LiveRange], sizes: Sequence[Extent], nominal: Sequence[int]) -> list[Extent]:
    """Offsets that keep conflicting buffers apart whatever the sizes are, in the order that `nominal` gives them."""
    if all(isinstance(s, int) for s in sizes):
        return list(nominal)
    order = sorted(range(len(ranges)), key=lambda i: (nominal[i], i))
    rank = {i: k for k, i in enumerate(order)}
    offsets: list[Extent] = [0] * len(ranges)
    below: dict[int, set[int]] = {}
    for i in order:
        under = {j for j in order if rank[j] < rank[i] and ranges[i].overlaps(ranges[j])}
        below[i] = under
        direct = [j for j in sorted(under) if not any(j in below[k] for k in under)]
        offsets[i] = _highest([combine("arith.addi", offsets[j], sizes[j]) for j in direct])
    return offsets


def _highest(ends: Sequence[Extent]) -> Extent:
    """The maximum of some ends of buffers, of which those that are never above another are left out."""
    kept: list[Extent] = []
    for end in ends:
        if not any(_never_above(end, other) for other in kept):
            kept = [other for other in kept if not _never_above(other, end)] + [end]
    at: Extent = 0
    for end in kept:
        at = end if at == 0 else combine("arith.maxsi", at, end)
    return at


def _never_above(a: Extent, b: Extent) -> bool:
    """Whether `a` is at most `b` for every size, for sure; both are sums and maxima of sizes."""
    if a == b or a == 0:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return a <= b
    if isinstance(b, tuple) and b[0] in ("arith.addi", "arith.maxsi"):
        return any(_never_above(a, part) for part in b[1:] if not isinstance(part, str | Scalar))
    return False
