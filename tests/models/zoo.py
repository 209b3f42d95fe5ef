"""The models that must run: random weights, nothing downloaded, batch-norm statistics away from 0 and 1.

entry = ZOO["resnet18"]
model, inputs = entry.build(batch=1)           # the real size
model, inputs = entry.build(batch=2, small=True)  # the same structure, narrow: for fast tests
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

_TORCHVISION = torch.library.Library("torchvision", "FRAGMENT")


@cache
def torchvision() -> ModuleType:
    """torchvision beside a torch it was not built for: two C++ ops that its Python part wants are declared first."""
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            _TORCHVISION.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")


@dataclass(frozen=True)
class Entry:
    """How to make a model and its inputs. `make(small)`, `inputs(batch, small)`."""

    name: str
    make: Callable[[bool], nn.Module]
    inputs: Callable[[int, bool], tuple[Any, ...]]

    def build(self, *, batch: int = 1, small: bool = False, seed: int = 0) -> tuple[nn.Module, tuple[Any, ...]]:
        """The model in eval mode and example inputs, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = randomise(self.make(small).eval(), self.inputs(2, True))
            return model, self.inputs(batch, small)


def randomise(model: nn.Module, calibration: tuple[Any, ...]) -> nn.Module:
    """Parameters that hide no mistake, and activations that depend on the input down to the last layer.

    Fresh models have zero biases and heads (ViT), layer scales of 1e-6 (ConvNeXt), affine parameters of one, and deep
    ones (MobileNetV2, MNASNet, GoogLeNet) answer every input with the same numbers to six digits. Batch-norm statistics
    become those that `calibration` gives, off by a random amount.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale"):
                parameter.uniform_(0.3, 0.7)
            elif parameter.abs().max() < 1e-4:
                parameter.normal_(0, 0.05)
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for module in model.modules():
            if isinstance(module, nn.LayerNorm | nn.modules.batchnorm._BatchNorm) and module.weight is not None:
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(0, 0.1)
        if norms:
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.train()
                norm.momentum = 1.0  # the statistics of this one call
            model(*calibration)
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.eval()
                norm.momentum = momentum
                assert norm.running_mean is not None and norm.running_var is not None
                norm.running_var.clamp_min_(1e-3)
                norm.running_mean.add_(torch.randn_like(norm.running_var) * norm.running_var.sqrt() * 0.1)
                norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    return model


class Mlp(nn.Module):
    """784-512-512-10."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class CustomLstm(nn.Module):
    """An LSTM written as a Python loop over time."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.wx = nn.Linear(inputs, 4 * hidden)
        self.wh = nn.Linear(hidden, 4 * hidden, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        h = x.new_zeros(x.shape[1], self.hidden)
        c = torch.zeros_like(h)
        outputs = []
        for step in x:
            i, f, g, o = (self.wx(step) + self.wh(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs), (h, c)


class GruLoop(nn.Module):
    """A GRU cell stepped by a Python loop."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.wi = nn.Linear(inputs, 3 * hidden)
        self.wh = nn.Linear(hidden, 3 * hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[1], self.hidden)
        for t in range(x.shape[0]):
            ir, iz, in_ = self.wi(x[t]).split(self.hidden, dim=1)
            hr, hz, hn = self.wh(h).split(self.hidden, dim=1)
            r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
            n = torch.tanh(in_ + r * hn)
            h = (1 - z) * n + z * h
        return h


def _vision(name: str, small_size: int = 64, **small: Any) -> Entry:
    """A torchvision model; `small` are its constructor's arguments in the narrow version."""

    def make(is_small: bool) -> nn.Module:
        kwargs = dict(_INIT.get(name, {}))
        if is_small:
            kwargs |= small
            if name in _SMALL:
                return _SMALL[name]()
        return getattr(torchvision().models, name)(weights=None, **kwargs)

    def inputs(batch: int, is_small: bool) -> tuple[Any, ...]:
        size = small_size if is_small else 224
        return (torch.randn(batch, 3, size, size),)

    return Entry(name, make, inputs)


def _small_resnet(bottleneck: bool) -> nn.Module:
    resnet = torchvision().models.resnet
    block = resnet.Bottleneck if bottleneck else resnet.BasicBlock
    model = resnet.ResNet(block, [1, 1, 1, 1], num_classes=10)
    return model


def _small_alexnet() -> nn.Module:
    with torch.device("meta"):
        model = torchvision().models.AlexNet(num_classes=10)
    model.features.to_empty(device="cpu")
    for parameter in model.features.parameters():
        nn.init.normal_(parameter, 0, 0.05)
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(256 * 36, 32), nn.ReLU(True), nn.Linear(32, 10))
    return model


def _small_vgg() -> nn.Module:
    vgg = torchvision().models.vgg
    features = vgg.make_layers([8, "M", 16, 16, "M", 16, "M", 16, "M", 16, "M"], batch_norm=False)
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # the default start forgets the input layer by layer
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.device("meta"):  # its classifier is large and replaced
        model = vgg.VGG(nn.Identity(), num_classes=10, init_weights=False)
    model.features = features
    model.classifier = nn.Sequential(nn.Linear(16 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return model


def _small_densenet() -> nn.Module:
    return torchvision().models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)


def _small_shufflenet() -> nn.Module:
    return torchvision().models.ShuffleNetV2([2, 2, 2], [8, 16, 16, 32, 32], num_classes=10)


def _small_regnet() -> nn.Module:
    regnet = torchvision().models.regnet
    params = regnet.BlockParams.from_init_params(depth=4, w_0=16, w_a=8.0, w_m=2.0, group_width=8, se_ratio=0.25)
    return regnet.RegNet(params, num_classes=10, stem_width=8)


def _small_convnext() -> nn.Module:
    convnext = torchvision().models.convnext
    setting = [convnext.CNBlockConfig(i, o, 1) for i, o in ((8, 16), (16, 24), (24, 32), (32, None))]
    return convnext.ConvNeXt(setting, num_classes=10)


def _small_efficientnet() -> nn.Module:
    net = torchvision().models.efficientnet
    setting = [
        net.MBConvConfig(1, 3, 1, 8, 8, 1),
        net.MBConvConfig(4, 3, 2, 8, 16, 1),
        net.MBConvConfig(4, 5, 2, 16, 16, 2),
    ]
    return net.EfficientNet(setting, dropout=0.2, num_classes=10, last_channel=32)


def _small_vit() -> nn.Module:
    return torchvision().models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10
    )


_SMALL: dict[str, Callable[[], nn.Module]] = {
    "alexnet": _small_alexnet,
    "vgg16": _small_vgg,
    "resnet18": lambda: _small_resnet(False),
    "resnet50": lambda: _small_resnet(True),
    "densenet121": _small_densenet,
    "efficientnet_b0": _small_efficientnet,
    "shufflenet_v2_x1_0": _small_shufflenet,
    "regnet_y_400mf": _small_regnet,
    "convnext_tiny": _small_convnext,
    "vit_b_16": _small_vit,
}
_INIT: dict[str, dict[str, Any]] = {"googlenet": {"init_weights": False, "aux_logits": False}}


def _transformers() -> ModuleType:
    torchvision()  # transformers imports it
    return importlib.import_module("transformers")


def _bert(small: bool) -> nn.Module:
    transformers = _transformers()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    vocabulary = {"vocab_size": 100} if small else {}
    return transformers.BertModel(transformers.BertConfig(**(sizes if small else {}), **vocabulary))


def _gpt2(small: bool) -> nn.Module:
    transformers = _transformers()
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 100, "n_positions": 64} if small else {}
    ends = {"bos_token_id": 1, "eos_token_id": 1}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False, **ends, **sizes))


def _tokens(length: int, vocabulary: int) -> Callable[[int, bool], tuple[Any, ...]]:
    def inputs(batch: int, small: bool) -> tuple[Any, ...]:
        return (torch.randint(0, 100 if small else vocabulary, (batch, 16 if small else length)),)

    return inputs


ENTRIES: tuple[Entry, ...] = (
    Entry("mlp", lambda small: Mlp(32 if small else 512), lambda batch, small: (torch.randn(batch, 784),)),
    _vision("alexnet"),
    _vision("vgg16"),
    _vision("resnet18"),
    _vision("resnet50"),
    _vision("mobilenet_v2", width_mult=0.25, num_classes=10),
    _vision("squeezenet1_1", num_classes=10),
    _vision("googlenet", num_classes=10),
    _vision("densenet121"),
    _vision("efficientnet_b0"),
    _vision("shufflenet_v2_x1_0"),
    _vision("mnasnet1_0", num_classes=10),
    _vision("regnet_y_400mf"),
    _vision("convnext_tiny"),
    Entry(
        "custom_lstm",
        lambda small: CustomLstm(*((8, 16) if small else (256, 512))),
        lambda batch, small: (torch.randn(5 if small else 50, batch, 8 if small else 256),),
    ),
    Entry(
        "gru_loop",
        lambda small: GruLoop(*((8, 16) if small else (128, 256))),
        lambda batch, small: (torch.randn(5 if small else 50, batch, 8 if small else 128),),
    ),
    Entry("bert_base", _bert, _tokens(128, 30522)),
    Entry("gpt2", _gpt2, _tokens(64, 50257)),
    _vision("vit_b_16"),
)
ZOO: dict[str, Entry] = {e.name: e for e in ENTRIES}
