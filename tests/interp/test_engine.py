"""The engine: control flow, calls, limits, errors with a place, agreement of inlined code with semantics functions."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import DTypeError, ExecutionError, InternalError, LimitError, ShapeError, UnsupportedError, UsageError
from mlc.interp import Interpreter, make_domain, run_function, run_module
from mlc.ir.context import make_context
from mlc.ir.semantics import _INLINE, inline_of, registered_semantics, semantics_of


def test_nested_loops_and_conditions(run):
    text = """func.func @f(%n: index) -> (i64, i64) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %z = arith.constant 0 : i64
      %s, %e = scf.for %i = %c0 to %n step %c1 iter_args(%a = %z, %b = %z) -> (i64, i64) {
        %q = scf.for %j = %c0 to %i step %c2 iter_args(%t = %a) -> (i64) {
          %v = arith.index_cast %j : index to i64
          %u = arith.addi %t, %v : i64
          scf.yield %u : i64
        }
        %r = arith.remsi %i, %c2 : index
        %odd = arith.cmpi eq, %r, %c1 : index
        %w = scf.if %odd -> (i64) {
          %one = arith.constant 1 : i64
          %p = arith.addi %b, %one : i64
          scf.yield %p : i64
        } else {
          scf.yield %b : i64
        }
        scf.yield %q, %w : i64, i64
      }
      func.return %s, %e : i64, i64
    }"""
    for n in (0, 1, 2, 7):
        want = sum(j for i in range(n) for j in range(0, i, 2)), n // 2
        assert tuple(int(r) for r in run(text, np.int64(n))) == want


def test_while_with_swapped_values(run):
    text = """func.func @f(%a: i32, %b: i32) -> i32 {
      %r:2 = scf.while (%x = %a, %y = %b) : (i32, i32) -> (i32, i32) {
        %z = arith.constant 0 : i32
        %go = arith.cmpi ne, %y, %z : i32
        scf.condition(%go) %x, %y : i32, i32
      } do {
      ^bb0(%x: i32, %y: i32):
        %m = arith.remsi %x, %y : i32
        scf.yield %y, %m : i32, i32
      }
      func.return %r#0 : i32
    }"""
    assert run(text, np.int32(48), np.int32(18))[0] == 6


def test_branches_pass_block_arguments_in_parallel(run):
    text = """func.func @f(%n: i32) -> (i32, i32) {
      %z = arith.constant 0 : i32
      %o = arith.constant 1 : i32
      cf.br ^head(%z, %o, %n : i32, i32, i32)
    ^head(%a: i32, %b: i32, %left: i32):
      %go = arith.cmpi sgt, %left, %z : i32
      cf.cond_br %go, ^body, ^end
    ^body:
      %c = arith.addi %a, %b : i32
      %next = arith.subi %left, %o : i32
      cf.br ^head(%b, %c, %next : i32, i32, i32)
    ^end:
      func.return %a, %b : i32, i32
    }"""
    assert [int(r) for r in run(text, np.int32(10))] == [55, 89]


def test_parallel_reduce_and_index_switch(run):
    text = """func.func @f(%m: memref<4xi64>, %k: index) -> (i64, i64) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c4 = arith.constant 4 : index
      %z = arith.constant 0 : i64
      %s = "scf.parallel"(%c0, %c4, %c1, %z) <{operandSegmentSizes = array<i32: 1, 1, 1, 1>}> ({
      ^bb0(%i: index):
        %v = memref.load %m[%i] : memref<4xi64>
        scf.reduce(%v : i64) {
        ^bb1(%l: i64, %r: i64):
          %t = arith.addi %l, %r : i64
          scf.reduce.return %t : i64
        }
      }) : (index, index, index, i64) -> i64
      %w = scf.index_switch %k -> i64
      case 2 {
        scf.yield %s : i64
      }
      default {
        scf.yield %z : i64
      }
      func.return %s, %w : i64, i64
    }"""
    m = np.array([1, 2, 3, 4], dtype=np.int64)
    assert [int(x) for x in run(text, m, np.int64(2))[:2]] == [10, 10]
    assert [int(x) for x in run(text, m, np.int64(1))[:2]] == [10, 0]


def test_calls_and_recursion_limit(run):
    text = """func.func @g(%n: i32) -> i32 {
      %r = func.call @g(%n) : (i32) -> i32
      func.return %r : i32
    }
    func.func @f(%n: i32) -> i32 {
      %r = func.call @g(%n) : (i32) -> i32
      func.return %r : i32
    }"""
    with pytest.raises(LimitError, match="nested deeper"):
        run(text, np.int32(1))


def test_endless_loops_stop(run):
    text = """func.func @f() {
      cf.br ^a
    ^a:
      cf.br ^a
    }"""
    with pytest.raises(LimitError, match="iteration budget"):
        run(text, max_iterations=1000)


def test_asserts_carry_their_message(run):
    text = """func.func @f(%c: i1) {
      cf.assert %c, "index 7 is out of range" loc("model.py":3:1)
      func.return
    }"""
    assert run(text, np.bool_(True)) == []
    with pytest.raises(ExecutionError, match=r"model\.py:3.*index 7 is out of range"):
        run(text, np.bool_(False))


def test_wrong_inputs_are_refused_by_name(run):
    text = """func.func @f(%x: tensor<2x?xf32>) -> tensor<2x?xf32> {
      func.return %x : tensor<2x?xf32>
    }"""
    assert run(text, np.zeros((2, 5), np.float32))[0].shape == (2, 5)
    with pytest.raises(ShapeError, match="argument 0"):
        run(text, np.zeros((3, 5), np.float32))
    with pytest.raises(DTypeError, match="argument 0"):
        run(text, np.zeros((2, 5), np.float64))
    with pytest.raises(UsageError, match="takes 1"):
        run(text)
    with pytest.raises(UsageError, match="unknown domain"):
        run(text, np.zeros((2, 5), np.float32), domain="reals")


def test_missing_functions_and_ops_are_named(parse):
    module = parse("func.func private @g()\nfunc.func @f() {\n func.call @g() : () -> ()\n func.return\n}")
    with pytest.raises(UnsupportedError, match="@g is only declared"):
        run_function(module, "f", [])
    with pytest.raises(UsageError, match="no function @h"):
        run_module(module, "h", [])
    module = parse('func.func @f() {\n "test.op"() : () -> ()\n func.return\n}')
    with pytest.raises(UnsupportedError, match=r"'test\.op' has no reference semantics"):
        run_function(module, "f", [])


def test_a_crash_of_semantics_names_the_op(parse):
    from mlc.ir import semantics

    module = parse('func.func @f() {\n "test.op"() : () -> () loc("model.py":9:1)\n func.return\n}')

    def crash(op, args, run):
        raise TypeError("boom")

    crash.__module__ = "mlc.dialects.crash"  # other packages' are theirs to mend: test_foreign_semantics.py
    semantics._TABLE["test.op"] = crash
    try:
        with pytest.raises(InternalError, match=r"model\.py:9.*'test\.op' could not be interpreted: TypeError: boom"):
            run_function(module, "f", [])
    finally:
        del semantics._TABLE["test.op"]


CASTS = ("arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast", "arith.index_castui")


@pytest.mark.parametrize("name", CASTS[3:])
@pytest.mark.parametrize(
    "types", [("i64", "index"), ("index", "i64"), ("i32", "index"), ("index", "i32"), ("i1", "index")]
)
def test_inlined_casts_agree_with_semantics_functions(parse, name, types):
    source, target = types
    module = parse(
        f"func.func @f(%a: {source}) -> {target} {{\n"
        f" %r = {name} %a : {source} to {target}\n func.return %r : {target}\n}}"
    )
    op = next(o for o in module.walk() if o.name == name)
    text = inline_of(op, make_domain("ieee"))
    assert (text is not None) == ("i64" in types)
    engine = Interpreter(module, resources=None, domain=make_domain("ieee"))
    for a in np.array([0, 1, -1, 2**62, -(2**63)], np.int64) if text is not None else ():
        (called,) = semantics_of(op)(op, (a,), engine)
        pasted = eval(text.format("a"), {"a": a})
        assert type(pasted) is type(called) and pasted == called
    assert not any(inline_of(o, make_domain("ieee")) for o in parse(EXTENDED).walk() if o.name in CASTS)


EXTENDED = "func.func @f(%a: i8) -> i32 {\n %r = arith.extsi %a : i8 to i32\n func.return %r : i32\n}"


def test_inlined_code_agrees_with_semantics_functions(parse):
    """Every op with an inline form: the expression and the function give the same on every pair of a few values."""
    values = {
        "f32": np.array([0.0, -0.0, 1.5, -3.25, np.inf, np.nan, 1e-45], np.float32),
        "f16": np.array([0.0, -1.5, 65504.0, np.inf, np.nan], np.float16),
        "i32": np.array([0, 1, -1, 7, 2**31 - 1, -(2**31)], np.int32),
        "i8": np.array([0, 1, -1, 127, -128], np.int8),
        "i1": np.array([True, False]),
        "index": np.array([0, 5, -7, 2**62], np.int64),
    }
    checked = set()
    registered_semantics()
    binary = [n for n in _INLINE if n.startswith("arith.") and n not in ("arith.negf", "arith.cmpi")]
    binary = [n for n in binary if make_context().get_optional_op(n) is not None and n not in CASTS]
    cases = [(n, t, "") for n in binary for t in values if t.startswith("f") == n.endswith("f")]
    cases += [
        ("arith.cmpi", t, f"{p}, ") for t in values if not t.startswith("f") for p in ("eq", "ne", "slt", "ult", "sge")
    ]
    for name, t, extra in cases:
        result = "i1" if name == "arith.cmpi" else t
        module = parse(
            f"func.func @f(%a: {t}, %b: {t}) -> {result} {{\n"
            f" %r = {name} {extra}%a, %b : {t}\n func.return %r : {result}\n}}"
        )
        op = next(o for o in module.walk() if o.name == name)
        domain = make_domain("ieee")
        text = inline_of(op, domain)
        if text is None:
            continue
        engine = Interpreter(module, resources=None, domain=domain)
        code = compile(text.format("a", "b"), "inline", "eval")
        with np.errstate(all="ignore"):
            for a in values[t]:
                for b in values[t]:
                    pasted = eval(code, {"np": np, "a": a, "b": b})
                    (called,) = semantics_of(op)(op, (a, b), engine)
                    assert type(pasted) is type(called), (name, t, a, b)
                    assert pasted.tobytes() == called.tobytes() or (pasted != pasted and called != called), (
                        name,
                        t,
                        a,
                        b,
                    )
        checked.add(name)
    assert {"arith.addf", "arith.mulf", "arith.divf", "arith.addi", "arith.andi", "arith.cmpi"} <= checked
