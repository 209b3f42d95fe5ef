"""The engines that run torch's own modules: eager, torch.jit, torch.compile, mlc; and the list of all engines.

prepared = ENGINES["mlc"].prepare(model, inputs, threads=1, files=directory)
prepared.ways[0]()                 # one call
prepared.answer()                  # one call, its results as a flat list of arrays
ENGINES["inductor"].missing()      # None, or why it cannot run here
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from benchmarks import onnx_engines
from benchmarks.prepared import Prepared


@dataclass(frozen=True)
class Engine:
    """`prepare(model, inputs, threads, files)`: everything up to the first call; what it finds in the directory `files`
    it may reuse. `modules`: imported before the clock starts. `missing()`: why it cannot run here, or None.
    `environment(files)`: variables its process needs."""

    prepare: Callable[[nn.Module, tuple[Any, ...], int, Path], Prepared]
    modules: tuple[str, ...] = ()
    missing: Callable[[], str | None] = lambda: None
    environment: Callable[[Path], dict[str, str]] = lambda files: {}


def of_torch(call: Callable[[], Any]) -> Prepared:
    """A call that returns tensors; bfloat16, which numpy lacks, is answered in float32."""

    def array(leaf: torch.Tensor) -> np.ndarray:
        return (leaf.float() if leaf.dtype == torch.bfloat16 else leaf).numpy()

    def answer() -> list[np.ndarray]:
        return [array(leaf) for leaf in pytree.tree_leaves(call()) if isinstance(leaf, torch.Tensor)]

    return Prepared([call], answer)


def _eager(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """PyTorch as it is."""
    return of_torch(lambda: model(*inputs))


def _jit(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """torch.jit: trace, freeze, optimize for inference."""
    stored = files / "traced.pt"
    if stored.exists():
        traced = torch.jit.load(str(stored))
    else:
        traced = torch.jit.freeze(torch.jit.trace(model, inputs, strict=False))
        traced.save(str(stored))
    fast = torch.jit.optimize_for_inference(traced)
    return of_torch(lambda: fast(*inputs))


def _inductor(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """torch.compile with freezing."""
    fast = torch.compile(model, options={"freezing": True})
    return of_torch(lambda: fast(*inputs))


def _mlc(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """mlc."""
    fast = importlib.import_module("mlc").compile(model, num_threads=threads, cache_dir=files)
    return replace(of_torch(lambda: fast(*inputs)), save=fast.save)


def _mlc_loaded(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """mlc from the file that its compiled model was saved to: of `model` nothing is used."""
    fast = importlib.import_module("mlc").load(files / SAVED, num_threads=threads, cache_dir=files)

    def call() -> Any:
        out = fast(*inputs)
        return out.to_tuple() if hasattr(out, "to_tuple") else out  # the output of a class that is not imported

    return of_torch(call)


def _no_compiler() -> str | None:
    compilers = [os.environ.get("CXX"), "g++", "clang++"]
    return None if any(c and shutil.which(c) for c in compilers) else "no C++ compiler (g++ or clang++)"


def _not_installed(*modules: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [m for m in modules if importlib.util.find_spec(m) is None]
        return f"not installed: {', '.join(absent)}" if absent else None

    return missing


SAVED = "model.mlc"
LOADED = "mlc, loaded"
"""What a saved model of mlc is called; it is measured beside mlc, and is no engine that others are compared with."""
LOADED_ENGINE = Engine(_mlc_loaded, ("mlc",))

_EXPORT = ("onnx", "onnxscript")
ENGINES: dict[str, Engine] = {
    "mlc": Engine(_mlc, ("mlc",)),
    "eager": Engine(_eager),
    "jit": Engine(_jit),
    "inductor": Engine(
        _inductor,
        ("torch._inductor",),
        _no_compiler,
        lambda files: {"TORCHINDUCTOR_CACHE_DIR": str(files / "inductor")},
    ),
    "ort": Engine(
        onnx_engines.onnx_runtime, ("onnxruntime", *_EXPORT), _not_installed("onnxruntime", *_EXPORT)
    ),
    "openvino": Engine(onnx_engines.openvino, ("openvino", *_EXPORT), _not_installed("openvino", *_EXPORT)),
}  # fmt: skip

SHOWN: dict[str, tuple[str, ...]] = {
    "jit": ("torch.jit",),
    "inductor": ("torch.compile",),
    "ort": ("ONNX Runtime", "onnxruntime", "onnx"),
    "openvino": ("OpenVINO",),
}
"""What engines are called elsewhere, in the README first."""


def engine_named(text: str) -> str:
    """The engine's name here, of any of its names, whatever the case; what is no name stays as it is."""
    for name in ENGINES:
        if text.lower() in (name, *(other.lower() for other in SHOWN.get(name, ()))):
            return name
    return text
