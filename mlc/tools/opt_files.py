"""Files of `mlc-opt`: read with bounds, cut into chunks, written whole or not at all."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from mlc.errors import LimitError, ParseError, UsageError
from mlc.ir.parsing import Limits
from mlc.runtime.files import unwritable, write_whole

FIFO_WAIT = 60.0  # seconds for the first byte


def read_text(name: str) -> str:
    """The text of a file, of standard input for `-`."""
    limit = Limits().text_bytes
    try:
        if name == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with _open(name) as f:
                data = f.read(limit + 1)
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot read '{name}': {getattr(e, 'strerror', None) or e}") from None
    if len(data) > limit:
        raise LimitError(f"more than {limit} bytes", where=name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ParseError("the text is not UTF-8", where=f"{name}:{line}", hint="is this a binary file?") from None


def _open(name: str) -> BinaryIO:
    """Open for reading; of a FIFO that nobody writes to, say so instead of waiting for ever."""
    if not stat.S_ISFIFO(os.stat(name).st_mode):
        return Path(name).open("rb")
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    if not select.select([fd], [], [], FIFO_WAIT)[0]:
        os.close(fd)
        raise UsageError(f"cannot read '{name}': nobody writes to this FIFO")
    os.set_blocking(fd, True)
    return os.fdopen(fd, "rb")


def chunks(text: str, marker: str | None) -> Iterator[tuple[int, str]]:
    """The parts between lines that hold `marker`, each with the number of lines before it."""
    if marker is None:
        yield 0, text
        return
    line = 0
    for part in text.split(marker):
        yield line, part
        line += part.count("\n")


def check_target(name: str | None) -> None:
    """UsageError where `write_text` could not write, before there is anything to write."""
    why = None if name is None or name == "-" else unwritable(Path(name))
    if why is not None:
        raise UsageError(f"cannot write '{name}': {why}")


def write_text(name: str | None, text: str, out: TextIO) -> None:
    """To `out`, or to a file by way of a temporary one beside it. A device or a pipe is written to directly."""
    if name is None or name == "-":
        out.write(text)
        return
    target = Path(name)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        write_whole(target, text.encode())
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot write '{name}': {getattr(e, 'strerror', None) or e}") from None
