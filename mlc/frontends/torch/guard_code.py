"""The checks of a state guard, written out as Python source: it runs at every call of a compiled model.

    slot (model.lin._parameters, "weight"), attribute model.scale = 2.0   -->

    def holds():
        try:
            if not (w0._version == 1 and p0() == 94110 and c0["weight"] is h0): return False
            if not (take0(k0).tobytes() == k1 and [*map(type, o0)] == k2 and not any(e0)): return False
            if not (alike(*weights) and c1["scale"] is h1): return equal(globals())
        except (AttributeError, IndexError, KeyError, RuntimeError, ValueError): return False
        return True

`equal` looks whether what is another object has the same value: it may then replace the expected one.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import CellType
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch._C._dynamo.guards import TensorGuards

from mlc.frontends.torch.owned import CODE
from mlc.frontends.torch.samples import Run, gathers

_AT_ONCE = 64
_LARGE = 1 << 14
"""Items of a bytearray or array of Python's that are looked at."""
_A_FEW = 12
"""Things up to which looking at each of them is faster than at all of them together."""


def like(tensors: Sequence[torch.Tensor]) -> Callable[..., bool]:
    """Whether tensors have the shapes, strides and dtypes of these: one call, in C++.

    It says no, too, where a gradient is or is not required any more, and in another inference or autocast mode.
    """
    return TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check


class Checks:
    """Collects checks. Those that are `soft` may fail for values that are equal after all."""

    def __init__(self) -> None:
        self.space: dict[str, Any] = {
            "any": any,
            "bytes": bytes,
            "globals": globals,
            "len": len,
            "map": map,
            "type": type,
        }
        self._hard: list[str] = []
        self._soft: list[str] = []
        self._empty: list[Any] = []
        self._names: dict[tuple[str, int], str] = {}

    def weight(self, tensor: torch.Tensor) -> None:
        """Neither changed in place nor given other memory, as far as its version and address tell."""
        if not tensor.is_inference():
            self._hard.append(f"{self._name('w', tensor)}._version == {tensor._version}")
        address = tensor.data_ptr
        self._hard.append(f"{self._put('p', address)}() == {address()}")

    def layouts(self, tensors: Sequence[torch.Tensor]) -> None:
        """Shapes, strides and dtypes are those that `like` last saw."""
        if tensors:
            self.space["weights"], self.space["alike"] = tuple(tensors), like(tensors)
            self._soft.append("alike(*weights)")

    def array(self, array: np.ndarray) -> None:
        """Of the same shape, strides and dtype."""
        name = self._name("a", array)
        for attribute in ("shape", "strides", "dtype"):
            self._hard.append(f"{name}.{attribute} == {self._put('k', getattr(array, attribute))}")

    def memory(self, owners: Sequence[Any], runs: Sequence[Run]) -> None:
        """Bytes are what they are now, looked at after the hard checks so far; the space keeps their owners alive."""
        self._put("a", owners)
        if len(runs) <= _A_FEW:
            for at, length in runs:
                piece = (ctypes.c_char * length).from_address(at)
                self._hard.append(f"{self._put('m', piece)}.raw == {self._put('k', piece.raw)}")
            return
        for take, places in gathers(runs):
            expected = self._put("k", take(places).tobytes())
            self._hard.append(f"{self._put('take', take)}({self._put('k', places)}).tobytes() == {expected}")

    def slot(self, container: Any, key: Any, *, soft: bool) -> str:
        """An item of a dict or list is this very object; the result says where in `space` that object is."""
        expected = self._put("h", container[key])
        shown = repr(key) if type(key) in (str, int) else self._put("k", key)
        (self._soft if soft else self._hard).append(f"{self._name('c', container)}[{shown}] is {expected}")
        return expected

    def cell(self, cell: CellType) -> str:
        """A closure's variable holds this very object; the result is as for `slot`."""
        expected = self._put("h", cell.cell_contents)
        self._soft.append(f"{self._name('c', cell)}.cell_contents is {expected}")
        return expected

    def attribute(self, owner: Any, name: str, held: Any) -> None:
        """An attribute is this very object."""
        self._hard.append(f"{self._name('o', owner)}.{name} is {self._put('h', held)}")

    def member(self, cls: type, name: str, held: Any) -> None:
        """An attribute of a class, kept there or in a base as `held`, is still that."""
        if isinstance(held, classmethod):
            self._hard.append(f"{self._name('o', cls)}.{name}.__func__ is {self._put('h', held.__func__)}")
        elif isinstance(held, CODE) or not hasattr(held, "__get__"):
            self.attribute(cls, name, getattr(cls, name))
        else:
            self.slot(next(vars(base) for base in cls.__mro__ if name in vars(base)), name, soft=False)

    def answer(self, function: Callable[[], Any]) -> None:
        """A function says what it says now."""
        self._hard.append(f"{self._name('f', function)}() == {self._put('k', function())}")

    def variable(self, variable: ContextVar[Any]) -> None:
        """A context variable holds this very object."""
        self._hard.append(f"{self._name('v', variable)}.get(None) is {self._put('h', variable.get(None))}")

    def alive(self, reference: ref[Any]) -> None:
        """A weak reference still refers to something, unless it does not now."""
        if reference() is not None:
            self._hard.append(f"{self._name('r', reference)}() is not None")

    def buffer(self, buffer: bytearray | array[Any]) -> None:
        """The same bytes, of a large one the first."""
        self.size(buffer)
        first = f"{self._name('b', buffer)}[:{_LARGE}]"
        self._hard.append(f"bytes({first}) == {self._put('k', bytes(buffer[:_LARGE]))}")

    def size(self, container: Any) -> None:
        """A container has as many items as now."""
        if container:
            self._hard.append(f"len({self._name('c', container)}) == {len(container)}")
        else:
            self._empty.append(container)

    def soft_size(self, container: Any) -> str:
        """The same; the result says where in `space` its size is."""
        count = self._put("n", len(container))
        self._soft.append(f"len({self._name('c', container)}) == {count}")
        return count

    def order(self, container: dict[Any, Any]) -> None:
        """A dict has the same keys in the same order."""
        self._hard.append(f"[*{self._name('c', container)}] == {self._put('k', [*container])}")

    def classes(self, objects: Sequence[Any]) -> None:
        """Objects are of the classes that they are of."""
        if len(objects) <= _A_FEW:
            for thing in objects:
                self.attribute(thing, "__class__", type(thing))
        else:
            types = self._put("k", [type(o) for o in objects])
            self._hard.append(f"[*map(type, {self._put('o', (*objects,))})] == {types}")

    def items(self, container: set[Any]) -> None:
        """A set has the same items as now."""
        self._hard.append(f"{self._name('c', container)} == {self._put('k', frozenset(container))}")

    def compiled(self, equal: Callable[[dict[str, Any]], bool]) -> Callable[[], bool]:
        """The function that says whether all of them hold; `equal` decides about the soft ones."""
        if len(self._empty) <= 2 * _A_FEW:
            self._hard += [f"not {self._name('c', container)}" for container in self._empty]
        else:
            self._hard.append(f"not any({self._put('e', (*self._empty,))})")
        lines = ["def holds():", "    try:"]
        for at in range(0, len(self._hard), _AT_ONCE):
            lines += [f"        if not ({' and '.join(self._hard[at : at + _AT_ONCE])}):", "            return False"]
        for at in range(0, len(self._soft), _AT_ONCE):
            lines.append(f"        if not ({' and '.join(self._soft[at : at + _AT_ONCE])}):")
            lines.append("            return equal(globals())")
        gone = "AttributeError, IndexError, KeyError, RuntimeError, ValueError"
        lines += [f"    except ({gone}):", "        return False"]
        lines += ["    return True"]
        self.space["equal"] = equal
        exec(compile("\n".join(lines), "<mlc guard>", "exec"), self.space)
        return self.space.pop("holds")

    def _name(self, kind: str, value: Any) -> str:
        """The name of an object, one for each."""
        key = kind, id(value)
        if key not in self._names:
            self._names[key] = self._put(kind, value)
        return self._names[key]

    def _put(self, kind: str, value: Any) -> str:
        name = f"{kind}{len(self.space)}"
        self.space[name] = value
        return name
