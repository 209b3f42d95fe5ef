"""The report."""

from __future__ import annotations

from benchmarks import table
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
