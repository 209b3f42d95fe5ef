"""`mlc.compile`: when it captures again, what it refuses, what it hands back."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

import mlc
from mlc.api import MAX_VARIANTS
from mlc.errors import DTypeError, ExecutionError, ShapeError, UnsupportedError, UsageError
from mlc.frontends.torch.emit import Emitter

V = torch.randn(4, 6)


def test_captures_at_the_first_call_and_again_for_what_is_new(captures: list[Any]):
    model = nn.Linear(6, 2).eval()
    compiled = mlc.compile(model)
    assert captures == []
    for x, count in ((V, 1), (V * 2, 1), (V[:2], 2), (V, 2), (V.reshape(2, 2, 6), 3), (V[:2], 3)):
        torch.testing.assert_close(compiled(x), model(x).detach())
        assert len(captures) == count


def test_example_inputs_compile_at_once(captures: list[Any]):
    compiled = mlc.compile(lambda x, y=1: x * y, (V, 3))
    assert len(captures) == 1
    assert torch.equal(compiled(V, 3), V * 3)
    assert len(captures) == 1
    mlc.compile(lambda x: x * 2, V)
    mlc.compile(lambda *, x: x * 2, {"x": V})
    assert len(captures) == 3


def test_weights_and_modes_are_noticed(captures: list[Any]):
    model = nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2)).eval()
    compiled = mlc.compile(model, (V,))
    before = compiled(V)
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert not torch.equal(compiled(V), before) and len(captures) == 2
    model.train()
    compiled(V)
    assert model[1].num_batches_tracked == 1 and len(captures) == 3
    compiled(V)
    assert model[1].num_batches_tracked == 2 and len(captures) == 3
    model.eval()
    compiled(V)
    assert len(captures) == 4, "running statistics changed"


def test_numpy_in_numpy_out(captures: list[Any]):
    compiled = mlc.compile(lambda x: {"y": x * 2, "n": 3})
    out = compiled(V.numpy())
    assert isinstance(out["y"], np.ndarray) and out["n"] == 3
    assert isinstance(compiled(V)["y"], torch.Tensor) and len(captures) == 1


def test_after_many_sizes_they_are_left_open(captures: list[Any]):
    compiled = mlc.compile(lambda x, *, scale, other: (x * scale).sum(1) + other)
    for n in [*range(MAX_VARIANTS), 11, 12, 13, 3]:
        got = compiled(torch.ones(n + 1, 6), scale=2.0, other=torch.ones(n + 1))
        assert torch.equal(got, torch.full((n + 1,), 13.0))
    assert len(captures) == MAX_VARIANTS + 1
    assert "[?,6]" in compiled.ir("torch")
    with pytest.warns(UserWarning, match="'x' varies: say so by dynamic_shapes"):
        got = compiled(torch.ones(2, 6), scale=3.0, other=torch.ones(2))
    assert torch.equal(got, torch.full((2,), 19.0)), "another number is another version"


def test_versions_are_limited(captures: list[Any]):
    compiled = mlc.compile(lambda x, n: x + n)
    for n in range(MAX_VARIANTS):
        compiled(V, n)
    with pytest.warns(UserWarning, match="'n' varies: pass it as a tensor"):
        assert torch.equal(compiled(V, 20), V + 20)
    for n in range(21, 30):
        assert torch.equal(compiled(V, 2), V + 2) and torch.equal(compiled(V, n), V + n)
    assert len(captures) == MAX_VARIANTS + 10, "the version in use was kept"
    assert len(compiled._variants) == MAX_VARIANTS


def test_dynamic_shapes_capture_once(captures: list[Any]):
    compiled = mlc.compile(lambda x: x + 1, (torch.ones(3, 2),), dynamic_shapes=({0: Dim("n", max=10)},))
    for n in (1, 4, 10):
        assert torch.equal(compiled(torch.ones(n, 2)), torch.full((n, 2), 2.0))
    assert len(captures) == 1
    with pytest.raises(ShapeError, match="at most 10"):
        compiled(torch.ones(11, 2))
    with pytest.raises(ShapeError, match=r"argument 'x' is float32\[3, 3\]"):
        compiled(torch.ones(3, 3))
    with pytest.raises(DTypeError, match="float64"):
        compiled(torch.ones(3, 2).double())
    assert len(captures) == 1


def test_exported_programs(captures: list[Any]):
    model = nn.Linear(6, 2).eval()
    compiled = mlc.compile(torch.export.export(model, (V,)))
    torch.testing.assert_close(compiled(V), model(V).detach())
    with pytest.raises(ShapeError):
        compiled(V[:1])


def test_marked_tensors_are_dynamic(captures: list[Any]):
    compiled = mlc.compile(lambda x: x * 2)
    x = V.clone()
    torch._dynamo.mark_dynamic(x, 0)
    compiled(x)
    assert torch.equal(compiled(V[:3]), V[:3] * 2) and len(captures) == 1


def test_wrong_arguments_are_named(captures: list[Any]):
    compiled = mlc.compile(nn.Linear(6, 2).eval(), (V,))
    with pytest.raises(ShapeError, match=r"argument 'input' is float32\[4, 5\]") as info:
        compiled(torch.randn(4, 5))
    assert "float32[4, 6]" in str(info.value)
    with pytest.raises(DTypeError, match=r"argument 'input' is float64\[4, 6\]"):
        compiled(V.double())
    with pytest.raises(ShapeError, match="another structure"):
        mlc.compile(torch.export.export(nn.Linear(6, 2), (V,)))(V, V)
    with pytest.raises(ExecutionError, match="the model itself failed"):
        mlc.compile(nn.Linear(6, 2))(torch.randn(4, 5))


def test_errors_of_the_model_are_quoted(captures: list[Any]):
    def picky(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] != 4:
            raise ValueError("four rows, please")
        return x + 1

    compiled = mlc.compile(picky)
    for _ in range(2):
        with pytest.raises(
            ExecutionError, match=r"itself failed on \(x: float32\[2, 6\]\): ValueError: four rows"
        ) as info:
            compiled(V[:2])
        assert "test_compile.py:" in str(info.value) and "report" not in str(info.value)
        assert isinstance(info.value.__cause__, ValueError)
        compiled(V)
    with pytest.raises(ExecutionError, match="shapes cannot be multiplied") as info:
        mlc.compile(nn.Sequential(nn.Linear(6, 5), nn.Linear(6, 6)))(V)
    assert "report" not in str(info.value)


def test_an_error_of_the_model_is_told_once(captures: list[Any]):
    """One traceback of the user's frames and one of the call; a second run only to see whose fault it is."""
    runs: list[bool] = []

    def model(x: torch.Tensor, by_hand: bool) -> torch.Tensor:
        runs.append(by_hand)
        if by_hand:
            raise ValueError("no")
        return x @ x

    for by_hand, count in ((True, 1), (False, 2)):
        runs.clear()
        with pytest.raises(ExecutionError) as info:
            mlc.compile(model)(V, by_hand)
        assert len(runs) == count
        lines = traceback.format_exception(info.value)
        assert sum(line.startswith("Traceback") for line in lines) == 2
        assert not any("frontends" in line or "_ops.py" in line for line in lines)
    with pytest.raises(UnsupportedError) as info:
        mlc.compile(lambda x: x * float(x.sum()))(V)
    assert not any("frontends" in line for line in traceback.format_exception(info.value))
    with pytest.raises(UnsupportedError) as info:
        mlc.compile(lambda x: x * float(x.sum()), debug="verify")(V)
    assert any("frontends" in line for line in traceback.format_exception(info.value))


def test_a_model_that_fails_while_compiling_is_tried_as_if_it_were_not(captures: list[Any]):
    def model(x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            raise RuntimeError("this way is broken")
        return x + 1

    assert torch.equal(mlc.compile(model)(V), V + 1)


def test_a_fault_of_the_recorder_is_told_as_such(captures: list[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Emitter, "call", lambda *args: [][0])
    with pytest.raises(UnsupportedError, match=r"runs in eager on .* but recording it failed: IndexError") as info:
        mlc.compile(lambda x: x + 1)(V)
    assert "please report this" in str(info.value)


def test_unsupported_models(captures: list[Any]):
    with pytest.raises(UnsupportedError, match=r"aten\.item"):
        mlc.compile(lambda x: x * x.sum().item())(V)

    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    model = Growing()
    compiled = mlc.compile(model)
    compiled(V)
    model.scale = nn.Parameter(torch.full((6,), 2.0))
    assert torch.equal(compiled(V), V * 2), "a new parameter is seen"


def test_usage(captures: list[Any]):
    for call, text in (
        (lambda: mlc.compile(3), "cannot compile a int"),
        (lambda: mlc.compile(nn.Linear), "cannot compile the class Linear"),
        (lambda: mlc.compile(nn.Linear(2, 2), precision="float31"), "did you mean 'float32'"),
        (lambda: mlc.compile(nn.Linear(2, 2), num_threads=0), "num_threads is 0"),
        (lambda: mlc.compile(nn.Linear(2, 2), num_threads=True), "num_threads is True"),
        (lambda: mlc.compile(nn.Linear(2, 2), debug="bound"), "did you mean 'bounds'"),
        (lambda: mlc.compile(nn.Linear(2, 2), tune=1), "tune is 1"),
        (lambda: mlc.compile(nn.Linear(2, 2), cache_dir=__file__), "is not a directory"),
        (lambda: mlc.compile(nn.Linear(2, 2), target="gpu"), "unknown target 'gpu'"),
        (lambda: mlc.compile(nn.Linear(2, 2), (V,), dynamic_shapes=5), "dynamic_shapes is 5"),
        (lambda: mlc.compile(nn.Linear(2, 2), (V,), dynamic_shapes="n"), "dynamic_shapes is 'n'"),
        (lambda: mlc.compile(nn.Linear(2, 2)).explain(html=True), "html is True"),  # pyright: ignore[reportArgumentType]
        (lambda: mlc.compile(nn.Linear(2, 2)).explain(profile=1), "profile is 1"),  # pyright: ignore[reportArgumentType]
        (lambda: mlc.compile(nn.Linear(2, 2), dynamic_shapes=({0: "n"},)), "needs example_inputs"),
        (lambda: mlc.compile(nn.Linear(2, 2)).ir("torch"), "nothing is compiled yet"),
        (lambda: mlc.compile(nn.Linear(2, 2), (torch.ones(1, 2),)).ir("linlag"), "did you mean 'linalg'"),
    ):
        with pytest.raises(UsageError, match=text):
            call()


def test_ir_and_explain(captures: list[Any]):
    compiled = mlc.compile(nn.Linear(6, 2))
    assert "nothing is compiled yet" in compiled.explain()
    compiled(V)
    assert "torch.aten.linear" in compiled.ir("torch")


def test_threads_share_a_model(captures: list[Any]):
    compiled = mlc.compile(lambda x: x + 1)
    results: dict[int, torch.Tensor] = {}

    def work(n: int) -> None:
        results[n] = compiled(torch.full((3,), float(n)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(torch.equal(results[n], torch.full((3,), n + 1.0)) for n in range(4))


def test_a_value_read_in_place_and_turned_round():
    """One op that reads a value as it lies and by position: what makes the value stays."""

    def model(x: torch.Tensor) -> torch.Tensor:
        h = x.flip(0) + x
        return h.flip(0) + h

    x = torch.randn(4, 8)
    assert torch.equal(mlc.compile(model, cache_dir="")(x), model(x))
