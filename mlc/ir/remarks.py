"""Remarks: what each pass did and did not do, as data. `mlc explain`, `compiled.explain()` and tests read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from xdsl.ir import Operation

from mlc.ir.locations import format_location


@dataclass(frozen=True)
class Remark:
    """`kind` as in LLVM: `applied` (done), `missed` (not done, `reason` says why), `analysis` (a fact)."""

    pass_name: str
    kind: Literal["applied", "missed", "analysis"]
    op: str
    where: str
    message: str
    reason: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class RemarkLog:
    """Remarks in the order they were made."""

    def __init__(self) -> None:
        self._items: list[Remark] = []

    def __iter__(self) -> Iterator[Remark]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def applied(self, pass_name: str, op: Operation, message: str, **data: Any) -> None:
        """The pass changed `op`."""
        self._add(pass_name, "applied", op, message, "", data)

    def missed(self, pass_name: str, op: Operation, message: str, *, reason: str, **data: Any) -> None:
        """The pass left `op` alone although it is the kind it looks for."""
        self._add(pass_name, "missed", op, message, reason, data)

    def analysis(self, pass_name: str, op: Operation, message: str, **data: Any) -> None:
        """A fact found about `op`."""
        self._add(pass_name, "analysis", op, message, "", data)

    def _add(self, pass_name: str, kind: Any, op: Operation, message: str, reason: str, data: dict[str, Any]) -> None:
        self._items.append(Remark(pass_name, kind, op.name, format_location(op.location), message, reason, data))
