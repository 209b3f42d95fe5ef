"""Op classes made sooner: the assembly format of each is read when an op of it is first parsed or printed.

xDSL reads the format while it makes the class, which is half of the time that a dialect takes to load; a start from the
cache loads some of them and neither parses nor prints an op. For dialects of xDSL and mlc only, whose formats are known
to be right: others hear of a wrong format where they define the op. Tests: tests/ir/test_late_formats.py
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from xdsl.irdl import OpDef
from xdsl.irdl.declarative_assembly_format import FormatProgram

_read: Callable[[str, OpDef], FormatProgram] = FormatProgram.from_str
_lock = threading.Lock()
_depth = 0


class _Late:
    """In the place of a `FormatProgram`."""

    def __init__(self, text: str, definition: OpDef) -> None:
        self._text = text
        self._definition = definition

    @cached_property
    def _program(self) -> FormatProgram:
        return _read(self._text, self._definition)

    def parse(self, parser: Any, op_type: Any) -> Any:
        """`FormatProgram.parse`."""
        return self._program.parse(parser, op_type)

    def print(self, printer: Any, op: Any) -> None:
        """`FormatProgram.print`."""
        self._program.print(printer, op)


@contextmanager
def late_formats() -> Iterator[None]:
    """Classes made inside read their formats later; nests, and may be entered by several threads."""
    global _depth
    with _lock:
        _depth += 1
        setattr(FormatProgram, "from_str", staticmethod(_Late))  # noqa: B010 - of another type
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                setattr(FormatProgram, "from_str", staticmethod(_read))  # noqa: B010


def is_known(factory: Callable[..., Any]) -> bool:
    """Whether what `factory` imports is xDSL's or mlc's."""
    return factory.__module__.partition(".")[0] in ("xdsl", "mlc")
