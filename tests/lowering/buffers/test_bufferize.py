"""bufferize keeps the values of programs: random ones full of aliasing, traps by hand; planted bugs are found."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects import func, memref
from xdsl.dialects.builtin import TensorType

from fuzz.generators.aliasing import make_program
from mlc.errors import UnsupportedError
from mlc.ir.pipeline import make_pass
from mlc.lowering.buffers import alias_analysis, function_bufferizer
from mlc.lowering.buffers.function_bufferizer import FunctionBufferizer
from tests.lowering.buffers.checking import check, parsed


def run_tape(data: bytes, *, in_kernel: bool, dynamic: bool, passes: tuple[str, ...]) -> bool:
    """Check the program of a tape; False when bufferize refuses it."""
    program = make_program(data, in_kernel=in_kernel, dynamic=dynamic)
    rng = np.random.default_rng(len(data))
    weights = {"w": rng.standard_normal((4, 4)).astype(np.float32)}
    inputs = [rng.standard_normal(v.shape).astype(np.float32) for v in program.inputs]
    try:
        check("\n".join(program.lines), inputs, weights, passes)
    except UnsupportedError:
        return False
    return True


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("in_kernel", [False, True], ids=["calls", "kernel"])
def test_random_programs(in_kernel: bool, dynamic: bool) -> None:
    refused = 0
    total = 0

    @settings(derandomize=True, max_examples=30, deadline=None, database=None)
    @given(st.binary(min_size=10, max_size=140))
    def prop(data: bytes) -> None:
        nonlocal refused, total
        total += 1
        passes = ("bufferize", "plan-memory", "linalg-to-loops")
        refused += not run_tape(data, in_kernel=in_kernel, dynamic=dynamic, passes=passes)

    prop()
    assert refused <= total * 0.15, f"{refused} of {total} programs were refused"


def _no_conflict(self, op, index, target):
    return None if target.root.writable else "not writable"


def _no_loops(self, op, at, origin):
    return op in self._position and self._position[op] > self._position[at]


def _one_after_the_other(self, moves) -> None:
    for source, view, dest, target in moves:
        if not function_bufferizer.same_place(view, target):
            self.copy(source, dest)


# (bug, the first seed whose program shows it): the search starts there, so that the test is fast
PLANTED = {
    ("writes in place without asking", 0): [(alias_analysis.AliasAnalysis, "conflict", _no_conflict)],
    ("forgets that the op itself reads", 170): [(alias_analysis.AliasAnalysis, "_read_here", lambda *_: False)],
    ("forgets later iterations", 145): [(alias_analysis.AliasAnalysis, "_after", _no_loops)],
    ("takes different offsets for disjoint", 112): [
        (alias_analysis, "disjoint", lambda a, b: a.root is not b.root or a.offsets != b.offsets)
    ],
    ("swaps without a temporary", 9): [(FunctionBufferizer, "move_all", _one_after_the_other)],
    ("takes equal shapes for equal places", 347): [
        (module, "same_place", lambda a, b: a.root is b.root and a.shape == b.shape)
        for module in (alias_analysis, function_bufferizer)
    ],
}


@pytest.mark.parametrize(("bug", "first"), PLANTED)
def test_planted_bugs_are_found(bug: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name, broken in PLANTED[bug, first]:
        monkeypatch.setattr(owner, name, broken)
    for seed in range(first, first + 400):
        source = random.Random(seed)
        data = source.randbytes(source.randint(10, 140))
        try:
            run_tape(data, in_kernel=bool(seed & 1), dynamic=bool(seed & 2), passes=("bufferize",))
        except AssertionError:
            return
    pytest.fail(f"no program shows the planted bug: {bug}")


NEG = """
func.func private @neg(%x: tensor<2x4xf32>, %out: tensor<2x4xf32>) -> tensor<2x4xf32> attributes {kernel} {
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
    iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x4xf32>) outs(%out : tensor<2x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %y = arith.negf %a : f32
    linalg.yield %y : f32
  } -> tensor<2x4xf32>
  return %r : tensor<2x4xf32>
}
func.func private @neg4(%x: tensor<4x4xf32>, %out: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {kernel} {
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
    iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %y = arith.negf %a : f32
    linalg.yield %y : f32
  } -> tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}
"""
ROWS = "[2, 4] [1, 1] : tensor<4x4xf32> to tensor<2x4xf32>"
INTO = "[2, 4] [1, 1] : tensor<2x4xf32> into tensor<4x4xf32>"
FRESH = """
  %e = tensor.empty() : tensor<4x4xf32>
  %v = func.call @neg4(%x, %e) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
"""
TRAPS = {
    # the slice written in place reaches one row outside the box that the insertion overwrites
    "a slice of a value still needed": f"""
  %s = tensor.extract_slice %v[0, 0] {ROWS}
  %r = func.call @neg(%y, %s) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %d = tensor.insert_slice %y into %v[1, 0] {INTO}
  return %d, %r : tensor<4x4xf32>, tensor<2x4xf32>""",
    "one value inserted in two places": f"""
  %f = tensor.empty() : tensor<2x4xf32>
  %r = func.call @neg(%y, %f) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %a = tensor.insert_slice %r into %v[0, 0] {INTO}
  %b = tensor.insert_slice %r into %a[2, 0] {INTO}
  return %b, %r : tensor<4x4xf32>, tensor<2x4xf32>""",
    "inserted into an argument": f"""
  %a = tensor.insert_slice %y into %x[1, 0] {INTO}
  %s = tensor.extract_slice %x[1, 0] {ROWS}
  return %a, %s : tensor<4x4xf32>, tensor<2x4xf32>""",
    "inserted into a constant": f"""
  %w = arith.constant dense_resource<w> : tensor<4x4xf32>
  %a = tensor.insert_slice %y into %w[1, 0] {INTO}
  %s = tensor.extract_slice %w[1, 0] {ROWS}
  return %a, %s : tensor<4x4xf32>, tensor<2x4xf32>""",
    "a slice moved inside its own tensor": f"""
  %s = tensor.extract_slice %v[0, 0] {ROWS}
  %a = tensor.insert_slice %s into %v[1, 0] {INTO}
  return %a, %y : tensor<4x4xf32>, tensor<2x4xf32>""",
    "two destinations that share a cse'd empty": f"""
  %d = tensor.empty() : tensor<4x4xf32>
  %s0 = tensor.extract_slice %d[0, 0] {ROWS}
  %r0 = func.call @neg(%y, %s0) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %a0 = tensor.insert_slice %r0 into %d[0, 0] {INTO}
  %a1 = tensor.insert_slice %y into %a0[2, 0] {INTO}
  %r1 = func.call @neg(%r0, %s0) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %b0 = tensor.insert_slice %r1 into %d[0, 0] {INTO}
  %b1 = tensor.insert_slice %r0 into %b0[2, 0] {INTO}
  %t = func.call @neg4(%a1, %b1) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %u = tensor.extract_slice %b1[1, 0] {ROWS}
  return %t, %u : tensor<4x4xf32>, tensor<2x4xf32>""",
    "input and destination are one value": """
  %a = func.call @neg4(%v, %v) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %a, %y : tensor<4x4xf32>, tensor<2x4xf32>""",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps(trap: str) -> None:
    head = "func.func @forward(%x: tensor<4x4xf32>, %y: tensor<2x4xf32>) -> (tensor<4x4xf32>, tensor<2x4xf32>) {"
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(s).astype(np.float32) for s in ((4, 4), (2, 4))]
    weights = {"w": rng.standard_normal((4, 4)).astype(np.float32)}
    check(head + FRESH + TRAPS[trap] + "\n}" + NEG, inputs, weights)


def test_contains_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias_analysis, "contains", lambda *_: True)
    with pytest.raises(AssertionError, match="differs after bufferize"):
        test_traps("a slice of a value still needed")


def test_reserved_results_of_branches() -> None:
    """A branch computes its result where the result of the scf.if lies."""
    text = """
func.func @forward(%x: tensor<4x4xf32>, %c: tensor<i1>) -> tensor<4x4xf32> {
  %b = tensor.extract %c[] : tensor<i1>
  %r = scf.if %b -> (tensor<4x4xf32>) {
    %e = tensor.empty() : tensor<4x4xf32>
    %v = func.call @neg4(%x, %e) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    scf.yield %v : tensor<4x4xf32>
  } else {
    scf.yield %x : tensor<4x4xf32>
  }
  return %r : tensor<4x4xf32>
}"""
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    for condition in (True, False):
        module, _ = check(text + NEG, [x, np.array(condition)])
        assert not any(isinstance(op, memref.AllocOp) for op in module.walk())


def test_no_copies_in_a_chain_of_kernels() -> None:
    """Results, insertions and views need no copy kernel and no missed remark."""
    text = f"""
func.func @forward(%x: tensor<4x4xf32>, %y: tensor<2x4xf32>) -> tensor<4x4xf32> {{
  %e = tensor.empty() : tensor<2x4xf32>
  %a = func.call @neg(%y, %e) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %f = tensor.empty() : tensor<2x4xf32>
  %b = func.call @neg(%a, %f) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %d = tensor.empty() : tensor<4x4xf32>
  %d0 = tensor.insert_slice %a into %d[0, 0] {INTO}
  %d1 = tensor.insert_slice %b into %d0[2, 0] {INTO}
  return %d1 : tensor<4x4xf32>
}}"""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(s).astype(np.float32) for s in ((4, 4), (2, 4))]
    module, ctx = check(text + NEG, inputs, passes=("bufferize",))
    names = [op.sym_name.data for op in module.ops if isinstance(op, func.FuncOp)]
    assert not [n for n in names if n.startswith("copy")]
    assert not any(isinstance(op, memref.AllocOp) for op in module.walk())
    assert not [r for r in ctx.remarks if r.kind == "missed" and "compiled once more" not in r.message]


def test_zero_size_and_scalars() -> None:
    text = """
func.func @forward(%x: tensor<0x3xf32>, %y: tensor<1x1xf32>) -> (tensor<0x6xf32>, tensor<f32>, f32) {
  %e = tensor.empty() : tensor<0x6xf32>
  %a = tensor.insert_slice %x into %e[0, 0] [0, 3] [1, 1] : tensor<0x3xf32> into tensor<0x6xf32>
  %b = tensor.insert_slice %x into %a[0, 3] [0, 3] [1, 1] : tensor<0x3xf32> into tensor<0x6xf32>
  %c = tensor.collapse_shape %y [] : tensor<1x1xf32> into tensor<f32>
  %s = tensor.extract %c[] : tensor<f32>
  return %b, %c, %s : tensor<0x6xf32>, tensor<f32>, f32
}"""
    check(text, [np.zeros((0, 3), np.float32), np.full((1, 1), 3.5, np.float32)])


@pytest.mark.parametrize(("pad", "tile"), [(True, 4), (False, 3), (True, 8)])
def test_pack_and_unpack(pad: bool, tile: int) -> None:
    blocks = -(-6 // tile)
    padding = "padding_value(%z : f32) " if pad else ""
    layout = f"outer_dims_perm = [1, 0, 2] inner_dims_pos = [0] inner_tiles = [{tile}]"
    packed = f"tensor<2x{blocks}x5x{tile}xf32>"
    text = f"""
func.func @forward(%x: tensor<6x2x5xf32>) -> (tensor<6x2x5xf32>, {packed}) {{
  %e = tensor.empty() : {packed}
  %p = func.call @pack(%x, %e) : (tensor<6x2x5xf32>, {packed}) -> {packed}
  %f = tensor.empty() : tensor<6x2x5xf32>
  %u = func.call @unpack(%p, %f) : ({packed}, tensor<6x2x5xf32>) -> tensor<6x2x5xf32>
  return %u, %p : tensor<6x2x5xf32>, {packed}
}}
func.func private @pack(%x: tensor<6x2x5xf32>, %out: {packed}) -> {packed} attributes {{kernel}} {{
  %z = arith.constant 9.0 : f32
  %r = linalg.pack %x {padding}{layout} into %out : tensor<6x2x5xf32> -> {packed}
  return %r : {packed}
}}
func.func private @unpack(%x: {packed}, %out: tensor<6x2x5xf32>) -> tensor<6x2x5xf32> attributes {{kernel}} {{
  %r = linalg.unpack %x {layout} into %out : {packed} -> tensor<6x2x5xf32>
  return %r : tensor<6x2x5xf32>
}}"""
    check(text, [np.arange(60, dtype=np.float32).reshape(6, 2, 5)])


def test_tensor_ops_without_destination() -> None:
    """pad (constant and computed), concat, splat, from_elements, a splat constant, a big constant inside a kernel."""
    text = """
func.func @forward(%x: tensor<2x3xf32>) -> tensor<4x8xf32> {
  %e = tensor.empty() : tensor<4x8xf32>
  %r = func.call @k(%x, %e) : (tensor<2x3xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %r : tensor<4x8xf32>
}
func.func private @k(%x: tensor<2x3xf32>, %out: tensor<4x8xf32>) -> tensor<4x8xf32> attributes {kernel} {
  %z = arith.constant 2.0 : f32
  %table = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %same = arith.constant dense<0.5> : tensor<1x8xf32>
  %p = tensor.pad %x low[0, 1] high[0, 0] {
  ^bb0(%i: index, %j: index):
    %s = arith.addi %i, %j : index
    %t = arith.index_cast %s : index to i64
    %f = arith.sitofp %t : i64 to f32
    tensor.yield %f : f32
  } : tensor<2x3xf32> to tensor<2x4xf32>
  %c = tensor.concat dim(1) %p, %table : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  %first = tensor.splat %z : tensor<8xf32>
  %row = tensor.expand_shape %first [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
  %a = tensor.insert_slice %c into %out[0, 0] [2, 8] [1, 1] : tensor<2x8xf32> into tensor<4x8xf32>
  %b = tensor.insert_slice %row into %a[2, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %d = tensor.insert_slice %same into %b[3, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %two = tensor.from_elements %z, %z : tensor<2xf32>
  %g = tensor.insert_slice %two into %d[3, 3] [1, 2] [1, 1] : tensor<2xf32> into tensor<4x8xf32>
  return %g : tensor<4x8xf32>
}"""
    check(text, [np.arange(6, dtype=np.float32).reshape(2, 3)])


def test_reads_by_index_stay_visible() -> None:
    """A body that reads a tensor by index keeps that tensor's memory, in later iterations too."""
    text = """
func.func @forward(%x: tensor<4xf32>, %i: tensor<4xi64>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %r = func.call @k(%x, %i, %e) : (tensor<4xf32>, tensor<4xi64>, tensor<4xf32>) -> tensor<4xf32>
  return %r : tensor<4xf32>
}
func.func private @k(%x: tensor<4xf32>, %i: tensor<4xi64>, %out: tensor<4xf32>) -> tensor<4xf32> attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %e = tensor.empty() : tensor<4xf32>
  %t = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
      iterator_types = ["parallel"]}
    ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %y = arith.addf %a, %a : f32
    linalg.yield %y : f32
  } -> tensor<4xf32>
  %r = scf.for %k = %c0 to %c3 step %c1 iter_args(%acc = %x) -> (tensor<4xf32>) {
    %g = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
      iterator_types = ["parallel"]}
      ins(%i : tensor<4xi64>) outs(%acc : tensor<4xf32>) {
    ^bb0(%n: i64, %o: f32):
      %at = arith.index_cast %n : i64 to index
      %v = tensor.extract %t[%at] : tensor<4xf32>
      %s = arith.addf %v, %o : f32
      linalg.yield %s : f32
    } -> tensor<4xf32>
    %w = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
      iterator_types = ["parallel"]}
      ins(%g : tensor<4xf32>) outs(%t : tensor<4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %y = arith.negf %a : f32
      linalg.yield %y : f32
    } -> tensor<4xf32>
    scf.yield %w : tensor<4xf32>
  }
  %q = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
      iterator_types = ["parallel"]}
    ins(%r : tensor<4xf32>) outs(%out : tensor<4xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %q : tensor<4xf32>
}"""
    check(text, [np.arange(4, dtype=np.float32), np.array([3, 1, 1, 0])])


def test_establishes_no_tensors_and_is_idempotent() -> None:
    program = make_program(bytes(range(7, 120, 3)), in_kernel=False, dynamic=False)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(v.shape).astype(np.float32) for v in program.inputs]
    weights = {"w": rng.standard_normal((4, 4)).astype(np.float32)}
    module, _ = check("\n".join(program.lines), inputs, weights, passes=("bufferize",))
    values = [v for op in module.walk() for v in (*op.operands, *op.results)]
    assert values and not any(isinstance(v.type, TensorType) for v in values)
    again, _ = check("\n".join(program.lines), inputs, weights, passes=("bufferize", "bufferize"))
    assert str(module) == str(again)


REFUSED = {
    "no kernel": (
        """func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
          %r = func.call @g(%x) : (tensor<4xf32>) -> tensor<4xf32>
          return %r : tensor<4xf32> }
        func.func private @g(tensor<4xf32>) -> tensor<4xf32>""",
        "no kernel of this module",
    ),
    "no destination": (
        """func.func private @k(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) attributes {kernel} {
          return %x, %x : tensor<4xf32>, tensor<4xf32> }""",
        "no destination per result",
    ),
    "a tensor that grows in a loop": (
        """func.func @forward(%x: tensor<?xf32>) -> tensor<?xf32> {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c3 = arith.constant 3 : index
          %r = scf.for %i = %c0 to %c3 step %c1 iter_args(%a = %x) -> (tensor<?xf32>) {
            %n = tensor.dim %a, %c0 : tensor<?xf32>
            %m = arith.addi %n, %c1 : index
            %e = tensor.empty(%m) : tensor<?xf32>
            scf.yield %e : tensor<?xf32> }
          return %r : tensor<?xf32> }""",
        "size may change",
    ),
    "an op that nothing lowered, whose sizes are asked for": (
        """func.func private @k(%x: tensor<?xf32>, %out: tensor<?xf32>) -> tensor<?xf32> attributes {kernel} {
          %0 = "test.op"(%x) : (tensor<?xf32>) -> tensor<?xf32>
          %e = linalg.copy ins(%0 : tensor<?xf32>) outs(%out : tensor<?xf32>) -> tensor<?xf32>
          return %e : tensor<?xf32> }
        func.func @forward(%x: tensor<?xf32>) -> tensor<?xf32> {
          %c0 = arith.constant 0 : index
          %0 = "test.op"(%x) : (tensor<?xf32>) -> tensor<?xf32>
          %n = tensor.dim %0, %c0 : tensor<?xf32>
          %e = tensor.empty(%n) : tensor<?xf32>
          %1 = func.call @k(%0, %e) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
          return %1 : tensor<?xf32> }""",
        "op 'test.op' has no form on buffers",
    ),
    "blocks": (
        """func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
          cf.br ^bb1
        ^bb1:
          return %x : tensor<4xf32> }""",
        "2 blocks",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    text, message = REFUSED[case]
    module, ctx = parsed(text, {})
    with pytest.raises(UnsupportedError, match=message):
        make_pass("bufferize", {}).apply(ctx, module)
