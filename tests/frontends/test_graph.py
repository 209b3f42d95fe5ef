"""What a recording is before it is IR: the module made of it, and what it is found by in the cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlc.frontends.torch.exported import capture_exported, export
from mlc.frontends.torch.graph import UNKNOWN, Graph, Location, TensorType, Value
from mlc.frontends.torch.record import capture
from mlc.ir.locations import format_location
from mlc.ir.parsing import print_text
from mlc.ir.resources import ResourceStore

HERE = Path(__file__).parent
X = torch.arange(12.0).view(3, 4)


class Everything(nn.Module):
    """Constants, literals, lists, optional arguments of each kind, views, in-place changes, buffers, tied weights."""

    turn: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.b.weight = self.a.weight
        self.table = nn.Embedding(5, 4)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("turn", torch.ones(4, dtype=torch.complex64))

    def forward(self, x: torch.Tensor, i: torch.Tensor, m: torch.Tensor) -> object:
        self.steps += 1
        torch._assert_async((i >= 0).all(), "no such row")  # pyright: ignore[reportPrivateImportUsage]
        y = self.b(F.gelu(self.a(x), approximate="tanh")) + torch.tensor([0.5, -0.0, float("nan"), 2.0])
        x[:, 1] = y[:, 0].clamp(min=-1)
        z = torch.where(m, self.table(i), torch.tensor([1.5, 2.5, 3, 4], dtype=torch.bfloat16).float())
        left, right = z.split(2, 1)
        z = torch.cat([left, right * torch.full((17, 1), 3.0)[:3]], -1)[..., None][:, i.clamp(max=3)]
        z = z.masked_fill(torch.tensor([True, False, True]).view(3, 1, 1, 1), float("-inf")).logsumexp((0, 2))
        w = torch.view_as_real(torch.complex(x, x) * self.turn).sum(dtype=torch.float64)
        return y, y.t(), z.to(torch.float16), w, i + torch.arange(3), x.mean() / self.steps


def inputs() -> tuple[torch.Tensor, ...]:
    return X.clone(), torch.tensor([0, 4, 2]), torch.tensor([[True], [False], [True]])


def graph_of(model: Callable[..., Any], *args: Any) -> Graph:
    with torch.no_grad():
        return capture(model, args or (X,), {}, ResourceStore()).graph


def test_the_text_of_everything() -> None:
    """As it was when recordings were made of xDSL's ops."""
    graph = graph_of(Everything().eval(), *inputs())
    assert print_text(graph.module()).strip() == (HERE / "everything.txt").read_text().strip()
    assert print_text(graph.module()) == print_text(graph.module())


OPEN = """
    %1 = torch.symbolic_int "x.shape[0]" {min_val = 2, max_val = 9223372036854775807} : !torch.int
    torch.bind_symbolic_shape %0, [%1], affine_map<()[s0] -> (s0, 4)> : !torch.vtensor<[?,4],f32>
    %int2 = torch.constant.int 2
    %int0 = torch.constant.int 0
    %2 = torch.aten.size.int %0, %int0 : !torch.vtensor<[?,4],f32>, !torch.int -> !torch.int
    %3 = torch.aten.mul.int %int2, %2 : !torch.int, !torch.int -> !torch.int
    %int5 = torch.constant.int 5
    %4 = torch.prim.ListConstruct %int5, %2 : (!torch.int, !torch.int) -> !torch.list<int>
    %5 = torch.prim.max.self_int %4 : !torch.list<int> -> !torch.int
    %6 = torch.prim.ListConstruct %3, %5 : (!torch.int, !torch.int) -> !torch.list<int>
"""


def test_open_sizes() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x.new_full((x.shape[0] * 2, torch.sym_max(x.shape[0], 5)), 2)  # pyright: ignore[reportArgumentType]

    program = export(model, (X,), {}, ({0: torch.export.Dim("n", min=2)},))
    assert OPEN in print_text(capture_exported(program, ResourceStore()).module)


def test_places() -> None:
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu()

    line = Inner.forward.__code__.co_firstlineno + 1
    graph = graph_of(nn.Sequential(Inner(), nn.Linear(4, 4)))
    (relu,) = [op for op in graph.module().walk() if op.name == "torch.aten.relu"]
    (node,) = [n for n in graph.nodes if n.name == "torch.aten.relu"]
    assert format_location(relu.location) == str(node.location) == f"{__file__}:{line} (0)"


@pytest.mark.parametrize(
    "place", [UNKNOWN, Location("m.py", 3), Location("m.py", 3, "layer.0"), Location(path="layer")]
)
def test_a_place_reads_as_that_of_an_op(place: Location) -> None:
    graph = Graph()
    graph.append("torch.aten.relu", [graph.add_argument(TensorType((2,), "f32"))], [TensorType((2,), "f32")], place)
    (relu,) = [op for op in graph.module().walk() if op.name == "torch.aten.relu"]
    assert format_location(relu.location) == str(place)


# what it is found by


class Scaled(nn.Module):
    def __init__(self, factor: Any, name: str = "w", *, width: int = 4, late: bool = False) -> None:
        super().__init__()
        self.factor, self.late = factor, late
        setattr(self, name, nn.Parameter(torch.randn(width)))
        self.name = name

    def forward(self, x: torch.Tensor) -> Any:
        w = getattr(self, self.name)
        y, z = x * self.factor, x + w
        return (z, y) if self.late else (y, z)


def test_the_same_model_has_the_same_digest() -> None:
    """With other weights, from other lines, in another process."""
    ours = graph_of(Everything().eval(), *inputs())
    assert ours.digest == graph_of(Everything().eval(), *inputs()).digest
    script = "from tests.frontends.test_graph import *; print(graph_of(Everything().eval(), *inputs()).digest)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HERE.parents[1]
    )
    assert done.stdout.split() == [ours.digest]
    one = graph_of(lambda x: x.relu())
    other = graph_of(
        lambda x: x.relu(),
    )
    assert one.digest == other.digest and one.places() != other.places()


CHANGES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "as it is": (Scaled(2.0), (X,)),
    "another number": (Scaled(3.0), (X,)),
    "zero": (Scaled(0.0), (X,)),
    "minus zero": (Scaled(-0.0), (X,)),
    "no number": (Scaled(float("nan")), (X,)),
    "a number of another kind": (Scaled(2), (X,)),
    "truth": (Scaled(True), (X,)),
    "elements": (Scaled(torch.tensor([2.0, 3.0, 4.0, 5.0])), (X,)),
    "another name": (Scaled(2.0, "v"), (X,)),
    "another weight": (Scaled(2.0, width=1), (X,)),
    "another order": (Scaled(2.0, late=True), (X,)),
    "another shape": (Scaled(2.0), (X[:2],)),
    "another dtype": (Scaled(2.0), (X.double(),)),
    "whole numbers": (Scaled(2.0), (X.long(),)),
    "another op": (lambda x: (x / 2.0, x + x), (X,)),
    "an operand": (lambda x, y: (x - y,), (X, X + 1)),
    "other operands": (lambda x, y: (y - x,), (X, X + 1)),
    "a literal": (lambda x: x + torch.tensor([1.0, 2, 3, 4]), (X,)),
    "another literal": (lambda x: x + torch.tensor([1.0, 2, 3, 5]), (X,)),
    "a literal of another dtype": (lambda x: x + torch.tensor([1.0, 2, 3, 4]).half(), (X,)),
    "a text": (lambda x: F.gelu(x), (X,)),
    "another text": (lambda x: F.gelu(x, approximate="tanh"), (X,)),
}


def test_each_change_has_a_digest_of_its_own() -> None:
    digests = {name: graph_of(model, *args).digest for name, (model, args) in CHANGES.items()}
    assert len(set(digests.values())) == len(CHANGES)


def test_open_sizes_are_part_of_it() -> None:
    def digest(dim: Any) -> str:
        program = export(lambda x: x + 1, (X,), {}, ({0: dim},))
        return capture_exported(program, ResourceStore()).graph.digest

    dims = [torch.export.Dim("n", min=2, max=9), torch.export.Dim("n", min=3, max=9), torch.export.Dim("n", max=8)]
    assert len({graph_of(lambda x: x + 1).digest, *map(digest, dims)}) == 4


def test_equal_texts_and_equal_digests_go_together() -> None:
    texts = {print_text(graph_of(model, *args).module()) for model, args in CHANGES.values()}
    assert len(texts) == len(CHANGES)


# what is read of it


def test_tables_are_looked_up_only() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.tied, self.given = (nn.Embedding(7, 4) for _ in range(3))

        def forward(self, i: torch.Tensor) -> object:
            return self.table(i), self.tied(i) @ self.tied.weight.t(), self.given(i), self.given.weight + 0

    assert graph_of(Tied().eval(), torch.tensor([1])).only_looked_up() == {"table.weight"}


def test_what_nothing_reads_is_left_out() -> None:
    graph = Graph()
    kind = TensorType((2,), "f32")
    x = graph.add_argument(kind)
    (y,) = graph.append("torch.aten.relu", [x], [kind])
    (unread,) = graph.append("torch.aten.neg", [y], [kind])
    graph.append("torch.aten.abs", [unread], [kind])
    (condition,) = graph.append("torch.aten.all", [x], [TensorType((), "i1")])
    graph.append("torch.aten._assert_async", [condition], [])
    graph.close([y])
    assert [n.name.rpartition(".")[2] for n in graph.nodes] == ["relu", "all", "_assert_async"]


def test_a_value_becomes_an_argument() -> None:
    graph = Graph()
    kind = TensorType((2,), "f32")
    x = graph.add_argument(kind)
    (w,) = graph.append("torch.vtensor.literal", (), [kind], held="w")
    (y,) = graph.append("torch.aten.mul.Tensor", [x, w], [kind])
    graph.make_argument(w)
    graph.close([y])
    assert graph.arguments == [x, w] and [n.name for n in graph.nodes] == ["torch.aten.mul.Tensor"]
    assert "(%0: !torch.vtensor<[2],f32>, %1: !torch.vtensor<[2],f32>)" in print_text(graph.module())


def test_arguments_that_are_one() -> None:
    def square(alike: bool) -> tuple[Graph, dict[Value, Value]]:
        graph = Graph()
        kind = TensorType((2,), "f32")
        first = graph.add_argument(kind)
        second = graph.add_argument(kind) if alike else first
        graph.close(graph.append("torch.aten.mul.Tensor", [first, second], [kind]))
        return graph, {second: first} if alike else {}

    (apart, alike), (together, _) = square(True), square(False)
    assert apart.content(alike) == together.content() != apart.content()
