"""The named ops of `named_ops.py`: text, upstream's opinion, and their meaning against PyTorch's and as generics."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mlc.dialects.linalg.named_ops import ELEMENTWISE, LOOPS
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.verifier import verify_module

pytestmark = pytest.mark.torch
SIZES = {"n": 2, "c": 3, "f": 4, "m": 2, "b": 2, "k": 5, "d": 3, "h": 4, "w": 5, "x": 2, "y": 3, "z": 2}
INTEGERS = tuple(n for n in (*LOOPS, *ELEMENTWISE) if "unsigned" in n)


def operand_type(operand: str, strides: list[int], dilations: list[int], element: str) -> str:
    """The smallest tensor that the operand's map reaches over loops of `SIZES`."""
    sizes: list[int] = []
    windows = 0
    for term in filter(None, operand.split(",")):
        place, _, offset = term.partition("+")
        size = SIZES[place]
        if offset:
            size = (size - 1) * strides[windows] + (SIZES[offset] - 1) * dilations[windows] + 1
            windows += 1
        sizes.append(size)
    return f"tensor<{''.join(f'{s}x' for s in sizes)}{element}>"


def text_of(name: str, element: str) -> tuple[str, list[str]]:
    """A function with the op alone, and the types of its operands."""
    windows, attributes = 0, ""
    if name in LOOPS:
        _, inputs, output, _ = LOOPS[name]
        windows = 0 if name in ("conv_1d", "conv_2d", "conv_3d") else inputs[0].count("+")
        strides, dilations = ([2, 1, 2][:windows], [1, 2, 1][:windows]) if windows else ([1] * 3, [1] * 3)
        types = [operand_type(o, strides, dilations, element) for o in (*inputs, output)]
        if windows:
            t = f"tensor<{windows}xi64>"
            attributes = f" {{dilations = dense<{dilations}> : {t}, strides = dense<{strides}> : {t}}}"
    else:
        types = [f"tensor<3x4x{element}>"] * (ELEMENTWISE[name][0] + 1)
    names = [f"%a{k}" for k in range(len(types))]
    ins = f"{', '.join(names[:-1])} : {', '.join(types[:-1])}"
    op = f"linalg.{name}{attributes} ins({ins}) outs({names[-1]} : {types[-1]}) -> {types[-1]}"
    args = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    return f"func.func @f({args}) -> {types[-1]} {{\n  %0 = {op}\n  func.return %0 : {types[-1]}\n}}\n", types


def inputs_of(types: list[str], element: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [[int(s) for s in t[len("tensor<") : -1].split("x")[:-1]] for t in types]
    if element == "i32":
        return [rng.integers(1, 9, s).astype(np.int32) for s in shapes]
    return [np.asarray(rng.random(s) + 0.5, dtype=np.float32) for s in shapes]


@pytest.mark.parametrize("name", (*LOOPS, *ELEMENTWISE))
def test_text_and_generic_form_mean_the_same(name: str):
    elements = ("i32",) if name in INTEGERS else ("f32", "i32") if name in LOOPS else ("f32",)
    for element in elements:
        text, types = text_of(name, element)
        ctx = make_context()
        module = parse_text(text, ctx)
        verify_module(module)
        assert f"linalg.{name} " in print_text(module)
        assert parse_text(print_text(module), make_context()).is_structurally_equivalent(module)
        arrays = inputs_of(types, element)
        (want,) = run_module(module, "f", arrays)
        run_pipeline([make_pass("linalg-decompose-named-ops")], ctx, module)
        assert "linalg.generic" in print_text(module) and f"linalg.{name} " not in print_text(module)
        (got,) = run_module(module, "f", arrays)
        assert np.array_equal(got, want) and not np.array_equal(got, arrays[-1])


def last(x: torch.Tensor) -> torch.Tensor:
    """Channels from the second place to the last."""
    return x.movedim(1, -1)


def first(x: torch.Tensor) -> torch.Tensor:
    """Channels from the last place to the second."""
    return x.movedim(-1, 1)


S3 = {"stride": (2, 1, 2), "dilation": (1, 2, 1)}
S1 = {"stride": 2, "dilation": 1}
REFERENCES = {
    "dot": lambda a, b: a @ b,
    "matvec": lambda a, b: a @ b,
    "vecmat": lambda a, b: a @ b,
    "batch_matvec": lambda a, b: (a @ b[..., None])[..., 0],
    "batch_vecmat": lambda a, b: (a[:, None] @ b)[:, 0],
    "conv_1d_ncw_fcw": lambda x, w: F.conv1d(x, w, **S1),
    "conv_1d_nwc_wcf": lambda x, w: last(F.conv1d(first(x), w.permute(2, 1, 0), **S1)),
    "conv_3d_ncdhw_fcdhw": lambda x, w: F.conv3d(x, w, **S3),
    "conv_3d_ndhwc_dhwcf": lambda x, w: last(F.conv3d(first(x), w.permute(4, 3, 0, 1, 2), **S3)),
    "depthwise_conv_1d_ncw_cw": lambda x, w: F.conv1d(x, w[:, None], groups=3, **S1),
    "depthwise_conv_3d_ncdhw_cdhw": lambda x, w: F.conv3d(x, w[:, None], groups=3, **S3),
    "pooling_ncw_max": lambda x, w: F.max_pool1d(x, 2, **S1),
    "pooling_ncw_sum": lambda x, w: F.avg_pool1d(x, 2, 2) * 2,
    "pooling_ndhwc_max": lambda x, w: last(F.max_pool3d(first(x), (2, 3, 2), **S3)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_meaning_is_pytorchs(name: str):
    text, types = text_of(name, "f32")
    arrays = inputs_of(types, "f32")
    arrays[-1] = np.full_like(arrays[-1], -np.inf if "max" in name else 0)
    (got,) = run_module(parse_text(text, make_context()), "f", arrays)
    want = REFERENCES[name](*(torch.tensor(a) for a in arrays[:-1]))
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5)


@pytest.mark.upstream
def test_upstream_reads_them_all(tmp_path: Path):
    functions: list[str] = []
    for name in (*LOOPS, *ELEMENTWISE):
        text, _ = text_of(name, "i32" if name in INTEGERS else "f32")
        functions.append(print_text(parse_text(text.replace("@f(", f"@{name}("), make_context())))
    file = tmp_path / "named.mlir"
    file.write_text("\n// -----\n".join(functions))
    command = ["torch-mlir-opt", "--split-input-file", str(file), "-o", str(tmp_path / "out.mlir")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
