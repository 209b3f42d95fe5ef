"""What a model is compiled for: the backend of a target, its machine model and passes, and what tells them in keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mlc.backends.machine import MachineModel
from mlc.backends.registry import Backend, check_runs_here, load_backend
from mlc.fingerprint import fingerprint_of
from mlc.ir.pipeline_table import Pipeline
from mlc.options import Options


@dataclass(frozen=True)
class Setting:
    """One target at one precision."""

    backend: Backend
    machine: MachineModel
    pipeline: Pipeline
    fingerprint: str


def setting_of(options: Options, custom_names: Collection[str]) -> Setting:
    """The setting of `options` for a model with these ops of `torch.library`. UsageError where its code could not run
    here."""
    backend = load_backend(options.target)
    check_runs_here(backend, options.target)
    machine = backend.machine(options.target)
    pipeline = backend.pipeline(options.target).at_precision(options.precision)
    return Setting(backend, machine, pipeline, fingerprint_of(backend, machine, pipeline, custom_names))
