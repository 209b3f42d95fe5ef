"""The checks of a state guard, written out as Python source: it runs at every call of a compiled model.

    slot (model.lin._parameters, "weight"), attribute model.scale = 2.0   -->

    def holds():
        try:
            if not (w0._version == 1 and p0() == 94110 and s0.value == 7 and c0["weight"] is h0): return False
            if not (c1["scale"] is h1): return equal(globals())
        except (AttributeError, IndexError, KeyError, RuntimeError, ValueError): return False
        return True

`equal` looks whether what is another object has the same value: it may then replace the expected one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CellType
from typing import Any

import torch

_AT_ONCE = 64


class Checks:
    """Collects checks. Those that are `soft` may fail for values that are equal after all."""

    def __init__(self) -> None:
        self.space: dict[str, Any] = {"len": len, "globals": globals}
        self._hard: list[str] = []
        self._soft: list[str] = []
        self._names: dict[tuple[str, int], str] = {}

    def weight(self, tensor: torch.Tensor, samples: Sequence[Any]) -> None:
        """Neither changed in place nor given other memory, as far as its version, address and samples tell."""
        if not tensor.is_inference():
            self._hard.append(f"{self._name('w', tensor)}._version == {tensor._version}")
        address = tensor.data_ptr
        self._hard.append(f"{self._put('p', address)}() == {address()}")
        self._hard += [f"{self._put('s', sample)}.value == {sample.value}" for sample in samples]

    def memory(self, owner: Any, samples: Sequence[Any]) -> None:
        """Elements have the same bits; the space keeps their owner alive."""
        self._name("a", owner)
        self._hard += [f"{self._put('s', sample)}.value == {sample.value}" for sample in samples]

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

    def size(self, container: Any, *, soft: bool = False) -> str:
        """A container has as many items as now."""
        name = self._name("c", container)
        count = self._put("n", len(container))
        (self._soft if soft else self._hard).append(f"len({name}) == {count}" if container else f"not {name}")
        return count

    def items(self, container: set[Any]) -> None:
        """A set has the same items as now."""
        self._hard.append(f"{self._name('c', container)} == {self._put('k', frozenset(container))}")

    def compiled(self, equal: Callable[[dict[str, Any]], bool]) -> Callable[[], bool]:
        """The function that says whether all of them hold; `equal` decides about the soft ones."""
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
