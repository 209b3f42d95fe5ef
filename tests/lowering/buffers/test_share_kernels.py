"""share-kernels: which kernels become one, what is promised about their sizes, and that models use it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from xdsl.dialects.func import FuncOp

import mlc
from fuzz.generators.kernel_families import Families, Shape
from fuzz.tape import Tape
from mlc.errors import ExecutionError
from mlc.explain import make_report
from mlc.interp import run_module
from mlc.ir.locations import flatten_location
from mlc.ir.pipeline import make_pass
from mlc.testing.program import Program, build

BASE = Shape(kind="product", lanes=8, results=3)


def shared(*shapes: Shape, least: int = 2) -> tuple[Program, list[FuncOp]]:
    """Kernels of these shapes after the pass."""
    families = Families(Tape(b""))
    for shape in shapes:
        families.add(shape)
    program = build(families.text())
    make_pass("share-kernels", {"least": least}).apply(program.ctx, program.module)
    program.module.verify()
    return program, [op for op in program.module.ops if isinstance(op, FuncOp) and "kernel" in op.attributes]


def of_pieces(*numbers: int, **changes: Any) -> list[Shape]:
    """The same kernel over these numbers of pieces."""
    return [replace(BASE, pieces=n, **changes) for n in numbers]


@pytest.mark.parametrize("kind", ["product", "scaled", "summed"])
def test_kernels_that_differ_in_one_size_become_one(kind: str) -> None:
    program, kernels = shared(*of_pieces(2, 5, 3, kind=kind))
    assert len(kernels) == 1
    (remark,) = program.ctx.remarks
    assert (remark.data["sizes"], remark.rule) == ([2, 3, 5], "elementwise" if kind == "scaled" else "reduction")


@pytest.mark.parametrize(
    "change",
    [{"constant": -0.0}, {"op": "mulf"}, {"points": 4}, {"results": 2}, {"swapped": True}, {"apart": 3}, {"window": 2}],
    ids=str,
)
def test_kernels_that_differ_in_more_stay(change: dict[str, Any]) -> None:
    assert len(shared(*of_pieces(2), *of_pieces(5, **change))[1]) == 2


def test_kernels_that_fill_memory_become_one() -> None:
    shapes = [
        Shape(kind="filled", pieces=n, points=p, lanes=8, apart=a) for n, p, a in ((2, 3, 0), (5, 4, 3), (3, 9, 1))
    ]
    program, (kernel,) = shared(*shapes)
    type_ = "memref<1x?x?x8xf32, strided<[?, ?, 8, 1]>>"
    assert str(kernel.function_type.inputs.data[0]) == type_
    (remark,) = program.ctx.remarks
    assert (remark.data["sizes"], remark.rule) == ([48, 160, 216], "fill")


@pytest.mark.parametrize("change", [{"constant": -0.0}, {"lanes": 4}, {"pieces": 1}, {"points": 1}], ids=str)
def test_kernels_that_fill_otherwise_stay(change: dict[str, Any]) -> None:
    fill = Shape(kind="filled", pieces=2, points=3, lanes=8)
    assert len(shared(fill, replace(fill, pieces=5), replace(fill, **change))[1]) == 2


def test_few_kernels_stay() -> None:
    assert len(shared(*of_pieces(2, 3, 5), least=4)[1]) == 3
    assert len(shared(*of_pieces(2, 3, 5, 7), least=4)[1]) == 1


def test_every_source_line_is_kept() -> None:
    families = Families(Tape(b""))
    for shape in of_pieces(2, 5, 3):
        families.add(shape)
    program = build(families.text())
    before = {part for op in program.module.walk() for part in flatten_location(op.location)}
    make_pass("share-kernels", {"least": 2}).apply(program.ctx, program.module)
    after = {part for op in program.module.walk() for part in flatten_location(op.location)}
    assert after == before


def test_the_interpreter_holds_calls_to_what_is_promised() -> None:
    program, _ = shared(*of_pieces(2, 3))
    text = str(program.module).replace("array<i64: 1, 3, 3, 8>", "array<i64: 1, 2, 3, 8>")
    assert "array<i64: 1, 2, 3, 8>" in text
    broken = build(text)
    arguments = [
        np.zeros(a.type.get_shape(), np.float32)  # pyright: ignore[reportAttributeAccessIssue]
        for op in broken.module.ops
        if isinstance(op, FuncOp) and op.sym_name.data == "forward"
        for a in op.body.block.args
    ]
    with pytest.raises(ExecutionError, match="promised are at most"):
        run_module(broken.module, "forward", arguments)


class Dense(nn.Module):
    """A dense block: each layer reads what all before it have made."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(32 + 16 * i), nn.ReLU(), nn.Conv2d(32 + 16 * i, 16, 1)) for i in range(layers)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


@pytest.mark.filterwarnings("ignore")
def test_layers_of_a_dense_block_share_their_kernels(tmp_path: object) -> None:
    torch.manual_seed(0)
    model, x = Dense(6).eval(), torch.randn(1, 32, 10, 10)
    with torch.inference_mode():
        for layer in model.layers:
            layer[0].running_mean.uniform_(-1, 1)  # pyright: ignore
        expected = model(x)
        compiled = mlc.compile(model, cache_dir="")
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)
        again = mlc.compile(model, cache_dir="", num_threads=2)
        assert torch.equal(again(x), compiled(x))
    unit = compiled._latest().unit
    counted, measured = make_report(unit), make_report(unit, [x.numpy()], runs=1)
    flops = sum(row.flops for row in counted.rows)
    assert flops == sum(row.flops for row in measured.rows)
    assert flops >= 2 * 100 * sum(16 * (32 + 16 * i) for i in range(6))
    shared = [r for r in unit.remarks() if r.pass_name == "share-kernels"]
    assert {r.rule for r in shared} == {"elementwise", "reduction"}
    assert all(len(r.data["sizes"]) >= 4 for r in shared), shared
