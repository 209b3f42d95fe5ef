"""The progress bar: one line that is written over on a terminal, plain lines elsewhere.

[######------------------]  5/21 resnet50, 1 thread: ort
"""

from __future__ import annotations

import shutil
from typing import TextIO

WIDTH = 24


def bar(done: int, total: int, text: str) -> str:
    """One line."""
    filled = WIDTH * done // total if total else WIDTH
    return f"[{'#' * filled}{'-' * (WIDTH - filled)}] {done:>{len(str(total))}}/{total} {text}"


class Progress:
    """`step` says what is going on, `advance` that a unit is done."""

    def __init__(self, stream: TextIO, total: int, done: int = 0) -> None:
        self._stream, self._total, self._done = stream, total, done
        self._live = stream.isatty()
        self._unit = ""

    def unit(self, text: str) -> None:
        """A unit begins."""
        self._unit = text
        if not self._live:
            print(bar(self._done, self._total, text), file=self._stream, flush=True)

    def step(self, text: str) -> None:
        """Something within it begins; shown on terminals only."""
        if self._live:
            line = bar(self._done, self._total, f"{self._unit}: {text}")
            self._stream.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()

    def advance(self, line: str) -> None:
        """The unit is done; `line` is its result and stays."""
        self._done += 1
        print(("\r\x1b[K" if self._live else "") + line, file=self._stream, flush=True)
