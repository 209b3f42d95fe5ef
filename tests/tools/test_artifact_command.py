"""`mlc info`, `mlc verify`, `mlc run` on a saved model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.tools.mlc_command import main


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> Any:
        y = self.layer(x)
        return {"y": y * mask, "parts": (y.sum(0), None)}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLC_CACHE_DIR", str(tmp_path / "cache"))
    mlc.compile(Net(), (torch.ones(2, 4), torch.ones(2, 3))).save(tmp_path / "m.mlc")
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    np.save(tmp_path / "mask.npy", np.ones((2, 3), np.float32))
    return tmp_path / "m.mlc"


def run(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main([str(a) for a in arguments], stdout=out, stderr=err), out.getvalue(), err.getvalue()


def test_info_and_verify(model: Path):
    code, out, _ = run("info", model)
    assert code == 0 and "Net, saved by mlc" in out and "2 arrays of 0.0 MB" in out
    assert "version 0: x: float32[2, 4], mask: float32[2, 3] -> {y: *, parts: (*, *)}" in out
    code, out, _ = run("verify", model)
    assert code == 0 and "sound, 1 version, 2 arrays" in out
    model.write_bytes(model.read_bytes()[:-1])
    for command in ("info", "verify", "run"):
        code, _, err = run(command, model)
        assert code == 1 and err.startswith("mlc: artifact: cannot load"), err


def test_run(model: Path, tmp_path: Path):
    target = tmp_path / "r.npz"
    code, out, err = run(
        "run", model, "--input", tmp_path / "x.npy", "--input", f"mask={tmp_path}/mask.npy", "--output", target
    )
    assert code == 0, err
    assert out.splitlines() == ["y: float32[2, 3]", "parts.0: float32[3]", "parts.1: None"]
    with np.load(target) as results:
        wanted = mlc.load(model)(np.ones((2, 4), np.float32), np.ones((2, 3), np.float32))
        assert sorted(results) == ["parts.0", "y"]
        assert np.array_equal(results["y"], wanted["y"]) and np.array_equal(results["parts.0"], wanted["parts"][0])


def test_mistakes(model: Path, tmp_path: Path):
    x = tmp_path / "x.npy"
    np.savez(tmp_path / "both.npz", a=np.ones(2))
    (tmp_path / "p.npy").write_bytes(b"\x80\x04K\x01.")
    both = ("--input", x, "--input", tmp_path / "mask.npy")
    for arguments, message in [
        (("--input", tmp_path / "none.npy"), "cannot read"),
        (("--input", tmp_path / "p.npy"), "cannot read"),
        (("--input", tmp_path / "both.npz"), "holds several arrays"),
        ((*both, "--output", tmp_path / "r.npy"), "cannot write 3 results|cannot write 2 results"),
        ((*both, "--output", tmp_path / "none" / "r.npz"), "cannot write"),
        (("--input", f"mak={x}", "--input", x), "did you mean 'mask'"),
    ]:
        code, _, err = run("run", model, *arguments)
        assert code == 2 and any(m in err for m in message.split("|")), err
    code, _, err = run("run", model, "--input", x, "--input", x)
    assert code == 1 and "argument 'mask' is float32[2, 4]" in err
