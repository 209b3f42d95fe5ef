"""`offload_weights=True`: packed weights leave memory, and the model stays what it was for everybody."""

from __future__ import annotations

import copy
import io
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.errors import UsageError
from mlc.frontends.torch.weight_memory import weight_blocks
from mlc.runtime import offload
from mlc.runtime.mappings import PAGE, written_pages

UNABLE = offload._unable(Path(tempfile.gettempdir()))
pytestmark = pytest.mark.skipif(UNABLE is not None, reason=f"nothing can be moved here, {UNABLE}")

WIDTH = 512
ROWS = 33
"""No whole blocks of rows: products of so many read packed weights on every machine."""


@pytest.fixture
def directory(cache_dir: Path) -> Path:
    """Where code is kept and files are made."""
    return cache_dir


class Net(nn.Module):
    """A table, an attention's views, weights of one memory, and one that is transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1000, WIDTH)
        self.first = nn.Linear(WIDTH, WIDTH)
        self.tied = nn.Linear(WIDTH, WIDTH, bias=False)
        self.tied.weight = self.first.weight
        self.qkv = nn.Parameter(torch.randn(3 * WIDTH, WIDTH) / WIDTH**0.5)
        self.turned = nn.Parameter((torch.randn(WIDTH, WIDTH) / WIDTH**0.5).t())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.table(ids)
        x = torch.relu(self.first(x)) + self.tied(x)
        for weight in self.qkv.chunk(3):
            x = torch.tanh(nn.functional.linear(x, weight))
        return x @ self.turned


def made(seed: int = 0) -> tuple[Net, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net().eval(), torch.randint(0, 1000, (ROWS,))


def compiled_of(model: Any, directory: Path, **options: Any) -> mlc.CompiledModel:
    return mlc.compile(model, offload_weights=True, cache_dir=directory, num_threads=1, **options)


def in_file(tensor: torch.Tensor) -> bool:
    """Whether the middle of a tensor's memory is a file's."""
    middle = tensor.untyped_storage().data_ptr() + tensor.untyped_storage().nbytes() // 2
    return not written_pages(middle // PAGE * PAGE, middle // PAGE * PAGE + PAGE)


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want.detach(), rtol=1e-4, atol=1e-5)


def test_packed_weights_and_tables_leave_memory_and_nothing_else_changes(directory: Path) -> None:
    model, ids = made()
    before = copy.deepcopy(model.state_dict())
    addresses = [p.data_ptr() for p in model.parameters()]
    with torch.no_grad():
        want = model(ids)
        compiled = compiled_of(model, directory)
        got = compiled(ids)
        close(got, want)
        for _ in range(3):
            assert torch.equal(compiled(ids), got)
    assert len(compiled._variants) == 1  # none of them compiled again
    for weight in (model.table.weight, model.first.weight, model.qkv, model.turned):
        assert in_file(weight)
    assert not in_file(model.first.bias)
    assert addresses == [p.data_ptr() for p in model.parameters()] and model.tied.weight is model.first.weight
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        assert torch.equal(model(ids), want)
    assert "\nweights: 7.9 MB in a file; in memory: 0.0 MB read in place" in compiled.explain()


def test_calls_touch_no_page_of_the_file_but_rows_of_tables(directory: Path) -> None:
    model, ids = made()
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        compiled(ids)
        blocks = {b.address: b for b in weight_blocks(compiled._variants[0].captured)}
        offload.place([*blocks.values()], [], directory)
        for _ in range(3):
            compiled(ids)
    with Path("/proc/self/pagemap").open("rb") as pages:
        for weight in (model.first.weight, model.qkv):
            start, end = blocks[weight.untyped_storage().data_ptr()].pages
            pages.seek(start // PAGE * 8)
            words = np.frombuffer(pages.read((end - start) // PAGE * 8), np.uint64)
            assert end - start > weight.nbytes * 0.95 and not (words >> np.uint64(63)).any()


def test_training_goes_on(directory: Path) -> None:
    model, ids = made()
    twin = copy.deepcopy(model)
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        compiled(ids)
    for net in (model, twin):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            net(ids).square().mean().backward()
            optimizer.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with torch.no_grad():
        close(compiled(ids), twin(ids))
    (block,) = [
        b for b in weight_blocks(compiled._variants[0].captured) if b.address == model.qkv.untyped_storage().data_ptr()
    ]
    assert written_pages(*block.pages) == 0 and in_file(model.qkv)  # and left memory again
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_views_of_weights_stay_views(directory: Path) -> None:
    model, ids = made()
    view, array = model.qkv.detach()[WIDTH:], model.qkv.detach().numpy()
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        compiled(ids)
        view.mul_(0.5)
        assert array[WIDTH, 0] == model.qkv[WIDTH, 0] == view[0, 0]
        close(compiled(ids), model(ids))


def test_other_shapes_and_copies_and_files(directory: Path, tmp_path: Path) -> None:
    model, ids = made()
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        want = model(ids)
        close(compiled(ids), want)
        more = torch.cat([ids, ids])
        close(compiled(more), model(more))
        assert len(compiled._variants) == 2 and in_file(model.qkv)
        twin = copy.deepcopy(compiled)
        close(twin(ids), want)
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        close(torch.load(buffer, weights_only=False)(ids), want)
        compiled.save(tmp_path / "net.mlc")
        close(torch.from_numpy(mlc.load(tmp_path / "net.mlc", cache_dir=directory)(ids.numpy())), want)


def test_what_a_version_reads_in_place_is_in_memory(directory: Path) -> None:
    layer = nn.Linear(1024, 1024, bias=False).eval()
    compiled = compiled_of(layer, directory)
    with torch.no_grad():
        many, one = torch.randn(ROWS, 1024), torch.randn(1, 1024)
        close(compiled(many), layer(many))
        assert in_file(layer.weight)
        close(compiled(one), layer(one))  # a row is multiplied by weights as they lie
        (constant,) = compiled._variants[0].unit.executable.constants
        assert constant.ctypes.data == layer.weight.data_ptr() and not in_file(layer.weight)
        close(compiled(many), layer(many))
        assert "4.0 MB read in place" in compiled.explain()


def test_copies_in_another_order_leave_memory_too(directory: Path) -> None:
    model = nn.Sequential(nn.Conv2d(64, 256, 3), nn.ReLU(), nn.Conv2d(256, 64, 3)).eval()
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    x = torch.randn(1, 64, 12, 12)
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        close(compiled(x), model(x))
        assert in_file(model[0].weight) and in_file(model[2].weight)
        copies = compiled._variants[0].unit.copies_of_weights()
        assert sorted(b.nbytes for b in copies)[-2:] == [model[0].weight.nbytes] * 2
        assert all(written_pages(*b.pages) == 0 for b in copies if b.nbytes >= offload.SMALL)
        close(compiled(torch.cat([x, x])), model(torch.cat([x, x])))


def test_shared_memory_and_subclasses_stay(directory: Path) -> None:
    model, ids = made()
    model.share_memory()
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        close(compiled(ids), model(ids))
    assert weight_blocks(compiled._variants[0].captured) == []
    (placed,) = [v.placed for v in compiled._variants]
    assert placed is not None and placed.failed is None
    assert all(p.is_shared() for p in model.parameters())


def test_moved_memory_can_be_shared_later(directory: Path) -> None:
    model, ids = made()
    compiled = compiled_of(model, directory)
    with torch.no_grad():
        want = compiled(ids)
        model.share_memory()
        filled = [torch.full((WIDTH, WIDTH), 3.0) for _ in range(20)]
        close(compiled(ids), want)
        assert all((t == 3).all() for t in filled) and all(p.is_shared() for p in model.parameters())


def test_functions_too(directory: Path) -> None:
    weight = torch.randn(WIDTH, WIDTH)
    x = torch.randn(ROWS, WIDTH)
    compiled = compiled_of(lambda a: a @ weight, directory)
    torch.testing.assert_close(compiled(x), x @ weight, rtol=1e-3, atol=1e-3)
    assert in_file(weight)
    weight.zero_()
    assert not compiled(x).any()


def test_who_calls_the_model_meanwhile_gets_its_results(directory: Path) -> None:
    model, ids = made()
    with torch.no_grad():
        want, wrong, done = model(ids), [], threading.Event()

    def call() -> None:
        with torch.no_grad():
            while not done.is_set():
                if not torch.equal(model(ids), want):
                    wrong.append(1)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        with torch.no_grad():
            for length in (ROWS, ROWS + 1, ROWS + 2):
                compiled_of(model, directory)(ids[:1].expand(length).contiguous())
    finally:
        done.set()
        thread.join()
    assert not wrong


def test_where_there_is_no_room_a_warning_says_so() -> None:
    model, ids = made()
    compiled = compiled_of(model, Path("/dev/shm/mlc-no-cache"))
    with torch.no_grad():
        with pytest.warns(UserWarning, match=r"weights stay in memory, as /dev/shm.* is in memory, too"):
            got = compiled(ids)
        close(got, model(ids))
    assert not in_file(model.qkv)


def test_off_unless_asked_for(directory: Path) -> None:
    model, ids = made()
    compiled = mlc.compile(model, cache_dir=directory)
    with torch.no_grad():
        compiled(ids)
    assert not any(map(in_file, model.parameters())) and "weights:" not in compiled.explain()
    with pytest.raises(UsageError, match="offload_weights is 1"):
        mlc.compile(model, offload_weights=1)  # pyright: ignore[reportArgumentType]
