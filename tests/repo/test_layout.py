"""The house: links, guards, what lands in a wheel, what may import what."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = ("dialects", "lowering", "backends")


def tracked() -> list[str]:
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return out.splitlines()


@pytest.mark.parametrize("name", LINKS)
def test_links_point_into_the_package(name: str):
    assert (ROOT / name).is_symlink()
    assert os.readlink(ROOT / name) == f"mlc/{name}"


@pytest.mark.parametrize("name", LINKS)
def test_import_through_a_link_is_refused(name: str):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}"
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert r.returncode != 0
    assert f"import this package as mlc.{name}" in r.stderr


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert {n.split("/")[0] for n in names} == {"mlc"}
    assert names == {n for n in tracked() if n.startswith("mlc/")}


FACE = (
    "mlc.api", "mlc.recorded", "mlc.compiled", "mlc.driver", "mlc.build", "mlc.linking", "mlc.compile_parts",
    "mlc.lower_again", "mlc.keys", "mlc.setting",
)  # fmt: skip
# folder -> prefixes that nothing in it may import (the arrows of ARCHITECTURE.md, as absences)
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "mlc/arrays": (
        "mlc.ir", "mlc.dialects", "mlc.lowering", "mlc.backends", "mlc.frontends", "mlc.interp", "mlc.runtime",
        "mlc.tools", *FACE, "torch", "llvmlite", "xdsl",
    ),
    "mlc/ir": (
        "mlc.dialects", "mlc.lowering", "mlc.backends", "mlc.frontends", "mlc.interp", "mlc.runtime", "mlc.tools",
        *FACE, "torch", "llvmlite",
    ),
    "mlc/dialects": (
        "mlc.lowering", "mlc.backends", "mlc.frontends", "mlc.interp", "mlc.runtime", "mlc.tools", *FACE, "torch",
        "llvmlite",
    ),
    "mlc/lowering": (
        "mlc.backends", "mlc.frontends", "mlc.interp", "mlc.runtime", "mlc.tools", *FACE, "torch",
        "llvmlite",
    ),
    "mlc/interp": (
        "mlc.lowering", "mlc.backends", "mlc.frontends", "mlc.runtime", "mlc.tools", *FACE, "torch",
        "llvmlite",
    ),
    "mlc/backends": (
        "mlc.lowering", "mlc.frontends", "mlc.interp", "mlc.tools", *FACE, "torch",
    ),
    "mlc/frontends": ("mlc.lowering", "mlc.backends", "mlc.interp", "mlc.tools", *FACE, "llvmlite"),
    "mlc/runtime": (
        "mlc.ir", "mlc.dialects", "mlc.lowering", "mlc.backends", "mlc.frontends", "mlc.interp", "mlc.tools",
        *FACE, "torch", "llvmlite", "xdsl",
    ),
    "mlc/artifact": ("mlc.frontends", "mlc.tools", "mlc.api", "torch", "llvmlite"),
    "mlc/workers": (
        "mlc.dialects", "mlc.lowering", "mlc.backends", "mlc.frontends", "mlc.interp", "mlc.tools", *FACE, "torch",
        "llvmlite",
    ),
    "mlc/tuning": ("mlc.frontends", "mlc.tools", *FACE, "torch", "llvmlite"),
    "mlc": ("fuzz", "tests", "onnx"),
}  # fmt: skip

STEPS = ("torch", "linalg", "buffers", "vector", "loops", "llvm")


def imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_import_arrows(folder: str):
    bad = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for module in imports(path)
        for prefix in FORBIDDEN[folder]
        if within(module, prefix)
    ]
    assert not bad, bad


@pytest.mark.parametrize("step", STEPS)
def test_lowering_steps_do_not_import_each_other(step: str):
    bad = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted((ROOT / "mlc/lowering" / step).rglob("*.py"))
        for module in imports(path)
        for other in STEPS
        if other != step and within(module, f"mlc.lowering.{other}")
    ]
    assert not bad, bad


def test_torch_is_imported_only_by_its_frontend():
    """`mlc/api.py` reaches torch through the frontend, so a numpy-only install works."""
    bad = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "mlc").rglob("*.py"))
        if "frontends" not in path.parts and any(within(m, "torch") for m in imports(path))
    ]
    assert not bad, bad


def test_core_import_is_light():
    code = "import sys, mlc; sys.exit(' '.join(m for m in ('torch', 'llvmlite', 'xdsl') if m in sys.modules) or None)"
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert r.stderr == "", r.stderr


def test_no_file_holds_what_a_merge_left():
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for kind in ("*.md", "*.py", "*.mlir", "*.toml", "Makefile")
        for path in sorted(ROOT.rglob(kind))
        if not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if line.startswith(marks)
    ]
    assert not found, found


def test_every_folder_says_what_it_is():
    missing = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "mlc").rglob("__init__.py"))
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not missing, missing


def test_all_modules_import():
    skip = "mlc.frontends"  # needs the torch extra; its own tests import it
    for path in sorted((ROOT / "mlc").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not name.startswith(skip):
            importlib.import_module(name)
