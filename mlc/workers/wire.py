"""What goes through the pipes to processes that this one starts: pickled, since nobody else reads or writes them.

Setup, then READY back; then one Job after another, and a Done for each in the same order. The end of the pipe is the
end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import LocationAttr, ModuleOp

from mlc.ir.compact import from_compact, to_compact
from mlc.ir.context import MlcContext
from mlc.ir.pipeline_table import Row
from mlc.ir.remarks import RemarkLog

READY = "ready"


@dataclass(frozen=True)
class Setup:
    """What holds for all kernels. `rows`: passes that most of them need."""

    backend: Any  # mlc.backends.registry.Backend; Any keeps this below backends
    machine: Any
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Job:
    """A kernel: compact text, and the locations of its ops as they are walked, each by its number among `locations`."""

    key: str
    rows: tuple[Row, ...]
    text: str
    locations: list[LocationAttr]
    numbers: list[int]


@dataclass(frozen=True)
class Done:
    """Its object code, or None where it could not be made, and what the passes remarked."""

    key: str
    code: bytes | None
    remarks: RemarkLog


def to_job(key: str, rows: tuple[Row, ...], module: ModuleOp) -> Job:
    """The job to lower and compile `module`, which is left as it is."""
    known: dict[LocationAttr, int] = {}
    numbers = [known.setdefault(op.location, len(known)) for op in module.walk()]
    return Job(key, rows, to_compact(module), list(known), numbers)


def to_module(job: Job, ctx: MlcContext) -> ModuleOp:
    """The kernel of a job."""
    module = from_compact(job.text, ctx)
    for op, number in zip(module.walk(), job.numbers, strict=True):
        op.location = job.locations[number]
    return module
