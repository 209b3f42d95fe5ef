"""`mlc-opt --run --native` prints what the interpreter prints, for entry points of every kind and level."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlc.errors import InternalError
from mlc.tools import opt_session
from mlc.tools.mlc_opt import main

ROOT = Path(__file__).resolve().parents[2]

SCALARS = """func.func @forward(%a: f32, %k: i8, %n: index, %b: i1, %h: bf16) -> (f32, i8, index, i1, bf16) {
  %0 = arith.mulf %a, %a : f32
  %1 = arith.addi %k, %k : i8
  %c = arith.constant 3 : index
  %2 = arith.addi %n, %c : index
  func.return %0, %1, %2, %b, %h : f32, i8, index, i1, bf16
}
"""
MIXED = """func.func @forward(%t: tensor<?xf32>, %s: f32) -> (f32, tensor<?xf32>) {
  %0 = linalg.generic {indexing_maps = [affine_map<(i)->(i)>], iterator_types = ["parallel"]}
      outs(%t : tensor<?xf32>) {
  ^bb0(%y: f32):
    %1 = arith.mulf %y, %s : f32
    linalg.yield %1 : f32
  } -> tensor<?xf32>
  func.return %s, %0 : f32, tensor<?xf32>
}
"""
BUFFERS = """memref.global "private" constant @w : memref<4xf32> = dense<[1.0, 2.0, 3.0, 4.0]>
func.func @forward(%a: memref<?x4xf32>, %s: f32, %b: memref<?x4xf32>, %u: memref<3xbf16>) -> (f32, f32) {
  %w = memref.get_global @w : memref<4xf32>
  linalg.generic {
      indexing_maps = [affine_map<(i,j)->(i,j)>, affine_map<(i,j)->(j)>, affine_map<(i,j)->(i,j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%a, %w : memref<?x4xf32>, memref<4xf32>) outs(%b : memref<?x4xf32>) {
  ^bb0(%x: f32, %v: f32, %y: f32):
    %1 = arith.mulf %x, %v : f32
    linalg.yield %1 : f32
  }
  func.call @first(%b, %u) : (memref<?x4xf32>, memref<3xbf16>) -> ()
  func.return %s, %s : f32, f32
}
func.func private @first(%a: memref<?x4xf32>, %u: memref<3xbf16>) {
  %c0 = arith.constant 0 : index
  %seven = arith.constant 7.0 : f32
  %half = arith.constant 0.5 : bf16
  memref.store %seven, %a[%c0, %c0] : memref<?x4xf32>
  memref.store %half, %u[%c0] : memref<3xbf16>
  func.return
}
"""
EXP = """func.func @forward(%t: tensor<64xf32>) -> tensor<64xf32> {
  %0 = linalg.exp ins(%t : tensor<64xf32>) outs(%t : tensor<64xf32>) -> tensor<64xf32>
  func.return %0 : tensor<64xf32>
}
"""
SWAPPED = """func.func @forward(%o: tensor<4xf32>, %p: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %r:2 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]} outs(%o, %p : tensor<4xf32>, tensor<4xf32>) {
  ^bb0(%m: f32, %k: f32):
    linalg.yield %k, %m : f32, f32
  } -> (tensor<4xf32>, tensor<4xf32>)
  func.return %r#0, %r#1 : tensor<4xf32>, tensor<4xf32>
}
"""
SWAPPED_IN_TURNS = """func.func @forward(%o: tensor<4xf32>, %p: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %n = tensor.empty() : tensor<3xf32>
  %r:2 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i)>,
      affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%n : tensor<3xf32>) outs(%o, %p : tensor<4xf32>, tensor<4xf32>) {
  ^bb0(%x: f32, %m: f32, %k: f32):
    linalg.yield %k, %m : f32, f32
  } -> (tensor<4xf32>, tensor<4xf32>)
  func.return %r#0, %r#1 : tensor<4xf32>, tensor<4xf32>
}
"""
LAST_TERM = """func.func @forward(%x: tensor<5x32xf32>, %y: tensor<5x16xf32>) -> tensor<5x16xf32> {
  %r = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x : tensor<5x32xf32>) outs(%y : tensor<5x16xf32>) {
  ^bb0(%a: f32, %acc: f32):
    linalg.yield %a : f32
  } -> tensor<5x16xf32>
  func.return %r : tensor<5x16xf32>
}
"""
LOAD = """func.func @forward(%a: memref<4xi32>, %i: index) -> i32 {
  %0 = memref.load %a[%i] : memref<4xi32>
  func.return %0 : i32
}
"""


def opt(tmp_path: Path, text: str, *flags: str, **inputs: Any) -> tuple[int, str, str]:
    file, arrays = tmp_path / "in.mlir", tmp_path / "in.npz"
    file.write_text(text)
    np.savez(arrays, **inputs)
    given = [f"--inputs={arrays}"] if inputs else []
    out, err = io.StringIO(), io.StringIO()
    return main([str(file), *given, *flags], stdout=out, stderr=err), out.getvalue(), err.getvalue()


RUN = {
    "scalars": (SCALARS, 5),
    "mixed": (MIXED, 2),
    "buffers": (BUFFERS, 5),
    "swapped": (SWAPPED, 2),
    "swapped in turns": (SWAPPED_IN_TURNS, 2),
    "what holds for all lanes": (LAST_TERM, 1),
}


@pytest.mark.parametrize(("text", "values"), RUN.values(), ids=RUN)
def test_native_and_interpreted_print_the_same(text: str, values: int, tmp_path: Path):
    native = opt(tmp_path, text, "--run", "--native")
    assert native == opt(tmp_path, text, "--run")
    assert native[0] == 0 and native[1].count("%") == values


def test_buffers_are_shown_as_they_are_after_the_call(tmp_path: Path):
    a = np.array([[1, 2, 3, 4]], np.float32)
    out = opt(tmp_path, BUFFERS, "--run", "--native", arg0=a, arg1=np.float32(9), arg2=a)[1]
    assert out.startswith("%0 = float32[]\n9.\n%1 = float32[]\n9.\n%2 = float32[1, 4]\n[[1. 2. 3. 4.]]\n")
    assert "%3 = float32[1, 4]\n[[ 7.  4.  9. 16.]]\n" in out


@pytest.mark.parametrize("level", ["linalg", "kernels", "buffers", "loops"])
def test_every_level_of_the_staircase_runs(level: str, tmp_path: Path):
    text = (ROOT / "examples/mlp.mlir").read_text()
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    want = opt(tmp_path, text, "--run", arg0=x)[1]
    _, lowered, _ = opt(tmp_path, text, "--mlc-pipeline=cpu", f"--mlc-to={level}")
    code, out, err = opt(tmp_path, lowered, "--run", "--native", arg0=x)
    assert code == 0, err
    got, expected = (
        np.fromstring(o.partition("\n")[2].translate(str.maketrans("[]", "  ")), sep=" ") for o in (out, want)
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("more", [(), ("--vectorize-structured",), ("--vectorize-structured", "--linalg-to-loops")])
def test_buffers_without_an_arena_run(more: tuple[str, ...], tmp_path: Path):
    text = (ROOT / "examples/mlp.mlir").read_text()
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    _, kernels, _ = opt(tmp_path, text, "--mlc-pipeline=cpu", "--mlc-to=kernels")
    _, lowered, _ = opt(tmp_path, kernels, "--bufferize", *more)
    assert "arena" not in lowered
    native = opt(tmp_path, lowered, "--run", "--native", arg0=x)
    assert native == opt(tmp_path, kernels, "--run", "--native", arg0=x) and native[0] == 0
    code, _, err = opt(tmp_path, lowered, "--linalg-to-loops", "--convert-to-llvm")
    assert code == 1 and "expected: memref<?xi8> as the last argument" in err  # not an output taken for the arena


def test_what_cannot_run_says_why(tmp_path: Path):
    a = np.arange(4, dtype=np.int32)
    code, _, err = opt(tmp_path, LOAD, "--run", "--native", arg0=a, arg1=np.int64(7))
    assert code == 1 and "@forward failed: memref.load outside of its memory" in err
    lowered = opt(tmp_path, (ROOT / "examples/mlp.mlir").read_text(), "--mlc-pipeline=cpu")[1]
    code, _, err = opt(tmp_path, lowered, "--run", "--native")
    assert code == 1 and "at the llvm level" in err
    text = "func.func @forward(%a: memref<4xf32>) -> memref<4xf32> {\n  func.return %a : memref<4xf32>\n}\n"
    code, _, err = opt(tmp_path, text, "--run", "--native")
    assert code == 1 and "takes buffers and gives memref<4xf32>" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--native"], "--native without --run"),
        (["--inputs=x.npz"], "--inputs without --run"),
        (["--run", "--emit=llvm"], "--run and --emit together"),
        (["--bisect", "--run", "--cse"], "--run and --bisect together"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(flags: list[str], message: str, tmp_path: Path):
    code, out, err = opt(tmp_path, SCALARS, *flags)
    assert (code, out) == (2, "") and message in err


def test_a_target_by_name(tmp_path: Path):
    text = EXP
    out = opt(tmp_path, text, "--mlc-pipeline=cpu", "--target=x86-64-sse2", "--mlc-to=loops")[1]
    assert "vector<4xf32>" in out and "vector<16xf32>" not in out
    assert opt(tmp_path, text, "--mlc-pipeline=x86-64-sse2", "--mlc-to=loops")[1] == out
    code, _, err = opt(tmp_path, text, "--target=x86-64-sse")
    assert code == 2 and "expected: one of: native, x86-64-sse2" in err and "did you mean 'x86-64-sse2'" in err
    code, _, err = opt(tmp_path, text, "--mlc-pipeline=native", "--target=x86-64-sse2")
    assert code == 2 and "expected: one target" in err


BRANCHES = """func.func private @helper(%a: i32) -> i32 {
  %c1 = arith.constant 1 : i32
  cf.br ^loop(%a, %c1 : i32, i32)
^loop(%n: i32, %acc: i32):
  %zero = arith.constant 0 : i32
  %c = arith.cmpi sle, %n, %zero : i32
  cf.cond_br %c, ^exit(%acc : i32), ^body
^body:
  %acc1 = arith.muli %acc, %n : i32
  %n1 = arith.subi %n, %c1 : i32
  cf.br ^loop(%n1, %acc1 : i32, i32)
^exit(%r: i32):
  func.return %r : i32
}
func.func @forward() -> i32 {
  %c7 = arith.constant 7 : i32
  %r = func.call @helper(%c7) : (i32) -> i32
  func.return %r : i32
}
"""
GLOBAL = """memref.global "private" constant @a : memref<2xf32> = dense<[1.5, 2.5]>
func.func @forward() -> f32 {
  %c1 = arith.constant 1 : index
  %0 = memref.get_global @a : memref<2xf32>
  %1 = memref.load %0[%c1] : memref<2xf32>
  func.return %1 : f32
}
"""


@pytest.mark.parametrize(("text", "value"), [(BRANCHES, "5040"), (GLOBAL, "2.5")], ids=["branches", "global"])
def test_functions_without_tensors(text: str, value: str, tmp_path: Path):
    native = opt(tmp_path, text, "--run", "--native")
    assert native == opt(tmp_path, text, "--run")
    assert native[0] == 0 and native[1].endswith(f"\n{value}\n")


BRANCH_ON_TENSORS = """func.func @forward(%x: tensor<4xf32>, %p: i1) -> tensor<4xf32> {
  cf.cond_br %p, ^a, ^a
^a:
  func.return %x : tensor<4xf32>
}
"""
CALL_ON_TENSORS = """func.func private @h(%x: tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}
func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = func.call @h(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BRANCH_ON_TENSORS, ":2: unsupported: 'cf.cond_br' in a function"),
        (CALL_ON_TENSORS, ":5: unsupported: a call of"),
    ],
)
def test_what_tensors_have_no_way_down_for_is_named(text: str, told: str, tmp_path: Path):
    code, _, err = opt(tmp_path, text, "--run", "--native", "--entry-point=forward")
    assert code == 1 and told in err and "the interpreter runs it" in err


OUTSIDE = {
    "extract": (
        """func.func @forward(%x: tensor<2x6xf32>, %c: f32, %n: index) -> f32 {
  %0 = tensor.extract %x[%n, %n] : tensor<2x6xf32>
  func.return %0 : f32
}""",
        100000000000,
    ),
    "extract_slice": (
        """func.func @forward(%x: tensor<2x6xf32>, %c: f32, %n: index) -> tensor<2x3xf32> {
  %0 = tensor.extract_slice %x[0, %n] [2, 3] [1, 1] : tensor<2x6xf32> to tensor<2x3xf32>
  func.return %0 : tensor<2x3xf32>
}""",
        4,
    ),
    "insert_slice": (
        """func.func @forward(%x: tensor<2x6xf32>, %c: f32, %n: index) -> tensor<2x6xf32> {
  %e = tensor.empty() : tensor<1x3xf32>
  %y = linalg.fill ins(%c : f32) outs(%e : tensor<1x3xf32>) -> tensor<1x3xf32>
  %0 = tensor.insert_slice %y into %x[%n, 0] [1, 3] [1, 1] : tensor<1x3xf32> into tensor<2x6xf32>
  func.return %0 : tensor<2x6xf32>
}""",
        10000000,
    ),
    "cast": (
        """func.func @forward(%x: tensor<?x6xf32>, %c: f32, %n: index) -> tensor<300x6xf32> {
  %0 = tensor.cast %x : tensor<?x6xf32> to tensor<300x6xf32>
  %1 = linalg.exp ins(%0 : tensor<300x6xf32>) outs(%0 : tensor<300x6xf32>) -> tensor<300x6xf32>
  func.return %1 : tensor<300x6xf32>
}""",
        2,
    ),
    "step": (
        """func.func @forward(%x: tensor<2x6xf32>, %c: f32, %n: index) -> f32 {
  %c0 = arith.constant 0 : index
  %c9 = arith.constant 9 : index
  %0 = scf.for %i = %c0 to %c9 step %n iter_args(%s = %c) -> (f32) {
    %a = arith.addf %s, %c : f32
    scf.yield %a : f32
  }
  func.return %0 : f32
}""",
        0,
    ),
    "buffer cast": (
        """func.func @forward(%x: memref<?xf32>, %c: f32, %n: index) {
  %v = memref.cast %x : memref<?xf32> to memref<1000000xf32>
  memref.store %c, %v[%n] : memref<1000000xf32>
  func.return
}""",
        999999,
    ),
    "subview": (
        """func.func @forward(%x: memref<4xf32>, %c: f32, %n: index) {
  %c9 = arith.constant 99999 : index
  %v = memref.subview %x[0] [%n] [1] : memref<4xf32> to memref<?xf32, strided<[1]>>
  memref.store %c, %v[%c9] : memref<?xf32, strided<[1]>>
  func.return
}""",
        100000,
    ),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_elements_outside_are_an_error_not_other_memory(case: str, tmp_path: Path):
    text, n = OUTSIDE[case]
    x = np.zeros(4, np.float32) if "memref" in text.partition("\n")[0] else np.zeros((2, 6), np.float32)
    arguments = {"arg0": x, "arg1": np.float32(1), "arg2": np.int64(n)}
    code, _, err = opt(tmp_path, text, "--run", "--native", **arguments)
    assert code == 1 and ("outside of its memory" in err or "step that is not positive" in err), err
    assert opt(tmp_path, text, "--run", **arguments)[0] == 1


def test_the_hint_of_a_failure_names_flags_that_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The passes of --run --native are the compiler's: no reproducer is written for them."""

    def fails(*args: object) -> None:
        raise InternalError("pass 'x' left invalid IR", hint="please report it; FLAG=FILE writes what shows it")

    monkeypatch.setattr(opt_session, "run", fails)
    for flags, more in ((("--run",), ""), (("--run", "--native"), ", with --mlc-pipeline in place of --run --native")):
        code, _, err = opt(tmp_path, EXP, *flags)
        assert code == InternalError.exit_code and err.endswith(f"FLAG=FILE writes what shows it{more}\n")
