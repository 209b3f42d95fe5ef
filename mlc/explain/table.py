"""A report as text for the terminal: the kernels, and under each what the passes did and did not do there."""

from __future__ import annotations

from collections.abc import Sequence

from mlc.backends.llvm.limits import Limits
from mlc.explain.report import KernelRow, Report

NAME_WIDTH = 56
PLACES = 3
LEGEND = (
    "of limit: by the arithmetic really done (less than MFLOP says in a Winograd convolution) or by moving data,",
    "whichever takes longer; cached: data came faster than memory gives it, out of a cache, so that arithmetic",
    "alone counts (weights that the caches cannot hold from one run to the next come from memory, and count)",
)


def table(report: Report) -> str:
    """The whole report."""
    lines = [*_grid([HEAD, *(cells(report, r) for r in report.rows)]), *_foot(report), report.memory.text(), ""]
    told: dict[tuple[object, ...], str] = {}  # passes of the whole module speak of lines: kernels may share them all
    for row in report.rows:
        lines.append(f"{row.name}")
        lines.append(f"  from {places(row, PLACES)}")
        first = told.setdefault((*row.where, *row.remarks.items()), row.name)
        if first == row.name or not row.remarks:
            lines += [f"  {text}{_times(n)}" for text, n in row.remarks.items()]
        else:
            lines.append(f"  as for {first}")
    if report.general:
        lines.append("other remarks")
        lines += [f"  {text}{_times(n)}" for text, n in report.general.items()]
    return "\n".join(lines)


HEAD = ("kernel", "calls", "MFLOP", "MB", "ms", "share", "GFLOP/s", "GB/s", "of limit")


def cells(report: Report, row: KernelRow) -> tuple[str, ...]:
    """One row's figures as texts, in the order of `HEAD`; empty where nothing was measured."""
    fixed = (row.name, str(row.calls), f"{row.flops / 1e6:.1f}", f"{row.bytes / 1e6:.2f}")
    total = report.seconds
    if report.limits is None or not row.seconds or not total:
        return (*fixed, "", "", "", "", "")
    share = row.limit_share(report.limits)
    return (
        *fixed,
        f"{row.seconds * 1e3:.3f}",
        f"{100 * row.seconds / total:.1f} %",
        f"{row.flops / row.seconds / 1e9:.1f}",
        f"{row.bytes / row.seconds / 1e9:.1f}",
        _of_limit(share or 0.0, cached=row.is_cached(report.limits)),
    )


def _of_limit(share: float, *, cached: bool) -> str:
    if not cached:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.0f} % (cached)" if share >= 0.005 else "cached"


def limits_text(limits: Limits) -> str:
    """`118 GFLOP/s, bf16 230 GFLOP/s, 15 GB/s copying, 22 GB/s reading`."""
    dots = [f"{kind} {rate / 1e9:.0f} GFLOP/s" for kind, rate in limits.dots.items()]
    moves = [f"{rate / 1e9:.0f} GB/s {how}" for how, rate in (("copying", limits.bandwidth), ("reading", limits.read))]
    return ", ".join([f"{limits.flops / 1e9:.0f} GFLOP/s", *dots, *(moves if limits.read else moves[:1])])


def places(row: KernelRow, most: int) -> str:
    """The user's lines that the kernel computes, the first `most` of them."""
    found = list(row.where)
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + rest if found else "unknown lines"


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    short = [[r[0] if len(r[0]) <= NAME_WIDTH else r[0][: NAME_WIDTH - 1] + "…", *r[1:]] for r in rows]
    widths = [max(len(r[k]) for r in short) for k in range(len(short[0]))]
    return [
        "  ".join(t.ljust(w) if k == 0 else t.rjust(w) for k, (t, w) in enumerate(zip(r, widths, strict=True))).rstrip()
        for r in short
    ]


def _foot(report: Report) -> list[str]:
    limits, seconds = report.limits, report.seconds
    if limits is None or not seconds:
        return ["not measured: explain(profile=True) measures each kernel"]
    flops = sum(r.flops for r in report.rows)
    return [
        f"all kernels: {seconds * 1e3:.3f} ms, {flops / seconds / 1e9:.1f} GFLOP/s",
        f"limits of one core: {limits_text(limits)}",
        *LEGEND,
    ]


def _times(n: int) -> str:
    return f" ({n} times)" if n > 1 else ""
