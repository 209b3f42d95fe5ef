"""`--verify-diagnostics`: check what a file says it provokes, as `mlir-opt` does.

    // expected-error@+1 {{operand type}}
    %0 = arith.addi %a, %b : i32

`expected-error`, `-warning`, `-remark`, `-note`; `@+N`, `@-N`, `@above`, `@below` (past other expectations),
`@unknown`, or nothing (the same line). `expected-error-re`: what stands in inner `{{…}}` is a regular expression. Every
expectation must be met, and every error and warning must be expected (`=only-expected`: need not be).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlc.errors import MlcError, UsageError
from mlc.ir.remarks import Remark

_EXPECTATION = re.compile(
    r"expected-(error|warning|remark|note)(-re)? *(?:@ *([+-]\d+|above|below|unknown))? *\{\{(.*?)\}\}(?!\})\s*(?=$|//)"
)


@dataclass(frozen=True)
class Expectation:
    """One comment: the kind, the line it speaks of (None: no line at all), what must be found in the message."""

    kind: str
    line: int | None
    text: str
    pattern: re.Pattern[str]
    written: int


@dataclass(frozen=True)
class Diagnostic:
    """What happened; `where` is `file:line…`, empty when unknown."""

    kind: str
    where: str
    text: str

    @property
    def line(self) -> int | None:
        """The line of `where`."""
        m = re.search(r":(\d+)", self.where)
        return int(m.group(1)) if m else None


def expectations(text: str, first_line: int) -> list[Expectation]:
    """All expectation comments of a chunk that begins at `first_line` (1-based) of its file."""
    found: list[Expectation] = []
    lines = text.splitlines()
    for i, line in enumerate(lines):
        for m in _EXPECTATION.finditer(line):
            kind, is_pattern, where, expected = m.groups()
            at: int | None = i
            match where:
                case None:
                    pass
                case "unknown":
                    at = None
                case "above":
                    at = next((k for k in range(i - 1, -1, -1) if not _EXPECTATION.search(lines[k])), i - 1)
                case "below":
                    at = next((k for k in range(i + 1, len(lines)) if not _EXPECTATION.search(lines[k])), i + 1)
                case _:
                    at = i + int(where)
            target = None if at is None else at + first_line
            pattern = _pattern(expected, bool(is_pattern), i + first_line)
            found.append(Expectation(kind, target, expected, pattern, i + first_line))
    return found


def _pattern(text: str, has_patterns: bool, line: int) -> re.Pattern[str]:
    if not has_patterns:
        return re.compile(re.escape(text))
    parts = re.split(r"\{\{(.*?)\}\}", text)
    try:
        return re.compile("".join(f"(?:{p})" if k % 2 else re.escape(p) for k, p in enumerate(parts)))
    except re.error as e:
        raise UsageError(f"line {line}: expectation '{text}' is no regular expression: {e}") from None


def diagnostics_of(error: MlcError) -> list[Diagnostic]:
    """The error, then what it expected and its hint as notes of the same place."""
    where = error.where or ""
    notes = [Diagnostic("note", where, text) for text in (error.expected, error.hint) if text]
    return [Diagnostic("error", where, error.message), *notes]


def remark_diagnostics(remarks: Sequence[Remark]) -> list[Diagnostic]:
    """Remarks as diagnostics, with their reason."""
    return [Diagnostic("remark", r.where, f"{r.message} {r.reason}".strip()) for r in remarks]


def unmet(wanted: Sequence[Expectation], happened: Sequence[Diagnostic], *, only_expected: bool = False) -> list[str]:
    """Complaints, empty when all is as expected."""
    rest = list(happened)
    complaints: list[str] = []
    for e in wanted:
        hit = next((d for d in rest if d.kind == e.kind and d.line == e.line and e.pattern.search(d.text)), None)
        if hit is None:
            complaints.append(f'line {e.written}: expected {e.kind} "{e.text}" was not produced')
        else:
            rest.remove(hit)
    if not only_expected:
        unexpected = [d for d in rest if d.kind in ("error", "warning")]
        complaints += [f"line {d.line or '?'}: unexpected {d.kind}: {d.text}" for d in unexpected]
    return complaints
