"""What a compiled model consists of: one row per kernel, with cost, source lines, time and remarks.

In: a compiled model (`mlc.compiled.Compiled`). Out: `Report`, as a table for the terminal or an HTML page. Belongs to
the face: may import everything. `costs` counts arithmetic and memory traffic, `profile` measures each call of
`@forward` natively, `report` puts both beside the remarks, `table` and `html` show it.
"""

from mlc.explain.html import html
from mlc.explain.report import KernelRow, Report, make_report
from mlc.explain.table import table

__all__ = ["KernelRow", "Report", "html", "make_report", "table"]
