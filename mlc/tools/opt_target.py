"""`mlc-opt --target=NAME`: whose machine model, pipeline, code generator a run uses. `cpu` in `--mlc-pipeline` is the
pipeline of that target; the name of a target there says both at once."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from xdsl.passes import ModulePass

from mlc.backends.machine import MachineModel
from mlc.backends.registry import Backend, load_backend
from mlc.errors import UsageError
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import LEVELS, Pipeline

NATIVE = "native"
CPU = "cpu"


@dataclass(frozen=True)
class Target:
    """A target by name, with its backend. `verify`: verify after each pass of a native run too."""

    name: str
    backend: Backend
    verify: bool = True

    @property
    def machine(self) -> MachineModel:
        """Its machine model."""
        return self.backend.machine(self.name)

    @property
    def pipeline(self) -> Pipeline:
        """Its passes."""
        return self.backend.pipeline(self.name)


def target_of(v: argparse.Namespace) -> Target:
    """The target that the flags name."""
    name: str = v.target or NATIVE
    if v.mlc_pipeline not in (None, CPU):
        if v.target not in (None, v.mlc_pipeline):
            raise UsageError(f"--mlc-pipeline={v.mlc_pipeline} and --target={v.target}", expected="one target")
        name = v.mlc_pipeline
    try:
        return Target(name, load_backend(name), v.verify_each)
    except UsageError as e:
        if v.mlc_pipeline == name:
            raise UsageError(e.message, expected=f"{CPU}, or {e.expected}", hint=e.hint) from None
        raise


def table_passes(v: argparse.Namespace, target: Target) -> list[ModulePass]:
    """What `--mlc-pipeline` and `--mlc-to` ask for."""
    level = v.mlc_to
    if v.mlc_pipeline is None:
        if level is not None:
            raise UsageError("--mlc-to needs --mlc-pipeline=cpu")
        return []
    if level is not None and level not in LEVELS:
        raise UsageError(f"unknown level '{level}'", expected=" | ".join(LEVELS))
    return [make_pass(row.pass_name, row.options) for row in target.pipeline.until(level or "llvm")]
