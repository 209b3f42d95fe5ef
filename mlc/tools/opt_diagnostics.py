"""`--verify-diagnostics`: check what a file says it provokes, as `mlir-opt` does.

    // expected-error@+1 {{operand type}}
    %0 = arith.addi %a, %b : i32

`expected-error`, `expected-warning`, `expected-remark`, `expected-note`; `@+N`, `@-N`, `@above`, `@below`,
`@unknown`, or nothing (the same line). Every expectation must be met, and every error must be expected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlc.errors import MlcError
from mlc.ir.remarks import Remark

_EXPECTATION = re.compile(
    r"expected-(error|warning|remark|note)(?:-re)?\s*(?:@(above|below|unknown|[+-]\d+))?\s*\{\{(.*?)\}\}"
)


@dataclass(frozen=True)
class Expectation:
    """One comment: the kind, the line it speaks of (None: any), the text that must be contained."""

    kind: str
    line: int | None
    text: str
    written: int


@dataclass(frozen=True)
class Diagnostic:
    """What happened."""

    kind: str
    line: int | None
    text: str


def expectations(text: str, first_line: int) -> list[Expectation]:
    """All expectation comments of a chunk that begins at `first_line` (1-based) of its file."""
    found: list[Expectation] = []
    for i, line in enumerate(text.splitlines(), first_line):
        for m in _EXPECTATION.finditer(line):
            where = m.group(2)
            match where:
                case None:
                    target: int | None = i
                case "above":
                    target = i - 1
                case "below":
                    target = i + 1
                case "unknown":
                    target = None
                case _:
                    target = i + int(where)
            found.append(Expectation(m.group(1), target, m.group(3), i))
    return found


def diagnostic_of(error: MlcError) -> Diagnostic:
    """The error as a diagnostic."""
    return Diagnostic("error", _line(error.where), error.message)


def remark_diagnostics(remarks: Sequence[Remark]) -> list[Diagnostic]:
    """Remarks as diagnostics, with their reason."""
    return [Diagnostic("remark", _line(r.where), f"{r.message} {r.reason}".strip()) for r in remarks]


def unmet(wanted: Sequence[Expectation], happened: Sequence[Diagnostic]) -> list[str]:
    """Complaints, empty when all is as expected."""
    rest = list(happened)
    complaints: list[str] = []
    for e in wanted:
        hit = next(
            (d for d in rest if d.kind == e.kind and e.text in d.text and (e.line is None or d.line in (None, e.line))),
            None,
        )
        if hit is None:
            complaints.append(f'line {e.written}: expected {e.kind} "{e.text}" was not produced')
        else:
            rest.remove(hit)
    complaints += [f"line {d.line or '?'}: unexpected error: {d.text}" for d in rest if d.kind == "error"]
    return complaints


def _line(where: str | None) -> int | None:
    m = re.search(r":(\d+)", where or "")
    return int(m.group(1)) if m else None
