"""Upstream MLIR as fixtures: a process that verifies files, and torch-mlir's import of the programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def upstream() -> Iterator[Callable[[Path], str]]:
    """Ask upstream MLIR about a file; the answer is described in `verifier.py`."""
    command = [sys.executable, str(HERE / "verifier.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def ask(path: Path) -> str:
            print(path, file=asked, flush=True)
            return answers.readline().strip()

        yield ask
        asked.close()
