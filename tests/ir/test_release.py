"""IR that is taken apart is gone without the cycle collector; what it used stays as it was."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from mlc.ir import collector
from mlc.ir.collector import collector_paused
from mlc.ir.context import make_context
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import parse_text
from mlc.ir.release import release

TEXT = """
func.func @loops(%x: memref<8xf32>, %n: index) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %sum = scf.for %i = %c0 to %n step %c1 iter_args(%s = %zero) -> (f32) {
    %a = memref.load %x[%i] : memref<8xf32>
    %b = arith.mulf %a, %a : f32
    %t = arith.addf %s, %b : f32
    scf.yield %t : f32
  }
  return %sum : f32
}
func.func @blocks(%c: i1) -> i32 {
  %a = arith.constant 1 : i32
  cf.cond_br %c, ^bb1(%a : i32), ^bb2
^bb1(%x: i32):
  return %x : i32
^bb2:
  cf.br ^bb1(%a : i32)
}
"""


def everything_of(module: ModuleOp) -> list[weakref.ref[Any]]:
    """All ops, regions, blocks and values."""
    found: list[Any] = []
    for op in module.walk():
        found += [op, *op.results, *op.regions]
        found += [part for region in op.regions for block in region.blocks for part in (block, *block.args)]
    return [weakref.ref(part) for part in found]


@pytest.mark.parametrize("fast", [False, True])
def test_all_memory_is_free_at_once(*, fast: bool) -> None:
    def make() -> ModuleOp:
        module = parse_text(TEXT, make_context())
        if not fast:
            return module
        with fast_build():
            return module.clone()

    module = make()
    parts = everything_of(module)
    assert len(parts) == 40
    gc.disable()
    try:
        release(module)
        del module
        assert [ref() for ref in parts if ref() is not None] == []
    finally:
        gc.enable()


def test_what_is_used_from_outside_keeps_its_other_uses() -> None:
    module = parse_text(TEXT, make_context())
    function = module.body.block.first_op
    assert isinstance(function, FuncOp)
    zero = next(op for op in function.walk() if op.name == "arith.constant" and "f32" in str(op))
    loop = next(op for op in function.walk() if op.name == "scf.for")
    other = loop.clone()
    assert len(list(zero.results[0].uses)) == 2
    release(other)
    assert [use.operation for use in zero.results[0].uses] == [loop]
    module.verify()


def test_objects_made_while_the_collector_is_off_count_as_old() -> None:
    class Knot:
        pass

    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            knots = [Knot() for _ in range(2000)]
        assert not gc.isenabled()
    assert gc.isenabled()
    old = {id(thing) for thing in gc.get_objects(2)}
    assert all(id(knot) in old for knot in knots)
    knots[0].self = knots[0]  # pyright: ignore[reportAttributeAccessIssue]
    gone = weakref.ref(knots[0])
    del knots
    gc.collect()
    assert gone() is None


def test_garbage_of_many_models_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    monkeypatch.setattr(collector, "MOST_UNSEEN", 5000)
    gc.collect()
    left: list[weakref.ref[Knot]] = []
    alive: list[int] = []
    for _ in range(8):
        with collector_paused():
            left += [weakref.ref(Knot()) for _ in range(1000)]
        alive.append(sum(ref() is not None for ref in left))
    assert 1000 in alive and max(alive) <= 6000


def test_what_the_program_froze_stays_frozen() -> None:
    kept = [[] for _ in range(100)]
    seen = {id(thing) for thing in gc.get_objects()}
    assert all(id(one) in seen for one in kept)
    gc.freeze()
    try:
        with collector_paused():
            pass
        seen = {id(thing) for thing in gc.get_objects()}  # of the frozen ones, none
        assert gc.get_freeze_count() > 0 and not any(id(one) in seen for one in kept)
    finally:
        gc.unfreeze()
