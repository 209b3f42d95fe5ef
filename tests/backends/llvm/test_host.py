"""What LLVM says about the computer is found again on disk, and nowhere else; a process then does without LLVM."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlc.backends.llvm import host, kept
from mlc.backends.llvm.host import Host, detected, host_key
from mlc.backends.llvm.target import host_machine
from mlc.backends.machine import PRESETS
from mlc.errors import VerifyError
from mlc.runtime.cache import DiskCache, cache_in_use, using

WIDE = PRESETS["x86-64-avx512"]
TEXT = "define i32 @f() { ret i32 7 }"


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    """`host` forgets what it knows, before and after."""
    host.host.cache_clear()
    yield
    host.host.cache_clear()


def known(found: Host) -> Host:
    """With what the system withholds."""
    return replace(found, features=tuple(sorted((*found.features, *found.withheld))), withheld=())


def test_a_matrix_unit_that_the_system_withholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Code for it would end the process; the processor is still known by it."""
    server = Host("x86_64-unknown-linux-gnu", "rocketlake", (*WIDE.features, "amx-tile", "amx-bf16"), "llvm 0")
    monkeypatch.setattr(host, "detected", lambda: server)
    for granted in (True, False, True):  # the cache keeps what the processor has
        monkeypatch.setattr(host, "matrix_unit_granted", lambda granted=granted: granted)
        host.host.cache_clear()
        host_machine.cache_clear()
        with using(DiskCache(tmp_path)):
            machine = host_machine()
        assert (machine.tile_bf16, machine.fma_per_cycle) == (granted, 2)
    host_machine.cache_clear()


def test_the_answer_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with using(DiskCache(tmp_path)):
        first = host.host()
    assert known(first) == known(detected()) and first.features and first.version.startswith("llvm ")
    other = Host("pdp11-dec-unix", "pdp11", (), "llvm 0")
    monkeypatch.setattr(host, "detected", lambda: other)
    host.host.cache_clear()
    with using(DiskCache(tmp_path)):
        assert host.host() == first
    host.host.cache_clear()
    assert cache_in_use() is None and host.host() == other
    host.host.cache_clear()
    with using(DiskCache(tmp_path / "empty")):
        assert host.host() == other


def test_another_processor_is_another_entry(tmp_path: Path):
    text = "processor\t: 0\nmodel name\t: A\ncpu MHz\t\t: 100.0\nflags\t\t: sse avx\n"
    keys: list[str | None] = []
    for changed in (text, text.replace("100.0", "250.5"), text.replace("sse", "sse2"), text.replace("A", "B"), "x"):
        (tmp_path / "cpuinfo").write_text(changed)
        keys.append(host_key(tmp_path / "cpuinfo"))
    assert keys[0] == keys[1] and len({*keys}) == 4 and keys[-1] is None
    assert host_key(tmp_path / "absent") is None


def test_own_code_is_kept(tmp_path: Path):
    machine, cache = host_machine(), DiskCache(tmp_path)
    host.host.cache_clear()  # which the machine may have asked
    with using(cache):
        code = kept.object_of(TEXT, machine)
        assert cache.info().entries == 2  # and what LLVM says
        assert kept.object_of(TEXT, machine) == code
        assert cache.info().entries == 2
        assert kept.object_of(TEXT.replace("7", "8"), machine) != code
        kept.object_of(TEXT, machine, opt_level=0)
    assert cache.info().entries == 4
    with pytest.raises(VerifyError):
        kept.object_of("nothing", machine)


WITHOUT = """
import builtins, sys
original = builtins.__import__
def refused(name, *args, **kwargs):
    if name.partition(".")[0] in ("llvmlite", "xdsl", "torch"):
        raise ImportError(name)
    return original(name, *args, **kwargs)
builtins.__import__ = refused
import numpy as np
import mlc
model = mlc.load(sys.argv[1], cache_dir=sys.argv[2], num_threads=2)
x = np.linspace(-1, 1, 64 * 256, dtype=np.float32).reshape(64, 256)
print(float(abs(model(x, np.array([3])) - np.load(sys.argv[3])).max()))
try:
    model(x, np.array([300]))
except mlc.MlcError as error:
    print(type(error).__name__)
print([m for m in sys.modules if m.partition(".")[0] in ("llvmlite", "xdsl", "torch")])
"""
PREPARE = """
import sys
import numpy as np
import torch
from torch import nn
import mlc
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(256, 256), nn.Embedding(8, 256)
    def forward(self, x, i):
        return torch.softmax(self.layer(x), -1) + self.table(i)
x = torch.from_numpy(np.linspace(-1, 1, 64 * 256, dtype=np.float32).reshape(64, 256))
compiled = mlc.compile(Model().eval(), (x, torch.tensor([3])), cache_dir=sys.argv[2])
answer = compiled(x, torch.tensor([3])).numpy()
compiled.save(sys.argv[1])
mlc.load(sys.argv[1], cache_dir=sys.argv[2], num_threads=2)(x.numpy(), np.array([3]))
np.save(sys.argv[3], answer)
print([m for m in ("llvmlite", *(f"xdsl.dialects.{d}" for d in ("cf", "memref", "scf"))) if m in sys.modules])
"""
COMPILE_AGAIN = "\n".join(x for x in PREPARE.splitlines() if not x.startswith(("compiled.save", "mlc.load", "np.save")))


def run(script: str, folder: Path) -> list[str]:
    arguments = [str(folder / name) for name in ("m.mlc", "cache", "y.npy")]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_model_from_the_cache_runs_without_llvm(tmp_path: Path):
    """Loaded: on two threads, and where an index is out of range; compiled again: with torch, still without LLVM and
    without the dialects that only passes meet."""
    assert run(PREPARE, tmp_path) == [str(["llvmlite", *(f"xdsl.dialects.{d}" for d in ("cf", "memref", "scf"))])]
    difference, error, imported = run(WITHOUT, tmp_path)
    assert float(difference) == 0 and error == "ExecutionError" and imported == "[]"
    assert run(COMPILE_AGAIN, tmp_path) == ["[]"]
