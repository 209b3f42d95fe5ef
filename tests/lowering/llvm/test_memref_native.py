"""memref ops, compiled and run, against the reference semantics: views, strides, copies, globals."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import LimitError, UnsupportedError

CONSTANTS = "\n".join(f"  %c{i} = arith.constant {i} : index" for i in (0, 1, 2, 3, 4, 5, 8, 16, 32))


def function(args: str, body: str, extra: str = "") -> str:
    return f"{extra}\nfunc.func @f({args}) {{\n{CONSTANTS}\n{body}\n  func.return\n}}"


def floats(*shape: int) -> np.ndarray:
    return (np.arange(int(np.prod(shape)), dtype=np.float32) + 1).reshape(shape)


def test_strided_arguments(parse, native):
    """Dynamic sizes and strides travel as numbers: any numpy view can be passed."""
    text = function(
        "%x: memref<?x?xf32, strided<[?, ?], offset: ?>>, %o: memref<?x?xf32, strided<[?, ?], offset: ?>>",
        """  %n = memref.dim %x, %c0 : memref<?x?xf32, strided<[?, ?], offset: ?>>
  %m = memref.dim %x, %c1 : memref<?x?xf32, strided<[?, ?], offset: ?>>
  scf.for %i = %c0 to %n step %c1 {
    scf.for %j = %c0 to %m step %c1 {
      %v = memref.load %x[%i, %j] : memref<?x?xf32, strided<[?, ?], offset: ?>>
      %w = arith.addf %v, %v : f32
      memref.store %w, %o[%i, %j] : memref<?x?xf32, strided<[?, ?], offset: ?>>
    }
  }""",
    )
    kernel = native(parse(text), "f")
    base = floats(6, 8)
    for x in (base, base.T, base[::2, 1::3], base[::-1, ::-2], base[:, 3:3], base[2:3]):
        out = np.zeros((x.shape[0] + 1, x.shape[1] + 2), np.float32)
        target = out[: x.shape[0], 1 : x.shape[1] + 1]
        kernel(x, target)
        assert np.array_equal(target, 2 * x)
        target[...] = 0
        assert not out.any()


@pytest.mark.parametrize(
    ("op", "ty"),
    [
        ("memref.subview %x[1, 2] [2, 3] [1, 1] : memref<4x8xf32> to {t}",
         "memref<2x3xf32, strided<[8, 1], offset: 10>>"),
        ("memref.subview %x[%n, 2] [2, 3] [1, 2] : memref<4x8xf32> to {t}",
         "memref<2x3xf32, strided<[8, 2], offset: ?>>"),
        ("memref.subview %x[%n, %n] [2, 3] [1, 1] : memref<4x8xf32> to {t}",
         "memref<2x3xf32, strided<[8, 1], offset: ?>>"),
        ("memref.reinterpret_cast %x to offset: [%n], sizes: [2, 3], strides: [5, 2] : memref<4x8xf32> to {t}",
         "memref<2x3xf32, strided<[5, 2], offset: ?>>"),
        ("memref.reinterpret_cast %x to offset: [3], sizes: [2, 3], strides: [1, %n] : memref<4x8xf32> to {t}",
         "memref<2x3xf32, strided<[1, ?], offset: 3>>"),
    ],
)  # fmt: skip
def test_views(check, op, ty):
    text = function(
        "%x: memref<4x8xf32>, %o: memref<2x3xf32>, %n: index",
        f"""  %v = {op.format(t=ty)}
  scf.for %i = %c0 to %c2 step %c1 {{
    scf.for %j = %c0 to %c3 step %c1 {{
      %e = memref.load %v[%i, %j] : {ty}
      memref.store %e, %o[%i, %j] : memref<2x3xf32>
      memref.store %e, %v[%i, %c0] : {ty}
    }}
  }}""",
    )
    for n in (0, 1, 2):
        check(text, "f", [floats(4, 8), np.zeros((2, 3), np.float32), n])


def test_rank_reducing_subview_of_a_subview(check):
    outer = "memref<2x1x8xf32, strided<[32, 8, 1], offset: ?>>"
    inner = "memref<8xf32, strided<[1], offset: ?>>"
    text = function(
        "%x: memref<3x4x8xf32>, %o: memref<8xf32>, %n: index",
        f"""  %v = memref.subview %x[1, %n, 0] [2, 1, 8] [1, 1, 1] : memref<3x4x8xf32> to {outer}
  %w = memref.subview %v[%c1, 0, 0] [1, 1, 8] [1, 1, 1] : {outer} to {inner}
  %a = vector.load %w[%c4] : {inner}, vector<4xf32>
  vector.store %a, %o[%c0] : memref<8xf32>, vector<4xf32>""",
    )
    for n in (0, 3):
        check(text, "f", [floats(3, 4, 8), np.zeros(8, np.float32), n])


def test_expand_and_collapse(check):
    text = function(
        "%x: memref<?x12xf32>, %o: memref<?x3x4xf32>, %p: memref<?xf32>",
        """  %n = memref.dim %x, %c0 : memref<?x12xf32>
  %e = memref.expand_shape %x [[0], [1, 2]] output_shape [%n, 3, 4] : memref<?x12xf32> into memref<?x3x4xf32>
  memref.copy %e, %o : memref<?x3x4xf32> to memref<?x3x4xf32>
  %k = memref.collapse_shape %e [[0, 1, 2]] : memref<?x3x4xf32> into memref<?xf32>
  %s = memref.dim %k, %c0 : memref<?xf32>
  scf.for %i = %c0 to %s step %c1 {
    %v = memref.load %k[%i] : memref<?xf32>
    memref.store %v, %p[%i] : memref<?xf32>
  }""",
    )
    for n in (0, 1, 5):
        check(text, "f", [floats(n, 12), np.zeros((n, 3, 4), np.float32), np.zeros(n * 12, np.float32)])


def test_view_of_bytes_and_cast(check):
    text = function(
        "%x: memref<?xi8>, %o: memref<2x4xf32>, %n: index",
        """  %v = memref.view %x[%c16][%n] : memref<?xi8> to memref<?x4xf32>
  %w = memref.cast %v : memref<?x4xf32> to memref<2x4xf32>
  memref.copy %w, %o : memref<2x4xf32> to memref<2x4xf32>
  %u = memref.view %x[%c8][] : memref<?xi8> to memref<2xf32>
  %e = memref.load %u[%c1] : memref<2xf32>
  memref.store %e, %o[%c0, %c0] : memref<2x4xf32>""",
    )
    check(text, "f", [floats(16).view(np.int8), np.zeros((2, 4), np.float32), 2])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("strided<[64, 8, 1], offset: ?>", "strided<[32, 8, 1], offset: ?>"),
        ("strided<[64, 16, 1], offset: ?>", "strided<[32, 8, 1], offset: ?>"),
        ("strided<[64, 16, 2], offset: ?>", "strided<[32, 8, 1], offset: ?>"),
        ("strided<[1, 8, 32], offset: ?>", "strided<[32, 8, 1], offset: ?>"),
        ("strided<[?, ?, ?], offset: ?>", "strided<[?, ?, ?], offset: ?>"),
    ],
)
def test_copy_between_layouts(parse, native, source, target):
    s, t = f"memref<3x4x5xf32, {source}>", f"memref<3x4x5xf32, {target}>"
    kernel = native(parse(function(f"%x: {s}, %o: {t}", f"  memref.copy %x, %o : {s} to {t}")), "f")

    def array(layout: str) -> np.ndarray:
        strides = [
            int(v) if v.strip() != "?" else 7 ** (2 - i) for i, v in enumerate(layout[9:].split("]")[0].split(","))
        ]
        base = np.zeros(400, np.float32)
        return np.lib.stride_tricks.as_strided(base[1:], (3, 4, 5), [4 * v for v in strides])

    x, o = array(source), array(target)
    x[...] = floats(3, 4, 5)
    kernel(x, o)
    assert np.array_equal(o, floats(3, 4, 5))
    assert o.base is not None


def test_stack_and_heap(check):
    text = function(
        "%x: memref<4x8xf32>, %o: memref<4x8xf32>, %n: index",
        """  %h = memref.alloc(%n) : memref<?x8xf32>
  scf.for %i = %c0 to %c4 step %c1 {
    %t = memref.alloca() : memref<8xf32>
    %v = vector.load %x[%i, %c0] : memref<4x8xf32>, vector<8xf32>
    vector.store %v, %t[%c0] : memref<8xf32>, vector<8xf32>
    %r = vector.load %t[%c4] : memref<8xf32>, vector<4xf32>
    vector.store %r, %o[%i, %c0] : memref<4x8xf32>, vector<4xf32>
    vector.store %v, %h[%i, %c0] : memref<?x8xf32>, vector<8xf32>
  }
  %last = memref.load %h[%c3, %c5] : memref<?x8xf32>
  memref.store %last, %o[%c0, %c5] : memref<4x8xf32>
  memref.dealloc %h : memref<?x8xf32>""",
    )
    check(text, "f", [floats(4, 8), np.zeros((4, 8), np.float32), 4])


def test_small_globals_live_in_the_code(check):
    text = function(
        "%o: memref<2x3xf32>, %p: memref<4xi32>",
        """  %g = memref.get_global @table : memref<2x3xf32>
  memref.copy %g, %o : memref<2x3xf32> to memref<2x3xf32>
  %h = memref.get_global @ones : memref<4xi32>
  memref.copy %h, %p : memref<4xi32> to memref<4xi32>""",
        """memref.global "private" constant @table : memref<2x3xf32> = dense<[[1.0, -2.5, 0.1], [4.0, 5.0, 6.0]]>
memref.global "private" constant @ones : memref<4xi32> = dense<-7>""",
    )
    check(text, "f", [np.zeros((2, 3), np.float32), np.zeros(4, np.int32)])


def test_metadata(check):
    text = function(
        "%x: memref<4x?xf32>, %o: memref<4xi64>",
        """  %b, %off, %s:2, %t:2 = memref.extract_strided_metadata %x :
    memref<4x?xf32> -> memref<f32>, index, index, index, index, index
  %v = memref.load %b[] : memref<f32>
  %i = arith.fptosi %v : f32 to i64
  %j = arith.index_cast %s#1 : index to i64
  %k = arith.index_cast %t#0 : index to i64
  memref.store %i, %o[%c0] : memref<4xi64>
  memref.store %j, %o[%c1] : memref<4xi64>
  memref.store %k, %o[%c2] : memref<4xi64>""",
    )
    check(text, "f", [floats(4, 6), np.zeros(4, np.int64)])


def test_zero_d(check):
    text = function(
        "%x: memref<f32>, %o: memref<f32>",
        """  %v = memref.load %x[] : memref<f32>
  %w = arith.addf %v, %v : f32
  memref.store %w, %o[] : memref<f32>
  memref.copy %o, %x : memref<f32> to memref<f32>""",
    )
    check(text, "f", [np.array(3.5, np.float32), np.array(0, np.float32)])


def test_refusals(parse, native):
    big = function("%o: memref<4xf32>", "  %t = memref.alloca() : memref<1048576xf32>")
    with pytest.raises(LimitError, match="stack buffer"):
        native(parse(big), "f")
    weight = function(
        "%o: memref<4xf32>",
        "  %w = memref.get_global @w : memref<4xf32>",
        'memref.global "private" constant @w : memref<4xf32> = dense_resource<w>',
    )
    with pytest.raises(UnsupportedError, match="weight store"):
        native(
            parse(
                weight + '\n{-# dialect_resources: { builtin: { w: "0x0400000000000000000000000000000000000000" } } #-}'
            ),
            "f",
        )


def test_displacements_share_one_base(parse, ctx):
    """Rows of a register tile differ in the displacement alone, and the base leaves the inner loop."""
    from mlc.backends.llvm.compile import assembly
    from mlc.lowering.llvm.convert_to_llvm import ConvertToLLVM

    rows = "\n".join(
        f"""      %i{r} = arith.addi %i, %k{r} : index
      %v{r} = vector.load %x[%i{r}, %j] : memref<64x64xf32>, vector<16xf32>
      vector.store %v{r}, %o[%i{r}, %j] : memref<64x64xf32>, vector<16xf32>"""
        for r in range(4)
    )
    constants = "\n".join(f"  %k{r} = arith.constant {r} : index" for r in range(4))
    text = f"""
func.func @f(%x: memref<64x64xf32>, %o: memref<64x64xf32>) attributes {{kernel}} {{
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
{constants}
  scf.for %i = %c0 to %c64 step %c4 {{
    scf.for %j = %c0 to %c64 step %c16 {{
{rows}
    }}
  }}
  func.return
}}"""
    module = parse(text)
    ConvertToLLVM().apply(ctx, module)
    loads = [op for op in module.walk() if op.name == "llvm.load"]
    geps = [op for op in module.walk() if op.name == "llvm.getelementptr"]
    assert len(loads) == 4
    # two arrays, each: base of the row block (outer loop), base of the column (inner loop), three displacements
    assert len(geps) == 2 * 5
    assert all("inbounds" in op.properties for op in geps)
    assert "mul" not in assembly(module).split("f:")[1].split("retq")[0].replace("vmul", "")


def test_prefetches_change_nothing_wherever_they_point(parse, native):
    text = function(
        "%x: memref<4xf32>, %far: index",
        """  memref.prefetch %x[%far], read, locality<2>, data : memref<4xf32>
  memref.prefetch %x[%c3], write, locality<3>, data : memref<4xf32>""",
    )
    kernel = native(parse(text), "f")
    x = floats(4)
    for far in (0, 4, 1 << 40, -(1 << 40)):
        kernel(x, far)
    assert np.array_equal(x, floats(4))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("memref.prefetch %x[%c0, %c0], read, locality<2>, data : memref<4xf32>", "expected 1 indices, got 2"),
        ("memref.prefetch %x[%c0], read, locality<4>, data : memref<4xf32>", "expected a locality of 0 to 3"),
        ("memref.prefetch %x[%c0], peek, locality<1>, data : memref<4xf32>", "'read' or 'write' expected"),
        ("memref.prefetch %x[%c0], read, locality<1>, disk : memref<4xf32>", "'data' or 'instr' expected"),
    ],
)
def test_wrong_prefetches(parse, line: str, message: str):
    with pytest.raises(Exception, match=message):
        parse(function("%x: memref<4xf32>", line))
