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

Where much is to be checked, most of it is not looked at while words of memory say that nothing changed (`marks.py`):

    def holds():
        try:
            if take(owners).tobytes() != impls: return full()        # full: the function above
            now = take(places).tobytes()
            if now != seen: … return full(), and then `now` is expected
            …                                                        # what no mark tells of, as above
"""

from __future__ import annotations

import contextlib
import ctypes
from array import array
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import CellType
from typing import Any, NamedTuple
from weakref import ref

import numpy as np
import torch
from torch._C._dynamo.guards import TensorGuards

from mlc.frontends.torch.marks import Marks
from mlc.frontends.torch.owned import CODE
from mlc.frontends.torch.samples import Run, addresses_of, gathers, look

GONE = (AttributeError, IndexError, KeyError, RuntimeError, ValueError)
"""What is raised by a look at something that went away meanwhile."""
_AT_ONCE = 64
_LARGE = 1 << 14
"""Items of a bytearray or array of Python's that are looked at."""
_A_FEW = 4
"""Things up to which looking at each of them is faster than at all of them together, right after a model has taken the
caches."""
_MANY = 100
"""Words of memory from which on they are gathered instead of asking each object."""


class Guard(NamedTuple):
    """`holds`: whether all checks hold. `natively`, where words of memory are looked at: a function that says the same,
    given what looks at them (`mlc/backends/llvm/same_words.py`)."""

    holds: Callable[[], bool]
    natively: Callable[[Callable[[int], int]], Callable[[], bool]] | None = None


class _Check(NamedTuple):
    """The source of a check; `of`: the dict or tensor that it is about, where that is all it is about."""

    text: str
    of: object = None


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
        self._hard: list[_Check] = []
        self._soft: list[_Check] = []
        self._empty: list[Any] = []
        self._tables: dict[int, Any] = {}  # dicts whose every change matters
        self._tensors: list[torch.Tensor] = []
        self._objects: list[Any] = []
        self._names: dict[tuple[str, int], str] = {}
        self._samples: tuple[np.ndarray, bytes] | None = None  # memory of weights by its words, and what is there
        self._now: list[Callable[[], bool]] = []  # what marks stand for, asked once without compiling anything

    def weight(self, tensor: torch.Tensor) -> None:
        """Neither changed in place nor given other memory, as far as its version and address tell."""
        address, version = tensor.data_ptr, None if tensor.is_inference() else tensor._version
        at = address()
        if version is not None:
            self._must(f"{self._name('w', tensor)}._version == {version}", tensor)
        self._must(f"{self._put('p', address)}() == {at}", tensor)
        self._now.append(lambda: address() == at and (version is None or tensor._version == version))
        self._tensors.append(tensor)

    def layouts(self, tensors: Sequence[torch.Tensor]) -> None:
        """Shapes, strides and dtypes are those that `like` last saw."""
        if tensors:
            self.space["weights"], self.space["alike"] = tuple(tensors), like(tensors)
            self._should("alike(*weights)", self._tensors)

    def array(self, array: np.ndarray) -> None:
        """Of the same shape, strides and dtype."""
        name = self._name("a", array)
        for attribute in ("shape", "strides", "dtype"):
            self._must(f"{name}.{attribute} == {self._put('k', getattr(array, attribute))}")

    def memory(self, owners: Sequence[Any], runs: Sequence[Run], *, are_weights: bool = False) -> None:
        """Bytes are what they are now, looked at after the hard checks so far; the space keeps their owners alive.
        `are_weights`: it is safe to look once all tensors are known to have the memory that they have."""
        self._put("a", owners)
        if len(runs) <= _A_FEW:
            for at, length in runs:
                piece = (ctypes.c_char * length).from_address(at)
                self._must(f"{self._put('m', piece)}.raw == {self._put('k', piece.raw)}")
            return
        for take, places in gathers(runs):
            found = take(places).tobytes()
            expected = self._put("k", found)
            self._must(f"{self._put('take', take)}({self._put('k', places)}).tobytes() == {expected}", places)
            if take is look and are_weights:
                self._samples = places, found

    def slot(self, container: Any, key: Any, *, soft: bool) -> str:
        """An item of a dict or list is this very object; the result says where in `space` that object is."""
        held = container[key]
        expected = self._put("h", held)
        self._now.append(lambda: container[key] is held)
        shown = repr(key) if type(key) in (str, int) else self._put("k", key)
        (self._should if soft else self._must)(f"{self._name('c', container)}[{shown}] is {expected}", container)
        return expected

    def cell(self, cell: CellType) -> str:
        """A closure's variable holds this very object; the result is as for `slot`."""
        expected = self._put("h", cell.cell_contents)
        self._should(f"{self._name('c', cell)}.cell_contents is {expected}")
        return expected

    def attribute(self, owner: Any, name: str, held: Any) -> None:
        """An attribute is this very object."""
        self._must(f"{self._name('o', owner)}.{name} is {self._put('h', held)}")

    def member(self, cls: type, name: str, held: Any) -> None:
        """An attribute of a class, kept there or in a base as `held`, is still that."""
        if isinstance(held, classmethod):
            self._must(f"{self._name('o', cls)}.{name}.__func__ is {self._put('h', held.__func__)}")
        elif isinstance(held, CODE) or not hasattr(held, "__get__"):
            self.attribute(cls, name, getattr(cls, name))
        else:
            self.slot(next(vars(base) for base in cls.__mro__ if name in vars(base)), name, soft=False)

    def answer(self, function: Callable[[], Any]) -> None:
        """A function says what it says now."""
        self._must(f"{self._name('f', function)}() == {self._put('k', function())}")

    def variable(self, variable: ContextVar[Any]) -> None:
        """A context variable holds this very object."""
        self._must(f"{self._name('v', variable)}.get(None) is {self._put('h', variable.get(None))}")

    def alive(self, reference: ref[Any]) -> None:
        """A weak reference still refers to something, unless it does not now."""
        if reference() is not None:
            self._must(f"{self._name('r', reference)}() is not None")

    def buffer(self, buffer: bytearray | array[Any]) -> None:
        """The same bytes, of a large one the first."""
        self.size(buffer)
        first = f"{self._name('b', buffer)}[:{_LARGE}]"
        self._must(f"bytes({first}) == {self._put('k', bytes(buffer[:_LARGE]))}")

    def size(self, container: Any) -> None:
        """A container has as many items as now."""
        self._whole(container)
        size = len(container)
        self._now.append(lambda: len(container) == size)
        if size:
            self._must(f"len({self._name('c', container)}) == {size}", container)
        else:
            self._empty.append(container)

    def soft_size(self, container: Any) -> str:
        """The same; the result says where in `space` its size is."""
        size = len(container)
        count = self._put("n", size)
        self._now.append(lambda: len(container) == size)
        self._whole(container)
        self._should(f"len({self._name('c', container)}) == {count}", container)
        return count

    def order(self, container: dict[Any, Any]) -> None:
        """A dict has the same keys in the same order."""
        keys = [*container]
        self._now.append(lambda: [*container] == keys)
        self._whole(container)
        self._must(f"[*{self._name('c', container)}] == {self._put('k', keys)}", container)

    def classes(self, objects: Sequence[Any]) -> None:
        """Objects are of the classes that they are of."""
        if len(objects) <= _A_FEW:
            for thing in objects:
                self.attribute(thing, "__class__", type(thing))
        else:
            types = [type(o) for o in objects]
            self._now.append(lambda: [type(o) for o in objects] == types)
            self._must(f"[*map(type, {self._put('o', (*objects,))})] == {self._put('k', types)}", self._objects)
            self._objects += objects

    def items(self, container: set[Any]) -> None:
        """A set has the same items as now."""
        self._must(f"{self._name('c', container)} == {self._put('k', frozenset(container))}")

    def compiled(self, equal: Callable[[dict[str, Any]], bool]) -> Guard:
        """What says whether all of them hold; `equal` decides about the soft ones."""
        space = self.space
        space["equal"] = equal
        everything = self._tests(frozenset())
        marks = Marks()
        marked = self._mark(marks)
        if marks.count < _MANY:
            return Guard(_function("full", everything, space))
        space["owners"], space["impls"] = marks.owners, marks.impls
        space["look"], space["places"] = look, marks.places
        seen = look(marks.places).tobytes()
        # another thread may have changed something since it was read: then the whole guard is asked at the first call
        space["seen"] = seen if self._holds_now() else None
        space["full"] = lambda: _function("full", everything, space)()  # takes its own place: often nobody asks
        lines = [
            "global seen",
            "if look(owners).tobytes() != impls:",
            "    return full()",
            "now = look(places).tobytes()",
            "if now != seen:",
            "    if not full():",
            "        return False",
            "    seen = now",
            "    return True",
        ]
        return Guard(
            _function("holds", [*lines, *self._tests(marked)], space),
            lambda same: self._natively(same, marks, marked),
        )

    def _natively(self, same: Callable[[int], int], marks: Marks, marked: frozenset[int]) -> Callable[[], bool]:
        """The function that asks all words of memory at once."""
        space = self.space
        nothing = bytes(8 * marks.count)
        groups = [(marks.owners, marks.impls), (marks.places, space["seen"] or nothing)]
        if id(self._tensors) in marked and self._samples is not None:
            groups.append(self._samples)
            marked |= {id(self._samples[0])}
        table = _table(groups)
        seen = table[len(groups) + 1 + 2 * len(marks.owners) :][1 : 2 * marks.count : 2]
        space["table"], space["same"], space["words"] = table, same, seen
        lines = [
            f"which = same({table.ctypes.data})",
            "if which:",
            "    if which != 2:",
            "        return full()",
            "    now = look(places)",
            "    if not full():",
            "        return False",
            "    words[:] = now",
            "    return True",
        ]
        return _function("holds_natively", [*lines, *self._tests(marked)], space)

    def _holds_now(self) -> bool:
        """Whether what marks stand for is as it was when it was read."""
        with contextlib.suppress(*GONE):
            same = all(now() for now in self._now)
            return same and ("alike" not in self.space or self.space["alike"](*self.space["weights"]))
        return False

    def _mark(self, marks: Marks) -> frozenset[int]:
        """Mark what can be; the ids of that."""
        marked = {key for key, table in self._tables.items() if marks.dict(table)}
        weights = [id(t) for t in self._tensors if marks.tensor(t)]
        marked.update(weights)
        if len(weights) == len(self._tensors):
            marked.add(id(self._tensors))
        if self._objects and all([marks.type_of(o) for o in self._objects]):
            marked.add(id(self._objects))
        return frozenset(marked)

    def _tests(self, marked: frozenset[int]) -> list[str]:
        """Statements that leave the function where something does not hold, `marked` things aside."""
        hard = [c.text for c in self._hard if id(c.of) not in marked]
        soft = [c.text for c in self._soft if id(c.of) not in marked]
        empty = [c for c in self._empty if id(c) not in marked]
        if len(empty) <= 2 * _A_FEW:
            hard += [f"not {self._name('c', container)}" for container in empty]
        else:
            hard.append(f"not any({self._put('e', (*empty,))})")
        lines: list[str] = []
        for tests, left in ((hard, "return False"), (soft, "return equal(globals())")):
            for at in range(0, len(tests), _AT_ONCE):
                lines += [f"if not ({' and '.join(tests[at : at + _AT_ONCE])}):", f"    {left}"]
        return lines

    def _must(self, text: str, of: object = None) -> None:
        self._hard.append(_Check(text, of))

    def _should(self, text: str, of: object = None) -> None:
        self._soft.append(_Check(text, of))

    def _whole(self, container: object) -> None:
        """Every change of this container matters."""
        self._tables[id(container)] = container

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


def _table(groups: Sequence[tuple[np.ndarray, bytes]]) -> np.ndarray:
    """Places for `look` and the words expected there, as `same_words.py` wants them."""
    pairs = [np.stack([addresses_of(p).view(np.uint64), np.frombuffer(w, np.uint64)], 1).ravel() for p, w in groups]
    return np.concatenate([np.array([*(len(places) for places, _ in groups), -1], np.int64).view(np.uint64), *pairs])


def _function(name: str, lines: Sequence[str], space: dict[str, Any]) -> Callable[[], bool]:
    """A function of these statements, which also stands in `space`; what goes away while they run does not hold."""
    gone = ", ".join(error.__name__ for error in GONE)
    source = [f"def {name}():", *(f"    {line}" for line in lines if line.startswith("global "))]
    source += ["    try:", *(f"        {line}" for line in lines if not line.startswith("global "))]
    source += [f"    except ({gone}):", "        return False", "    return True"]
    exec(compile("\n".join(source), "<mlc guard>", "exec"), space)
    return space[name]
