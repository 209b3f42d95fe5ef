"""Whatever is fed to mlc-opt: a typed message with a place, the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlc.tools.mlc_opt import main

ROOT = Path(__file__).resolve().parents[2]

GOOD = """func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  func.return %0 : i32
}
"""


def opt(text: str | bytes, *args: str, tmp_path: Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    file = tmp_path / "input.mlir"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    out, err = io.StringIO(), io.StringIO()
    code = main([str(file), *args], stdout=out, stderr=err)
    return code, out.getvalue(), err.getvalue()


REJECTED = {
    "cut in the middle": (GOOD[:50], "input.mlir:2"),
    "cut in a name": (GOOD[:12], "input.mlir:1"),
    "unknown op": (GOOD.replace("addi", "adddi"), "did you mean arith.addi"),
    "unknown dialect": (GOOD.replace("arith.addi", "arithm.addi"), "not registered"),
    "undefined value": (GOOD.replace("%a, %a", "%a, %b"), "%b"),
    "redefined value": (GOOD.replace("  func.return", "  %0 = arith.addi %a, %a : i32\n  func.return"), "input.mlir:3"),
    "use before definition": (GOOD.replace("%a, %a", "%a, %0"), "not defined yet"),
    "types disagree": (GOOD.replace("-> i32", "-> i64"), "input.mlir:"),
    "bad type": (GOOD.replace("%a: i32", "%a: i3two"), "input.mlir:1"),
    "binary": (bytes(range(256)) * 4, "input.mlir"),
    "odd iterator": (
        "#m = affine_map<(d0) -> (d0)>\nfunc.func @f(%a: tensor<2xf32>) -> tensor<2xf32> {\n"
        '%0 = linalg.generic {indexing_maps = [#m], iterator_types = ["lel"]} outs(%a : tensor<2xf32>) {\n'
        "^bb0(%x: f32): linalg.yield %x : f32 } -> tensor<2xf32>\n func.return %0 : tensor<2xf32> }",
        "input.mlir:3",
    ),
    "nul": (GOOD.replace("addi", "ad\0di"), "NUL"),
    "not utf-8": (GOOD.encode() + b"\xff\xfe", "UTF-8"),
    "unterminated string": ('func.func @f() attributes {a = "' + "x" * 200 + "\n", "string without an end"),
    "missing callee": ("func.func @f() { func.call @g() : () -> ()\n func.return }", "@g"),
    "bad hex": (
        "func.func @f() { %0 = arith.constant dense_resource<w> : tensor<2xf32>\n func.return }\n"
        '{-# dialect_resources: { builtin: { w: "0xZZ" } } #-}',
        "w",
    ),
    "short resource": (
        "func.func @f() { %0 = arith.constant dense_resource<w> : tensor<2xf32>\n func.return }\n"
        '{-# dialect_resources: { builtin: { w: "0x0400000000000000" } } #-}',
        "expected: 8 for",
    ),
    "empty block": (
        "func.func @ok() { return }\nfunc.func @f(%x: f32) {\n}",
        ":2: verify: 'func.func': its region has an empty block",
    ),
}

LIMITS = {
    "nesting": ("func.func @f() " + "{" * 5000, "nesting"),
    "attribute nesting": ("func.func @f() attributes {a = " + "[" * 5000, "nesting"),
    "splat": ("func.func @f() { %0 = arith.constant dense<0.0> : tensor<1000000000000xf32>\n func.return }", "splat"),
    "splat of an alias": (
        "!t = tensor<100000x100000xf32>\nfunc.func @f() { %0 = arith.constant dense<1.0> : !t\n func.return }",
        "a splat of 10000000000 elements",
    ),
    "splat behind a comment": (
        "func.func @f() { %0 = arith.constant dense<1.0> : // x\n tensor<100000x100000xf32>\n func.return }",
        "a splat of 10000000000 elements",
    ),
    "many splats": (
        "func.func @f() {" + " arith.constant dense<1> : tensor<6000000xi8>\n" * 3 + " func.return }",
        "splats of 18000000 elements",
    ),
    "wide integer": ("func.func @f(%a: i4294967296) { func.return }", "expected: at most 4096 bits"),
    "wide array": ("func.func @f() attributes {a = array<i99999999999999: 0>} { func.return }", "integer type"),
    "long number": ("func.func @f() { %0 = arith.constant " + "9" * 5000 + " : i32\n func.return }", "digits"),
}

USAGE = {
    "misspelt pass": (["--cze"], "--cse"),
    "negative seed": (["--run", "--seed=-1"], "from 0 on"),
    "misspelt pass in a pipeline": (["--pass-pipeline=builtin.module(canonicalise)"], "canonicalize"),
    "pipeline without an end": (["--pass-pipeline=builtin.module(cse"], "expected: ')'"),
    "pipeline with a hole": (["--pass-pipeline=builtin.module(cse,,cse)"], "column 20"),
    "unknown anchor": (["--pass-pipeline=builtin.modul(cse)"], "builtin.module"),
    "unknown option": (["--linalg-pack-matmul=blok=3"], "block=0"),
    "unknown level": (["--mlc-pipeline=cpu", "--mlc-to=linlag"], "linalg"),
    "unknown target": (["--mlc-pipeline=gpu"], "cpu"),
    "unknown flag": (["--verify-eac"], "verify-each"),
    "missing entry point": (["--run", "--entry-point=g"], "@f"),
    "missing inputs": (["--run", "--entry-point=f", "--inputs=/nonexistent.npz"], "cannot read inputs"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(name: str, tmp_path: Path):
    text, expected = REJECTED[name]
    code, out, err = opt(text, tmp_path=tmp_path)
    assert (code, out) == (1, ""), err
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str, tmp_path: Path):
    text, expected = LIMITS[name]
    code, out, err = opt(text, tmp_path=tmp_path)
    assert (code, out) == (3, ""), err
    assert expected in err


@pytest.mark.parametrize("name", USAGE)
def test_usage(name: str, tmp_path: Path):
    args, expected = USAGE[name]
    code, out, err = opt(GOOD, *args, tmp_path=tmp_path)
    assert (code, out) == (2, ""), err
    assert expected in err


def test_missing_file_is_a_usage_error():
    err = io.StringIO()
    assert main(["/nonexistent.mlir"], stderr=err) == 2
    assert "cannot read '/nonexistent.mlir'" in err.getvalue()


POOL = """
func.func @forward(%x: !torch.vtensor<[1,2,9,9],f32>) -> !torch.vtensor<[1,2,4,4],f32> {
  %k = torch.constant.int KERNEL
  %s = torch.constant.int STRIDE
  %p = torch.constant.int PADDING
  %d = torch.constant.int 1
  %no = torch.constant.bool false
  %kk = torch.prim.ListConstruct %k, %k : (!torch.int, !torch.int) -> !torch.list<int>
  %ss = torch.prim.ListConstruct %s, %s : (!torch.int, !torch.int) -> !torch.list<int>
  %pp = torch.prim.ListConstruct %p, %p : (!torch.int, !torch.int) -> !torch.list<int>
  %dd = torch.prim.ListConstruct %d, %d : (!torch.int, !torch.int) -> !torch.list<int>
  %0 = torch.aten.max_pool2d %x, %kk, %ss, %pp, %dd, %no : !torch.vtensor<[1,2,9,9],f32>, !torch.list<int>,
    !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool -> !torch.vtensor<[1,2,4,4],f32>
  func.return %0 : !torch.vtensor<[1,2,4,4],f32>
}
"""


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "message"),
    [
        (-9, 2, 1, "windows of -9, 2 apart"),
        (12, 2, 0, "the result would be impossible"),
        (3, 0, 1, "windows of 3, 0 apart"),
        (3, 1, 1 << 40, r"the result has sizes \[1,2,2199023255559,2199023255559\]"),
    ],
)
def test_windows_that_are_none(kernel: int, stride: int, padding: int, message: str, tmp_path: Path):
    text = POOL.replace("KERNEL", str(kernel)).replace("STRIDE", str(stride)).replace("PADDING", str(padding))
    code, _, err = opt(text, "--mlc-pipeline=cpu", tmp_path=tmp_path)
    assert code == 1 and re.search(rf"(?s)input.mlir:12: shape: torch.aten.max_pool2d: {message}", err), err


def test_output_is_written_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "out.mlir"
    assert opt(GOOD, "-o", str(target), tmp_path=tmp_path)[0] == 0
    good = target.read_text()
    assert opt(GOOD[:50], "-o", str(target), tmp_path=tmp_path)[0] == 1
    assert target.read_text() == good
    assert sorted(p.name for p in tmp_path.iterdir()) == ["input.mlir", "out.mlir"]
    code, _, err = opt(GOOD, "-o", str(tmp_path / "no" / "out.mlir"), tmp_path=tmp_path)
    assert code == 2 and "cannot write" in err
    code, _, err = opt("nothing", "-o", str(tmp_path), tmp_path=tmp_path)
    assert code == 2 and "it is a directory" in err  # said before the text is read


PERMUTE = """
func.func @forward(%x: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[3,2],f32> {
  %int7 = torch.constant.int 7
  %int0 = torch.constant.int 0
  %l = torch.prim.ListConstruct %int7, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
  %0 = torch.aten.permute %x, %l : !torch.vtensor<[2,3],f32>, !torch.list<int> -> !torch.vtensor<[3,2],f32>
  func.return %0 : !torch.vtensor<[3,2],f32>
}
"""


@pytest.mark.parametrize("how", [["--run"], ["--mlc-pipeline=cpu"], ["--convert-torch-to-linalg"]])
def test_dimensions_that_are_not_there(how: list[str], tmp_path: Path):
    code, _, err = opt(PERMUTE, *how, tmp_path=tmp_path)
    assert code == 1 and "dimension 7 of a tensor of rank 2" in err, err
    assert how == ["--run"] or "input.mlir:6: shape: torch.aten.permute" in err


def test_closed_pipe_and_traceback_flag(tmp_path: Path):
    command = f"{sys.executable} -m mlc.tools.mlc_opt --list-passes | head -1"
    r = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert r.stderr == ""
    file = tmp_path / "bad.mlir"
    file.write_text(GOOD[:50])
    r = subprocess.run(
        [sys.executable, "-m", "mlc.tools.mlc_opt", str(file), "--debug"], capture_output=True, text=True, cwd=ROOT
    )
    assert r.returncode == 1 and "Traceback" in r.stderr


def _mutate(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(data))
        j = min(len(data), i + rng.randint(1, 12))
        kind = rng.randrange(4)
        if kind == 0:
            del data[i:j]
        elif kind == 1:
            data[i:i] = data[i:j] * rng.randint(1, 3)
        elif kind == 2:
            data[i] = rng.randrange(32, 127)
        else:
            k = rng.randrange(len(data))
            data[i:j], data[k:k] = b"", bytes(data[i:j])
        if not data:
            data += b"x"
    return bytes(data)


SEEDS = sorted([*(ROOT / "tests/lowering").rglob("*.mlir"), ROOT / "examples/mlp.mlir", ROOT / "tests/tools/cse.mlir"])


@pytest.mark.parametrize("part", range(4))
def test_mutated_files_never_escape(part: int, tmp_path: Path):
    rng = random.Random(part)
    for _ in range(30):
        data = bytearray(rng.choice(SEEDS).read_bytes()[: rng.randint(200, 4000)])
        text = _mutate(data, rng)
        code, _, err = opt(text, tmp_path=tmp_path)
        assert code in (0, 1, 3), err + text.decode(errors="replace")
        assert "Traceback" not in err
