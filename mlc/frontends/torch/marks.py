"""Words of memory that change when an object does. All are gathered at once: asking objects one by one waits for memory
each time, since between two calls a model's arithmetic has taken the caches.

    a dict    its version, which CPython (3.11) counts up at every change
    a tensor  what it consists of (memory, sizes, strides, dtype; not how often it is referred to), the address of its
              memory, the version of its values
    a class   of an object: where the object says what it is

Where CPython and PyTorch keep these is found by trying, once; what is not as expected there is not marked.

    marks = Marks(); marks.dict({...}); marks.tensor(w)
    look(marks.places).tobytes()   -->   as before while nothing changed
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Any

import numpy as np
import torch

from mlc.frontends.torch.samples import places_of

_WORD = 8
_HEADER = 2
"""Words of a TensorImpl that count references."""
_IMPL = 22
"""Words of a TensorImpl up to its last one."""


class Marks:
    """Collects what is looked at. Keep the objects alive as long as you look."""

    def __init__(self) -> None:
        self._places: list[int] = []  # addresses of words
        self._owners: list[int] = []
        self._impls: list[int] = []

    def dict(self, table: object) -> bool:
        """Look at a dict; False where its version is not known to tell of every change."""
        at = _dict_version()
        if at is None or not (type(table) is dict or (type(table) is OrderedDict and len(table) < 2)):
            return False
        self._places.append(id(table) + at)
        return True

    def type_of(self, thing: object) -> bool:
        """Look at which class an object is of."""
        if _read(id(thing), _HEADER)[1] != id(type(thing)):
            return False
        self._places.append(id(thing) + _WORD)
        return True

    def tensor(self, tensor: torch.Tensor) -> bool:
        """Look at a tensor whose memory and version counter somebody keeps alive; False where that is not possible."""
        layout = _tensor_layout()
        if layout is None or not layout.describes(tensor):
            return False
        impl = tensor._cdata
        self._owners.append(id(tensor) + layout.impl)
        self._impls.append(impl)
        words = _read(impl, _IMPL)
        self._places += [impl + i * _WORD for i in range(_HEADER, _IMPL)]
        self._places += [words[layout.storage] + layout.address, words[layout.counter] + layout.version]
        return True

    @property
    def count(self) -> int:
        """How many words are looked at."""
        return len(self._places)

    @property
    def owners(self) -> np.ndarray:
        """Where tensors say what they consist of: only while that is `impls` may the rest be looked up."""
        return places_of(self._owners)

    @property
    def impls(self) -> bytes:
        return np.array(self._impls, np.uint64).tobytes()

    @property
    def places(self) -> np.ndarray:
        """Where everything that is looked at lies, for `look`."""
        return places_of(self._places)


@dataclass(frozen=True)
class _Layout:
    """Where things are: the TensorImpl in a tensor's object (bytes), its storage and its version counter (words), the
    address in a storage and the version in a counter (bytes)."""

    impl: int
    storage: int
    counter: int
    address: int
    version: int

    def describes(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is laid out so."""
        if tensor.layout is not torch.strided or tensor.ndim > 5 or tensor.is_inference() or not tensor.is_cpu:
            return False  # sizes of more dimensions lie elsewhere
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not tensor.data_ptr():
            return False
        storage = tensor.untyped_storage()
        if _read(id(tensor) + self.impl, 1)[0] != tensor._cdata:
            return False
        words = _read(tensor._cdata, _IMPL)
        if words[self.storage] != storage._cdata or not words[self.counter]:
            return False
        address = _read(storage._cdata + self.address, 1)[0]
        version = _read(words[self.counter] + self.version, 1)[0]
        return address == storage.data_ptr() and version & 0xFFFFFFFF == tensor._version


def _read(address: int, count: int) -> Sequence[int]:
    return (ctypes.c_uint64 * count).from_address(address)[:]


@cache
def _tensor_layout() -> _Layout | None:
    """Where this PyTorch keeps things, or None where it is not as expected."""
    # Bits that a TensorImpl does not use hold what lay there before, and may be alike or differ by chance: sizes of
    # five dimensions leave few of them, and what is asked of one tensor is asked of several.
    with torch.inference_mode(False), torch.no_grad():
        tensors = [torch.zeros(1, 1, 1, 3, 4) for _ in range(8)]
        aliases = [tensor.detach() for tensor in tensors]  # of the same memory and the same version counter
        impls = [_read(tensor._cdata, _IMPL) for tensor in tensors]
        alike = [_read(alias._cdata, _IMPL) for alias in aliases]
        shared = [
            i
            for i in range(_IMPL)
            if all(a[i] == b[i] for a, b in zip(impls, alike, strict=True))
            and len({words[i] for words in impls}) == len(impls)
        ]
        one, words = tensors[0], impls[0]
        owners = [i for i, w in enumerate(_read(id(one), type(one).__basicsize__ // _WORD)) if w == one._cdata]
        storage = one.untyped_storage()
        storages = [i for i in shared if words[i] == storage._cdata]
        if len(shared) != 2 or len(storages) != 1 or len(owners) != 1 or min(shared) < _HEADER:
            return None
        (counter,) = set(shared) - set(storages)
        addresses = [i for i, w in enumerate(_read(storage._cdata, 4)) if w == storage.data_ptr()]
        versions = set(range(3))
        for _ in range(3):
            one.add_(1)
            now = _read(words[counter], 3)
            versions = {i for i in versions if now[i] & 0xFFFFFFFF == one._version}
        if len(versions) != 1 or not addresses:
            return None
        plain = torch.zeros(1, 1, 1, 4, 4)
        base = _read(plain._cdata, _IMPL)
        again = [_read(alias._cdata, _IMPL) for alias in [plain.detach() for _ in range(8)]]
        chance = [reduce(or_, (words[i] ^ base[i] for words in again)) for i in range(_IMPL)]
        changed = (
            plain.view(1, 1, 1, 2, 8),
            plain.mT[:],
            plain.view(torch.int32),
            plain[..., 1:],
            plain.as_strided((1, 1, 1, 4, 4), (1, 1, 1, 1, 4)),
        )
        for tensor in changed:
            now = _read(tensor._cdata, _IMPL)
            if not any((now[i] ^ base[i]) & ~chance[i] for i in range(_HEADER, _IMPL)):
                return None
        (version,) = versions
        return _Layout(owners[0] * _WORD, storages[0], counter, addresses[0] * _WORD, version * _WORD)


@cache
def _dict_version() -> int | None:
    """Bytes from a dict to its version, or None where no word changes with every way of changing a dict."""

    class Empty:
        a: object

    thing = Empty()
    table: dict[Any, Any] = vars(thing)
    found: set[int] | None = None
    plain: dict[Any, Any] = {"a": 1, "b": 2}
    ordered: OrderedDict[Any, Any] = OrderedDict(a=1)

    def store(value: object) -> None:
        for _ in range(100):  # often enough for the interpreter to take its short way
            thing.a = value

    changes = (
        (plain, lambda: plain.__setitem__("a", 3)),
        (plain, lambda: plain.update(a=4)),
        (plain, lambda: plain.__setitem__("c", 5)),
        (plain, lambda: plain.pop("c")),
        (plain, lambda: plain.__delitem__("b")),
        (plain, lambda: plain.setdefault("d", 6)),
        (plain, plain.clear),
        (ordered, lambda: ordered.__setitem__("a", 2)),
        (ordered, lambda: ordered.pop("a")),
        (table, lambda: store(1)),
        (table, lambda: store(2)),
        (table, lambda: delattr(thing, "a")),
    )
    for changed, change in changes:
        before = _read(id(changed), dict.__basicsize__ // _WORD)
        change()
        after = _read(id(changed), dict.__basicsize__ // _WORD)
        told = {i for i in range(_HEADER, len(before)) if before[i] != after[i]}
        found = told if found is None else found & told
    return min(found) * _WORD if found and len(found) == 1 else None
