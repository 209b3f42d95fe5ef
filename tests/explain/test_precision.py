"""Where a lower precision was asked for and changed nothing, `explain()` says so and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mlc
from mlc.explain import make_report

QUANTIZE = "linalg-quantize-contraction-inputs: missed: nothing is quantised"
DEMOTE = "linalg-demote-contraction-inputs: missed: no product reads bf16"


class Products(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x


@pytest.mark.parametrize(
    ("model", "shape", "precision", "told"),
    [
        (
            nn.Conv2d(3, 16, 3),
            (1, 3, 8, 8),
            "int8",
            f"{QUANTIZE} (1 linalg.conv_2d_nchw_fchw: only plain products are)",
        ),
        (nn.ReLU(), (4, 4), "int8", f"{QUANTIZE} (there are no products of matrices)"),
        (nn.ReLU(), (4, 4), "bfloat16", f"{DEMOTE} (there are no products of matrices)"),
        (Products(), (32, 32), "bfloat16", f"{DEMOTE} (1 linalg.matmul: the right-hand side is computed at run time)"),
    ],
)
def test_what_changed_nothing(model: nn.Module, shape: tuple[int, ...], precision: str, told: str):
    compiled = mlc.compile(model.eval(), (torch.randn(shape),), precision=precision, num_threads=1)
    assert make_report(compiled._latest().unit).general[told] == 1
    assert told in compiled.explain()


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_what_changed_something_has_no_such_remark(precision: str):
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)).eval()
    compiled = mlc.compile(model, (torch.randn(4, 32),), precision=precision, num_threads=1)
    general = make_report(compiled._latest().unit).general
    assert not any(text.startswith((QUANTIZE, DEMOTE)) for text in general)
