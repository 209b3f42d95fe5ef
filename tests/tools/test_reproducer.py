"""Reproducers: written in upstream's form when a pass fails, run again with `--run-reproducer`."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from mlc.tools.mlc_opt import main

T = "!torch.vtensor<[2],f32>"
TEXT = f"""func.func @f(%a: {T}) -> {T} {{
  %w = torch.vtensor.literal(dense_resource<w> : tensor<2xf32>) : {T}
  %0 = torch.operator "torch.no.lowering"(%a, %w) : ({T}, {T}) -> {T}
  return %0 : {T}
}}
{{-# dialect_resources: {{ builtin: {{ w: "0x04000000000080BF00000040" }} }} #-}}
"""
PIPELINE = "builtin.module(func.func(cse),convert-torch-to-linalg,linalg-pack-matmul{block=8})"


def opt(*args: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main([*args], stdout=out, stderr=err), out.getvalue(), err.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> str:
    file = tmp_path / "in.mlir"
    file.write_text(TEXT)
    return str(file)


def test_a_failure_leaves_a_reproducer_that_fails_alike(source: str, tmp_path: Path):
    file = tmp_path / "crash.mlir"
    code, out, err = opt(source, f"--pass-pipeline={PIPELINE}", f"--mlir-pass-pipeline-crash-reproducer={file}")
    assert code == 1 and out == "" and f"--run-reproducer {file}" in err
    text = file.read_text()
    assert f'pipeline: "{PIPELINE}",\n      disable_threading: true,\n      verify_each: true\n' in text
    assert 'w: "0x04000000000080BF00000040"' in text
    again = opt(str(file), "--run-reproducer")
    assert again[0] == 1 and again[2].splitlines()[-1] == err.splitlines()[-1]
    assert "in.mlir:3" in again[2], "places are still the user's"


def test_the_local_one_has_only_the_guilty_pass(source: str, tmp_path: Path):
    file = tmp_path / "crash.mlir"
    flags = (f"--mlir-pass-pipeline-crash-reproducer={file}", "--mlir-pass-pipeline-local-reproducer")
    assert opt(source, f"--pass-pipeline={PIPELINE}", *flags)[0] == 1
    assert 'pipeline: "builtin.module(convert-torch-to-linalg)"' in file.read_text()
    assert opt(str(file), "--run-reproducer")[0] == 1


def test_one_can_be_asked_for(source: str, tmp_path: Path):
    file = tmp_path / "repro.mlir"
    assert opt(source, "--cse", "--verify-each=false", f"--mlir-generate-reproducer={file}")[0] == 0
    text = file.read_text()
    assert 'pipeline: "builtin.module(cse)"' in text and "verify_each: false" in text
    assert opt(str(file), "--run-reproducer") == opt(source, "--cse")


def test_a_file_without_a_pipeline_is_refused(source: str):
    code, _, err = opt(source, "--run-reproducer")
    assert code == 2 and "mlir_reproducer" in err


def test_success_leaves_none(source: str, tmp_path: Path):
    file = tmp_path / "crash.mlir"
    assert opt(source, "--cse", f"--mlir-pass-pipeline-crash-reproducer={file}")[0] == 0
    assert not file.exists()


@pytest.mark.upstream
def test_upstream_runs_ours_and_we_run_upstreams(tmp_path: Path):
    source, ours, theirs = tmp_path / "in.mlir", tmp_path / "ours.mlir", tmp_path / "theirs.mlir"
    source.write_text("func.func @f(%a: i32) -> i32 {\n  %0 = arith.addi %a, %a : i32\n  return %a : i32\n}\n")
    pipeline = "builtin.module(func.func(cse,canonicalize))"
    assert opt(str(source), f"--pass-pipeline={pipeline}", f"--mlir-generate-reproducer={ours}")[0] == 0
    command = ["torch-mlir-opt", "--run-reproducer", str(ours)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "addi" not in done.stdout, done.stderr
    command = ["torch-mlir-opt", str(source), "--cse", f"--mlir-generate-reproducer={theirs}"]
    subprocess.run(command, capture_output=True, check=True)
    code, out, err = opt(str(theirs), "--run-reproducer")
    assert code == 0 and "addi" not in out, err
