"""`mlc-opt --run`: inputs are checked by name, and interpreted and native runs print the same."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from mlc.tools.mlc_opt import main

ADD = """func.func @forward(%a: tensor<2x?x{0}>, %b: tensor<2x?x{0}>) -> tensor<2x?x{0}> {{
  %0 = linalg.add ins(%a, %b : tensor<2x?x{0}>, tensor<2x?x{0}>) outs(%a : tensor<2x?x{0}>) -> tensor<2x?x{0}>
  func.return %0 : tensor<2x?x{0}>
}}
"""
BF16 = np.array([[0x3F80, 0x4000, 0xC040], [0x7F80, 0x0000, 0x3DCC]], np.uint16)
WIDE = (BF16.astype(np.uint32) << 16).view(np.float32)


def run(tmp_path: Path, text: str, *flags: str, **inputs: np.ndarray) -> tuple[int, str, str]:
    file, arrays = tmp_path / "in.mlir", tmp_path / "in.npz"
    file.write_text(text)
    np.savez(arrays, **inputs)
    out, err = io.StringIO(), io.StringIO()
    code = main([str(file), "--run", f"--inputs={arrays}", *flags], stdout=out, stderr=err)
    return code, out.getvalue(), err.getvalue()


WRONG = {
    "shape": (np.zeros((3, 4), np.float32), "input 'arg1' has shape [3, 4]\n  expected: tensor<2x?xf32>"),
    "rank": (np.zeros(2, np.float32), "input 'arg1' has shape [2]"),
    "dtype": (np.zeros((2, 3), np.float64), "input 'arg1' is float64\n  expected: float32 for tensor<2x?xf32>"),
}


@pytest.mark.parametrize("native", [(), ("--native",)], ids=["interpreter", "native"])
@pytest.mark.parametrize("name", WRONG)
def test_another_shape_or_dtype_is_refused_by_name(name: str, native: tuple[str, ...], tmp_path: Path):
    array, expected = WRONG[name]
    a = np.zeros((2, 3), np.float32)
    code, out, err = run(tmp_path, ADD.format("f32"), *native, arg0=a, arg1=array)
    assert (code, out) == (1, "") and expected in err


@pytest.mark.parametrize("given", [BF16, WIDE], ids=["bits", "floats"])
def test_bf16(given: np.ndarray, tmp_path: Path):
    text = ADD.format("bf16")
    interpreted = run(tmp_path, text, arg0=given, arg1=given)
    native = run(tmp_path, text, "--native", arg0=given, arg1=given)
    assert interpreted == native
    assert interpreted[1].startswith("%0 = float32[2, 3]\n[[ 2.  ") and "inf" in interpreted[1]
    code, _, err = run(tmp_path, text, arg0=given, arg1=np.full((2, 3), 0.1, np.float32))
    assert code == 1 and "bf16 does not have" in err


def test_unsigned_results_are_unsigned(tmp_path: Path):
    t = "!torch.vtensor<[3],ui8>"
    text = f"""func.func @forward(%a: {t}) -> {t} {{
  %0 = torch.aten.bitwise_not %a : {t} -> {t}
  func.return %0 : {t}
}}
"""
    x = np.array([0, 1, 255], np.uint8)
    outcomes = [run(tmp_path, text, *flags, arg0=x) for flags in ((), ("--native",))]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] == "%0 = uint8[3]\n[255 254   0]\n"


def test_one_function_of_several_runs_natively(tmp_path: Path):
    text = ADD.format("f32") + ADD.format("f32").replace("@forward", "@other").replace("linalg.add", "linalg.mul")
    x = np.full((2, 1), 3, np.float32)
    for native in ((), ("--native",)):
        assert "[6.]" in run(tmp_path, text, *native, arg0=x, arg1=x)[1]


def test_a_function_of_the_llvm_dialect_does_not_run_natively(tmp_path: Path):
    text = "llvm.func @forward(%a: i64) -> i64 { llvm.return %a : i64 }"
    assert run(tmp_path, text, arg0=np.array(7))[1] == "%0 = int64[]\n7\n"
    code, out, err = run(tmp_path, text, "--native", arg0=np.array(7))
    assert (code, out) == (1, "") and "unsupported: @forward is no func.func" in err
