"""The report of where OpenVINO's time goes, from made-up nodes."""

from __future__ import annotations

from benchmarks.openvino_profile import report

NODES = [("a", "Convolution", "brgconv", 6.0), ("b", "Convolution", "brgconv", 2.0), ("c", "Eltwise", "jit", 2.0)]


def test_kinds_and_the_longest_nodes():
    page = report(NODES, 2)
    assert page.startswith("10.00 ms in 3 nodes")
    assert "| Convolution | brgconv | 2 | 8.00 | 80% |\n| Eltwise | jit | 1 | 2.00 | 20% |" in page
    assert "| a | Convolution | brgconv | 6.00 | 60% |\n| b | Convolution | brgconv | 2.00 | 20% |" in page
    assert "| c |" not in page
