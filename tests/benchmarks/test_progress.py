"""The bar: written over on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from benchmarks.progress import Progress, bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar():
    assert bar(0, 10, "a") == f"[{'-' * 24}]  0/10 a"
    assert bar(5, 10, "a") == f"[{'#' * 12}{'-' * 12}]  5/10 a"
    assert bar(10, 10, "a") == f"[{'#' * 24}] 10/10 a"


def run(stream: io.StringIO) -> str:
    progress = Progress(stream, 2, 1)
    progress.unit("resnet50")
    progress.step("ort")
    progress.advance("done")
    return stream.getvalue()


def test_a_file_gets_whole_lines():
    assert run(io.StringIO()) == f"{bar(1, 2, 'resnet50')}\ndone\n"


def test_a_terminal_is_written_over():
    assert run(Terminal()) == f"\r\x1b[K{bar(1, 2, 'resnet50: ort')}\r\x1b[Kdone\n"
