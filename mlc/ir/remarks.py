"""Remarks: what each pass did and did not do, as data. `mlc explain`, `compiled.explain()` and tests read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from xdsl.ir import Operation

from mlc.ir.locations import flatten_location, format_location


@dataclass(frozen=True)
class Remark:
    """`kind` as in LLVM: `applied` (done), `missed` (not done, `reason` says why), `analysis` (a fact).

    `rule` names the rewrite of an applied remark, one of those that the pass's contract declares. `places`: all lines
    that the op comes from, of which `where` tells the first, and `sums`: it is a generic with loops that sum (both if
    the log was asked for them). `kernel`: the key of the kernel on whose own module the pass ran; none where it saw the
    whole module.
    """

    pass_name: str
    kind: Literal["applied", "missed", "analysis"]
    op: str
    where: str
    message: str
    reason: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    rule: str = ""
    places: tuple[str, ...] = ()
    sums: bool = False
    kernel: str = ""


class RemarkLog:
    """Remarks in the order they were made, and how often each rule fired: (pass name, rule) -> times.

    `kernel`: the key of the kernel that all of them are about. `places`: remarks tell all lines of their op and whether
    it sums, which takes as long as all else about them.
    """

    def __init__(self, kernel: str = "", *, places: bool = False) -> None:
        self.kernel = kernel
        self.places = places
        self._items: list[Remark] = []
        self.fired: Counter[tuple[str, str]] = Counter()

    def __iter__(self) -> Iterator[Remark]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def extend(self, other: RemarkLog) -> None:
        """Add all of another log, behind what is here."""
        self._items += other._items
        self.fired.update(other.fired)

    def applied(self, pass_name: str, op: Operation, message: str, *, rule: str = "", **data: Any) -> None:
        """The pass changed `op` by `rule`; a pass with one rule only may leave it out."""
        self.count(pass_name, rule or pass_name)
        self._add(pass_name, "applied", op, message, "", data, rule or pass_name)

    def count(self, pass_name: str, rule: str, times: int = 1) -> None:
        """A rule fired on something too small for a remark of its own (each op of a conversion, say)."""
        self.fired[pass_name, rule] += times

    def missed(self, pass_name: str, op: Operation, message: str, *, reason: str, **data: Any) -> None:
        """The pass left `op` alone although it is the kind it looks for."""
        self._add(pass_name, "missed", op, message, reason, data)

    def analysis(self, pass_name: str, op: Operation, message: str, **data: Any) -> None:
        """A fact found about `op`."""
        self._add(pass_name, "analysis", op, message, "", data)

    def _add(
        self, pass_name: str, kind: Any, op: Operation, message: str, reason: str, data: dict[str, Any], rule: str = ""
    ) -> None:
        where, places, sums = format_location(op.location), (), False
        if self.places:
            places = tuple(dict.fromkeys(format_location(part) for part in flatten_location(op.location)))
            sums = "reduction" in str(op.properties.get("iterator_types", ""))
        made = Remark(pass_name, kind, op.name, where, message, reason, data, rule, places, sums, self.kernel)
        self._items.append(made)
