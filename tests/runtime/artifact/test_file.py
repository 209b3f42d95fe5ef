"""The container: what is written is read back; what is damaged or hostile is an ArtifactError, whatever it is."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlc.errors import ArtifactError, UsageError
from mlc.runtime.artifact import file as format_
from mlc.runtime.artifact.file import ALIGNMENT, ArtifactFile, write_artifact

NO_FIXTURE_CHECK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three parts: an array, a text, and nothing."""
    target = tmp_path / "m.mlc"
    write_artifact(target, {"name": "m"}, [np.arange(100, dtype=np.float32), b"func", b""])
    return target


def read_all(path: Path) -> Any:
    """Everything that is in it."""
    file = ArtifactFile(path)
    return file.index["name"], file.array(0, np.dtype(np.float32), (4, 25)).tolist(), file.text(1), file.text(2)


def sealed(
    index: Any, body: bytes = b"", *, size: int | None = None, version: int = format_.VERSION, length: int | None = None
) -> bytes:
    """A file whose header fits: for contents that only somebody with intent writes."""
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    count = 64 + len(text) + len(body) if size is None else size
    head = struct.pack(
        "<16sIIQQ20s",
        format_.MAGIC,
        version,
        zlib.crc32(text),
        len(text) if length is None else length,
        count,
        bytes(20),
    )
    return head + struct.pack("<I", zlib.crc32(head)) + text + body


def test_what_was_written_is_read(path: Path):
    assert read_all(path) == ("m", np.arange(100.0).reshape(4, 25).tolist(), "func", "")
    array = ArtifactFile(path).array(0, np.dtype(np.float32), (100,))
    assert array.ctypes.data % ALIGNMENT == 0 and not array.flags.writeable
    file = ArtifactFile(path)
    array = file.array(0, np.dtype(np.float32), (100,))
    file.release()
    assert array.sum() == 4950


@given(st.data())
@NO_FIXTURE_CHECK
def test_a_changed_file_is_refused_or_says_the_same(path: Path, data: st.DataObject):
    """Every change of bytes is seen, but for the zeros between parts, which say nothing."""
    wanted = read_all(path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert", "append", "swap"]))
        if kind == "set":
            raw[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 200))]
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=70))
        elif kind == "append":
            raw += data.draw(st.binary(min_size=1, max_size=70))
        else:
            other = data.draw(st.integers(0, len(raw) - 1))
            raw[at], raw[other] = raw[other], raw[at]
        if not raw:
            break
    changed = path.with_name("changed.mlc")
    changed.write_bytes(raw)
    try:
        assert read_all(changed) == wanted
    except ArtifactError as error:
        assert str(changed) in str(error)


@given(st.integers(0, 527))
@NO_FIXTURE_CHECK
def test_every_flip_in_a_weight_is_seen(path: Path, at: int):
    raw = bytearray(path.read_bytes())
    start = ArtifactFile(path)._parts[0][0]
    raw[start + at % 400] ^= 1 << at % 8
    path.with_name("flipped.mlc").write_bytes(raw)
    with pytest.raises(ArtifactError, match="part 0 is damaged"):
        ArtifactFile(path.with_name("flipped.mlc"))


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no saved model"),
    "a pickle": (b"\x80\x04K\x01.", "no saved model"),
    "only the magic": (format_.MAGIC, "ends within its header"),
    "newer": (sealed({"parts": []}, version=3), "reads format 2.*\n.*newer mlc"),
    "older": (sealed({"parts": []}, version=1), "reads format 2.*\n.*save the model again"),
    "an index beyond the file": (sealed({"parts": []}, length=1 << 40), "its index has"),
    "another size": (sealed({"parts": []}, size=1 << 40), "not the 1099511627776"),
    "a part beyond the file": (sealed({"parts": [[1 << 60, 0]]}), "lies outside"),
    "a negative part": (sealed({"parts": [[64, 0], [-64, 0]]}), "lies outside|end at"),
    "parts that end early": (sealed({"parts": []}, b"more"), "parts end at"),
    "no parts": (sealed({}), "index is damaged"),
    "parts that are text": (sealed({"parts": ["ab"]}), "index is damaged"),
    "a list": (sealed([]), "index is damaged"),
    "no JSON": (sealed(b"\xff\xfe{"), "index is damaged"),
    "deep JSON": (sealed(b"[" * 100_000), "index is damaged"),
    "a number of a million digits": (sealed(b'{"parts": [[' + b"9" * 1_000_000 + b", 0]]}"), "damaged|outside"),
    "infinite sizes": (sealed(b'{"parts": [[Infinity, 0]]}'), "index is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, tmp_path: Path):
    raw, message = HOSTILE[name]
    (tmp_path / "h.mlc").write_bytes(raw)
    with pytest.raises(ArtifactError, match=message):
        ArtifactFile(tmp_path / "h.mlc")


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path):
    """A file that claims much is refused in a process that may have little."""
    (tmp_path / "h.mlc").write_bytes(sealed({"parts": [[1 << 45, 0]]}, length=1 << 45, size=1 << 46))
    (tmp_path / "i.mlc").write_bytes(sealed({"parts": [[1 << 45, 0]]}))
    code = """
import resource, sys
from pathlib import Path
from mlc.errors import ArtifactError
from mlc.runtime.artifact.file import ArtifactFile
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for path in sys.argv[1:]:
    try:
        ArtifactFile(Path(path))
    except ArtifactError:
        print("refused")
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "h.mlc"), str(tmp_path / "i.mlc")], capture_output=True, text=True
    )
    assert out.stdout.split() == ["refused", "refused"], out.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 1 << 30


def test_parts_that_do_not_fit_their_use(path: Path):
    file = ArtifactFile(path)
    single = np.dtype(np.float32)
    shapes: list[tuple[Any, tuple[int, ...]]] = [
        (0, (101,)), (0, (99,)), (0, (1 << 40, 1 << 40)), (0, (-1, -100)),
        (9, ()), (-1, ()), ("0", ()), (True, ()), (2, ()),
    ]  # fmt: skip
    for part, shape in shapes:
        with pytest.raises(ArtifactError):
            file.array(part, single, shape)
    with pytest.raises(ArtifactError):
        file.text(7)


def test_files_that_cannot_be_read(tmp_path: Path):
    for target in (tmp_path / "missing.mlc", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            ArtifactFile(target)
