"""The worked examples of CONTRIBUTING.md run, in order; the packaged ones are installed and found by entry points."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ALL = re.findall(r"```python(?: usage)?\n(.*?)```", TEXT, re.DOTALL)
DEFINITIONS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_examples_run():
    assert len(ALL) == 8 and len(DEFINITIONS) == 5
    r = subprocess.run([sys.executable, "-c", "\n".join(ALL)], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-3000:]


def _installed(tmp_path: Path, package: str, entry_points: str) -> dict[str, str]:
    """An environment in which the examples are an installed package."""
    (tmp_path / f"{package}.py").write_text("\n".join(DEFINITIONS), encoding="utf-8")
    info = tmp_path / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}


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

    def opt(*args: str) -> str:
        r = subprocess.run([sys.executable, "-m", "mlc.tools.mlc_opt", *args], capture_output=True, text=True, env=env)
        assert r.returncode == 0, r.stderr
        return r.stdout

    assert "example" in opt("--show-dialects").split("Dialects: ")[1].strip().split(", ")
    assert "example-negate-twice\n    Drop pairs of negations" in opt("--list-passes")
    assert "example.squared_relu" in opt(str(source), "--example-negate-twice")
    assert "%0 = float32[2]" in opt(str(source), "--run")


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
    assert r.stdout.startswith("[[")
