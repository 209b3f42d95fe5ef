"""Child processes of a run: asked by lines, answering in JSON lines, each answer within a time.

with Child(["benchmarks.worker", "resnet50", "ort", …], environment) as child:
    child.ask("first", seconds=300)      ->  {"seconds": 3.1, …}, or ChildFailed with the reason
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class ChildFailed(Exception):
    """The child ended, or did not answer in time; the text says which and why."""


class Child:
    """A Python module running as a child in a process group of its own, so that its own children end with it."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._pending = b""

    def ask(self, line: str, seconds: float) -> Any:
        """Send a line (none when empty) and wait for the answer."""
        assert self._process.stdin is not None
        if line:
            try:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise ChildFailed(self._reason()) from None
        answer = self._line(seconds)
        try:
            return json.loads(answer)
        except json.JSONDecodeError:
            raise ChildFailed(f"answered {answer.decode(errors='replace')[:200]!r}") from None

    def stop(self) -> None:
        """Take the processor away from it."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Give the processor back."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # an unsent line to a process that has ended
                stream.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _line(self, seconds: float) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(seconds):
                    raise ChildFailed(f"no answer within {seconds:.0f} s")
                data = os.read(stream.fileno(), 1 << 16)
                if not data:
                    raise ChildFailed(self._reason())
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _reason(self) -> str:
        """Last line it wrote, or how it ended."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        if code < 0:
            return f"ended by signal {signal.Signals(-code).name}"
        return lines[-1][:300] if lines else f"ended with code {code}"


def run_module(argv: Sequence[str], environment: Mapping[str, str] | None = None, *, seconds: float = 600) -> Any:
    """The one JSON line that a module prints."""
    with Child(argv, environment) as child:
        return child.ask("", seconds)
