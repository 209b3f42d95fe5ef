"""linalg-to-loops keeps every bit: named ops, odd maps, index, reductions, several results, dynamic sizes."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects import memref, scf

from mlc.interp import run_function
from mlc.ir.pipeline import make_pass
from mlc.ir.verifier import verify_module
from tests.lowering.buffers.checking import parsed

F = "f32"
PAIR = "tensor<2xi64>"


def generic(maps: str, iterators: str, operands: str, args: str, body: str) -> str:
    kinds = ", ".join('"parallel"' if c == "p" else '"reduction"' for c in iterators)
    traits = f"{{indexing_maps = [{maps}], iterator_types = [{kinds}]}}"
    return f"linalg.generic {traits} {operands} {{\n^bb0({args}):\n{body}\n}}"


ADD = "%y = arith.addf %a, %o : f32\nlinalg.yield %y : f32"
COPY = "linalg.yield %a : f32"
WINDOW = f"{{dilations = dense<[1, 2]> : {PAIR}, strides = dense<[2, 1]> : {PAIR}}}"
# name: (shapes of the arguments, the op on %0, %1, …)
CASES: dict[str, tuple[list[str], str]] = {
    "fill": (["2x3"], "%z = arith.constant 3.0 : f32\nlinalg.fill ins(%z : f32) outs(%0 : {0})"),
    "copy": (["2x3", "2x3"], "linalg.copy ins(%0 : {0}) outs(%1 : {1})"),
    "memref copy": (["2x3", "2x3"], "memref.copy %0, %1 : {0} to {1}"),
    "transpose": (["2x3x4", "4x2x3"], "linalg.transpose ins(%0 : {0}) outs(%1 : {1}) permutation = [2, 0, 1]"),
    "broadcast": (["3", "2x3"], "linalg.broadcast ins(%0 : {0}) outs(%1 : {1}) dimensions = [0]"),
    "reduce": (
        ["2x3x4", "2x4"],
        "linalg.reduce ins(%0 : {0}) outs(%1 : {1}) dimensions = [1]\n"
        "(%a: f32, %o: f32) {{\n%y = arith.addf %a, %o : f32\nlinalg.yield %y : f32\n}}",
    ),
    "matmul": (["3x5", "5x4", "3x4"], "linalg.matmul ins(%0, %1 : {0}, {1}) outs(%2 : {2})"),
    "batch_matmul": (["2x3x5", "2x5x4", "2x3x4"], "linalg.batch_matmul ins(%0, %1 : {0}, {1}) outs(%2 : {2})"),
    "empty reduction": (["3x0", "0x4", "3x4"], "linalg.matmul ins(%0, %1 : {0}, {1}) outs(%2 : {2})"),
    "conv": (
        ["1x2x7x6", "3x2x3x2", "1x3x3x4"],
        f"linalg.conv_2d_nchw_fchw {WINDOW} ins(%0, %1 : {{0}}, {{1}}) outs(%2 : {{2}})".replace(
            WINDOW, "{{" + WINDOW[1:-1] + "}}"
        ),
    ),
    "pooling": (
        ["1x2x7x6", "3x2", "1x2x3x4"],
        "linalg.pooling_nchw_max {{" + WINDOW[1:-1] + "}} ins(%0, %1 : {0}, {1}) outs(%2 : {2})",
    ),
    "softmax": (["3x5x2", "3x5x2"], "linalg.softmax dimension(1) ins(%0 : {0}) outs(%1 : {1})"),
    "softmax of nothing": (["3x0", "3x0"], "linalg.softmax dimension(1) ins(%0 : {0}) outs(%1 : {1})"),
    "constant and sum maps": (
        ["3x5", "3x4"],
        generic(
            "affine_map<(i, j) -> (2, j + 1)>, affine_map<(i, j) -> (i, j)>",
            "pp",
            "ins(%0 : {0}) outs(%1 : {1})",
            "%a: f32, %o: f32",
            COPY,
        ),
    ),
    "floordiv and mod": (
        ["4x3", "12"],
        generic(
            "affine_map<(i) -> (i floordiv 3, i mod 3)>, affine_map<(i) -> (i)>",
            "p",
            "ins(%0 : {0}) outs(%1 : {1})",
            "%a: f32, %o: f32",
            COPY,
        ),
    ),
    "reduction first": (
        ["4x3", "3"],
        generic(
            "affine_map<(r, i) -> (r, i)>, affine_map<(r, i) -> (i)>",
            "rp",
            "ins(%0 : {0}) outs(%1 : {1})",
            "%a: f32, %o: f32",
            ADD,
        ),
    ),
    "to a scalar": (
        ["4x3", ""],
        generic(
            "affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> ()>",
            "rr",
            "ins(%0 : {0}) outs(%1 : {1})",
            "%a: f32, %o: f32",
            ADD,
        ),
    ),
    "two results and index": (
        ["4x3", "4", "4"],
        generic(
            "affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i)>",
            "pr",
            "ins(%0 : {0}) outs(%1, %2 : {1}, {2})",
            "%a: f32, %o: f32, %p: f32",
            "%j = linalg.index 1 : index\n%k = arith.index_cast %j : index to i64\n%f = arith.sitofp %k : i64 to f32\n"
            "%more = arith.cmpf ogt, %a, %o : f32\n%v = arith.select %more, %a, %o : f32\n"
            "%w = arith.select %more, %f, %p : f32\nlinalg.yield %v, %w : f32, f32",
        ),
    ),
    "running sum": (  # the output is indexed by a reduction loop: no register, the order as written
        ["5", "5"],
        generic(
            "affine_map<(i) -> (i)>, affine_map<(i) -> (i)>",
            "r",
            "ins(%0 : {0}) outs(%1 : {1})",
            "%a: f32, %o: f32",
            ADD,
        ),
    ),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str, dynamic: bool) -> None:
    shapes, op = CASES[name]
    sizes = [tuple(int(d) for d in s.split("x")) if s else () for s in shapes]
    types = [f"memref<{'x'.join([*(('?' if dynamic else str(d)) for d in s), F])}>" for s in sizes]
    if dynamic and "constant" in name:
        types[0] = "memref<3x5xf32>"
    body = op
    for i, t in enumerate(types):
        body = body.replace(f"{{{i}}}", t)
    body = body.replace("{{", "{").replace("}}", "}")
    for i in reversed(range(len(types))):
        body = body.replace(f"%{i}", f"%m{i}")
    params = ", ".join(f"%m{i}: {t}" for i, t in enumerate(types))
    text = f"func.func private @k({params}) attributes {{kernel}} {{\n{body}\nfunc.return\n}}"
    module, ctx = parsed(text, {})
    rng = np.random.default_rng(1)
    data = [rng.standard_normal(s).astype(np.float32) for s in sizes]
    _, expected = run_function(module, "k", [d.copy() for d in data])
    make_pass("linalg-to-loops", {}).apply(ctx, module)
    verify_module(module, ctx)
    left = [o.name for o in module.walk() if o.name.startswith("linalg.") or isinstance(o, memref.CopyOp)]
    assert not left
    _, got = run_function(module, "k", [d.copy() for d in data])
    for a, b in zip(expected, got, strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_reductions_stay_in_registers() -> None:
    """The innermost loop of a matmul loads its factors only, and stores nothing."""
    text = """
func.func private @k(%a: memref<3x5xf32>, %b: memref<5x4xf32>, %c: memref<3x4xf32>) attributes {kernel} {
  linalg.matmul ins(%a, %b : memref<3x5xf32>, memref<5x4xf32>) outs(%c : memref<3x4xf32>)
  func.return
}"""
    module, ctx = parsed(text, {})
    make_pass("linalg-to-loops", {}).apply(ctx, module)
    loops = [op for op in module.walk() if isinstance(op, scf.ForOp)]
    assert [len(loop.iter_args) for loop in loops] == [0, 0, 1]
    inner = [op.name for op in loops[-1].body.block.ops]
    assert inner.count("memref.load") == 2 and "memref.store" not in inner
