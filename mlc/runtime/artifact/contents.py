"""What a saved model consists of: its index, read into data whose every reference and size is checked.

contents = read_contents(ArtifactFile(path))
contents.versions[0].weights["l.weight"]     ->  an array on the mapped file

Tests: tests/artifact/test_hostile.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.artifact.model import Signature
from mlc.runtime.artifact.plan import Plan
from mlc.runtime.artifact.tensors import ARRAY_TYPES

MAX_VERSIONS = 64
MAX_RANK = 64
_DECLARED = re.compile(r"dense_resource<([^<>]*)> : tensor<([0-9x]*?)(bf16|f16|f32|f64|[su]?i\d+|complex<f\d\d>)>")
_MISMATCHES = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError)
"""What reading data of another form than expected raises."""


@dataclass(frozen=True)
class SavedVersion:
    """`text`: IR at the torch level. `places`: the part that says where its ops come from, and `places_hash` a hash of
    that. `weights`: arrays by the names in the text. `choices`: what tuning settled, as it was written."""

    text: str
    places: Any
    places_hash: str
    weights: Mapping[str, np.ndarray]
    plan: Plan
    choices: Any

    @property
    def tuned(self) -> tuple[str, list[str]]:
        """The kind of machine that tuning measured on, and what it chose there, in words; nothing where it is not
        said."""
        said = self.choices if isinstance(self.choices, dict) else {}
        told = said.get("told", [])
        return str(said.get("machine", "")), [str(t) for t in told] if isinstance(told, list) else []


@dataclass(frozen=True)
class Contents:
    """`digest`: of the file, all of it. `arrays` lie on the mapped file; `states`: those the model changes, as they
    were when it was saved."""

    digest: str
    mlc: str
    name: str
    precision: str
    winograd: bool
    signature: Signature
    arrays: Sequence[np.ndarray]
    states: Sequence[np.ndarray]
    versions: Sequence[SavedVersion]


def read_contents(file: ArtifactFile) -> Contents:
    """The contents of a file; ArtifactError where they do not fit together."""
    try:
        return _read(file)
    except _MISMATCHES as error:
        raise file.damaged(f"its contents do not fit together: {error}") from None


def _read(file: ArtifactFile) -> Contents:
    index = file.index
    arrays = [_array(file, *row) for row in index["arrays"]]

    def numbered(number: Any) -> np.ndarray:
        if type(number) is not int or number < 0:
            raise ValueError("the number of an array")
        return arrays[number]

    def version(row: Mapping[str, Any]) -> SavedVersion:
        weights = {_text(n): numbered(k) for n, k in row["weights"].items()}
        text = file.text(row["text"])
        _check_weights(text, weights)
        plan = Plan.from_json(row["plan"])
        return SavedVersion(text, row["places"], _text(row["places_hash"]), weights, plan, row["choices"])

    rows = index["versions"]
    if not 0 < len(rows) <= MAX_VERSIONS:
        raise ValueError(f"{len(rows)} versions")
    positional, names, text = index["signature"]
    return Contents(
        digest=file.digest,
        mlc=_text(index["mlc"]),
        name=_text(index["name"]),
        precision=_text(index["precision"]),
        winograd=index["winograd"] is True,
        signature=Signature(tuple(map(_text, positional)), tuple(map(_text, names)), _text(text)),
        arrays=arrays,
        states=[numbered(n) for n in index["states"]],
        versions=[version(row) for row in rows],
    )


def _array(file: ArtifactFile, part: Any, dtype: Any, shape: Any) -> np.ndarray:
    sizes = tuple(shape)
    if not all(type(n) is int for n in sizes) or len(sizes) > MAX_RANK:
        raise ValueError("the shape of an array")
    return file.array(part, ARRAY_TYPES[_text(dtype)], sizes)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a name that is no text")
    return value


def _check_weights(text: str, weights: Mapping[str, np.ndarray]) -> None:
    """ValueError where the text names a weight that is not there, or of another size: code from the cache trusts it."""
    declared = _DECLARED.findall(text)
    if text.count("dense_resource<") != len(declared):
        raise ValueError("weights in the text")
    for name, sizes, kind in declared:
        if name not in weights:
            raise ValueError(f"the weight '{name}' is missing")
        array = weights[name]
        shape = tuple(int(n) for n in sizes.split("x")[:-1])
        if array.shape != shape or not _is_of(array.dtype, kind):
            raise ValueError(f"the weight '{name}' is {array.dtype}{list(array.shape)}, not {sizes}{kind}")


def _is_of(dtype: np.dtype[Any], kind: str) -> bool:
    if kind == "bf16":
        return dtype == np.uint16
    if kind == "i1":
        return dtype == np.bool_
    if kind.startswith("complex"):
        return dtype == np.dtype({"complex<f32>": "c8", "complex<f64>": "c16"}.get(kind, "V1"))
    letters = "f" if kind.startswith("f") else "iu"
    return dtype.kind in letters and dtype.itemsize * 8 == int(kind.lstrip("suif"))
