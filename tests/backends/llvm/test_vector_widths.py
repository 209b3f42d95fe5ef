"""Every vector width of every element type compiles for every machine model, and computes what the interpreter does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.llvm.vector_widths import FLOATS, INTS, machines

PROGRAM = Path(__file__).with_name("vector_widths.py")
ALL = range(1, 34)
SOME = (1, 3, 9, 17, 25, 33)


def compile_and_run(machine: str, element: str, lanes: range | tuple[int, ...]) -> None:
    command = [sys.executable, str(PROGRAM), machine, element, *map(str, lanes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])


@pytest.mark.parametrize("machine", list(machines()))
def test_bfloat16_of_every_width(machine: str):
    compile_and_run(machine, "bf16", ALL)


@pytest.mark.parametrize("element", [t for t in (*FLOATS, *INTS) if t != "bf16"])
def test_odd_widths_of_every_type(element: str):
    compile_and_run("avx512bf16", element, SOME)
