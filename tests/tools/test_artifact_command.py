"""`mlc info`, `mlc verify`, `mlc run` on a saved model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.runtime.artifact.file import ArtifactFile, write_artifact
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r.txt", "its name ends in neither .npy nor .npz"),
        ("none/r.npz", "there is no directory"),
        ("taken.npz", "it is a directory"),
    ],
)
def test_where_results_cannot_go_is_said_before_the_run(
    name: str, message: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "taken.npz").mkdir()
    monkeypatch.setattr("mlc.tools.artifact_command.load", None)
    code, _, err = run("run", model, "--input", tmp_path / "x.npy", "--output", tmp_path / name)
    assert code == 2 and message in err, err


def test_what_a_terminal_would_obey_is_shown_as_text(model: Path, tmp_path: Path):
    file = ArtifactFile(model)
    raw = model.read_bytes()
    parts = [raw[offset : offset + count] for offset, count, _ in file._parts]
    index = json.loads(json.dumps(file.index).replace("Net", r"N\u001b[2J\u202e\ud800").replace('"y"', r'"\u0007y"'))
    del index["parts"]
    write_artifact(model, index, parts)
    inputs = ("--input", tmp_path / "x.npy", "--input", tmp_path / "mask.npy")
    for arguments in (("info", model), ("run", model, *inputs), ("run", model, "--input", tmp_path / "x.npy")):
        _, out, err = run(*arguments)
        assert "\x1b" not in out + err and "\x07" not in out + err and (out + err).isascii()
    code, out, _ = run("info", model)
    assert code == 0 and r"N\x1b[2J\u202e\ud800, saved by" in out and r"{\x07y: *" in out


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
