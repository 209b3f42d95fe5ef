"""`compiled.explain()`: every kernel call is measured, counted and traced to the user's lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim
from xdsl.dialects.func import CallOp

import mlc
from mlc.backends.llvm.backend import CPU_BACKEND
from mlc.backends.llvm.limits import Limits, measure_limits
from mlc.backends.llvm.target import host_machine
from mlc.errors import UsageError
from mlc.explain import KernelRow, Report, html, make_report, table
from mlc.explain.costs import kernel_cost
from mlc.explain.memory import Memory
from mlc.explain.streams import streams_of
from mlc.module_parts import split_module


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.head = nn.Linear(16, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        return self.head(x.mean((2, 3)))


def filled_up(columns: int) -> int:
    """Columns of whole panels, on this machine."""
    lanes = CPU_BACKEND.machine("native").lanes(32)
    return -(-columns // lanes) * lanes


@pytest.fixture(scope="module")
def compiled() -> mlc.CompiledModel:
    return mlc.compile(Model().eval(), (torch.randn(2, 3, 8, 8),), num_threads=1)


def test_rows_count_the_models_arithmetic(compiled: mlc.CompiledModel):
    unit = compiled._latest().unit
    report = make_report(unit)
    conv = next(r for r in report.rows if r.name.startswith("conv"))
    matmul = next(r for r in report.rows if r.name.startswith("matmul"))
    assert conv.flops >= 2 * 2 * 16 * 8 * 8 * 27
    columns = filled_up(24)
    assert 2 * 2 * columns * 16 <= matmul.flops <= 2 * 2 * columns * 16 + 2 * 2 * columns  # and the bias
    assert any("test_report.py" in place and "(conv)" in place for place in conv.where)
    assert any("linalg-block-layouts" in text for text in conv.remarks)
    assert report.limits is None and report.seconds is None


def test_profile_times_every_call_and_leaves_results_alone(compiled: mlc.CompiledModel):
    x = torch.randn(2, 3, 8, 8)
    before = compiled(x)
    text = compiled.explain(profile=True)
    assert "x: float32[2, 3, 8, 8]" in text and "torch.aten.linear 1" in text
    report = make_report(compiled._latest().unit, [x.numpy()], runs=2)
    assert report.limits is not None
    assert min(report.limits.flops, report.limits.bandwidth, report.limits.read) > 1e8
    assert all(r.seconds is not None for r in report.rows)
    assert report.seconds and report.seconds > 0
    for row in report.rows:
        assert row.name[:40] in text
    assert torch.equal(compiled(x), before)


def test_shares_of_the_limit_are_by_what_is_really_done():
    limits = Limits(flops=100.0, bandwidth=10.0, dots={"bf16": 200.0})
    winograd = KernelRow("winograd", flops=400, bytes=5, done=Counter(f32=100), seconds=2.0)
    assert winograd.limit_share(limits) == 0.5 and not winograd.is_cached(limits)
    dots = KernelRow("matmul", flops=200, bytes=1, done=Counter(bf16=200), seconds=2.0)
    assert dots.limit_share(limits) == 0.5
    doubles = KernelRow("matmul", flops=50, bytes=1, done=Counter(f64=50), seconds=2.0)
    assert doubles.limit_share(limits) == 0.5
    copied = KernelRow("copy", bytes=16, seconds=2.0)
    assert copied.limit_share(limits) == 0.8
    cached = KernelRow("add", flops=20, bytes=100, done=Counter(f32=20), seconds=2.0)
    assert cached.limit_share(limits) == 0.1 and cached.is_cached(limits)
    rows = [winograd, cached, KernelRow("copy", bytes=99, seconds=2.0)]
    shown = table(Report(rows, Counter(), limits, Memory(0, 0, 0, 0)))
    assert [line.split("  ")[-1].strip() for line in shown.splitlines()[1:4]] == ["50 %", "10 % (cached)", "cached"]
    assert "bf16 0 GFLOP/s" in shown
    page = html(Report(rows, Counter(), limits, Memory(0, 0, 0, 0)))
    assert all("cached: data came faster than memory gives it" in text for text in (shown, page))


def test_reading_has_a_limit_of_its_own_and_weights_beyond_the_caches_come_from_memory():
    limits = Limits(flops=100.0, bandwidth=10.0, read=20.0)
    assert limits.moving(40) == 2.0 and limits.moving(20, 20) == 4.0  # the latter is a copy
    read = KernelRow("rows", bytes=20, seconds=2.0)
    assert read.limit_share(limits) == 0.5 and not read.is_cached(limits)
    product = KernelRow("matmul", flops=10, bytes=80, done=Counter(f32=10), seconds=2.0)
    assert product.limit_share(limits) == 0.05 and product.is_cached(limits)
    product.streamed = 36
    assert product.limit_share(limits) == 0.9 and not product.is_cached(limits)


@pytest.mark.parametrize("large", [False, True])
def test_weights_that_the_caches_hold_may_be_there(compiled: mlc.CompiledModel, large: bool):
    unit = compiled._latest().unit
    parts = split_module(unit.lowered("buffers"), unit.setting.fingerprint)
    kernels = {f"k_{key}": kernel for key, kernel in parts.named().values()}
    calls = [op for op in parts.main.walk() if isinstance(op, CallOp)]
    streams = streams_of(calls, kernels, replace(host_machine(), l2=1 << 10, l3=1 << (10 if large else 20)))
    assert 4 * 16 * 24 < streams.total < 1 << 20
    costs = [kernel_cost(kernels[s], {}, streams.weights[s]) for s in (c.callee.root_reference.data for c in calls)]
    assert sum(c.weights for c in costs) == streams.total
    streamed = [c.bytes - c.written if c.bytes > 2 << 10 else c.weights for c in costs]
    assert [streams.of(c) for c in costs] == (streamed if large else [0] * len(costs))


def test_kernels_of_the_same_lines_tell_their_remarks_once():
    lines, remarks = {"model.py:3": None}, Counter({"a pass: applied: something": 2})
    rows = [KernelRow("conv", where=lines, remarks=remarks), KernelRow("copy", where=lines, remarks=remarks)]
    other = KernelRow("relu", where={"model.py:4": None}, remarks=remarks)
    told = table(Report([*rows, other], Counter(), None, Memory(0, 0, 0, 0))).splitlines()
    assert told.count("  a pass: applied: something (2 times)") == 2
    assert told[told.index("copy") + 2] == "  as for conv"


def test_limits_of_narrow_products_are_measured_where_the_machine_has_them():
    machine = host_machine()
    limits = measure_limits(machine)
    assert set(limits.dots) == {k for k, has in (("bf16", machine.dot_bf16), ("int8", machine.dot_int8)) if has}
    assert all(rate > 1e8 for rate in limits.dots.values())


def test_calls_in_loops_count_per_trip():
    model = nn.LSTM(4, 16, batch_first=True).eval()
    x = torch.randn(1, 9, 4)
    compiled = mlc.compile(model, (x,), num_threads=1)
    unit = compiled._latest().unit
    still, measured = make_report(unit), make_report(unit, [x.numpy()], runs=1)
    assert {r.name: r.calls for r in still.rows} == {r.name: r.calls for r in measured.rows}
    assert next(r for r in still.rows if r.name.startswith("matmul_1x")).calls == 9


def test_loops_over_single_elements_read_and_write_what_they_go_through():
    class Sorts(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.sort(x)[0], torch.topk(x, 3)[0]

    compiled = mlc.compile(Sorts().eval(), (torch.randn(4, 300),), num_threads=1)
    loops = [r for r in make_report(compiled._latest().unit).rows if r.name.startswith("for")]
    assert len(loops) == 2
    sizes = sorted(r.bytes for r in loops)
    assert sizes[0] >= 4 * 4 * 300 and sizes[1] >= 2 * 4 * 4 * 300


def test_memory_beside_inputs_and_outputs(compiled: mlc.CompiledModel):
    report = make_report(compiled._latest().unit)
    memory = report.memory
    assert memory.live == memory.arena == compiled._latest().unit.executable.arena_bytes() > 0
    columns = filled_up(24)
    bias = 0 if columns == 24 else columns  # made, where the layer's own does not fill whole panels
    assert memory.weights == 4 * (16 + (0 if bias else 24))
    assert memory.derived == 4 * (16 * 27 + 16 * columns + bias)
    assert report.memory.text() in compiled.explain()


def test_a_linear_layer_of_one_row_takes_no_memory_of_its_own():
    compiled = mlc.compile(nn.Linear(40, 32).eval(), (torch.randn(1, 40),), num_threads=1)
    assert make_report(compiled._latest().unit).memory == Memory(0, 0, 4 * (40 * 32 + 32), 0)


def test_open_sizes_are_measured_at_a_size_they_may_have():
    shapes = ({0: Dim("batch", min=3, max=64)},)
    model = nn.Sequential(nn.Linear(6, 32), nn.GELU()).eval()
    compiled = mlc.compile(model, (torch.randn(4, 6),), dynamic_shapes=shapes, num_threads=1)
    text = compiled.explain(profile=True)
    assert "all kernels" in text and "not measured" not in text
    assert "; measured on 8x6" in text
    assert "from 0" in text  # the module path, where every line is torch's own


def test_html_page_is_whole_or_not_there(compiled: mlc.CompiledModel, tmp_path: Path):
    page = tmp_path / "explain.html"
    compiled.explain(html=page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert text.count("<details>") > 3 and "linalg-block-layouts" in text
    with pytest.raises(UsageError, match="cannot write"):
        compiled.explain(html=tmp_path / "missing" / "explain.html")
    assert list(tmp_path.iterdir()) == [page]
