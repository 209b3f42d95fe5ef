"""Matrix products, convolutions, pooling: register tiles keep the meaning, in the interpreter and natively."""

from __future__ import annotations

from dataclasses import replace

import pytest
from xdsl.dialects import scf
from xdsl.dialects.builtin import ModuleOp

from mlc.backends.machine import PRESETS, preset
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass
from mlc.lowering.loops.cost import constant_of
from tests.lowering.vector.programs import Kernel, check, lowered, structured_left

ADD = ["%r = arith.addf %acc, %a0 : f32"]
MAX = ["%r = arith.maximumf %acc, %a0 : f32"]
BIAS_RELU = [
    "%s = arith.addf %acc, %a0 : f32",
    "%z = arith.constant 0.0 : f32",
    "%r = arith.maximumf %s, %z : f32",
]


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (1, 7, 16), (3, 5, 10), (5, 16, 17), (33, 3, 33), (2, 64, 100), (1, 40, 200)]
)
def test_matmul(m: int, k: int, n: int):
    kernel = Kernel(f"x={m}x{k} w={k}x{n} out={m}x{n}").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    check(kernel, domain="field")


@pytest.mark.parametrize(("bits", "registers"), [(128, 16), (256, 16), (512, 32)])
def test_matmul_on_other_targets(bits: int, registers: int):
    kernel = Kernel("x=13x9 w=9x27 out=13x27").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    check(kernel, domain="field", vector_bits=bits, vector_registers=registers)


def test_matmul_for_a_machine_of_tiny_caches():
    ctx = make_context()
    ctx.machine = replace(preset("x86-64-avx2"), l1=64, l2=128)
    kernel = Kernel("x=13x9 w=9x27 out=13x27").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    module = parse_text(kernel.text(), ctx)
    make_pass("vectorize-structured", {}).apply(ctx, module)
    assert not structured_left(module)


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("m", [24, 30, 33, 13, 6])
def test_matmul_in_blocks_of_rows(m: int, tiles: int):
    """Tiles have six rows; blocks of one or two: even ones, uneven ones, rows left over."""
    kernel = Kernel(f"x={m}x9 w=3x9x4 b=12 out={m}x12").fill("out")
    shape = f"memref<{m}x3x4xf32>"
    expand = f"memref.expand_shape %out [[0], [1, 2]] output_shape [{m}, 3, 4] : {kernel.types['out']} into {shape}"
    kernel.view("o", expand, shape).contract("m,k|n,k,o->m,n,o", "x", "w", "o")
    kernel.generic("n->m,n", ["b", "out"], BIAS_RELU)
    check(kernel, domain="integers", vector_bits=128, vector_registers=8, row_tiles=tiles)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 40, 9), (5, 64, 8), (3, 7, 5), (4, 4, 50)])
def test_product_with_a_transposed_operand(m: int, k: int, n: int):
    kernel = Kernel(f"x={m}x{k} w={n}x{k} out={m}x{n}").fill("out").contract("m,k|n,k->m,n", "x", "w", "out")
    check(kernel, domain="field")


def test_batched_matmul():
    kernel = Kernel("x=3x5x8 w=3x8x20 out=3x5x20").fill("out")
    check(kernel.contract("b,m,k|b,k,n->b,m,n", "x", "w", "out"), domain="field")


@pytest.mark.parametrize(("m", "n", "k"), [(1, 5, 64), (30, 3, 7), (31, 2, 48)])
def test_packed_linear_with_epilogue(m: int, n: int, k: int):
    kernel = Kernel(f"x={m}x{k} w={n}x{k}x16 b={n * 16} out={m}x{n * 16}").fill("out")
    shape = f"memref<{m}x{n}x16xf32>"
    kernel.view(
        "o",
        f"memref.expand_shape %out [[0], [1, 2]] output_shape [{m}, {n}, 16] : {kernel.types['out']} into {shape}",
        shape,
    )
    kernel.contract("m,k|n,k,o->m,n,o", "x", "w", "o").generic("n->m,n", ["b", "out"], BIAS_RELU)
    check(kernel, domain="integers")


@pytest.mark.parametrize(("stride", "size", "window"), [(1, 9, 3), (2, 9, 3), (1, 6, 1), (2, 7, 1)])
def test_blocked_convolution(stride: int, size: int, window: int):
    o = (size - window) // stride + 1
    kernel = Kernel(f"x=1x2x{size}x{size}x8 w=2x2x{window}x{window}x8x16 b=2x16 out=1x2x{o}x{o}x16").fill("out")
    kernel.contract(f"n,c,h*{stride}+i,w*{stride}+j,k|f,c,i,j,k,g->n,f,h,w,g", "x", "w", "out")
    check(kernel.generic("f,g->n,f,h,w,g", ["b", "out"], BIAS_RELU), domain="integers")


def test_plain_convolution():
    kernel = Kernel("x=1x3x9x9 w=20x3x3x3 out=1x20x7x7").fill("out")
    check(kernel.contract("n,c,h+i,w+j|f,c,i,j->n,f,h,w", "x", "w", "out"), domain="field")


def test_first_layer_convolution():
    kernel = Kernel("x=1x3x9x9 w=2x3x3x3x16 out=1x2x4x4x16").fill("out")
    check(kernel.contract("n,c,h*2+i,w*2+j|f,c,i,j,g->n,f,h,w,g", "x", "w", "out"), domain="field")


def test_depthwise_convolution():
    kernel = Kernel("x=1x2x9x11x16 w=2x3x3x16 out=1x2x7x9x16").fill("out")
    check(kernel.contract("n,c,h+i,w+j,b|c,i,j,b->n,c,h,w,b", "x", "w", "out"), domain="field")


def test_max_pooling_has_the_same_bits():
    kernel = Kernel("x=1x2x9x9x16 win=3x3 out=1x2x4x4x16").fill("out", "0xFF800000")
    kernel.generic("n,c,h*2+i,w*2+j,b|i,j->n,c,h,w,b", ["x", "win", "out"], MAX)
    arrays = kernel.arrays()
    arrays[0][0, 0, 2, 3, 5] = float("nan")
    check(kernel, arrays, bits=True)


def test_pooling_over_the_whole_image():
    kernel = Kernel("x=1x3x7x7x16 out=1x3x16").fill("out").generic("n,c,h,w,b->n,c,b", ["x", "out"], ADD)
    check(kernel, domain="field")


def test_accumulation_onto_what_is_there():
    kernel = Kernel("x=5x8 w=8x20 out=5x20").contract("m,k|k,n->m,n", "x", "w", "out")
    check(kernel, domain="field")


def test_doubles():
    body = ["%p = arith.mulf %a0, %a1 : f64", "%r = arith.addf %acc, %p : f64"]
    kernel = Kernel("x=5x20:f64 w=20x9:f64 out=5x9:f64").fill("out").generic("m,k|k,n->m,n", ["x", "w", "out"], body)
    check(kernel, domain="field", tolerance=1e-14)


def test_named_ops_are_taken_too():
    ctx = make_context()
    text = """func.func private @k(%a: memref<4x8xf32>, %b: memref<8x16xf32>, %c: memref<4x16xf32>) {
      linalg.matmul ins(%a, %b : memref<4x8xf32>, memref<8x16xf32>) outs(%c : memref<4x16xf32>)
      func.return
    }"""
    module = parse_text(text, ctx)
    make_pass("vectorize-structured").apply(ctx, module)
    assert structured_left(module) == []


@pytest.mark.parametrize("rows", [1, 14, 49, 56, 196])
def test_kernels_stay_small(rows: int):
    kernel = Kernel(f"x={rows}x64 w=8x64x16 out={rows}x8x16").fill("out").contract("m,k|n,k,o->m,n,o", "x", "w", "out")
    _, after, _ = lowered(kernel)
    assert sum(1 for _ in after.walk()) < 1500


def test_what_it_cannot_do_is_left_with_a_reason():
    ctx = make_context()
    text = """func.func private @k(%x: memref<8xf32>) {
      linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
          outs(%x : memref<8xf32>) {
      ^bb0(%a: f32):
        %b = func.call @other(%a) : (f32) -> f32
        linalg.yield %b : f32
      }
      func.return
    }
    func.func private @other(f32) -> f32"""
    module = parse_text(text, ctx)
    make_pass("vectorize-structured").apply(ctx, module)
    assert structured_left(module)
    assert [r.reason for r in ctx.remarks if r.kind == "missed"] == ["func.call in the body of linalg.generic"]


def test_targets_without_fused_multiply_add_get_two_steps():
    kernel = Kernel("x=5x8 w=8x20 out=5x20").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    ctx = make_context()
    ctx.machine = preset("x86-64-sse2")
    module = parse_text(kernel.text(), ctx)
    make_pass("vectorize-structured").apply(ctx, module)
    names = {op.name for op in module.walk()}
    assert "vector.fma" not in names and "arith.mulf" in names


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_register_tiles_fit_the_machine(name: str):
    """Accumulators of the innermost reduction loop leave room for operands."""
    machine = preset(name)
    lanes = machine.lanes(32)
    kernel = Kernel(f"x=56x64 w=8x64x{lanes} out=56x8x{lanes}").fill("out")
    kernel.contract("m,k|n,k,o->m,n,o", "x", "w", "out")
    ctx = make_context()
    ctx.machine = machine
    module = parse_text(kernel.text(), ctx)
    make_pass("vectorize-structured").apply(ctx, module)
    carried = [len(op.iter_args) for op in module.walk() if isinstance(op, scf.ForOp)]
    assert 4 <= max(carried) <= machine.vector_registers - 2


@pytest.mark.parametrize(("columns", "narrow"), [(3, True), (5, True), (3, False)])
def test_narrow_columns_share_the_scalars_that_one_wide_column_takes_from_memory(columns: int, narrow: bool):
    lanes = 8 if narrow else 16
    kernel = Kernel(f"x=56x64 w={columns}x64x{lanes} out=56x{columns}x{lanes}").fill("out")
    kernel.contract("m,k|n,k,o->m,n,o", "x", "w", "out")
    check(kernel, domain="integers")
    ctx = make_context()
    ctx.machine = preset("x86-64-avx512")
    module = parse_text(kernel.text(), ctx)
    make_pass("vectorize-structured").apply(ctx, module)
    loops = [op for op in module.walk() if isinstance(op, scf.ForOp) and op.iter_args]
    vectors = {len([v for v in op.body.block.ops if v.name == "vector.load"]) for op in loops}
    repeated = {len([v for v in op.body.block.ops if v.name == "vector.broadcast"]) for op in loops}
    per_step = max(vectors) / max(repeated)
    assert per_step == columns / (7 if columns == 3 else 4) if narrow else per_step < 1 / 14


def test_scalars_that_take_a_register_are_used_for_all_columns_before_the_next_is_loaded():
    """Six rows, two columns, two vectors, one scalar: all 16 registers of AVX2 but one."""
    kernel = Kernel("x=12x64 w=4x64x8 out=12x4x8").fill("out").contract("m,k|n,k,o->m,n,o", "x", "w", "out")
    check(kernel, domain="field", vector_bits=256, vector_registers=16)
    loop = max(_reductions(kernel, "x86-64-avx2"), key=lambda op: len(op.iter_args))
    assert len(loop.iter_args) == 12
    uses = [op.operands[0] for op in loop.body.block.ops if op.name == "vector.fma"]
    repeated = [op.results[0] for op in loop.body.block.ops if op.name == "vector.broadcast"]
    assert uses == [v for v in repeated for _ in range(2)]


def test_rows_in_many_short_pieces_stay_near_and_are_prefetched():
    """A 1x1 convolution of 32 blocks of channels on an image that does not fit the second-level cache."""

    def text(pixels: int, blocks: int) -> Kernel:
        kernel = Kernel(f"x={blocks}x{pixels}x8 w=4x{blocks}x8x8 out=4x{pixels}x8").fill("out")
        return kernel.contract("c,m,k|n,c,k,o->n,m,o", "x", "w", "out")

    check(text(134, 12), domain="integers", vector_bits=256, vector_registers=16, row_tiles=2)
    many, few = (_lowered_for(text(3000, blocks), "x86-64-avx2") for blocks in (32, 4))
    ahead = [op.operands[1] for op in many.walk() if op.name == "memref.prefetch"]
    # rows 6 to 11 begin on three cache lines
    assert [constant_of(o) for o in ahead] == [48, 64, 80]
    assert not any(op.name == "memref.prefetch" for op in few.walk())
    assert _blocked(many) and not _blocked(few)


def _blocked(module: ModuleOp) -> bool:
    """Whether loops over rows end at the end of a block, not of all rows."""
    return any(op.name == "arith.minui" for op in module.walk())


def _lowered_for(kernel: Kernel, machine: str) -> ModuleOp:
    ctx = make_context()
    ctx.machine = preset(machine)
    module = parse_text(kernel.text(), ctx)
    make_pass("vectorize-structured").apply(ctx, module)
    return module


def _reductions(kernel: Kernel, machine: str) -> list[scf.ForOp]:
    return [op for op in _lowered_for(kernel, machine).walk() if isinstance(op, scf.ForOp) and op.iter_args]
