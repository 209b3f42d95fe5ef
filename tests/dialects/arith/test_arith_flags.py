"""Flags of integer arith ops: `--run` computes where they hold and says where they do not; native code leaves them
out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from mlc.errors import MlcError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.tools.mlc_opt import main

# op: operands that keep the promise, their result, operands that break it, what is said
FLAGS = {
    "arith.divsi %a, %b exact : i32": ((-6, 3), -2, (-7, 3), "a remainder although marked exact"),
    "arith.divui %a, %b exact : i32": ((6, 3), 2, (7, 3), "a remainder although marked exact"),
    "arith.shrsi %a, %b exact : i32": ((-8, 2), -2, (-6, 2), "a bit is shifted out although marked exact"),
    "arith.shrui %a, %b exact : i32": ((8, 2), 2, (9, 2), "a bit is shifted out although marked exact"),
    "arith.trunci %a overflow<nsw> : i32 to i8": ((-128, 0), -128, (128, 0), "signed overflow although marked nsw"),
    "arith.trunci %a overflow<nuw> : i32 to i8": ((255, 0), -1, (-1, 0), "unsigned overflow although marked nuw"),
}


def program(op: str) -> str:
    result = op.split()[-1]
    return f"func.func @main(%a: i32, %b: i32) -> {result} {{\n  %0 = {op}\n  func.return %0 : {result}\n}}"


@pytest.mark.parametrize("op", FLAGS)
def test_a_flag_is_a_promise(op: str) -> None:
    kept, result, broken, said = FLAGS[op]
    module = parse_text(program(op), make_context(), name="f.mlir")
    assert run_module(module, "main", [np.int32(v) for v in kept]) == [result]
    with pytest.raises(MlcError, match=said) as info:
        run_module(module, "main", [np.int32(v) for v in broken])
    assert "f.mlir:2" in str(info.value)


@pytest.mark.parametrize("op", FLAGS)
def test_native_code_gives_the_same_where_it_holds(op: str, tmp_path: Path) -> None:
    file, inputs = tmp_path / "f.mlir", tmp_path / "in.npz"
    kept, result, _, _ = FLAGS[op]
    file.write_text(program(op))
    np.savez(inputs, arg0=np.int32(kept[0]), arg1=np.int32(kept[1]))
    out = io.StringIO()
    argv = [str(file), "--run", "--native", "--entry-point=main", f"--inputs={inputs}"]
    assert main(argv, stdout=out, stderr=out) == 0, out.getvalue()
    assert out.getvalue().split()[-1] == str(result)
