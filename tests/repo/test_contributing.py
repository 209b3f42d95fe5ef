"""The worked examples of CONTRIBUTING.md run, in order; the packaged ones are installed and found by entry points."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.repo.packages import ROOT, install, opt

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ALL = re.findall(r"```python(?: usage)?\n(.*?)```", TEXT, re.DOTALL)
DEFINITIONS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

PROPERTY = """
from mlc.testing.oracle import check
from mlc.testing.program import finish
from mlc.ir.contract import Reassociates

for preserves, domains in ((Bitwise(), {"ieee"}), (Reassociates("any order"), {"bound", "integers"})):
    seen = set()
    for seed in range(6):
        ctx = make_context()
        ctx.load_dialect(EXAMPLE)
        contract = replace(ExampleLowerSquaredRelu.contract, preserves=preserves)
        outcome = check(ExampleLowerSquaredRelu, contract, finish(parse_text(TEXT, ctx), ctx=ctx, seed=seed))
        assert outcome.changed and outcome.finding is None, outcome.finding
        seen |= set(outcome.domains)
    assert domains <= seen, seen
"""
"""The example's op and pass under the same check as mlc's, in every domain it has a meaning in."""
SQUARED = """func.func @forward(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = example.squared_relu %x : tensor<2x8xf32> -> tensor<2x8xf32>
  func.return %0 : tensor<2x8xf32>
}
"""


def test_examples_run():
    assert len(ALL) == 12 and len(DEFINITIONS) == 8
    r = subprocess.run([sys.executable, "-c", "\n".join([*ALL, PROPERTY])], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-3000:]


def _installed(tmp_path: Path, package: str, entry_points: str) -> dict[str, str]:
    """An environment in which the examples are an installed package."""
    return install(tmp_path, package, "\n".join(DEFINITIONS), entry_points)


def test_dialect_and_pass_are_found_by_entry_point(tmp_path: Path):
    declared = re.findall(r"```toml\n(\[project.entry-points.\"xdsl.universe\"\]\n.*?)```", TEXT, re.DOTALL)
    assert declared and 'example = "example_package:UNIVERSE"' in declared[0]
    env = _installed(tmp_path, "example_package", "[xdsl.universe]\nexample = example_package:UNIVERSE\n")
    source = tmp_path / "f.mlir"
    source.write_text(
        """func.func @forward(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = example.squared_relu %x : tensor<2xf32> -> tensor<2xf32>
  func.return %0 : tensor<2xf32>
}""",
        encoding="utf-8",
    )

    assert "example" in opt(env, "--show-dialects")[1].split("Dialects: ")[1].strip().split(", ")
    assert "example-negate-twice\n    Drop pairs of negations" in opt(env, "--list-passes")[1]
    assert "example.squared_relu" in opt(env, str(source), "--example-negate-twice")[1]
    assert "%0 = float32[2]" in opt(env, str(source), "--run")[1]
    source.write_text(source.read_text(encoding="utf-8").replace("tensor<2xf32>", "tensor<?xf32>"), encoding="utf-8")
    lowered = [
        opt(env, str(source), "--example-lower-squared-relu", "--run", *native) for native in ((), ("--native",))
    ]
    assert lowered[0] == lowered[1] == opt(env, str(source), "--run") and lowered[0][0] == 0


def test_backend_is_found_by_entry_point(tmp_path: Path):
    env = _installed(tmp_path, "narrow_package", "[mlc.backends]\nnarrow = narrow_package:NARROW\n")
    code = """
import numpy as np
from mlc.driver import compile_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.options import Options
text = open("examples/mlp.mlir").read()
ctx = make_context()
compiled = compile_module(parse_text(text, ctx), ctx, Options(target="narrow-x86-64", cache_dir=""))
x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
print(compiled.run([x])[0].tolist())
assert "zmm" not in compiled.asm() and "ymm" not in compiled.asm()
"""
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT)
    assert r.returncode == 0, r.stderr[-3000:]
    assert r.stdout.startswith("[[") and r.stderr == "", "the name of a machine model is no CPU of LLVM's"
    code, out, err = opt(env, "examples/mlp.mlir", "--target=narrow-x86-64", "--mlc-pipeline=cpu", "--emit=asm")
    assert (code, err) == (0, "") and "xmm" in out and "ymm" not in out
    code, _, err = opt(env, "examples/mlp.mlir", "--target=narow-x86-64")
    assert code == 2 and "did you mean 'narrow-x86-64'" in err


NEGATED = """func.func @forward(%x: tensor<8xf32>) -> tensor<8xf32> {
  %0 = linalg.generic {indexing_maps = [affine_map<(i)->(i)>], iterator_types = ["parallel"]}
      outs(%x : tensor<8xf32>) {
  ^bb0(%y: f32):
    %1 = arith.negf %y : f32
    %2 = arith.negf %1 : f32
    linalg.yield %2 : f32
  } -> tensor<8xf32>
  func.return %0 : tensor<8xf32>
}
"""


def test_pass_in_the_pipeline_of_a_backend(tmp_path: Path):
    declared = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[-1].replace("project.entry-points.", "")
    env = _installed(tmp_path, "example_package", declared.replace('"', ""))
    source = tmp_path / "f.mlir"
    source.write_text(NEGATED, encoding="utf-8")
    to_linalg = (str(source), "--mlc-pipeline=cpu", "--mlc-to=linalg", "--remarks")
    assert "arith.negf" in opt(env, *to_linalg)[1]
    code, out, err = opt(env, *to_linalg, "--target=example")
    assert code == 0 and out.count("arith.negf") == 1 and "dropped a pair of negations" in err
    code, out, err = opt(env, str(source), "--target=example", "--run", "--native")
    assert (code, err) == (0, "") and out == opt(env, str(source), "--run")[1]
    source.write_text(SQUARED, encoding="utf-8")
    code, out, err = opt(env, str(source), "--target=example", "--run", "--native")
    assert (code, err) == (0, "") and out == opt(env, str(source), "--run")[1]


def test_campaigns_run_passes_of_other_packages(tmp_path: Path):
    env = _installed(tmp_path, "example_package", "[xdsl.universe]\nexample = example_package:UNIVERSE\n")
    assert "its package's own word, to be tested on 'linalg' programs" in opt(env, "--list-passes")[1]
    run = [sys.executable, "-m", "fuzz", "--pass", "example-negate-twice", "--seconds", "6", "--seed", "1"]
    run += ["--ledger", str(tmp_path / "ledger"), "--out", str(tmp_path / "finds")]
    r = subprocess.run(run, capture_output=True, text=True, env=env, cwd=ROOT)
    assert (r.returncode, r.stderr) == (0, "") and json.loads(r.stdout)["executions"] > 0
