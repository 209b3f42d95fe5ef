"""Where OpenVINO's time goes on a row: its nodes by kind, and the longest ones, with the implementation it chose.

python -m benchmarks.openvino_profile resnet50 --threads 1 --top 15
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.models import ROWS
from benchmarks.onnx_engines import openvino_request
from benchmarks.table import markdown, milliseconds

RUNS = 15


def profile(row: str, threads: int) -> list[tuple[str, str, str, float]]:
    """Name, kind, implementation and shortest milliseconds of each node that ran."""
    model, inputs = ROWS[row].build()
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as files:
        request, arrays = openvino_request(model, inputs, threads, Path(files), profile=True)
        for _ in range(RUNS):
            request.infer()
            for node in request.profiling_info:
                if node.real_time.total_seconds() > 0:
                    key = node.node_name, node.node_type, node.exec_type
                    times[key].append(node.real_time.total_seconds() * 1e3)
        del request, arrays
    return [(*key, min(found)) for key, found in times.items()]


def report(nodes: Sequence[tuple[str, str, str, float]], top: int) -> str:
    """Two tables: by kind and implementation, and the longest nodes."""
    whole = sum(ms for *_, ms in nodes) or 1.0
    kinds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _, kind, implementation, ms in nodes:
        kinds[kind, implementation].append(ms)
    by_kind = sorted(kinds.items(), key=lambda item: -sum(item[1]))
    longest = sorted(nodes, key=lambda node: -node[-1])[:top]
    return "\n\n".join(
        (
            f"{milliseconds(whole)} ms in {len(nodes)} nodes",
            markdown(
                ["kind", "implementation", "nodes", "ms", "share"],
                [[*k, str(len(t)), milliseconds(sum(t)), f"{sum(t) / whole:.0%}"] for k, t in by_kind],
            ),
            markdown(
                ["node", "kind", "implementation", "ms", "share"],
                [[*names, milliseconds(ms), f"{ms / whole:.0%}"] for *names, ms in longest],
            ),
        )
    )


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("row", choices=list(ROWS))
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--top", type=int, default=15)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    print(report(profile(args.row, args.threads), args.top))
