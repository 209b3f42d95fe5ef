"""The names that code mentions: which attributes and globals can decide what it does.

def forward(self, x): return x * self.scale * getattr(self, "gain", 1.0)      -->   {"scale", "gain", "getattr"}
def forward(self, x): return x * getattr(self, f"scale{self.n}")              -->   computes names: any attribute
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterable, Iterator
from itertools import takewhile
from types import CodeType, FunctionType

import torch

_LIBRARIES = ("torch", "numpy", "torchvision", "mlc", "builtins", "functools")
_SETUP = {"__init__", "extra_repr", "reset_parameters", "__repr__", "__setstate__", "__getstate__"}
_ASKS = {"getattr", "hasattr"}
_READS_ANY = {"vars", "__dict__", "__getattr__", "__getattribute__", "attrgetter", "getattr_static"}


def code_names(functions: Iterable[FunctionType]) -> set[str]:
    """Names of globals and attributes that the code of these functions, and of functions in them, mentions."""
    names: set[str] = set()
    for code in _codes(f.__code__ for f in functions):
        names.update(code.co_names)
        if not _ASKS.isdisjoint(code.co_names):
            names.update(c for c in code.co_consts if isinstance(c, str) and c.isidentifier())
    return names


def asked_names(function: FunctionType) -> set[str]:
    """Names of attributes that its code asks for and that need not be there."""
    codes = [code for code in _codes([function.__code__]) if not _ASKS.isdisjoint(code.co_names)]
    return {c for code in codes for c in code.co_consts if isinstance(c, str) and c.isidentifier()}


def computes_names(function: FunctionType) -> bool:
    """Whether attributes are read whose names are not written in its code: getattr(self, name), vars(self)."""
    for code in _codes([function.__code__]):
        if not _READS_ANY.isdisjoint(code.co_names):
            return True
        if not _ASKS.isdisjoint(code.co_names) and _computed(list(dis.get_instructions(code))):
            return True
    return False


@functools.lru_cache(maxsize=4096)
def class_names(cls: type) -> frozenset[str]:
    """Names that the methods of a class mention, those of set-up aside."""
    bases = [base for base in cls.__mro__ if base is not torch.nn.Module]
    return frozenset(code_names(f for base in bases for f in methods(base)))


def methods(cls: type) -> Iterator[FunctionType]:
    """The functions that a class defines, those of set-up aside."""
    for name, value in vars(cls).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(function, FunctionType) and name not in _SETUP:
            yield function


def is_library(module: str | None) -> bool:
    """Whether a Python module is nobody's own: its globals and classes are taken to stay as they are."""
    top = (module or "").partition(".")[0]
    if top in _LIBRARIES or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def is_users_object(value: object) -> bool:
    """Whether an object is of a class that is neither Python's nor that of a library known here."""
    top = type(value).__module__.partition(".")[0]
    return top not in _LIBRARIES and (top not in sys.stdlib_module_names or top == "__main__")


def _codes(codes: Iterable[CodeType]) -> Iterator[CodeType]:
    """The code objects and those in them."""
    rest = [*codes]
    while rest:
        code = rest.pop()
        yield code
        rest += [c for c in code.co_consts if isinstance(c, CodeType)]


def _computed(instructions: list[dis.Instruction]) -> bool:
    """Whether some getattr or hasattr is called with another name than a constant."""
    for at, asked in enumerate(instructions):
        if asked.argval not in _ASKS or not asked.opname.startswith("LOAD"):
            continue
        given = [*takewhile(lambda i: not i.opname.startswith("CALL"), instructions[at + 1 :])]
        names = [n for n, i in enumerate(given) if i.opname == "LOAD_CONST" and isinstance(i.argval, str)]
        if not names or not _is_default([i for i in given[names[0] + 1 :] if i.opname != "PRECALL"]):
            return True
    return False


def _is_default(instructions: list[dis.Instruction]) -> bool:
    """Whether these load one constant, variable or attribute of one, or nothing."""
    first = all(i.opname.startswith("LOAD") and "NULL" not in i.argrepr for i in instructions[:1])
    return first and all(i.opname == "LOAD_ATTR" and "NULL" not in i.argrepr for i in instructions[1:])
