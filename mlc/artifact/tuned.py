"""What `tune=True` settled, for another process: choices by kernels whose keys do not depend on this compiler.

    {"machine": "x86_64 512", "module": {…}, "kernels": {"<hash of the kernel's text>": {"vectorize-structured": {…}}},
     "told": ["matmul_4x16x8_0: tuned: vectorize-structured: vector_bits 256 instead of 512"]}

A kernel's own key holds the compiler's fingerprint; the hash of its text alone is the same wherever it is lowered the
same. On a machine of other vectors the choices are left aside: they were measured for this kind. What people are told
names kernels as `explain()` does.
Tests: tests/artifact/test_tuned.py
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ModuleOp

from mlc.backends.machine import MachineModel
from mlc.compiled import Compiled
from mlc.ir.pipeline_table import Pipeline
from mlc.module_parts import split_module
from mlc.tuning.choices import Choices
from mlc.tuning.told import tell


def machine_kind(machine: MachineModel) -> str:
    """What choices are good for."""
    return f"{machine.arch} {machine.vector_bits}"


def _keys(module: ModuleOp, fingerprint: str) -> dict[str, str]:
    """Keys of the kernels of a buffers-level module, by the hash of their text alone."""
    local = [k.key for k in split_module(module.clone(), fingerprint).kernels]
    lasting = [k.key for k in split_module(module.clone(), "").kernels]
    return dict(zip(lasting, local, strict=True))


def settled(unit: Compiled) -> dict[str, Any]:
    """The choices of a compiled model."""
    kernels = dict(unit.choices.kernels)
    buffers = unit.lowered("buffers")
    keys = _keys(buffers, unit.setting.fingerprint) if kernels else {}
    named = split_module(buffers, unit.setting.fingerprint).named()
    told = tell(unit.choices, unit.setting.machine, named, tuned=True, winograd=unit.options.winograd)
    return {
        "machine": machine_kind(unit.setting.machine),
        "module": {p: dict(o) for p, o in unit.choices.module.items()},
        "kernels": {lasting: kernels[local] for lasting, local in keys.items() if local in kernels},
        "told": told.lines(),
    }


def checked(data: Any, pipeline: Pipeline) -> dict[str, Any]:
    """`data` as `settled` made it; ValueError for what is none."""
    passes = {row.pass_name for row in (*pipeline.module, *pipeline.kernels)}

    def options(given: Any) -> dict[str, dict[str, Any]]:
        for name, values in given.items():
            if name not in passes or not all(type(v) in (int, str, bool) for v in values.values()):
                raise ValueError("choices of passes")
        return given

    return {
        "machine": str(data["machine"]),
        "module": options(data["module"]),
        "kernels": {str(k): options(v) for k, v in data["kernels"].items()},
    }


def local(data: dict[str, Any], buffers: ModuleOp, fingerprint: str) -> Choices:
    """The choices for the kernels of this module as they are called here."""
    keys = _keys(buffers, fingerprint) if data["kernels"] else {}
    return Choices(data["module"], {keys[k]: v for k, v in data["kernels"].items() if k in keys})
