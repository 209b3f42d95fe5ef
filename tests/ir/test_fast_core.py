"""`mlc.ir.fast_core`: inside `fast_build`, ops are made and walked as xDSL does it, also while the IR changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
from xdsl.dialects import arith, func, llvm, memref, scf, test
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    DenseArrayBase,
    IndexType,
    IntAttr,
    IntegerAttr,
    IntegerType,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
    f32,
    i32,
    i64,
)
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Attribute, Block, Operation, OpResult, Region
from xdsl.utils.exceptions import VerifyException

from mlc.ir.context import make_context
from mlc.ir.fast_build import REPLACED, fast_build
from mlc.ir.fast_core import append_op
from mlc.ir.parsing import parse_text, print_text

TEXT = """
func.func @f(%a: index, %x: memref<8xf32>, %t: f32) {
  %c = arith.constant 1 : index
  scf.for %i = %c to %a step %c {
    %v = memref.load %x[%i] : memref<8xf32>
    %s = arith.addf %v, %v : f32
    scf.for %j = %c to %a step %c {
      memref.store %s, %x[%j] : memref<8xf32>
    }
  }
  %r = arith.mulf %t, %t : f32
  func.return
}
func.func private @g(f32)
"""


def make() -> ModuleOp:
    return parse_text(TEXT, make_context())


def ways(module: ModuleOp) -> list[Iterator[Operation]]:
    """Every walk there is."""
    flags = [{}, {"reverse": True}, {"region_first": True}, {"reverse": True, "region_first": True}]
    return [iter(place.walk(**f)) for f in flags for place in (module, module.body, module.body.block)]


def test_everything_is_put_back() -> None:
    before = [getattr(owner, name) for owner, name, _ in REPLACED]
    with fast_build():
        inside = [getattr(owner, name) for owner, name, _ in REPLACED]
    assert all(a is not b for a, b in zip(before, inside, strict=True))
    assert [getattr(owner, name) for owner, name, _ in REPLACED] == before


def test_walks_are_in_the_same_order() -> None:
    module = make()
    plain = [list(walk) for walk in ways(module)]
    with fast_build():
        assert [list(walk) for walk in ways(module)] == plain


def erase(op: Operation) -> None:
    if isinstance(op, arith.MulfOp | scf.ForOp) and op.parent is not None:
        op.detach()
        op.drop_all_references()


def append(op: Operation) -> None:
    if isinstance(op, arith.AddfOp | func.ReturnOp):
        block = op.parent_block()
        assert block is not None
        block.insert_op_after(arith.ConstantOp.from_int_and_width(7, i64), op)


def take_next(op: Operation) -> None:
    if isinstance(op, arith.ConstantOp | scf.ForOp) and op.next_op is not None:
        op.next_op.detach()


@pytest.mark.parametrize("change", [erase, append, take_next])
def test_walks_bear_the_same_changes(change: Callable[[Operation], None]) -> None:
    def names(around: AbstractContextManager[None]) -> list[str]:
        module, seen = make(), []
        with around:
            for op in module.walk():
                seen.append(op.name)
                change(op)
        return seen

    plain = names(nullcontext())
    assert len(plain) > 3
    assert names(fast_build()) == plain


def test_ops_are_made_alike() -> None:
    def build() -> tuple[Operation, ...]:
        one = arith.ConstantOp.from_int_and_width(1, i64)
        two = arith.AddiOp(one, one.result)
        three = arith.AddiOp(two, one)
        two.operands = [one.result, one.result]
        three.operands[0] = one.result
        return one, two, three, func.ReturnOp(two, three), arith.ConstantOp.create(result_types=[f32])

    with fast_build():
        fast = build()
    plain = build()
    for ours, theirs in zip(fast, plain, strict=True):
        assert (ours.properties, ours.attributes) == (theirs.properties, theirs.attributes)
        assert (ours.result_types, ours.operand_types) == (theirs.result_types, theirs.operand_types)
        assert (ours.location, ours.successors, ours.parent) == (theirs.location, theirs.successors, theirs.parent)
        places = [
            [sorted((made.index(u.operation), u.index) for u in r.uses) for r in op.results]
            for op, made in ((ours, fast), (theirs, plain))
        ]
        assert places[0] == places[1]


def test_clones_are_alike() -> None:
    module = make()
    with fast_build():
        clone = module.clone()
    clone.verify()
    assert print_text(clone) == print_text(module)


def test_operands_results_and_segments_are_found() -> None:
    with fast_build():
        returned = func.ReturnOp(*(arith.ConstantOp.from_int_and_width(n, i64) for n in range(3)))
        assert returned.operands[-1] is returned.operands[2]
        assert list(returned.operands[1:]) == [returned.operands[1], returned.operands[2]]
        call = func.CallOp("f", [], [i64, f32])
        assert call.results[True] is call.results[1]
        assert call.results[:1].types == (i64,)
        segments = DenseArrayBase.from_list(i64, [1, 2])
        assert segments.get_values() == segments.get_values() == (1, 2)
    assert segments == DenseArrayBase.from_list(i64, [1, 2])


def value(kind: Attribute) -> OpResult:
    return test.TestOp(result_types=[kind]).results[0]


INDEX, BUFFER = IndexType(), MemRefType(f32, [4, -1])
MADE: dict[str, Callable[[], Operation]] = {
    "segments": lambda: memref.AllocOp([value(INDEX)], [], BUFFER),
    "an op for a value": lambda: memref.LoadOp.get(test.TestOp(result_types=[BUFFER]), [value(INDEX)] * 2),
    "lists": lambda: FillOp([value(f32)], [value(BUFFER)], []),
    "regions": lambda: scf.IfOp(value(i64), [f32], Region(Block()), Region()),
    "ops for a region": lambda: scf.IfOp(value(i64), [], [scf.YieldOp()], []),
    "no value": lambda: scf.IfOp(value(i64), [], [scf.YieldOp()]),
    "a property that is None": lambda: memref.AllocOp([value(INDEX)], [], BUFFER, None),
    "results": lambda: test.TestOp([value(f32)], [f32, i64], {"a": i32}, {"b": i64}, regions=[Region(), Region()]),
    "a wrong number": lambda: arith.AddiOp.build(operands=[value(i64)], result_types=[i64]),
    "many for one": lambda: arith.AddiOp.build(operands=[[value(i64)] * 2, value(i64)], result_types=[i64]),
    "two for an optional one": lambda: llvm.ReturnOp.build(operands=[[value(i64)] * 2]),
    "one for an optional one": lambda: llvm.ReturnOp.build(operands=[[value(i64)]]),
    "one in a list": lambda: arith.AddiOp.build(operands=[[value(i64)], value(i64)], result_types=[i64]),
    "nothing for one": lambda: arith.AddiOp.build(operands=[None, value(i64)], result_types=[i64]),
    "no results": lambda: arith.AddiOp.build(operands=[value(i64), value(i64)]),
    "an unknown type": lambda: arith.AddiOp.build(
        operands=[value(i64), value(i64)],
        result_types=["i64"],  # pyright: ignore[reportArgumentType]
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_constructors_take_the_same(name: str) -> None:
    def made() -> object:
        try:
            op = MADE[name]()
        except Exception as e:
            return type(e), str(e)
        sizes = [(r.blocks.__len__(), [o.name for b in r.blocks for o in b.ops]) for r in op.regions]
        return op.name, op.operand_types, op.result_types, op.properties, op.attributes, sizes

    with fast_build():
        fast = made()
    assert fast == made()


def test_an_op_belongs_to_one_block_and_not_into_itself() -> None:
    with fast_build():
        block = Block([op := test.TestOp(regions=[Region(inner := Block())])])
        for place in (block, inner, Block()):
            with pytest.raises(ValueError, match="already attached"):
                place.add_op(op)
        op.detach()
        with pytest.raises(ValueError, match="contained in the operation"):
            inner.add_op(op)


def test_attributes_are_made_alike() -> None:
    def make() -> list[Attribute]:
        scalar = MemRefType(f32, ArrayAttr[IntAttr]([]))
        layout = StridedLayoutAttr([1], None)
        shapes = ([2, -1], (IntAttr(2), 3), ArrayAttr([IntAttr(4)]), iter([5]))
        types = [scalar, *(MemRefType(f32, shape) for shape in shapes)]
        return [*types, MemRefType(i32, [4], layout, IntegerAttr(1, i64)), IntegerAttr(3, i64), IntegerAttr(-1, 8)]

    with fast_build():
        fast = make()
    plain = make()
    assert fast == plain
    assert [hash(a) for a in fast] == [hash(a) for a in plain]
    assert [str(a) for a in fast] == [str(a) for a in plain]


def test_attributes_are_verified_where_that_is_asked_for() -> None:
    with fast_build():
        IntegerAttr(300, IntegerType(8))
    with fast_build(verify_attributes=True):
        assert Operation.walk is REPLACED[0][2]
        with pytest.raises(VerifyException):
            IntegerAttr(300, IntegerType(8))


def test_ops_appended_to_a_block_are_as_those_added() -> None:
    made: list[str] = []
    for append in (False, True):
        block = Block(arg_types=[f32])
        last = block.args[0]
        for _ in range(3):
            if append:
                (last,) = append_op(block, arith.AddfOp, (last, block.args[0]), (f32,), UNKNOWN_LOC)
            else:
                op = arith.AddfOp.create(operands=(last, block.args[0]), result_types=(f32,))
                block.add_op(op)
                last = op.results[0]
        block.add_op(func.ReturnOp(last))
        module = ModuleOp([func.FuncOp("f", ((f32,), (f32,)), Region(block))])
        module.verify()
        assert [op.parent for op in block.ops] == [block] * 4
        assert len(list(block.args[0].uses)) == 4
        made.append(print_text(module))
    assert made[0] == made[1]
