"""Source locations: the user's file, line and module path, on every op, through every pass.

A captured op's location is `loc("layer1.0.conv1"("model.py":42:0))`: xDSL's NameLoc (module path) around a
FileLineColLoc. Passes that replace op A by B give B `A.location`; passes that merge give `fuse_locations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    CallSiteLoc,
    FileLineColLoc,
    FusedLoc,
    IntAttr,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Operation


def source_location(file: str, line: int, *, path: str | None = None, column: int = 0) -> LocationAttr:
    """Location of a user's line; `path` is the module path (`encoder.layer.0`) when there is one."""
    loc = FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(column))
    return NameLoc(StringAttr(path), loc) if path else loc


def flatten_location(loc: LocationAttr) -> tuple[LocationAttr, ...]:
    """The plain locations inside fused ones, in order, without unknown ones and repeats."""
    out: dict[LocationAttr, None] = {}
    todo: list[LocationAttr] = [loc]
    while todo:
        cur = todo.pop(0)
        if isinstance(cur, FusedLoc) and isinstance(cur.locations, ArrayAttr):
            todo[:0] = list(cur.locations.data)  # pyright: ignore[reportArgumentType]
        elif not isinstance(cur, UnknownLoc):
            out[cur] = None
    return tuple(out)


def fuse_locations(locs: Iterable[LocationAttr]) -> LocationAttr:
    """One location that remembers all of `locs`."""
    flat: dict[LocationAttr, None] = {}
    for loc in locs:
        for part in flatten_location(loc):
            flat[part] = None
    parts = tuple(flat)
    if not parts:
        return UNKNOWN_LOC
    if len(parts) == 1:
        return parts[0]
    return FusedLoc(ArrayAttr(parts), NoneAttr())


def with_location(ops: Operation | Sequence[Operation], loc: LocationAttr) -> None:
    """Give `ops`, and the ops in their regions, `loc` where they have none yet."""
    for op in (ops,) if isinstance(ops, Operation) else ops:
        for inner in op.walk():
            if type(inner.location) is UnknownLoc:
                inner.location = loc


def format_location(loc: LocationAttr) -> str:
    """`model.py:42 (layer1.0.conv1)`; empty when unknown; the first of a fused one, with a count of the rest."""
    parts = flatten_location(loc)
    if not parts:
        return ""
    first = _format_one(parts[0])
    return first if len(parts) == 1 else f"{first} (+{len(parts) - 1} more)"


def _format_one(loc: LocationAttr) -> str:
    match loc:
        case FileLineColLoc():
            return f"{loc.filename.data}:{loc.line.data}"
        case NameLoc():
            inner = loc.location
            assert isinstance(inner, UnknownLoc | FileLineColLoc | CallSiteLoc | NameLoc | FusedLoc)
            place = format_location(inner)
            return f"{place} ({loc.desc.data})" if place else loc.desc.data
        case CallSiteLoc():
            callee = loc.callee
            assert isinstance(callee, UnknownLoc | FileLineColLoc | CallSiteLoc | NameLoc | FusedLoc)
            return format_location(callee)
        case _:
            return ""
