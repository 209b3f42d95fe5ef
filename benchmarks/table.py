"""The report as Markdown, and one row of it for the terminal.

### 1 thread
| row | mlc ms | eager ms | ort ms | best peer | x best peer | x eager | % FMA | % bandwidth |
...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import notes
from benchmarks.plan import SHORT_ROUND, SHORT_ROUNDS, Unit
from benchmarks.ratios import Regression
from benchmarks.summary import Record, Summary, geometric_mean, slowdown, summarise

RED, PLAIN = "\x1b[31m", "\x1b[0m"
NONE = "–"


def number(value: float | None, form: str = ".2f") -> str:
    """A dash for what was not measured."""
    return NONE if value is None else format(value, form)


def milliseconds(value: float | None) -> str:
    """Three significant digits or so."""
    if value is None:
        return NONE
    return f"{value:.4f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def spread(values: Sequence[float] | None) -> str:
    """The median, and the quartiles in brackets."""
    return NONE if values is None else f"{values[1]:.2f} ({values[0]:.2f}–{values[2]:.2f})"


def in_red(text: str, colour: bool) -> str:
    """For terminals."""
    return f"{RED}{text}{PLAIN}" if colour else text


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are right-aligned."""
    rule = "|---|" + "--:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def speed_cells(record: Record, summary: Summary, engines: Sequence[str], precision: str) -> list[str]:
    """One row of the table of times and ratios; marked where an engine's lower precision is float32."""
    best = summary.ratio.get(summary.best or "")
    marks = {name: notes.mark(engine, precision) for name, engine in record["engines"].items()}
    return [
        record["row"],
        *(milliseconds(summary.ms[e][1]) + marks[e] if e in summary.ms else NONE for e in engines),
        summary.best + marks[summary.best] if summary.best else NONE,
        spread(best),
        number(summary.to_eager),
        number(summary.fma, ".0%"),
        number(summary.bandwidth, ".0%"),
    ]


def report(results: Mapping[str, Any], fallen: Sequence[Regression]) -> str:
    """The whole page."""
    engines, precision = results["engines"], results["precision"]
    whole = [r for r in results["records"] if "engines" in r]
    quiet = [r for r in whole if not r["contended"]]
    red = {f.unit for f in fallen}
    parts = [
        f"{results['about']}. Medians of {results['runs']} interleaved turns ({SHORT_ROUNDS} at least of rows whose"
        f" round takes less than {SHORT_ROUND} s)."
    ]
    for threads in sorted({r["threads"] for r in quiet}):
        rows = [r for r in quiet if r["threads"] == threads]
        limits = results["limits"].get(str(threads))
        summaries = [summarise(r, limits) for r in rows]
        parts += [f"### {threads} thread{'s' if threads > 1 else ''}", _speed(rows, summaries, engines, red, precision)]
        parts += [*notes.footnote(rows, precision), notes.RATIOS, _means(summaries)]
        if limits:
            parts += [
                f"Limits: {limits['gflops']:.0f} GFLOP/s, {limits['read_gb']:.0f} GB/s read, "
                f"{limits['copy_gb']:.0f} GB/s copied (both directions counted)."
            ]
        parts += ["Seconds from the module to the first result, cold / cached:"]
        parts += [_pairs(rows, engines, "cold_s", "cached_s", ".2f")]
        parts += ["Peak MB on the way to the first result, cold / while running, started from the cache:"]
        parts += [_pairs(rows, engines, "start_mb", "running_mb", ".0f")]
        if any("loaded_mb" in r["engines"].get("mlc", {}) for r in rows):
            parts += ["A saved model of mlc, loaded where there is no other, beside its peers from their caches:"]
            parts += [_loaded(rows, engines)]
        parts += ["Largest relative error against float64:", _errors(rows, engines, precision)]
    contended = [r for r in whole if r["contended"]]
    if contended:
        parts += ["### Beside a process that keeps one core busy", _contended(contended, engines)]
    parts += notes.lower_precision(engines, precision)
    if fallen:
        parts += ["### Regressions of more than 5 %", "\n".join(f"- **{f}**" for f in fallen)]
    failures = _failures(results["records"])
    if failures:
        parts += ["### Not measured", "\n".join(f"- {line}" for line in failures)]
    return "\n\n".join(parts) + "\n"


def _speed(
    rows: Sequence[Record], summaries: Sequence[Summary], engines: Sequence[str], red: set[str], precision: str
) -> str:
    head = ["row", *(f"{e} ms" for e in engines), "best peer", "x best peer", "x eager", "% FMA", "% bandwidth"]
    lines: list[list[str]] = []
    for record, summary in zip(rows, summaries, strict=True):
        cells = speed_cells(record, summary, engines, precision)
        if Unit(record["row"], record["threads"]).key in red:
            cells[0] = f"**{cells[0]} ▼**"
        lines.append(cells)
    return markdown(head, lines)


def _means(summaries: Sequence[Summary]) -> str:
    best = geometric_mean(s.to_best for s in summaries if s.to_best is not None)
    eager = geometric_mean(s.to_eager for s in summaries if s.to_eager is not None)
    return f"Geometric means: {number(best)} x best peer, {number(eager)} x eager."


def _pairs(rows: Sequence[Record], engines: Sequence[str], first: str, second: str, form: str) -> str:
    def cell(engine: Mapping[str, Any]) -> str:
        if first not in engine:
            return NONE
        return f"{number(engine[first], form)} / {number(engine.get(second), form)}"

    return markdown(["row", *engines], [[r["row"], *(cell(r["engines"].get(e, {})) for e in engines)] for r in rows])


def _loaded(rows: Sequence[Record], engines: Sequence[str]) -> str:
    """Seconds from `mlc.load` to the first result, and peak MB while running, of mlc and its peers."""
    peers = [e for e in engines if e != "mlc"]
    lines: list[list[str]] = []
    for r in rows:
        ours = r["engines"].get("mlc", {})
        others = [r["engines"].get(e, {}).get("running_mb") for e in peers]
        cells = (ours.get("loaded_mb"), ours.get("running_mb"), *others)
        lines.append([r["row"], number(ours.get("loaded_s")), *(number(c, ".0f") for c in cells)])
    return markdown(["row", "loaded s", "loaded MB", "mlc MB", *(f"{e} MB" for e in peers)], lines)


def _errors(rows: Sequence[Record], engines: Sequence[str], precision: str) -> str:
    lines: list[list[str]] = []
    for r in rows:
        of = {e: r["engines"].get(e, {}) for e in ("mlc", "eager", *engines)}
        errors = (number(of[e].get("error"), ".1e") + notes.mark(of[e], precision) for e in engines)
        ours, eager = of["mlc"].get("error"), of["eager"].get("error")
        lines.append([r["row"], *errors, number(ours / eager if ours and eager else None)])
    return markdown(["row", *engines, "mlc / eager"], lines)


def _contended(records: Sequence[Record], engines: Sequence[str]) -> str:
    def cell(engine: Mapping[str, Any]) -> str:
        return spread(slowdown(engine) if engine else None)

    threads = records[0]["threads"]
    rows = [[r["row"], *(cell(r["engines"].get(e, {})) for e in engines)] for r in records]
    return f"Time on {threads} threads over the quiet time on one:\n\n{markdown(['row', *engines], rows)}"


def _failures(records: Sequence[Record]) -> list[str]:
    lines: list[str] = []
    for r in records:
        unit = Unit(r["row"], r["threads"], r["contended"])
        if "failed" in r:
            lines.append(f"{unit}: {r['failed']}")
        lines += [f"{unit}, {name}: {e['failed']}" for name, e in r.get("engines", {}).items() if "failed" in e]
    return lines


def terminal_line(record: Record, limits: Mapping[str, float] | None, *, fallen: bool, colour: bool) -> str:
    """One unit in one line; red when it regressed."""
    unit = str(Unit(record["row"], record["threads"], record["contended"]))
    if "failed" in record:
        return f"{unit}: {record['failed']}"
    if record["contended"]:
        cells = (f"{name} {spread(slowdown(e))}" for name, e in record["engines"].items())
        return f"{unit}: contended over quiet: {', '.join(cells)}"
    summary = summarise(record, limits)
    times = ", ".join(f"{name} {milliseconds(ms[1])}" for name, ms in summary.ms.items())
    line = f"{unit}: {number(summary.to_best)} x {summary.best or 'no peer'} ({times} ms)"
    return in_red(f"{line}  regressed", colour) if fallen else line
