"""The report."""

from __future__ import annotations

import pytest

from benchmarks import notes, table
from benchmarks.precisions import PRECISIONS, engines_of
from benchmarks.ratios import Regression
from tests.benchmarks.records import engine, record, results

ROW = record(mlc=engine(100.0, error=2e-6), eager=engine(300.0), ort=engine(90.0))
FALLEN = [Regression("resnet50/1", 1.2, 0.9)]


def line_of(page: str, start: str) -> str:
    (found,) = [line for line in page.splitlines() if line.startswith(start)][:1]
    return found


def test_the_row_of_speeds():
    page = table.report(results(ROW), [])
    assert line_of(page, "| resnet50") == "| resnet50 | 100 | 300 | 90.00 | ort | 0.90 (0.90–0.90) | 3.00 | 80% | 5% |"
    assert "Geometric means: 0.90 x best peer, 3.00 x eager." in page
    assert "| resnet50 | 2.00 / 0.50 | 2.00 / 0.50 | 2.00 / 0.50 |" in page
    assert "| resnet50 | 300 / 200 | 300 / 200 | 300 / 200 |" in page
    assert "| resnet50 | 2.0e-06 | 1.0e-06 | 1.0e-06 | 2.00 |" in page


def test_a_loaded_model_stands_beside_the_peers():
    assert "loaded MB" not in table.report(results(ROW), [])
    row = record(mlc=engine(100.0, loaded_s=0.25, loaded_mb=120.0), eager=engine(300.0))
    page = table.report(results(row), [])
    assert "| row | loaded s | loaded MB | mlc MB | eager MB | ort MB |" in page
    assert "| resnet50 | 0.25 | 120 | 200 | 200 | – |" in page


def test_ratio_columns_are_explained_below_their_table():
    """By the medians 90 is 0.90 of 100; within the rounds ONNX Runtime took as long as mlc."""
    row = record(mlc=engine(90.0, 100.0, 300.0), eager=engine(300.0, 300.0, 300.0), ort=engine(90.0, 90.0, 300.0))
    page = table.report(results(row), [])
    assert line_of(page, "| resnet50").startswith("| resnet50 | 100 | 300 | 90.00 | ort | 1.00 ")
    below = page.split("\n\n")[3]
    assert below == notes.RATIOS
    assert "in the same round" in below and "the smallest median" in below


def test_lower_precision_that_is_float32_is_marked():
    row = record(mlc=engine(100.0, error=2e-3), eager=engine(300.0, error=4e-3), openvino=engine(90.0, error=6e-7))
    engines = ["mlc", "eager", "openvino"]
    page = table.report(results(row) | {"precision": "bfloat16", "engines": engines}, [])
    assert line_of(page, "| resnet50").startswith("| resnet50 | 100 | 300 | 90.00† | openvino† | 0.90 ")
    assert "| resnet50 | 2.0e-03 | 4.0e-03 | 6.0e-07† | 0.50 |" in page
    assert page.split("\n\n")[3].startswith("† The error is of float32's size")
    assert "not in bfloat16" in page and "- openvino: the float32 model with a hint" in page
    whole = record(mlc=engine(100.0, error=2e-3), eager=engine(300.0, error=4e-3))
    assert "†" not in table.report(results(whole) | {"precision": "bfloat16"}, [])
    assert "†" not in table.report(results(row) | {"engines": engines}, [])


def test_lower_precision_says_what_eager_is():
    page = table.report(results(ROW) | {"precision": "int8"}, [])
    assert "### The engines in int8" in page
    assert line_of(page, "- eager: ").startswith(
        "- eager: PyTorch with nn.Linear layers quantised dynamically by torch.ao"
    )
    assert "### The engines in" not in table.report(results(ROW), [])


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_every_engine_of_a_lower_precision_is_described(precision: str):
    assert notes.ENGINES[precision].keys() == engines_of(precision).keys()


def test_every_table_has_as_many_cells_as_its_head():
    contended = record() | {"contended": True, "engines": {"mlc": {"quiet": [1.0], "turns": [1.2]}}}
    page = table.report(results(ROW, record("vgg16", 2, mlc={"failed": "why"}), contended), FALLEN)
    blocks = [b.splitlines() for b in page.split("\n\n") if b.startswith("|")]
    assert len(blocks) == 9
    for block in blocks:
        assert len({line.count("|") for line in block}) == 1


def test_a_regressed_row_is_marked_and_listed():
    page = table.report(results(ROW), FALLEN)
    assert "| **resnet50 ▼** |" in page
    assert "- **resnet50/1: 0.90 x best peer, was 1.20 (-25%)**" in page
    assert "▼" not in table.report(results(ROW), [])


def test_what_was_not_measured_says_why():
    row = record(mlc=engine(100.0), eager=engine(300.0), ort={"failed": "no op X"})
    page = table.report(results(row, {"row": "vgg16", "threads": 2, "contended": False, "failed": "died"}), [])
    assert "- resnet50, 1 thread, ort: no op X" in page
    assert "- vgg16, 2 threads: died" in page
    assert line_of(page, "| resnet50") == "| resnet50 | 100 | 300 | – | eager | 3.00 (3.00–3.00) | 3.00 | 80% | 5% |"


def test_terminal_lines():
    assert table.terminal_line(ROW, None, fallen=False, colour=True) == (
        "resnet50, 1 thread: 0.90 x ort (mlc 100, eager 300, ort 90.00 ms)"
    )
    red = table.terminal_line(ROW, None, fallen=True, colour=True)
    assert red.startswith(table.RED) and red.endswith(table.PLAIN)
    assert table.terminal_line(ROW, None, fallen=True, colour=False).endswith("  regressed")
    contended = record() | {"contended": True, "engines": {"ort": {"quiet": [1.0], "turns": [1.2]}}}
    assert table.terminal_line(contended, None, fallen=False, colour=False) == (
        "resnet50, 1 thread, contended: contended over quiet: ort 1.20 (1.20–1.20)"
    )
