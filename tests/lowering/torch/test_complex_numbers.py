"""Complex numbers inside a model, Fourier transforms: compiled, against eager."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mlc
from mlc.errors import UnsupportedError

torch.manual_seed(0)
X, Y, ANGLES = torch.randn(3, 8), torch.randn(5, 7), torch.randn(3, 4)
LONG = torch.randn(3, 144)
PAIRS, SIGNAL = torch.randn(3, 4, 2), torch.randn(2, 48)
fft: Any = torch.fft


def _rotary(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    turned = torch.view_as_complex(x) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2)


def _stft(x: torch.Tensor) -> torch.Tensor:
    return torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True).abs()


MODELS: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
    "fft": (lambda x: torch.view_as_real(fft.fft(x)), (X,)),
    "ifft": (lambda x: torch.view_as_real(fft.ifft(x).resolve_conj()), (Y,)),
    "rfft odd": (lambda x: torch.view_as_real(fft.rfft(x)), (Y,)),
    "rfft size": (lambda x: fft.rfft(x, n=6, norm="ortho").abs(), (X,)),
    "phase": (lambda x: fft.rfft(x).angle(), (X,)),
    "irfft": (lambda x: fft.irfft(fft.rfft(x), n=7), (Y,)),
    "hfft": (lambda x: fft.hfft(x), (X,)),
    "two steps": (lambda x: torch.view_as_real(fft.fft(x)), (LONG,)),
    "two steps back": (lambda x: torch.view_as_real(fft.ifft(fft.fft(x)).resolve_conj()), (LONG.double(),)),
    "two steps, half": (lambda x: torch.view_as_real(fft.rfft(x, norm="ortho")), (LONG,)),
    "two steps of other lengths": (lambda x: torch.view_as_real(fft.rfft(x[:, :90])), (LONG,)),
    "two steps of a vector": (lambda x: torch.view_as_real(fft.rfft(x[0, :65])), (LONG.double(),)),
    "a prime length": (lambda x: torch.view_as_real(fft.rfft(x[:, :67])), (LONG,)),
    "two steps in two dimensions": (lambda x: torch.view_as_real(fft.fft2(x.view(3, 2, 72))), (LONG,)),
    "two steps across": (lambda x: torch.view_as_real(fft.fft(x.T, dim=0)), (LONG,)),
    "fft2": (lambda x: fft.fft2(x).real, (X,)),
    "rfft2 double": (lambda x: torch.view_as_real(fft.rfft2(x)), (Y.double(),)),
    "mixing": (lambda x: fft.fft(fft.fft(x, dim=-1), dim=-2).real, (X,)),
    "stft": (_stft, (SIGNAL,)),
    "rotary": (_rotary, (PAIRS, ANGLES)),
    "arithmetic": (
        lambda x, y: torch.view_as_real((torch.complex(x, y) * 2 - 1 + torch.complex(y, x).conj()) / 3),
        (X, X + 1),
    ),
    "views": (lambda x: torch.view_as_real(torch.view_as_complex(x).t().reshape(2, 6)[:, 1:]), (PAIRS,)),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_as_eager(name: str) -> None:
    model, args = MODELS[name]
    want = model(*args)
    tolerance = 1e-12 if want.dtype is torch.float64 else 2e-5
    torch.testing.assert_close(mlc.compile(model)(*args), want, rtol=tolerance, atol=tolerance)


class _Rotary(torch.nn.Module):
    def __init__(self, turns: torch.Tensor) -> None:
        super().__init__()
        self.turns: torch.Tensor = torch.nn.Buffer(turns)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(torch.view_as_complex(x) * self.turns).flatten(-2)


def test_complex_buffer(tmp_path: Path) -> None:
    model = _Rotary(torch.polar(torch.ones(3, 4), ANGLES))
    compiled = mlc.compile(model)
    torch.testing.assert_close(compiled(PAIRS), model(PAIRS))
    model.turns.mul_(2)
    torch.testing.assert_close(compiled(PAIRS), model(PAIRS))
    model.turns = torch.randn(4, 3, dtype=torch.complex64).t().conj()
    torch.testing.assert_close(compiled(PAIRS), model(PAIRS))
    compiled.save(tmp_path / "m.mlc")
    torch.testing.assert_close(mlc.load(tmp_path / "m.mlc")(PAIRS), model(PAIRS))


def test_complex_number_made_in_forward() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        turns = torch.polar(torch.ones(3, 4), torch.outer(torch.arange(3.0), torch.arange(4.0)))
        return torch.view_as_real(torch.view_as_complex(x) * turns)

    torch.testing.assert_close(mlc.compile(model)(PAIRS), model(PAIRS))


def test_unknown_batch() -> None:
    compiled = mlc.compile(_stft, (SIGNAL,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=9)},))
    for batch in (1, 2, 5):
        x = torch.randn(batch, 48)
        torch.testing.assert_close(compiled(x), _stft(x), rtol=2e-5, atol=2e-5)


def test_transform_matrices_are_derived_constants() -> None:
    compiled = mlc.compile(lambda x: fft.rfft(x).abs(), (X,))
    forward = compiled.ir("kernels").partition("func.func private")[0]
    assert forward.count("dense_resource<const.") == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: torch.view_as_real(torch.complex(x, x).sin()), r"aten\.sin: this op on complex numbers"),
        (lambda x: torch.complex(x, x), r"complex"),
    ],
)
def test_what_has_no_lowering_is_named(model: Callable[..., Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        mlc.compile(model)(X)
