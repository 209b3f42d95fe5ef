"""Ops that are recorded as what they are made of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files

import pytest
import torch
import torch.nn.functional as F

import mlc
from mlc.frontends.torch import capture
from mlc.frontends.torch.decompose import composite_ops
from mlc.ir.resources import ResourceStore
from mlc.lowering.torch.to_linalg.all_lowerings import LOWERINGS

torch.manual_seed(0)
X, Y = torch.randn(4, 6), torch.randn(4, 6)


def test_the_data_file_is_what_the_script_writes() -> None:
    """In a process of its own: other tests may have registered ops."""
    script = "from scripts.generate_composite_ops import names; print('\\n'.join(names()))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    stored = (files("mlc.frontends.torch") / "composite_ops.txt").read_text().splitlines()
    assert stored == run.stdout.split(), "run scripts/generate_composite_ops.py"


MODELS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "l1_loss": lambda x, y: F.l1_loss(x, y),
    "smooth_l1_loss": lambda x, y: F.smooth_l1_loss(x, y, beta=0.5),
    "kl_div": lambda x, y: F.kl_div(x, y.softmax(-1), reduction="batchmean"),
    "binary_cross_entropy": lambda x, y: F.binary_cross_entropy(x.sigmoid(), y.sigmoid(), y.abs()),
    "cross_entropy": lambda x, y: F.cross_entropy(x, y.softmax(-1), label_smoothing=0.1),
    "triplet": lambda x, y: F.triplet_margin_loss(x, y, y.flip(0), swap=True),
    "cosine_embedding": lambda x, y: F.cosine_embedding_loss(x, y, torch.tensor([1, -1, 1, -1])),
    "quantile": lambda x, y: torch.quantile(x, 0.3, dim=1),
    "cov": lambda x, y: torch.cov(x),
    "float_power": lambda x, y: torch.float_power(x.abs(), y),
    "heaviside": lambda x, y: torch.heaviside(x, y),
    "isin": lambda x, y: torch.isin(x.round(), y.round()),
    "trace": lambda x, y: torch.trace(x[:, :4]),
    "tensordot": lambda x, y: torch.tensordot(x, y.mT, dims=1),
    "matrix_power": lambda x, y: torch.linalg.matrix_power(x[:, :4], 3),
    "gradient": lambda x, y: torch.gradient(x, dim=1),
    "renorm": lambda x, y: torch.renorm(x, 2, 0, 1.0),
    "lists": lambda x, y: torch.hsplit(x, 3)[1] + torch.tensor_split(y, [2, 4], dim=1)[1],
}


@pytest.mark.filterwarnings("error:forward draws random numbers")
@pytest.mark.parametrize("name", sorted(MODELS))
def test_composites_give_the_numbers_of_eager(name: str) -> None:
    got, want = mlc.compile(MODELS[name])(X, Y), MODELS[name](X, Y)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_what_has_a_lowering_stays_whole() -> None:
    captured = capture(lambda x: F.layer_norm(x, (6,)).softmax(-1), (X,), {}, ResourceStore())
    names = [op.name for op in captured.module.walk() if op.name.startswith("torch.aten")]
    assert names == ["torch.aten.layer_norm", "torch.aten.softmax.int"]
    assert not {f"torch.{n}" for n in composite_ops()} & {"torch.aten.layer_norm", "torch.aten.linear"}
    assert {"torch.aten.layer_norm", "torch.aten.softmax.int"} <= set(LOWERINGS)


@pytest.mark.parametrize("name", ["square_", "multiply_", "__iand__", "less_", "clip_"])
def test_in_place_ops_that_are_made_of_others(name: str) -> None:
    def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z = (x > 0) if name == "__iand__" else x.clone()
        other = {"__iand__": (y > 0,), "square_": (), "clip_": (-0.5, 0.5)}.get(name, (y,))
        return getattr(z, name)(*other)

    assert torch.equal(mlc.compile(model)(X, Y), model(X, Y))


def test_bfloat16_and_bool_constants() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + x.new_tensor([1, 2]), (x > 0) / True

    x = torch.tensor([[0.5, -1.0]], dtype=torch.bfloat16)
    for got, want in zip(mlc.compile(model)(x), model(x), strict=True):
        assert torch.equal(got, want) and got.dtype is want.dtype


def test_composites_of_unknown_batch() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        loss = F.kl_div(x.log_softmax(-1), x.softmax(-1).flip(1), reduction="batchmean")
        return loss, F.cosine_similarity(x, x.flip(1)), x.clone().square_().quantile(0.3, dim=1)

    compiled = mlc.compile(model, (X,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=9)},))
    for batch in (1, 3, 9):
        x = torch.randn(batch, 6)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_pixels_outside_of_an_image_are_not_read(mode: str, padding: str) -> None:
    """PyTorch's definition reads the first pixel times 0 for them, which is NaN where that pixel is infinite."""
    image = X.view(1, 1, 4, 6).clone()
    image[..., 0, 0] = torch.inf
    points = torch.tensor([[-3.0, -3.0], [0.1, 0.2], [3.0, 0.1], [0.9, 2.0]]).view(1, 2, 2, 2)

    def sample(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(image, points, mode=mode, padding_mode=padding, align_corners=False)

    got = mlc.compile(sample, cache_dir="")(image, points)
    torch.testing.assert_close(got, sample(image, points), equal_nan=True, rtol=1e-4, atol=1e-5)
