"""`mlc.dataclass_code`: methods of dataclasses are compiled once, kept as Python keeps bytecode, and are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import mlc
from mlc import dataclass_code
import xdsl.ir
from xdsl.dialects.builtin import IntAttr, StringAttr, i32
from mlc.errors import MlcError
assert IntAttr(3) == IntAttr(3) != IntAttr(4) and hash(IntAttr(3)) == hash(IntAttr(3)) and "3" in repr(IntAttr(3))
try:
    IntAttr(3).data = 4
except Exception as e:
    assert type(e).__name__ == "FrozenInstanceError"
else:
    raise AssertionError("it is not frozen")
import dataclasses
before = len(dataclass_code._kept or ()), len(dataclass_code._new)
@dataclasses.dataclass(frozen=True, order=True)
class Other:
    a: int
    b: list = dataclasses.field(default_factory=list)
assert Other(1) < Other(2) and Other(1) == Other(1, [])
assert (len(dataclass_code._kept or ()), len(dataclass_code._new)) == before, "of another package"
print(len(dataclass_code._new), dataclass_code._file())
"""


def run(prefix: Path, **environment: str) -> tuple[int, Path]:
    """How many methods a process compiled, and where it keeps them."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**inherited, "PYTHONPYCACHEPREFIX": str(prefix), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    new, file = done.stdout.split()
    return int(new), Path(file)


def test_the_second_process_compiles_none(tmp_path: Path):
    new, file = run(tmp_path)
    assert new > 50 and file.is_relative_to(tmp_path) and file.exists()
    assert run(tmp_path) == (0, file)
    assert not [p for p in file.parent.iterdir() if p.name.startswith(f"{file.name}.")]  # nothing half written


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_file_is_made_anew(damage: bytes | None, tmp_path: Path):
    new, file = run(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert run(tmp_path) == (new, file)
    assert run(tmp_path) == (0, file)


def test_nothing_is_kept_where_python_keeps_nothing(tmp_path: Path):
    _, file = run(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert not file.exists()
