"""Ops of torch.library that a package brings: what it says of them is compiled, cached by its sources, and checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.packages import ROOT, install, opt

SOURCE = """
from xdsl.dialects import arith, linalg, tensor
from xdsl.dialects.builtin import AffineMapAttr, FloatAttr, IndexType, IntegerAttr, TensorType, f32
from xdsl.ir import Block, Region
from xdsl.ir.affine import AffineMap

TIMES = 1.0

def scaled(arguments, result_types):
    x, others, by, twice = arguments
    (t,) = result_types
    ops = []
    sizes = []
    for d, n in enumerate(t.get_shape()):
        if n < 0:
            at = arith.ConstantOp(IntegerAttr(d, IndexType()))
            size = tensor.DimOp(x, at.result)
            ops += [at, size]
            sizes.append(size.result)
    body = Block(arg_types=[f32] * 3)
    factor = arith.ConstantOp(FloatAttr(by * TIMES * (2 if twice else 1), f32))
    product = arith.MulfOp(body.args[0], factor.result)
    total = arith.AddfOp(product.result, body.args[1])
    body.add_ops([factor, product, total, linalg.YieldOp(total.result)])
    empty = tensor.EmptyOp(sizes, t)
    same = AffineMapAttr(AffineMap.identity(t.get_num_dims()))
    kinds = [linalg.IteratorTypeAttr.parallel()] * t.get_num_dims()
    return [*ops, empty, linalg.GenericOp([x, others[0]], [empty.tensor], Region(body), [same] * 3, kinds, [t])]

TORCH_OPS = {"scaled": scaled}
"""
ENTRY = "[mlc.torch_ops]\nplug = plug_package:TORCH_OPS\n"
MODEL = """
import torch
import mlc

@torch.library.custom_op("plug::scaled", mutates_args=())
def scaled(x: torch.Tensor, others: list[torch.Tensor], by: float = 2.0, *, twice: bool = False) -> torch.Tensor:
    return x * (by * (2 if twice else 1)) + others[0]

scaled.register_fake(lambda x, others, by=2.0, *, twice=False: torch.empty_like(x))

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))

    def forward(self, x):
        first = torch.ops.plug.scaled(x.transpose(0, 1), [self.w])
        return torch.ops.plug.scaled(first, [torch.relu(first)], 0.5, twice=True)
"""


def python(env: dict[str, str], code: str, *args: str) -> str:
    command = [sys.executable, "-c", code, *args]
    r = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert r.returncode == 0, r.stderr[-3000:]
    return r.stdout


def test_a_model_compiles_with_open_sizes_too_and_is_saved(tmp_path: Path):
    env = install(tmp_path, "plug_package", SOURCE, ENTRY) | {"MLC_CACHE_DIR": str(tmp_path / "cache")}
    code = (
        MODEL
        + """
import sys
model, x = Model().eval(), torch.randn(4, 3)
compiled = mlc.compile(model)
with torch.no_grad():
    assert torch.equal(compiled(x), model(x))
    assert 'torch.operator "plug.scaled"' in compiled.ir("torch")
    compiled.save(sys.argv[1])
    assert torch.equal(mlc.load(sys.argv[1])(x), model(x))

    def pair(a):
        return torch.ops.plug.scaled(a, [torch.tanh(a)]) + 1

    n = torch.export.Dim("n")
    opened = mlc.compile(pair, (torch.randn(5, 4),), dynamic_shapes=({0: n},))
    for rows in (2, 7):
        a = torch.randn(rows, 4)
        torch.testing.assert_close(opened(a), pair(a))
"""
    )
    python(env, code, str(tmp_path / "m.mlc"))


def test_another_version_of_the_package_never_meets_code_of_this_one(tmp_path: Path):
    env = install(tmp_path, "plug_package", SOURCE, ENTRY) | {"MLC_CACHE_DIR": str(tmp_path / "cache")}
    code = (
        MODEL
        + """
import os, sys
x = torch.ones(4, 3)
compiled = mlc.compile(Model().eval())
print(compiled(x).tolist())
if not os.path.exists(sys.argv[1]):
    compiled.save(sys.argv[1])
print(mlc.load(sys.argv[1])(x).tolist())
"""
    )
    before = python(env, code, str(tmp_path / "m.mlc")).splitlines()
    (tmp_path / "plug_package.py").write_text(SOURCE.replace("TIMES = 1.0", "TIMES = 3.0"), encoding="utf-8")
    after = python(env, code, str(tmp_path / "m.mlc")).splitlines()
    assert before[0] == before[1] and after[0] == after[1] and before[0] != after[0]


TEXT = """func.func @forward(%x: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32> {
  %0 = torch.operator "plug.op"(%x) : (!torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32>
  return %0 : !torch.vtensor<[2,3],f32>
}
"""
WHO = "plugin: function for torch.library op 'plug.op' of entry point 'plug = plug_package:TORCH_OPS'"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{'op': lambda a, t: [tensor.EmptyOp([], t[0])]}", None),
        ("{'op': lambda a, t: a}", "expected new ops, each once"),
        ("{'op': lambda a, t: None}", "it gave None, expected a list of ops, the last of which has the results"),
        ("{'op': lambda a, t: 1 // 0}", f"{WHO} of group mlc.torch_ops (package plug_package 1.0): ZeroDivisionError"),
        (
            "{'op': lambda a, t: [tensor.EmptyOp([], TensorType(f32, [3, 2]))]}",
            "TypeError: the last op, 'tensor.empty', gives tensor<3x2xf32>, expected tensor<2x3xf32>",
        ),
        (
            "{'op': lambda a, t: [arith.AddfOp(tensor.EmptyOp([], t[0]).tensor, a[0])]}",
            "ValueError: 'arith.addf' reads a value that is neither an argument nor made before it",
        ),
        ("[]", "TypeError: it is of type list, expected a dict: name of the op -> function that makes ops"),
        ("{}", "unsupported: 1 op has no lowering:\n  plug.op at "),
        ("nothing", "(package plug_package 1.0): NameError: name 'nothing' is not defined"),
    ],
)
def test_what_a_package_gives_is_checked(table: str, message: str | None, tmp_path: Path):
    env = install(tmp_path, "plug_package", f"{SOURCE}\nTORCH_OPS = {table}\n", ENTRY)
    file = tmp_path / "f.mlir"
    file.write_text(TEXT, encoding="utf-8")
    code, out, err = opt(env, str(file), "--convert-torch-to-linalg")
    assert "Traceback" not in err
    if message is None:
        assert (code, err) == (0, "") and "tensor.empty() : tensor<2x3xf32>" in out
    else:
        refused = 1 if message.startswith("unsupported") else 2  # the program is, or the package
        assert (code, out) == (refused, "") and message in err


def test_ops_of_mlc_stay_its_own(tmp_path: Path):
    env = install(
        tmp_path, "plug_package", "def boom(a, t): raise KeyError\n", "[mlc.torch_ops]\naten = plug_package:X\n"
    )
    file = tmp_path / "f.mlir"
    file.write_text(TEXT.replace("plug.op", "aten.relu"), encoding="utf-8")
    assert opt(env, str(file), "--convert-torch-to-linalg")[::2] == (0, "")
