"""The files that a run leaves: which they are, written, and found again.

results.md, results.json, results.png                  the whole table
results-part.*                                         a part of it, which leaves the files of whole runs alone
results.bfloat16.*, results-part.bfloat16.*            the same in lower precision
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import chart, table
from benchmarks.ratios import Regression


def of_run(folder: Path, precision: str, *, part: bool) -> Path:
    """The JSON file of such a run; its other files have other suffixes."""
    lower = "" if precision == "float32" else f".{precision}"
    return folder / f"results{'-part' if part else ''}{lower}.json"


def latest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The JSON file and the results of the latest float32 run, whole or part, of more than contended rows."""
    paths = [path for part in (False, True) if (path := of_run(folder, "float32", part=part)).exists()]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        results = json.loads(path.read_text(encoding="utf-8"))
        if not all(record["contended"] for record in results["records"]):
            return path, results
    return None


def write(path: Path, results: Mapping[str, Any], fallen: Sequence[Regression]) -> tuple[list[Path], str | None]:
    """Write the JSON file `path`, the page and the chart beside it. What was written, and why there is no chart."""
    page, picture = path.with_suffix(".md"), path.with_suffix(".png")
    path.write_text(json.dumps(results, indent=1), encoding="utf-8")
    page.write_text(table.report(results, fallen), encoding="utf-8")
    picture.unlink(missing_ok=True)  # of an earlier run: where there is no new one, none stands beside this page
    no_chart = chart.draw(results, fallen, picture)
    return [page, path, *([] if no_chart else [picture])], no_chart
