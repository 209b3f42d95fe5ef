"""Remarks stand with the kernels that they are about."""

from __future__ import annotations

import torch
from torch import nn

import mlc
from mlc.explain import KernelRow, make_report
from mlc.explain.attribution import Held, distribute
from mlc.ir.remarks import Remark


class Convolutions(nn.Module):
    """Two 3x3 convolutions with borders, which are filled by kernels of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(16, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 48, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


class Sorted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sort((x + 1).transpose(1, 2))[0].mean(1)


def rows_of(model: nn.Module, *shape: int) -> list[KernelRow]:
    compiled = mlc.compile(model.eval(), (torch.randn(shape),), num_threads=1)
    return make_report(compiled._latest().unit).rows


def texts(row: KernelRow, pass_name: str) -> list[str]:
    return [text for text in row.remarks if text.startswith(f"{pass_name}:")]


def test_a_border_has_no_remarks_of_the_convolution_it_is_filled_for():
    rows = rows_of(Convolutions(), 1, 16, 24, 24)
    fills = [r for r in rows if r.name.startswith("fill")]
    convolutions = [r for r in rows if "conv" in r.name]
    assert fills and len(convolutions) == 2
    for row in fills:
        assert not texts(row, "linalg-winograd-conv2d") and not texts(row, "expand-winograd")
        assert not texts(row, "linalg-hoist-constants")
    for row in convolutions:
        assert len(texts(row, "linalg-winograd-conv2d")) == 1
        assert sum(row.remarks[t] for t in texts(row, "linalg-form-kernels") if row.name in t) == 1
        assert not any(other.name in t for other in rows if other is not row for t in row.remarks)


def test_what_was_done_to_one_kernel_is_not_said_of_another_of_the_same_line():
    rows = rows_of(Sorted(), 4, 20, 30)
    loop = next(r for r in rows if r.name.startswith("for"))
    others = [r for r in rows if r is not loop]
    assert others and {tuple(r.where) for r in rows} == {tuple(loop.where)}
    assert not any("applied: vectorised" in t for t in loop.remarks)
    for row in others:
        (vectorised,) = (t for t in texts(row, "vectorize-structured") if "applied" in t)
        assert row.remarks[vectorised] == 1


def test_kernels_say_why_they_stay_apart_and_which_are_scalar():
    rows = rows_of(Sorted(), 4, 20, 30)
    whys = {
        "transpose": "it does not read the value once, in order, and in the type of its result",
        "for": "a loop over single elements is a kernel of its own",
        "rows": "a sum joins only sums over the same rows",
    }
    apart = {r.name.split("_")[0]: [t for t in texts(r, "linalg-form-kernels") if "missed" in t] for r in rows}
    for kind, why in whys.items():
        (text,) = apart[kind]
        assert text.endswith(f"missed: not in one kernel with what makes its operand ({why})")
    scalar = "vectorize-structured: missed: left to scalar loops (it goes through single elements)"
    assert [r.name.split("_")[0] for r in rows if scalar in r.remarks] == ["for"]


def remark(places: tuple[str, ...], op: str = "linalg.generic", kernel: str = "") -> Remark:
    return Remark("a pass", "applied", op, places[0], "did it to k_1", places=places, kernel=kernel)


def test_kernels_of_the_same_code_share_its_remarks_and_lines_decide_the_rest():
    first, second, third = (
        KernelRow(name, where=dict.fromkeys(where))
        for name, where in (("a", ("m.py:1", "m.py:2")), ("b", ("m.py:1",)), ("c", ("m.py:3",)))
    )
    rows = {r.name: r for r in (first, second, third)}
    held = {"a": Held({"linalg_ext.winograd_conv_2d"}, sums=True), "b": Held({"linalg.fill"}), "c": Held()}

    def given(r: Remark) -> dict[str, list[str]]:
        for row in rows.values():
            row.remarks.clear()
        rest = distribute([r], rows, {"1": [second, third]}, held)
        return {n: list(row.remarks) for n, row in rows.items() if row.remarks} or {"": list(rest)}

    assert given(remark(("m.py:1",), kernel="1")) == {
        "b": ["a pass: applied: did it to b"],
        "c": ["a pass: applied: did it to c"],
    }
    assert list(given(remark(("m.py:1",)))) == ["a", "b"]
    assert list(given(remark(("m.py:1", "m.py:2")))) == ["a"]
    assert list(given(remark(("m.py:3", "m.py:1")))) == ["c"]
    assert list(given(remark(("m.py:1",), "linalg.conv_2d_nchw_fchw"))) == ["a"]
    assert list(given(remark(("m.py:1",), "linalg.fill"))) == ["b"]
    assert list(given(remark(("m.py:9",)))) == [""]
