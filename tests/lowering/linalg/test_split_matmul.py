"""Which products are made of split numbers, by sizes and machines, and why others are not; what they come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc.backends.machine import preset
from mlc.dialects.linalg_ext.split_matmul_ops import SplitMatmulOp, SplitMatmulWeightsOp
from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.ir.remarks import Remark
from mlc.lowering.linalg.linalg_split_matmul import GAIN, cost
from tests.lowering.linalg import test_winograd_matmul as rows
from tests.lowering.linalg import test_winograd_pointwise as pixels

PASS = "linalg-split-matmul"
Options = dict[str, Any]
ALL: Options = {"gain": 1 << 20}


def chosen(module: ModuleOp, ctx: MlcContext, block: int = 16, machine: str = "", **options: int) -> Remark:
    """What the pass says of the only product, laid out in blocks of so many."""
    ctx.machine = preset(machine) if machine else None
    blocks: Options = {"block": block}
    layouts = [make_pass(name, blocks) for name in ("linalg-block-layouts", "linalg-pack-matmul")]
    run_pipeline([*layouts, make_pass(PASS, options)], ctx, module)
    (remark,) = [r for r in ctx.remarks if r.pass_name == PASS]
    made = [op for op in module.walk() if isinstance(op, SplitMatmulOp)]
    assert len(made) == (remark.kind == "applied")
    return remark


def of_rows(m: int, k: int, n: int) -> tuple[ModuleOp, MlcContext]:
    ctx = rows.context(rows.data(m, k, n))
    return parse_text(rows.program(m, k, n), ctx), ctx


def of_pixels(*shape: int) -> tuple[ModuleOp, MlcContext]:
    n, c, f, h, w, stride = shape
    ctx = pixels.context(pixels.data(n, c, f, h, w, stride))
    return parse_text(pixels.program(n, c, f, h, w, stride), ctx), ctx


@pytest.mark.parametrize(
    ("options", "shape", "block", "reason"),
    [
        ({"gain": 0}, (128, 256, 256), 16, "switched off"),
        ({}, (128, 256, 256), 16, "no matrix unit for bf16"),
        (ALL, (8, 40, 64), 16, "40 terms"),
        (ALL, (8, 32, 64), 8, "panels of 8 columns"),
        (ALL, (8, 32, 64), 32, "panels of 32 columns"),
        (ALL, (0, 32, 64), 16, "dynamic or empty sizes"),
        ({"gain": 100}, (4, 32, 16), 16, "estimated at 677 % of the direct time"),
    ],
)
def test_a_refusal_says_why(options: Options, shape: tuple[int, int, int], block: int, reason: str):
    remark = chosen(*of_rows(*shape), block=block, **options)
    assert (remark.kind, remark.reason) == ("missed", reason)


@pytest.mark.parametrize(
    ("options", "shape", "block", "reason"),
    [
        ({"gain": 0}, (1, 64, 64, 14, 14, 1), 16, "switched off"),
        ({}, (1, 64, 64, 14, 14, 1), 16, "no matrix unit for bf16"),
        (ALL, (1, 32, 32, 5, 5, 1), 8, "panels of 8 columns"),
        (ALL, (1, 24, 32, 5, 5, 1), 16, "blocks of 8 channels"),
    ],
)
def test_a_refusal_of_a_convolution_says_why(options: Options, shape: tuple[int, ...], block: int, reason: str):
    remark = chosen(*of_pixels(*shape), block=block, **options)
    assert (remark.kind, remark.reason) == ("missed", reason)


@pytest.mark.parametrize(
    "machine", ["x86-64-sse2", "x86-64-avx2", "x86-64-avx512", "x86-64-avx512-bf16", "aarch64-neon"]
)
def test_machines_without_the_unit_keep_them(machine: str):
    remark = chosen(*of_rows(128, 768, 768), machine=machine)
    assert (remark.kind, remark.reason) == ("missed", "no matrix unit for bf16")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((128, 768, 768), ""),
        ((48, 1024, 2048), ""),
        ((33, 1024, 2048), "estimated at 110 % of the direct time"),  # tiles of 48
        ((31, 1024, 2048), "31 rows"),
        ((256, 768, 48), "48 columns"),
        ((256, 768, 50), ""),  # panels of 64
        ((256, 768, 128), ""),
        ((32, 768, 768), "estimated at 92 % of the direct time"),
        ((256, 770, 768), "770 terms"),
    ],
)
def test_least_sizes_on_a_machine_with_the_unit(shape: tuple[int, int, int], reason: str):
    remark = chosen(*of_rows(*shape), machine="x86-64-amx")
    assert (remark.kind, remark.reason) == ("missed" if reason else "applied", reason)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 256, 512, 14, 14, 1), ""),
        ((1, 256, 512, 16, 16, 2), ""),  # 64 pixels
        ((1, 256, 512, 14, 14, 2), "estimated at 97 % of the direct time"),  # 49 pixels
        ((2, 512, 512, 4, 4, 1), "estimated at 95 % of the direct time"),  # those of all images
        ((1, 512, 512, 5, 5, 1), "estimated at 119 % of the direct time"),  # 25 pixels
        ((1, 16, 96, 56, 56, 1), "estimated at 215 % of the direct time"),
    ],
)
def test_least_sizes_of_convolutions(shape: tuple[int, ...], reason: str):
    remark = chosen(*of_pixels(*shape), machine="x86-64-amx", gain=90)
    assert (remark.kind, remark.reason) == ("missed" if reason else "applied", reason)


def test_what_is_said_of_a_product():
    remark = chosen(*of_pixels(2, 32, 48, 9, 7, 2), **ALL)
    assert remark.data == {"rows": 2 * 5 * 4, "terms": 32, "columns": 48}


def test_what_is_estimated():
    """Preparing rows costs the same for few columns and for many, preparing weights for few rows and for many."""
    by_columns, by_rows = (
        [cost(*s) for s in shapes]
        for shapes in (
            [(256, 512, n) for n in (16, 32, 64, 128, 512)],
            [(m, 512, 512) for m in (16, 32, 64, 128, 256)],
        )
    )
    assert by_columns == sorted(by_columns, reverse=True) and by_rows == sorted(by_rows, reverse=True)
    assert cost(128, 768, 768) < GAIN < cost(16, 768, 768)
    assert cost(64, 48, 512) == pytest.approx(cost(64, 64, 512) * 64 / 48, rel=0.1)  # half a tile is zeros
    assert cost(400, 512, 512) > cost(384, 512, 512)  # weights are split once for every group of rows


def to_buffers(module: ModuleOp, ctx: MlcContext) -> None:
    """Every pass of the module rows, with blocks of 16, and every product of split numbers."""
    names = [r.pass_name for r in MODULE_ROWS if r.level != "torch" and r.pass_name != "convert-torch-to-linalg"]
    options: dict[str, Options] = {
        **{name: {"block": 16} for name in ("linalg-block-layouts", "linalg-pack-matmul")},
        PASS: ALL,
    }
    run_pipeline([make_pass(name, options.get(name, {})) for name in names], ctx, module)
    assert [op for op in module.walk() if isinstance(op, SplitMatmulOp)]


@pytest.mark.parametrize("onto", [False, True])
@pytest.mark.parametrize("shape", [(8, 16, 32), (5, 48, 17), (1, 32, 16), (40, 64, 16)], ids=str)
def test_rows_interpreted_on_buffers(shape: tuple[int, int, int], onto: bool):
    for value in (1.0, np.nan, -np.inf, 1e30, 1e-30):
        given = rows.data(*shape) if value == 1.0 else rows.spoiled(rows.data(*shape), value)
        given["b"] *= abs(value) >= 1 or np.isnan(value)
        ctx = rows.context(given)
        module = parse_text(rows.program(*shape, onto), ctx)
        to_buffers(module, ctx)
        (y,) = run_module(module, "forward", [given["x"], given["y"]], resources=ctx.resources)
        rows.assert_same(y, rows.exact(given, onto))


@pytest.mark.parametrize(
    "shape", [(1, 16, 16, 1, 1, 1), (2, 32, 16, 3, 5, 1), (1, 48, 32, 5, 6, 2), (2, 16, 32, 7, 7, 3)], ids=str
)
def test_pixels_interpreted_on_buffers(shape: tuple[int, int, int, int, int, int]):
    given = pixels.data(*shape)
    module, ctx = of_pixels(*shape)
    to_buffers(module, ctx)
    (y,) = run_module(module, "forward", given[0], resources=ctx.resources)
    np.testing.assert_allclose(y, pixels.exact(given, shape[-1]), atol=1e-5)


def test_elements_of_tied_weights_are_read_as_they_were():
    """Weights that an embedding reads too: prepared once, and no other numbers for it."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 48), (64, 48)))
    w *= np.exp2(rng.integers(-9, 9, (64, 1))).astype(np.float32)
    at = rng.integers(0, 64, 3)
    ctx = make_context()
    ctx.resources.set("w", w)
    module = parse_text(rows.tied(8, 48, 64), ctx)
    run_pipeline([make_pass("linalg-pack-matmul", {"block": 16}), make_pass(PASS, ALL)], ctx, module)
    read = [op.operands[0].owner for op in module.walk() if op.name == "tensor.extract"]
    assert read and all(isinstance(op, SplitMatmulWeightsOp) for op in read)
    y, found = run_module(module, "forward", [x, at], resources=ctx.resources)
    np.testing.assert_array_equal(found, w[at])
    sizes = np.linalg.norm(w, axis=1)
    np.testing.assert_allclose(y / sizes, x @ w.T / sizes, atol=1e-5)


def test_a_product_of_bf16_is_no_sum_of_parts():
    """What is rounded already is multiplied as it is."""
    ctx = rows.context(rows.data(128, 768, 768))
    module = parse_text(rows.program(128, 768, 768), ctx)
    ctx.machine = preset("x86-64-amx")
    names = ("linalg-demote-contraction-inputs", "linalg-pack-matmul", PASS)
    run_pipeline([make_pass(name) for name in names], ctx, module)
    assert not [r for r in ctx.remarks if r.pass_name == PASS]


def test_convolutions_are_taken_only_when_asked_for():
    remark = chosen(*of_pixels(1, 256, 512, 14, 14, 1), machine="x86-64-amx")
    assert remark.kind == "missed" and "several threads" in str(remark.reason)
