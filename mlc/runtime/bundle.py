"""A compiled model without its weights, as bytes: object code, signatures, and how to make derived constants.

Code reads its weights without asking their sizes, and is found by a text that only names them: `check_weights` compares
the arrays there are with those it was compiled for, whatever the text says.

Layout: magic, length of the JSON header, JSON header, object files one after the other. Every length is checked before
anything is read. Made and read on the same machine only (the disk cache authenticates it).
Tests: tests/runtime/test_bundle.py
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlc.arrays.recipes import Recipes
from mlc.errors import ArtifactError
from mlc.runtime.executable import TensorSpec

_MAGIC = b"mlc-bundle-6\n"


@dataclass
class Bundle:
    """`objects[0]` holds the entry points. `constants`: resource names in table order. Those in `derived` come from
    `recipes`, or else from the function of the same name in `constant_functions` (IR in the form of
    `mlc/ir/compact.py`; "" where all have recipes), those in `literals` are small tables that passes made, the others
    are the model's weights. `weights`: dtype and shape of every weight of the model, also of those that only derived
    constants are made of. `assertions`: messages by status; `places`: a hash of the source lines they name. `choices`:
    what tuning settled, as `mlc/tuning/choices.py` writes it."""

    objects: list[bytes]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: list[str]
    derived: list[str]
    recipes: Recipes
    constant_functions: str
    literals: dict[str, np.ndarray]
    weights: dict[str, tuple[str, tuple[int, ...]]]
    assertions: dict[int, str]
    places: str
    choices: dict[str, Any]

    def check_weights(self, get: Callable[[str], np.ndarray | None]) -> None:
        """ArtifactError where a weight, which `get` finds by name, is missing or not as the code expects it."""
        for name, (dtype, shape) in self.weights.items():
            array = get(name)
            if array is None or array.dtype != np.dtype(dtype) or array.shape != shape:
                found = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise ArtifactError(
                    f"the weight '{name}' is {found}",
                    expected=f"{np.dtype(dtype)}{list(shape)}, which the code was compiled for",
                    hint="save the model again",
                )

    def to_bytes(self) -> bytes:
        """Serialise."""
        header = json.dumps(
            {
                "objects": [len(o) for o in self.objects],
                "inputs": [_spec_to_json(s) for s in self.inputs],
                "outputs": [_spec_to_json(s) for s in self.outputs],
                "constants": self.constants,
                "derived": self.derived,
                "literals": [[n, a.dtype.str, list(a.shape), a.tobytes().hex()] for n, a in self.literals.items()],
                "weights": [[n, dtype, shape] for n, (dtype, shape) in self.weights.items()],
                "recipes": self.recipes.to_json(),
                "constant_functions": self.constant_functions,
                "assertions": list(self.assertions.items()),
                "places": self.places,
                "choices": self.choices,
            },
            separators=(",", ":"),
        ).encode()
        return b"".join([_MAGIC, struct.pack("<Q", len(header)), header, *self.objects])

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Deserialise; ArtifactError when it does not fit together."""
        try:
            if not data.startswith(_MAGIC):
                raise ValueError("wrong magic")
            start = len(_MAGIC) + 8
            (length,) = struct.unpack("<Q", data[len(_MAGIC) : start])
            header = json.loads(data[start : start + length])
            position = start + length
            if position + sum(header["objects"]) != len(data):
                raise ValueError("sizes do not add up")
            objects: list[bytes] = []
            for size in header["objects"]:
                objects.append(data[position : position + size])
                position += size
            return cls(
                objects=objects,
                inputs=tuple(_spec_from_json(s) for s in header["inputs"]),
                outputs=tuple(_spec_from_json(s) for s in header["outputs"]),
                constants=list(header["constants"]),
                derived=list(header["derived"]),
                literals={n: _literal(dtype, shape, data) for n, dtype, shape, data in header["literals"]},
                weights={n: (str(dtype), tuple(shape)) for n, dtype, shape in header["weights"]},
                recipes=Recipes.from_json(header["recipes"]),
                constant_functions=str(header["constant_functions"]),
                assertions={int(code): str(text) for code, text in header["assertions"]},
                places=str(header["places"]),
                choices=dict(header["choices"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as e:
            raise ArtifactError(f"not a compiled model: {e}", hint="compile the model again") from None


def _spec_to_json(spec: TensorSpec) -> list[Any]:
    return [list(spec.shape), spec.dtype.str, spec.name]


def _spec_from_json(item: list[Any]) -> TensorSpec:
    shape, dtype, name = item
    return TensorSpec(tuple(shape), np.dtype(dtype), name)


def _literal(dtype: str, shape: list[int], data: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(data), np.dtype(dtype)).reshape(shape)
