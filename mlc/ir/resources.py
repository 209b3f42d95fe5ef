"""Weight store: tensors live here as numpy arrays under a name; the IR only carries `dense_resource<name>`.

Weights never pass through text or Python lists. An entry is an array (possibly memory-mapped) or a thunk that makes
one on first use (a packed weight, say), so nothing is computed twice and nothing is computed for a cached model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

import numpy as np

from mlc.errors import VerifyError

Thunk = Callable[[], np.ndarray]


def identifier(name: str) -> str:
    """What a resource of this name is called in the text, where handles are identifiers: `_0.weight` for `0.weight`."""
    name = re.sub(r"[^A-Za-z0-9_.$]", "_", name)
    return name if name[:1].isalpha() or name.startswith("_") else f"_{name}"


class ResourceStore:
    """Named tensors. Arrays are handed out read-only: the IR treats them as constants."""

    def __init__(self) -> None:
        self._entries: dict[str, np.ndarray | Thunk] = {}
        self.alignments: dict[str, int] = {}
        """Of the tensors that came with the text of a module, and go back into it: the alignment it gave them."""

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def unique(self, hint: str) -> str:
        """A name not yet taken, made from `hint`; deterministic in the order of calls."""
        hint = identifier(hint)
        if hint not in self._entries:
            return hint
        n = 0
        while f"{hint}_{n}" in self._entries:
            n += 1
        return f"{hint}_{n}"

    def add(self, hint: str, value: np.ndarray | Thunk) -> str:
        """Store `value` under `hint` or a variant of it; returns the name used."""
        name = self.unique(hint)
        self.set(name, value)
        return name

    def set(self, name: str, value: np.ndarray | Thunk) -> None:
        """Store or replace. Arrays become read-only C-contiguous views; no copy is made of a contiguous one."""
        if isinstance(value, np.ndarray):
            view = np.ascontiguousarray(value).reshape(value.shape).view()
            view.flags.writeable = False
            value = view
        self._entries[name] = value

    def get(self, name: str) -> np.ndarray:
        """The array; computes and keeps it when it is still a thunk."""
        try:
            entry = self._entries[name]
        except KeyError:
            raise VerifyError(
                f"resource '{name}' is not in the weight store",
                hint="pass the file that holds it: --resources weights.safetensors",
            ) from None
        if not isinstance(entry, np.ndarray):
            self.set(name, entry())
            entry = self._entries[name]
            assert isinstance(entry, np.ndarray)
        return entry

    def is_loaded(self, name: str) -> bool:
        """Whether the array exists already (no thunk left to run)."""
        return isinstance(self._entries.get(name), np.ndarray)

    def drop(self, name: str) -> None:
        """Forget an entry that the IR no longer names."""
        self._entries.pop(name, None)

    def digest(self, name: str) -> str:
        """Content hash (blake2b-128 hex) of dtype, shape and bytes."""
        a = self.get(name)
        h = hashlib.blake2b(f"{a.dtype.str}{a.shape}".encode(), digest_size=16)
        h.update(a.reshape(-1).view(np.uint8).data if a.size else b"")
        return h.hexdigest()
