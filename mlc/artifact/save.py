"""`compiled.save(path)`: every version of a compiled model that holds, as one file of data.

    {"versions": [{"text": 0, "places": 1, "weights": {"l.weight": 0}, "plan": …, "choices": …}],
     "arrays": [[2, "float32", [40, 8]]], "states": [], …}
    and the parts: IR at the torch level, places of its ops, arrays

Kept is what is independent of the machine: the IR at the torch level, weights as they are (each once, however many
versions share it), the options, and what tuning settled. Same model, same bytes.
Tests: tests/artifact/test_save.py
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from mlc import __version__
from mlc.artifact.tuned import settled
from mlc.build import places_of
from mlc.compiled import Compiled
from mlc.driver import remember_text
from mlc.errors import UsageError
from mlc.ir.parsing import print_text
from mlc.ir.resource_text import resource_attributes
from mlc.options import Options
from mlc.runtime.artifact.file import write_artifact
from mlc.runtime.artifact.plan import Plan
from mlc.runtime.artifact.tensors import ARRAY_TYPES


class Arrays:
    """Arrays to be written, each once; `parts` are theirs and those of texts, in the order they were added."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.table: list[tuple[int, str, tuple[int, ...]]] = []
        self._known: dict[tuple[Any, ...], list[int]] = {}
        self._addresses: dict[tuple[Any, ...], int] = {}

    def text(self, text: str) -> int:
        """The number of a new part."""
        self.parts.append(text.encode())
        return len(self.parts) - 1

    def add(self, array: np.ndarray) -> int:
        """The number of an array of these elements; a new one where there is none yet."""
        name = "bool" if array.dtype == np.bool_ else array.dtype.name
        if name not in ARRAY_TYPES:
            raise UsageError(f"the model cannot be saved: it has a weight of {array.dtype}")
        place = (array.ctypes.data, name, array.shape, array.strides)
        if place in self._addresses:
            return self._addresses[place]
        dense = np.ascontiguousarray(array).reshape(array.shape)
        little = dense.astype(dense.dtype.newbyteorder("<"), copy=False)
        raw = little.reshape(-1).view(np.uint8)
        same = self._known.setdefault((name, array.shape, zlib.crc32(raw.data)), [])
        for number in same:
            if np.array_equal(self.parts[self.table[number][0]], raw):
                return number
        number = len(self.table)
        self.parts.append(raw)
        self.table.append((len(self.parts) - 1, name, array.shape))
        same.append(number)
        if dense.ctypes.data == array.ctypes.data:  # a copy's address may be another array's next
            self._addresses[place] = number
        return number


class Source(Protocol):
    """What the frontend says of a model."""

    @property
    def name(self) -> str:
        """What the user calls the model."""
        ...

    def portable(self, captured: Any, array: Any, state: Any) -> Plan:
        """A capture as data."""
        ...

    def signature(self) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        """What the model's forward takes."""
        ...

    def array_of(self, tensor: Any) -> np.ndarray:
        """The present values of a buffer."""
        ...


def save(path: Path, source: Source, versions: Sequence[tuple[Any, Compiled]], options: Options) -> None:
    """Write `versions` (a capture and its compiled code each) to `path`. Raises UsageError, UnsupportedError."""
    arrays = Arrays()
    states: list[Any] = []
    state_arrays: list[int] = []

    def state(tensor: Any) -> int:
        for number, known in enumerate(states):
            if known is tensor:
                return number
        states.append(tensor)
        state_arrays.append(arrays.add(source.array_of(tensor)))
        return len(states) - 1

    found: list[dict[str, Any]] = []
    for captured, unit in versions:
        module = unit.source
        whole = print_text(module)
        remember_text(unit, whole)
        names = sorted({attr.resource_handle.data for _, attr in resource_attributes(module)})
        found.append(
            {
                "text": arrays.text(whole),
                "places": arrays.text(_places(module)),
                "places_hash": places_of(module),
                "weights": {n: arrays.add(unit.resources.get(n)) for n in names},
                "plan": source.portable(captured, arrays.add, state).to_json(),
                "choices": settled(unit) if options.tune else None,
            }
        )
    positional, names, text = source.signature()
    index = {
        "mlc": __version__,
        "name": source.name,
        "precision": options.precision,
        "winograd": options.winograd,
        "signature": [positional, names, text],
        "arrays": arrays.table,
        "states": state_arrays,
        "versions": found,
    }
    write_artifact(path, index, arrays.parts)


def _places(module: ModuleOp) -> str:
    """The location of every op, in the order of a walk: a list of texts, and numbers into it."""
    texts: dict[str, int] = {}
    numbers = [texts.setdefault(str(op.location), len(texts)) for op in module.walk()]
    return json.dumps([list(texts), numbers], separators=(",", ":"))
