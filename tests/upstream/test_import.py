"""torch-mlir's own import of small modules: `mlc-opt` accepts it, lowers it all the way, and gives eager's numbers.

Both forms of torch-mlir's output: its torch dialect as imported (`raw`), and its own lowering (`linalg-on-tensors`).
Numbers: no further from float64 than four times eager, with a floor of a few steps at the size of the largest element.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from mlc.backends.registry import load_backend
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.verifier import verify_module
from mlc.tools.mlc_opt import main
from mlc.tools.opt_run import claim_entry, run
from mlc.tools.opt_target import NATIVE, Target

pytestmark = [pytest.mark.torch, pytest.mark.upstream]
NAMES = (
    "convolutional", "linear_chain", "attention", "lstm_cell", "embedding", "reductions", "views", "comparisons",
    "dynamic_mlp", "dynamic_shapes", "dynamic_images", "integers", "math", "gather", "images",
)  # fmt: skip
FUNCTIONS = ("windows", "scans", "orders", "scatters", "dynamic_views", "dynamic_products", "activations")
NOT_LOWERED = {
    "integers": "TorchMlirCompilerError"
}  # torch-mlir does not lower this one itself: bitwise_xor with a scalar


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each program: torch-mlir's texts, and calls as (inputs, eager's outputs, float64's outputs)."""
    base = tmp_path_factory.getbasetemp()
    stored = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "export.pt"
    command = [sys.executable, "-m", "tests.upstream.export", str(stored)]
    with FileLock(f"{stored}.lock"):  # made once for all test processes
        if not stored.exists():
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
            assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(stored)


def close(got: list[np.ndarray], want: list[torch.Tensor], exact: list[torch.Tensor]) -> None:
    """Same types and shapes; integers equal, floats as good as eager's."""
    for i, (mine, theirs, true) in enumerate(zip(got, (w.numpy() for w in want), exact, strict=True)):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), f"result {i}"
        if theirs.dtype.kind != "f":
            assert np.array_equal(mine, theirs), f"result {i}"
            continue
        reference = true.double().numpy()
        finite = np.isfinite(theirs)
        assert np.array_equal(mine[~finite], theirs[~finite], equal_nan=True), f"result {i}"
        if finite.any():
            mine, theirs, reference = mine[finite], theirs[finite], reference[finite]
            floor = 16 * np.finfo(theirs.dtype).eps * np.abs(reference).max()
            error, eager = np.abs(mine - reference).max(), np.abs(theirs - reference).max()
            assert error <= max(4 * eager, floor), f"result {i}: error {error}, eager's {eager}"


def check(text: str, calls: list[Any], *, native: bool) -> None:
    """Run the text's `@main` on each call's inputs."""
    for inputs, want, exact in calls:
        ctx = make_context()
        module = parse_text(text, ctx, name="<torch-mlir>")
        verify_module(module, ctx)
        entry = claim_entry(module, "main") if native else "main"
        target = Target(NATIVE, load_backend(NATIVE)) if native else None
        close(run(module, ctx, entry, [x.numpy() for x in inputs], native=target), want, exact)


@pytest.mark.parametrize("native", [False, True], ids=["interpreter", "native"])
@pytest.mark.parametrize("name", NAMES)
def test_torch_dialect(name: str, native: bool, exported: dict[str, Any]) -> None:
    program = exported[name]
    calls = program["calls"]
    assert len(calls) == (3 if name.startswith("dynamic") else 1)
    check(program["texts"]["raw"], calls, native=native)


@pytest.mark.parametrize("name", NAMES)
def test_whole_pipeline(name: str, exported: dict[str, Any], tmp_path: Path) -> None:
    """As a user would: a file, `mlc-opt --mlc-pipeline=cpu`, all the way to the llvm dialect."""
    path = tmp_path / f"{name}.mlir"
    path.write_text(exported[name]["texts"]["raw"])
    out, err = io.StringIO(), io.StringIO()
    code = main([str(path), "--mlc-pipeline=cpu", "--entry-point=main"], stdout=out, stderr=err)
    assert code == 0, err.getvalue()
    lowered = parse_text(out.getvalue(), make_context())
    kinds = {op.name.partition(".")[0] for op in lowered.ops if "constant" not in op.attributes}
    assert kinds == {"llvm"} and "llvm.func @mlc_forward(" in out.getvalue()


@pytest.mark.parametrize("native", [False, True], ids=["interpreter", "native"])
@pytest.mark.parametrize("name", [n for n in (*NAMES, *FUNCTIONS) if n not in NOT_LOWERED])
def test_linalg_on_tensors(name: str, native: bool, exported: dict[str, Any]) -> None:
    check(exported[name]["texts"]["linalg-on-tensors"], exported[name]["calls"], native=native)


@pytest.mark.parametrize("name", NOT_LOWERED)
def test_what_torch_mlir_cannot_lower(name: str, exported: dict[str, Any]) -> None:
    assert NOT_LOWERED[name] in exported[name]["texts"]["linalg-on-tensors"]


@pytest.mark.parametrize("name", (*NAMES, *FUNCTIONS))
def test_text_round_trips(name: str, exported: dict[str, Any], tmp_path: Path) -> None:
    for kind, text in exported[name]["texts"].items():
        if not text.startswith("//"):
            path = tmp_path / f"{kind}.mlir"
            path.write_text(text)
            err = io.StringIO()
            assert main([str(path), "--verify-roundtrip"], stdout=io.StringIO(), stderr=err) == 0, err.getvalue()
