"""The chart: per row two bars, the best peer's time over mlc's and eager's over mlc's; regressed rows in red."""

from __future__ import annotations

import importlib
import importlib.util
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plan import Unit
from benchmarks.ratios import Regression
from benchmarks.summary import summarise

BLUE, GREY, RED = "#2f6f9f", "#b5b5b5", "#c0392b"


def draw(results: Mapping[str, Any], fallen: Sequence[Regression], path: Path) -> str | None:
    """Write the PNG; where there is none, the reason."""
    quiet = [r for r in results["records"] if not r["contended"]]
    if not quiet:
        return "it shows no contended rows, and no others were measured"
    shown = [(r, s) for r in quiet if "engines" in r and (s := summarise(r, None)).to_best is not None]
    if not shown:
        return "no row has times of both mlc and a peer"
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed"
    figures = importlib.import_module("matplotlib.figure")
    counts = sorted({r["threads"] for r, _ in shown})
    most = max(sum(r["threads"] == c for r, _ in shown) for c in counts)
    figure = figures.Figure(figsize=(6 * len(counts) + 1, 0.42 * most + 1.4), layout="constrained")
    red = {f.unit for f in fallen}
    for axes, count in zip(figure.subplots(1, len(counts), squeeze=False)[0], counts, strict=True):
        rows = [(r, s) for r, s in shown if r["threads"] == count]
        best = [s.to_best or 0.0 for _, s in rows]
        eager = [s.to_eager or 0.0 for _, s in rows]
        colours = [RED if Unit(r["row"], count).key in red else BLUE for r, _ in rows]
        at = range(len(rows))
        axes.barh([i - 0.2 for i in at], best, 0.4, color=colours, label="best peer")
        axes.barh([i + 0.2 for i in at], eager, 0.4, color=GREY, label="eager PyTorch")
        for i, value in enumerate(best):
            axes.text(value, i - 0.2, f" {value:.2f}", va="center", fontsize=7)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(list(at), [f"{r['row']} ({s.best})" for r, s in rows], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("their time / mlc's time")
        axes.set_title(f"{count} thread{'s' if count > 1 else ''}")
        axes.legend(fontsize=8, loc="lower right")
    figure.suptitle(textwrap.fill(results["about"], 90 * len(counts)), fontsize=8)
    figure.savefig(path, dpi=130)
    return None
