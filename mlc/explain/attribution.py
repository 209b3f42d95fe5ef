"""Which kernels a remark is about.

    vectorize-structured on k_<key>                      ->  the kernels with that code, whoever else has the same lines
    linalg-winograd-conv2d on a convolution of line 7    ->  kernels of line 7 that sum products, not its border's fill
    linalg-fuse-elementwise on an op of lines 7 and 8    ->  kernels of both lines, where there are any, else of line 7

What a pass of the whole module changed is known by its lines only; where a line became several kernels of a kind, all
of them show the remark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation

from mlc.ir.remarks import Remark
from mlc.lowering.linalg.structure import iterators_of

_SUMS = ("conv", "matmul", "linear", "addmm", "bmm", "attention", "pool", "softmax")
"""In the names of ops that become loops which sum, or look for the largest."""


class Row(Protocol):
    """What a kernel's row needs to take remarks."""

    name: str
    where: dict[str, None]
    remarks: Counter[str]


@dataclass(frozen=True)
class Held:
    """What a kernel holds: the names of its ops, whether any of its loops sums, and whether it is given weights."""

    names: set[str] = field(default_factory=set)
    sums: bool = False
    weights: bool = False


def held_by(kernel: Operation, *, weights: bool) -> Held:
    """Of the kernel at the buffers level."""
    ops = list(kernel.walk())
    names = {op.name for op in ops}
    return Held(names, any(op.name.startswith("linalg_ext.") or _sums(op) for op in ops), weights)


def distribute(
    remarks: Iterable[Remark], rows: Mapping[str, Row], by_key: Mapping[str, Iterable[Row]], held: Mapping[str, Held]
) -> Counter[str]:
    """Give each row (by name) the remarks about it; returns the rest. `by_key`: rows by the key of their code."""
    by_place: dict[str, list[Row]] = {}
    for row in rows.values():
        for place in row.where:
            by_place.setdefault(place, []).append(row)
    rest: Counter[str] = Counter()
    for r in remarks:
        owners = list(by_key.get(r.kernel, ())) if r.kernel else _of_lines(r, rows, by_place, held)
        text = f"{r.pass_name}: {r.kind}: {r.message}{f' ({r.reason})' if r.reason else ''}"
        for row in owners:
            row.remarks[text.replace(f"k_{r.kernel}", row.name) if r.kernel else text] += 1
        if not owners:
            rest[text] += 1
    return rest


def _of_lines(
    r: Remark, rows: Mapping[str, Row], by_place: Mapping[str, list[Row]], held: Mapping[str, Held]
) -> list[Row]:
    if r.data.get("kernel") in rows:
        return [rows[r.data["kernel"]]]
    first = by_place.get(r.places[0], []) if r.places else []
    found = [row for row in first if all(place in row.where for place in r.places)] or first
    if r.pass_name == "linalg-hoist-constants":
        return [row for row in found if held[row.name].weights] or found
    if not r.op.startswith(("linalg.generic", "func.")):
        same = [row for row in found if r.op in held[row.name].names]
        if same:
            return same
    if r.sums or any(word in r.op for word in _SUMS):
        return [row for row in found if held[row.name].sums] or found
    return found


def _sums(op: Operation) -> bool:
    return isinstance(op, LinalgStructuredOperation) and "r" in iterators_of(op)
