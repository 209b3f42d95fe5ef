"""An interrupted run goes on where everything that decides its figures is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as main
from benchmarks.plan import Settings

SETTINGS = Settings(["mlp_b1"], ["mlc", "eager"], [1], 3)


def test_a_run_of_another_machine_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(main, "HERE", tmp_path)
    monkeypatch.setattr(main, "run_module", lambda argv: {"gflops": 1.0})
    monkeypatch.setattr(main.about, "source_hash", lambda folder: "the same")
    main.open_log(SETTINGS, fresh=False).add("mlp_b1/1", {"row": "mlp_b1"})
    assert main.open_log(SETTINGS, fresh=False).records == {"mlp_b1/1": {"row": "mlp_b1"}}
    assert "going on after 1 of 1" in capsys.readouterr().err
    monkeypatch.setattr(main.about, "machine", lambda: "another machine")
    assert main.open_log(SETTINGS, fresh=False).records == {}
    assert "the machine, mlc or its peers changed" in capsys.readouterr().err
