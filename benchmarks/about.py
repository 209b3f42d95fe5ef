"""Where and with what a run was made: machine, versions, mlc's own source."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path

from mlc.backends.llvm.target import host_machine
from mlc.runtime.threads import available_cores

PACKAGES = {
    "torch": "torch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "onnxscript": "onnxscript",
    "torchvision": "torchvision", "transformers": "transformers", "llvmlite": "llvmlite",
}  # fmt: skip


def versions() -> dict[str, str]:
    """Of what is installed."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def source_hash(folder: Path) -> str:
    """Of every file of mlc: measurements of another state of it do not belong in the same run."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".txt") and p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def machine() -> str:
    """One line."""
    model = host_machine()
    return f"{platform.system()} {model.arch}, {model.name}, {model.vector_bits}-bit vectors, {available_cores()} cores"


def sentence(date: str, found: dict[str, str], precision: str = "float32") -> str:
    """For the head of the page and the chart."""
    names = [f"{name} {found[p]}" for p, name in PACKAGES.items() if p in found and p != "llvmlite"]
    return f"{date}, {precision}, {machine()}, {', '.join(names)}"
