"""Nested containers of arguments and results, without torch: taken apart and built again by a stored description.

    {"x": (a, b)}   with   Tree("dict", keys=("x",), children=(Tree("tuple", children=(LEAF, LEAF)),))   <->   [a, b]

Named tuples come back as named tuples of the same name and fields. Objects of classes (dataclasses, the outputs of
transformers) come back as `Record`: their classes are never looked up.
Tests: tests/runtime/artifact/test_trees.py
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlc.runtime.artifact import values

_FACTORIES: dict[str, Callable[[], Any] | None] = {
    "None": None, "list": list, "dict": dict, "set": set, "int": int, "float": float, "str": str, "tuple": tuple,
}  # fmt: skip
_DEPTH = 100


@dataclass(frozen=True)
class Tree:
    """`kind`: "leaf", "tuple", "list", "dict", "OrderedDict", "defaultdict", "deque", "namedtuple" or "object".

    `keys`: of a dict, or the names of fields. `name`: of the class, of what makes a defaultdict's values, or a deque's
    length. `absent`: fields of an object that are none of its children, with their values.
    """

    kind: str
    keys: tuple[Any, ...] = ()
    name: str = ""
    children: tuple[Tree, ...] = ()
    absent: tuple[tuple[str, Any], ...] = ()

    def to_json(self) -> Any:
        """Plain JSON data; TypeError for keys that cannot be kept."""
        if self.kind == "leaf":
            return None
        keys = [values.to_json(k) for k in self.keys]
        absent = [[n, values.to_json(v)] for n, v in self.absent]
        return [self.kind, keys, self.name, [c.to_json() for c in self.children], absent]

    @classmethod
    def from_json(cls, data: Any, depth: int = 0) -> Tree:
        """From what `to_json` made; ValueError or TypeError for anything else."""
        if data is None:
            return LEAF
        kind, keys, name, children, absent = data
        if depth > _DEPTH or type(name) is not str or kind not in _KINDS:
            raise ValueError("no container")
        found = cls(
            kind,
            tuple(values.from_json(k) for k in keys),
            name,
            tuple(cls.from_json(c, depth + 1) for c in children),
            tuple((n, values.from_json(v)) for n, v in absent),
        )
        named = kind not in ("tuple", "list", "deque")
        if len(found.keys) != (len(found.children) if named else 0):
            raise ValueError("keys and values of a container")
        fields = [*found.keys, *(n for n, _ in found.absent)]
        if kind in ("namedtuple", "object"):
            if not all(type(f) is str and f.isidentifier() for f in fields) or len(set(fields)) != len(fields):
                raise ValueError("fields of an object")
        elif found.absent:
            raise ValueError("fields of a container")
        if kind == "defaultdict" and name not in _FACTORIES:
            raise ValueError("what makes values")
        if kind == "namedtuple":
            _named_tuple(name, tuple(fields))
        if kind == "deque" and name:
            int(name)
        return found

    @property
    def leaves(self) -> int:
        """How many leaves it has."""
        return 1 if self.kind == "leaf" else sum(c.leaves for c in self.children)

    def describe(self) -> str:
        """`(*, {mask: *})`."""
        inner = [c.describe() for c in self.children]
        named = [f"{k}={c}" for k, c in zip(self.keys, inner, strict=True)] if self.keys else inner
        match self.kind:
            case "leaf":
                return "*"
            case "tuple":
                return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
            case "list":
                return f"[{', '.join(inner)}]"
            case "dict":
                return f"{{{', '.join(f'{k}: {c}' for k, c in zip(self.keys, inner, strict=True))}}}"
            case "namedtuple" | "object":
                return f"{self.name}({', '.join(named)})"
            case _:
                return f"{self.kind}({', '.join(named)})"


LEAF: Final = Tree("leaf")
_KINDS = ("tuple", "list", "dict", "OrderedDict", "defaultdict", "deque", "namedtuple", "object")
_PLAIN: dict[str, type] = {
    "tuple": tuple, "list": list, "dict": dict, "OrderedDict": OrderedDict, "defaultdict": defaultdict, "deque": deque,
}  # fmt: skip


class Record:
    """An object of a class that this process need not have: its fields by attribute, by key and by number.

    Its keys are the fields that have a value, in order, as those of transformers' outputs are.
    """

    def __init__(self, name: str, fields: dict[str, Any], absent: dict[str, Any]) -> None:
        self._name, self._fields, self._absent = name, fields, absent

    def __getattr__(self, name: str) -> Any:
        for held in () if name.startswith("_") else (self._fields, self._absent):
            if name in held:
                return held[name]
        raise AttributeError(f"{self._name if not name.startswith('_') else 'Record'} has no field '{name}'")

    def __getitem__(self, key: Any) -> Any:
        return self._fields[key] if isinstance(key, str) else tuple(self._fields.values())[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{k}={v!r}' for k, v in self._fields.items())})"

    def keys(self) -> Any:
        """Names of the fields."""
        return self._fields.keys()

    def values(self) -> Any:
        """Values of the fields."""
        return self._fields.values()

    def items(self) -> Any:
        """Names and values of the fields."""
        return self._fields.items()

    def to_tuple(self) -> tuple[Any, ...]:
        """Values of the fields."""
        return tuple(self._fields.values())


def flatten(tree: Tree, value: Any, leaves: list[Any]) -> bool:
    """Append the leaves of `value` to `leaves`; whether it has the structure of `tree`."""
    kind = tree.kind
    if kind == "leaf":
        leaves.append(value)
        return not _is_container(value)
    if kind == "namedtuple":
        fields = getattr(type(value), "_fields", None) or getattr(type(value), "__match_args__", None)
        inner = value if isinstance(value, tuple) and fields == tree.keys else None
    elif kind == "object":
        same = isinstance(value, Record) or values.class_name(value).rpartition(".")[2] == tree.name
        try:
            inner = [getattr(value, k) for k in tree.keys] if same else None
        except AttributeError:
            inner = None
    elif type(value) is not _PLAIN[kind]:
        inner = None
    elif kind in ("tuple", "list", "deque"):
        inner = value
    else:
        inner = [value[k] for k in tree.keys] if value.keys() == set(tree.keys) else None
    if inner is None or len(inner) != len(tree.children):
        return False
    return all(flatten(c, v, leaves) for c, v in zip(tree.children, inner, strict=True))


def _is_container(value: Any) -> bool:
    return type(value) in (tuple, list, dict, OrderedDict, defaultdict, deque) or isinstance(value, Record)


def unflatten(tree: Tree, leaves: Iterator[Any]) -> Any:
    """The container whose leaves, in order, are the next of `leaves`."""
    if tree.kind == "leaf":
        return next(leaves)
    inner = [unflatten(c, leaves) for c in tree.children]
    return build(tree, inner)


def build(tree: Tree, inner: Sequence[Any]) -> Any:
    """The container of these values."""
    match tree.kind:
        case "tuple":
            return tuple(inner)
        case "list":
            return list(inner)
        case "deque":
            return deque(inner, int(tree.name) if tree.name else None)
        case "namedtuple":
            return _named_tuple(tree.name, tree.keys)(*inner)
        case "object":
            return Record(tree.name, dict(zip(tree.keys, inner, strict=True)), dict(tree.absent))
        case "defaultdict":
            return defaultdict(_FACTORIES[tree.name], zip(tree.keys, inner, strict=True))
        case "OrderedDict":
            return OrderedDict(zip(tree.keys, inner, strict=True))
        case _:
            return dict(zip(tree.keys, inner, strict=True))


@functools.lru_cache(maxsize=256)
def _named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields)  # pyright: ignore[reportUntypedNamedTuple]
