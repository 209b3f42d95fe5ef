"""The engines in lower precision: `make bench PRECISION=bfloat16`, each as its users would ask for it.

    engines_of("bfloat16")["eager"].prepare(model, inputs, threads, files)     # model.to(torch.bfloat16)

bfloat16: mlc's precision="bfloat16"; eager and inductor a model and inputs in bfloat16; OpenVINO's precision hint.
int8: mlc's precision="int8"; eager (torch.ao) and ONNX Runtime with matrix products quantised dynamically. Answers are
compared with float64 as always: the error stands beside the speed.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from benchmarks import onnx_engines
from benchmarks.engines import ENGINES, Engine, of_torch
from benchmarks.prepared import Prepared

PRECISIONS = ("float32", "bfloat16", "int8")


def _mlc(precision: str) -> Engine:
    def prepare(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
        compile_ = importlib.import_module("mlc").compile
        fast = compile_(model, num_threads=threads, cache_dir=files, precision=precision)
        return replace(of_torch(lambda: fast(*inputs)), save=fast.save)

    return replace(ENGINES["mlc"], prepare=prepare)


def _narrow(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    def one(leaf: Any) -> Any:
        return leaf.bfloat16() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return pytree.tree_map(one, inputs)


def _eager_bfloat16(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    narrow, args = copy.deepcopy(model).bfloat16(), _narrow(inputs)
    return of_torch(lambda: narrow(*args))


def _inductor_bfloat16(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    narrow, args = copy.deepcopy(model).bfloat16(), _narrow(inputs)
    fast = torch.compile(narrow, options={"freezing": True})
    return of_torch(lambda: fast(*args))


def _eager_int8(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    quantization = importlib.import_module("torch.ao.quantization")
    whole = nn.Sequential(copy.deepcopy(model)) if isinstance(model, nn.Linear) else copy.deepcopy(model)
    fast = quantization.quantize_dynamic(whole, {nn.Linear}, dtype=torch.qint8)
    return of_torch(lambda: fast(*inputs))


_ENGINES: dict[str, Mapping[str, Engine]] = {
    "float32": ENGINES,
    "bfloat16": {
        "mlc": _mlc("bfloat16"),
        "eager": replace(ENGINES["eager"], prepare=_eager_bfloat16),
        "inductor": replace(ENGINES["inductor"], prepare=_inductor_bfloat16),
        "openvino": replace(ENGINES["openvino"], prepare=onnx_engines.openvino_bfloat16),
    },
    "int8": {
        "mlc": _mlc("int8"),
        "eager": replace(ENGINES["eager"], prepare=_eager_int8),
        "ort": replace(ENGINES["ort"], prepare=onnx_engines.onnx_runtime_int8),
    },
}


def engines_of(precision: str) -> Mapping[str, Engine]:
    """The engines that have `precision`, by name."""
    return _ENGINES[precision]
