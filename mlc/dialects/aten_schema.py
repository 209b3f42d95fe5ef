"""ATen schemas: what PyTorch says about each op's arguments and results, read from a data file.

    aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor

`schema("aten.add.Tensor")` parses that one line on demand; the file (`aten_schemas.txt`) is written by
`scripts/generate_aten_schemas.py` from the installed torch. Beside the torch dialect, not in it: a recording reads
schemas without xDSL.
"""

from __future__ import annotations

import ast
import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from mlc.errors import UnsupportedError


class NoDefault:
    """Type of `NO_DEFAULT`."""

    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT: Final = NoDefault()


@dataclass(frozen=True)
class SchemaType:
    """`kind` is a base name (`Tensor`, `int`, `Scalar`, …) or `List`, `Optional`, `Tuple`, `Dict`, `Future`…"""

    kind: str
    args: tuple[SchemaType, ...] = ()
    size: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "List":
                return f"{self.args[0]}[{'' if self.size is None else self.size}]"
            case "Optional":
                return f"{self.args[0]}?"
            case "Tuple":
                return f"({', '.join(map(str, self.args))})"
            case _:
                return f"{self.kind}({', '.join(map(str, self.args))})" if self.args else self.kind

    @property
    def element(self) -> SchemaType:
        """What a list or optional holds."""
        return self.args[0]


@dataclass(frozen=True)
class Argument:
    """An argument or a return. `alias` is the annotation in parentheses (`a!`: written, `a`: may be returned)."""

    name: str
    type: SchemaType
    default: object = NO_DEFAULT
    kwarg_only: bool = False
    alias: str | None = None

    @property
    def is_written(self) -> bool:
        """Whether the op mutates it."""
        return self.alias is not None and "!" in self.alias


@dataclass(frozen=True)
class Schema:
    """One overload. `name` is the op's name without dialect: `aten.add.Tensor`."""

    name: str
    arguments: tuple[Argument, ...]
    returns: tuple[Argument, ...]

    @property
    def is_functional(self) -> bool:
        """Neither mutates an argument nor returns something that may alias one."""
        return not any(a.alias for a in (*self.arguments, *self.returns))

    @property
    def mutates(self) -> bool:
        """Whether some argument is written."""
        return any(a.is_written for a in self.arguments)

    def index(self, argument: str) -> int:
        """Operand number of the argument called `argument`; KeyError when there is none."""
        for number, arg in enumerate(self.arguments):
            if arg.name == argument:
                return number
        raise KeyError(f"{self.name} has no argument '{argument}'; it has {[a.name for a in self.arguments]}")


@cache
def _lines() -> dict[str, str]:
    text = (files("mlc.dialects") / "aten_schemas.txt").read_text()
    lines = text.split("\n")
    return {line[: line.index("(")].replace("::", ".", 1): line for line in lines if line and line[0] != "#"}


def schema_names() -> tuple[str, ...]:
    """Names of all ops with a schema, sorted: `aten.add.Scalar`, `aten.add.Tensor`, …"""
    return tuple(sorted(_lines()))


def has_schema(name: str) -> bool:
    """Whether there is an op `torch.<name>` made from a schema."""
    return name in _lines()


@cache
def schema(name: str) -> Schema:
    """The schema of `aten.add.Tensor`; `torch.` may stand in front. Unknown names are refused with near ones."""
    line = _lines().get(name.removeprefix("torch."))
    if line is None:
        near = difflib.get_close_matches(name.removeprefix("torch."), schema_names(), n=3)
        raise UnsupportedError(
            f"no ATen op is called '{name}'",
            hint=f"did you mean {', '.join(near)}?" if near else None,
        )
    return parse_schema(line)


_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|->|[A-Za-z_][\w.:]*|-?(?:\d[\w.+-]*|inf|nan)|[^\s])')
_LIST_SIZE = re.compile(r"\d+$")


def parse_schema(line: str) -> Schema:
    """Parse PyTorch's schema notation."""
    return _SchemaParser(line).parse()


class _SchemaParser:
    """Recursive descent over the tokens of one schema."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._tokens = [*_TOKEN.findall(line), ""]
        self._at = 0

    @property
    def _now(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        if self._now == "":
            raise ValueError(f"schema {self._line!r}: expected more")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, token: str) -> bool:
        if self._now == token:
            self._at += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise ValueError(f"schema {self._line!r}: expected {token!r}, found {self._now!r}")

    def parse(self) -> Schema:
        name = self._next().replace("::", ".", 1)
        arguments = self._arguments()
        self._expect("->")
        if self._now == "(":
            start = self._at
            returns = self._returns()
            if self._now != "":  # a tuple type such as (str, t)[]
                self._at = start
                returns = (self._argument("result0"),)
        else:
            returns = (self._argument("result0"),)
        if self._now != "":
            raise ValueError(f"schema {self._line!r}: trailing {self._now!r}")
        return Schema(name, arguments, returns)

    def _arguments(self) -> tuple[Argument, ...]:
        self._expect("(")
        out: list[Argument] = []
        kwarg_only = False
        while not self._take(")"):
            if self._take("*"):
                kwarg_only = True
            else:
                out.append(self._argument(None, kwarg_only))
            self._take(",")
        return tuple(out)

    def _returns(self) -> tuple[Argument, ...]:
        self._expect("(")
        out: list[Argument] = []
        while not self._take(")"):
            out.append(self._argument(f"result{len(out)}"))
            self._take(",")
        return tuple(out)

    def _argument(self, name: str | None, kwarg_only: bool = False) -> Argument:
        """An argument (`name` None: it must be named) or a return, which is called `name` when it has none."""
        type, alias = self._type()
        if name is None or self._now not in (",", ")", ""):
            name = self._next()
        default: object = NO_DEFAULT
        if self._take("="):
            default = self._default()
        return Argument(name, type, default, kwarg_only, alias)

    def _type(self) -> tuple[SchemaType, str | None]:
        alias: str | None = None
        if self._take("("):
            type = SchemaType("Tuple", self._types_until_paren())
        else:
            base = self._next()
            if base in ("Dict", "Future", "Await", "RRef"):
                self._expect("(")
                type = SchemaType(base, self._types_until_paren())
            else:
                type = SchemaType(base)
        while True:
            if self._now == "(":
                alias = self._alias()
            elif self._take("["):
                size = int(self._next()) if _LIST_SIZE.match(self._now) else None
                self._expect("]")
                type = SchemaType("List", (type,), size)
            elif self._take("?"):
                type = SchemaType("Optional", (type,))
            else:
                return type, alias

    def _types_until_paren(self) -> tuple[SchemaType, ...]:
        out: list[SchemaType] = []
        while not self._take(")"):
            out.append(self._type()[0])
            self._take(",")
        return tuple(out)

    def _alias(self) -> str:
        self._expect("(")
        parts: list[str] = []
        while not self._take(")"):
            parts.append(self._next())
        return "".join(parts)

    def _default(self) -> object:
        if self._take("["):
            items: list[object] = []
            while not self._take("]"):
                items.append(self._default())
                self._take(",")
            return tuple(items)
        token = self._next()
        if token in ("inf", "-inf", "nan"):
            return float(token)
        return ast.literal_eval(token)
