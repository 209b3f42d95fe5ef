"""Saved models whose checksums fit and whose contents do not: an error of mlc, whatever was changed; never code."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import mlc
from mlc.artifact.load import check
from mlc.errors import ArtifactError, MlcError
from mlc.runtime.artifact.file import ArtifactFile, write_artifact

SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 5) | st.just(1 << 40) | st.sampled_from(["", "x", "leaf", "float64"])
)


class Net(nn.Module):
    """Something of everything: weights, a buffer that changes, structure, a view, a value."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, how: Any) -> Any:
        y = self.layer(self.norm(x)) * how[0]
        return {"y": y, "view": y.t(), "input": x, "weight": self.layer.bias}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> tuple[dict[str, Any], list[bytes], Path]:
    """The index and the parts of a saved model, and where to write others."""
    path = tmp_path_factory.mktemp("saved") / "m.mlc"
    mlc.compile(Net().train(), (torch.randn(3, 4), [2.0]), cache_dir=cache_dir).save(path)
    file = ArtifactFile(path)
    raw = path.read_bytes()
    parts = [raw[offset : offset + count] for offset, count, _ in file._parts]
    index = {k: v for k, v in file.index.items() if k != "parts"}
    return index, parts, path


def load(index: Any, parts: list[bytes], path: Path, cache: Path) -> mlc.LoadedModel:
    """Write with checksums that fit, and load."""
    write_artifact(path, index, parts)
    return mlc.load(path, cache_dir=cache)


X = np.ones((3, 4), np.float32)


def test_the_unchanged_one_works(saved: Any, cache_dir: Path):
    index, parts, path = saved
    assert load(index, parts, path, cache_dir)(X, [2.0])["y"].shape == (3, 4)


def _places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside."""
    inner = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    return [p for k, v in inner for p in [(*at, k), *_places(v, (*at, k))]]


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_the_index(saved: Any, cache_dir: Path, data: st.DataObject):
    """It is refused when loaded, or at the call by an error of mlc, or says something else that fits."""
    index, parts, path = saved
    index = copy.deepcopy(json.loads(json.dumps(index)))
    for _ in range(data.draw(st.integers(1, 2))):
        *outer, last = data.draw(st.sampled_from(_places(index)))
        inside = index
        for key in outer:
            inside = inside[key]
        kind = data.draw(st.sampled_from(["set", "delete", "wrap", "double"]))
        if kind == "delete":
            del inside[last]
        elif kind == "double" and isinstance(inside, list):
            inside.append(inside[last])
        else:
            new = data.draw(SCALARS)
            inside[last] = [new] if kind == "wrap" else new
    try:
        loaded = load(index, parts, path.with_name("changed.mlc"), cache_dir)
        loaded(X, [2.0])
        _ = loaded.inputs, loaded.outputs, repr(loaded)
    except MlcError:
        return


@pytest.mark.parametrize(
    "view",
    [
        [[1 << 61, 1 << 61], [0, 0], 0],
        [[0, 5], [1 << 61, 1 << 61], 1 << 40],
        [[0, 1 << 61], [1, 1], 0],
        [[3], [1], 1 << 61],
        [[1 << 58], [0], 0],
    ],
)
def test_views_that_no_memory_holds(view: Any, saved: Any, cache_dir: Path):
    index, parts, path = saved
    index = copy.deepcopy(index)
    (output,) = [o for o in index["versions"][0]["plan"]["outputs"] if o[4] is not None]
    output[4] = view
    with pytest.raises(ArtifactError, match="a view of more than can be addressed"):
        load(index, parts, path.with_name("changed.mlc"), cache_dir)


def test_results_are_written_back_to_what_has_their_shape(saved: Any, cache_dir: Path):
    index, parts, path = saved
    index = copy.deepcopy(index)
    plan = index["versions"][0]["plan"]
    (row, *_), (number, *_) = plan["writes"], [o[1] for o in plan["outputs"] if o[0] == "result"]
    row[2] = number
    with pytest.raises(ArtifactError, match=r"\[3, 4\] is written to \["):
        load(index, parts, path.with_name("changed.mlc"), cache_dir)


class Count(nn.Module):
    """A result written back to an input of open sizes."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return y * 2


def test_results_are_written_back_to_what_has_their_shape_at_the_call(tmp_path: Path, cache_dir: Path):
    sizes = ({0: torch.export.Dim("n")}, {0: torch.export.Dim("m")})
    inputs = (torch.ones(3), torch.ones(4))
    mlc.compile(Count(), inputs, dynamic_shapes=sizes, cache_dir=cache_dir).save(tmp_path / "m.mlc")
    file = ArtifactFile(tmp_path / "m.mlc")
    raw = file.path.read_bytes()
    parts = [raw[offset : offset + count] for offset, count, _ in file._parts]
    index = {k: v for k, v in file.index.items() if k != "parts"}
    plan = index["versions"][0]["plan"]
    (written,), (output,) = plan["writes"], plan["outputs"]
    written[2], output[1] = output[1], written[2]
    loaded = load(index, parts, tmp_path / "changed.mlc", cache_dir)
    loaded(np.ones(3, np.float32), np.ones(3, np.float32))
    x = np.ones(3, np.float32)
    for other in (1, 4):
        with pytest.raises(ArtifactError, match=r"is written to \[3\]"):
            loaded(x, np.ones(other, np.float32))
    assert np.array_equal(x, np.ones(3))


TEXTS = {
    "no IR": "hello",
    "nothing": "",
    "not closed": "builtin.module {",
    "NUL": "builtin.module { \0 }",
    "no function": "builtin.module { }",
    "calls": "builtin.module { func.func private @f() func.func @forward() { func.call @f() : () -> () func.return } }",
    "memory": (
        "builtin.module { func.func @forward(%x: !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[3,4],f32> {"
        " %a = arith.constant 8 : i64 %p = llvm.inttoptr %a : i64 to !llvm.ptr"
        " func.return %x : !torch.vtensor<[3,4],f32> } }"
    ),
    "a missing weight": (
        "builtin.module { func.func @forward() -> !torch.vtensor<[4],f32> {"
        " %0 = torch.vtensor.literal(dense_resource<secret> : tensor<4xf32>) : !torch.vtensor<[4],f32>"
        " func.return %0 : !torch.vtensor<[4],f32> } }"
    ),
    "a larger weight": (
        "builtin.module { func.func @forward() -> !torch.vtensor<[4000],f32> {"
        " %0 = torch.vtensor.literal(dense_resource<layer.bias> : tensor<4000xf32>) : !torch.vtensor<[4000],f32>"
        " func.return %0 : !torch.vtensor<[4000],f32> } }"
    ),
    "deep": "builtin.module {" * 5000,
    "a loop without end": (
        "builtin.module { func.func @forward(%x: !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[3,4],f32> {"
        " %n = torch.constant.int 1000000000000000 %true = torch.constant.bool true"
        " %0 = torch.prim.Loop %n, %true, init(%x) { ^bb0(%i: !torch.int, %a: !torch.vtensor<[3,4],f32>):"
        " %1 = torch.aten.sin %a : !torch.vtensor<[3,4],f32> -> !torch.vtensor<[3,4],f32>"
        " torch.prim.Loop.condition %true, iter(%1 : !torch.vtensor<[3,4],f32>) }"
        " : (!torch.int, !torch.bool, !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[3,4],f32>"
        " func.return %0 : !torch.vtensor<[3,4],f32> } }"
    ),
    "dimensions that are not there": (
        "builtin.module { func.func @forward(%x: !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[4,3],f32> {"
        " %i = torch.constant.int 7 %j = torch.constant.int 0"
        " %l = torch.prim.ListConstruct %i, %j : (!torch.int, !torch.int) -> !torch.list<int>"
        " %0 = torch.aten.permute %x, %l : !torch.vtensor<[3,4],f32>, !torch.list<int> -> !torch.vtensor<[4,3],f32>"
        " func.return %0 : !torch.vtensor<[4,3],f32> } }"
    ),
    "a list that is too short": (
        "builtin.module { func.func @forward(%x: !torch.vtensor<[3,4],f32>) -> !torch.vtensor<[4,3],f32> {"
        " %l = torch.prim.ListConstruct : () -> !torch.list<int> %t = torch.constant.bool true"
        " %0 = torch.aten.amax %x, %l, %t : !torch.vtensor<[3,4],f32>, !torch.list<int>, !torch.bool"
        " -> !torch.vtensor<[4,3],f32> func.return %0 : !torch.vtensor<[4,3],f32> } }"
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_ir_that_is_none(name: str, saved: Any, cache_dir: Path):
    index, parts, path = saved
    changed = list(parts)
    changed[index["versions"][0]["text"]] = TEXTS[name].encode()
    with pytest.raises(ArtifactError):
        load(index, changed, path.with_name("changed.mlc"), cache_dir)
    with pytest.raises(ArtifactError):
        check(path.with_name("changed.mlc"))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_the_ir(saved: Any, cache_dir: Path, data: st.DataObject):
    index, parts, path = saved
    number = index["versions"][0]["text"]
    text = parts[number].decode()
    words = text.split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at] = data.draw(st.sampled_from(words) | st.text(max_size=3))
    changed = list(parts)
    changed[number] = " ".join(words).encode(errors="replace")
    try:
        load(index, changed, path.with_name("changed.mlc"), cache_dir)(X, [2.0])
    except MlcError:
        return


def test_no_weight_of_another_shape_reaches_code_from_the_cache(saved: Any, cache_dir: Path):
    index, parts, path = saved
    index = copy.deepcopy(index)
    part, dtype, _ = index["arrays"][index["versions"][0]["weights"]["layer.weight"]]
    index["arrays"][index["versions"][0]["weights"]["layer.weight"]] = [part, dtype, [2, 2]]
    changed = list(parts)
    changed[part] = changed[part][:16]
    with pytest.raises(ArtifactError, match=r"the weight 'layer.weight' is float32\[2, 2\]"):
        load(index, changed, path.with_name("changed.mlc"), cache_dir)


@pytest.mark.parametrize("weight", ["layer.weight", "norm.weight"])
@pytest.mark.parametrize("change", ["shape", "missing"])
def test_no_weight_of_another_shape_reaches_code_however_its_text_is_written(
    weight: str, change: str, saved: Any, tmp_path: Path
):
    """The same text both times: the second time code is found by it, and nothing is parsed."""
    index, parts, path = saved
    parts = list(parts)
    number = index["versions"][0]["text"]
    parts[number] = parts[number].replace(b"dense_resource<", b"dense_resource <")
    target = path.with_name("changed.mlc")
    assert load(index, parts, target, tmp_path)(X, [2.0])["y"].shape == (3, 4)
    index = copy.deepcopy(index)
    if change == "shape":
        row = index["arrays"][index["versions"][0]["weights"][weight]]
        row[2] = [1]
        parts[row[0]] = parts[row[0]][:4]
    else:
        del index["versions"][0]["weights"][weight]
    with pytest.raises(ArtifactError, match=f"weight '{weight}'"):
        load(index, parts, target, tmp_path)
