"""What `nn.TransformerEncoder` and `nn.TransformerDecoder` decide by looking at the values of their masks.

    mask given as an input            -->   is never looked at: the attention gets it as it is
    src_key_padding_mask, inference   -->   padded positions leave the layers as zeros, as from eager's packed batches

Eager packs a batch whose padding is all at the end (a nested tensor) when it may: in eval mode, without gradients. What
is padding then comes back as zeros, before the last norm. The recorded program says the same with `torch.where`.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.modules import transformer

from mlc.frontends.torch.entries import Origin
from mlc.frontends.torch.functional import unwrap
from mlc.frontends.torch.recorder import Recorder


@contextlib.contextmanager
def masks_unread(recorder: Recorder, *, gradients: bool) -> Iterator[None]:
    """Run models with these layers; `gradients`: whether the caller's mode is one that records them."""
    detect = transformer._detect_is_causal_mask

    def is_causal_mask(mask: torch.Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
        if is_causal is None and mask is not None and recorder.entry(unwrap(mask)).origin is Origin.INPUT:
            return False
        return detect(mask, is_causal, size)

    def padded() -> None:
        recorder.gradients_matter = True

    transformer._detect_is_causal_mask = is_causal_mask
    try:
        with padding_as_zeros(padded, gradients=gradients):
            yield
    finally:
        transformer._detect_is_causal_mask = detect


@contextlib.contextmanager
def padding_as_zeros(padded: Callable[[], None], *, gradients: bool) -> Iterator[None]:
    """Encoders give what eager's packed batches give; `padded` is called where there is a mask of padding."""
    encoder = torch.nn.TransformerEncoder.forward

    def encode(
        self: torch.nn.TransformerEncoder,
        src: torch.Tensor,
        mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> torch.Tensor:
        if src_key_padding_mask is not None:
            padded()
        packs = src_key_padding_mask is not None and mask is None and _packs(self, src, gradients)
        if not packs or src_key_padding_mask is None:
            return encoder(self, src, mask, src_key_padding_mask, is_causal)
        layers: Any = copy.copy(self)
        layers._modules = {**self._modules, "norm": None}
        out = encoder(layers, src, mask, src_key_padding_mask, is_causal)
        padding = src_key_padding_mask if src_key_padding_mask.dtype is torch.bool else src_key_padding_mask != 0
        at_the_end = (padding[:, 1:] | ~padding[:, :-1]).all()
        out = torch.where((padding & at_the_end).unsqueeze(-1), 0.0, out)
        return out if self.norm is None else self.norm(out)

    torch.nn.TransformerEncoder.forward = encode
    try:
        yield
    finally:
        torch.nn.TransformerEncoder.forward = encoder


def _packs(encoder: torch.nn.TransformerEncoder, src: torch.Tensor, gradients: bool) -> bool:
    """Whether eager would pack the batch, should its padding be all at the end."""
    first = encoder.layers[0]
    trained = gradients and (src.requires_grad or any(p.requires_grad for p in first.parameters()))
    usable = encoder.use_nested_tensor and not first.training and src.dim() == 3
    return bool(usable) and not trained and not torch.is_autocast_enabled()
