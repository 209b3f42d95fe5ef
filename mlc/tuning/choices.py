"""What tuning settled, as data: options of passes, for the whole module and for single kernels.

Choices(module={"linalg-winograd-conv2d": {"layers": "1x64x64x56x56=0"}},
        kernels={"<key>": {"vectorize-structured": {"vector_bits": 256}}})
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlc.ir.pipeline_table import Row

PassOptions = Mapping[str, Mapping[str, Any]]
"""Options by pass name."""


@dataclass(frozen=True)
class Choices:
    """`module`: options of passes that see the whole module. `kernels`: options of passes on one kernel, by its key."""

    module: PassOptions = field(default_factory=dict)
    kernels: Mapping[str, PassOptions] = field(default_factory=dict)

    def module_rows(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """`rows` with the options for the module."""
        return _with_options(rows, self.module)

    def kernel_rows(self, rows: tuple[Row, ...], key: str) -> tuple[Row, ...]:
        """`rows` with the options for the kernel `key`."""
        return _with_options(rows, self.kernels.get(key, {}))

    def object_key(self, key: str) -> str:
        """Under which the object code of the kernel `key` is cached."""
        options = self.kernels.get(key)
        if not options:
            return key
        return hashlib.blake2b(f"{key} {_text(options)}".encode(), digest_size=16).hexdigest()

    def to_json(self) -> Any:
        """Plain data, for a file."""
        return {"module": self.module, "kernels": self.kernels}

    @classmethod
    def from_json(cls, data: Any) -> Choices:
        """From what `to_json` made."""
        return cls(data["module"], data["kernels"])


DIRECT = Choices(
    module={
        "linalg-winograd-conv2d": {"tile": 0},
        "linalg-winograd-pointwise": {"gain": 0},
        "linalg-winograd-matmul": {"columns": 0},
        "linalg-split-matmul": {"gain": 0},
        "linalg-demote-convolution-inputs": {"winograd": False},
    }
)
"""What `winograd=False` settles."""


def _with_options(rows: tuple[Row, ...], options: PassOptions) -> tuple[Row, ...]:
    if not options:
        return rows
    return tuple(
        replace(r, options={**r.options, **options[r.pass_name]}) if r.pass_name in options else r for r in rows
    )


def _text(options: PassOptions) -> str:
    return json.dumps(options, sort_keys=True)
