"""A report as one HTML page that needs nothing else: bars for time, rows that open to show lines and remarks."""

from __future__ import annotations

from html import escape

from mlc.explain.report import KernelRow, Report
from mlc.explain.table import HEAD, LEGEND, cells, limits_text, places

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; color: #1b1f24; padding: 0 1rem }
h1 { font-size: 1.3rem } table { border-collapse: collapse; width: 100% }
th, td { text-align: right; vertical-align: top;
  padding: .25rem .6rem; border-bottom: 1px solid #e2e5e9; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere }
summary { cursor: pointer; font-family: ui-monospace, monospace } ul { margin: .3rem 0 .6rem; color: #4a525c }
.bar { height: 4px; background: #3b82c4; margin-top: 3px } .missed { color: #a3480f } .note { color: #4a525c }
"""


def html(report: Report, title: str = "compiled model") -> str:
    """The page as text."""
    most = max((r.seconds or 0.0 for r in report.rows), default=0.0)
    head = "".join(f"<th>{escape(h)}</th>" for h in HEAD)
    rows = "\n".join(_row(report, r, most) for r in report.rows)
    rest = "".join(_remark(t, n) for t, n in report.general.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><h1>{escape(title)}</h1><p class="note">{escape(_summary(report))}<br>{escape(report.memory.text())}</p>
<table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table>
<details><summary>other remarks</summary><ul>{rest}</ul></details>
</body></html>
"""


def _summary(report: Report) -> str:
    seconds = report.seconds
    if report.limits is None or not seconds:
        return f"{len(report.rows)} kernels; times were not measured"
    flops = sum(r.flops for r in report.rows)
    return (
        f"{len(report.rows)} kernels, {seconds * 1e3:.3f} ms, {flops / seconds / 1e9:.1f} GFLOP/s; limits of one core: "
        f"{limits_text(report.limits)}; {' '.join(LEGEND)}"
    )


def _row(report: Report, row: KernelRow, most: float) -> str:
    name, *figures = cells(report, row)
    width = 100 * (row.seconds or 0.0) / most if most else 0
    lines = escape(places(row, len(row.where)))
    remarks = "".join(_remark(t, n) for t, n in row.remarks.items())
    first = (
        f"<details><summary>{escape(name)}</summary><ul><li>from {lines}</li>{remarks}</ul></details>"
        f'<div class="bar" style="width:{width:.1f}%"></div>'
    )
    return "<tr>" + "".join(f"<td>{c}</td>" for c in (first, *map(escape, figures))) + "</tr>"


def _remark(text: str, n: int) -> str:
    kind = ' class="missed"' if ": missed: " in text else ""
    return f"<li{kind}>{escape(text)}{f' ({n} times)' if n > 1 else ''}</li>"
