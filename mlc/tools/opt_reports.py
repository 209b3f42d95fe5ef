"""What `mlc-opt` prints about a finished pipeline: time per pass, statistics, remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TextIO

from mlc.ir.remarks import Remark, RemarkLog

_RULE = "===" + "-" * 73 + "==="
Timing = list[tuple[tuple[str, ...], str, float]]


def _title(text: str) -> str:
    return f"{_RULE}\n{f'... {text} ...':^{len(_RULE)}}".rstrip() + f"\n{_RULE}\n"


def timing_report(timing: Timing, extra: list[tuple[str, float]], total: float, display: str) -> str:
    """Passes in order below the pipelines they were nested in (`tree`), or summed up and longest first (`list`).

    `extra` are times around the passes (the parser, the output).
    """
    lines = [_title("Execution time report") + f"  Total Execution Time: {total:.4f} seconds\n"]
    lines.append("  ----Wall Time----  ----Name----")
    measured = sum(t for _, t in extra) + sum(t for _, _, t in timing)
    rows: list[tuple[str, float]] = [*extra[:1], *_rows(timing, display), *extra[1:]]
    if display == "list":
        rows.sort(key=lambda row: -row[1])
    rows += [("Rest", max(0.0, total - measured)), ("Total", total)]
    lines += [f"  {t:8.4f} ({100 * t / total if total else 0.0:5.1f}%)  {name}" for name, t in rows]
    return "\n".join(lines) + "\n"


def _rows(timing: Timing, display: str) -> list[tuple[str, float]]:
    if display == "list":
        sums: Counter[str] = Counter()
        for _, name, seconds in timing:
            sums[name] += seconds  # pyright: ignore[reportArgumentType]
        return list(sums.items())
    tree: dict[tuple[str, ...], float] = {}
    position: dict[tuple[str, ...], int] = {}
    for anchors, name, seconds in timing:
        for depth in range(1, len(anchors) + 1):
            key = anchors[:depth]
            tree[key] = tree.get(key, 0.0) + seconds
        position[anchors] = position.get(anchors, -1) + 1
        key = (*anchors, name) if anchors else (name, f"#{position[anchors]}")
        tree[key] = tree.get(key, 0.0) + seconds
    rows: list[tuple[str, float]] = []
    for key, seconds in tree.items():
        if key[-1].startswith("#"):
            rows.append((key[0], seconds))
        elif any(other[: len(key)] == key and len(other) > len(key) for other in tree):
            rows.append(("  " * (len(key) - 1) + f"'{key[-1]}' Pipeline", seconds))
        else:
            rows.append(("  " * (len(key) - 1) + key[-1], seconds))
    return rows


def statistics_report(remarks: RemarkLog, order: list[str], display: str) -> str:
    """Remarks counted per pass and kind, and firings per rule, in the order of the pipeline or by name."""
    counts = Counter((r.pass_name, r.kind) for r in remarks)
    names = sorted({n for n, _ in counts}) if display == "list" else list(dict.fromkeys(order))
    lines = [_title("Pass statistics report").rstrip("\n")]
    for name in names:
        lines.append(name)
        kinds = [kind for kind in ("applied", "missed", "analysis") if counts[name, kind]]
        lines += [f"  (S) {counts[name, kind]:6} {kind}" for kind in kinds]
        fired = [(rule, n) for (owner, rule), n in sorted(remarks.fired.items()) if owner == name]
        lines += [f"  (S) {n:6} rule {rule}" for rule, n in fired]
    return "\n".join(lines) + "\n"


def write_remarks(remarks: Iterable[Remark], err: TextIO) -> None:
    """One line each."""
    for r in remarks:
        reason = f" ({r.reason})" if r.reason else ""
        rule = f" [{r.rule}]" if r.rule and r.rule != r.pass_name else ""
        place = r.where or "<unknown>"
        err.write(f"{place}: remark: [{r.pass_name}] {r.kind}: {r.op}: {r.message}{reason}{rule}\n")
