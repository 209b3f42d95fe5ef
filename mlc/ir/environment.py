"""Dialects and passes of this environment, from every `xdsl.universe` entry point that loads.

xDSL's own loader ends at the first plug-in that fails, and at a name that two of them give. Here the built-in names
hold, a plug-in that fails is left out, and asking for what it defines is answered with why:

    plug-in defines pass 'cse'   -->   left out: "pass 'cse' is defined by xdsl 0.74.0 already"

Two plug-ins that give one name: neither has it. Tests: `tests/repo/test_plugins.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe

from mlc.errors import PluginError, UsageError
from mlc.ir import plugins

Factory = Callable[[], Any]


@dataclass
class Environment:
    """`broken`: plug-ins that are left out. `refused`: built-in names (with their kind) that a plug-in gives too."""

    universe: Universe = field(default_factory=Universe)
    broken: list[PluginError] = field(default_factory=list)
    refused: dict[tuple[str, str], PluginError] = field(default_factory=dict)
    _owners: dict[tuple[str, str], EntryPoint] = field(default_factory=dict)

    @property
    def hint(self) -> str | None:
        """What to say when a name is unknown although a plug-in that is left out may define it."""
        return "\n        ".join(f"left out: {e.message}" for e in self.broken) or None

    def add(self, entry: EntryPoint) -> None:
        """Take in one plug-in, or remember why not."""
        try:
            given = plugins.load(entry)
            if not isinstance(given, Universe):
                raise plugins.failure(
                    entry, TypeError(f"it is a {type(given).__name__}, not an xdsl.universe.Universe")
                )
        except PluginError as e:
            self.broken.append(e)
            return
        tables = {"dialect": (given.all_dialects, Dialect), "pass": (given.all_passes, ModulePass)}
        names = [(kind, name) for kind, (table, _) in tables.items() for name in table]
        taken = [key for key in names if key in self._owners]
        clash: PluginError | None = None
        if taken:
            texts = [f"{k} '{n}' is defined by {plugins.package_of(self._owners[k, n])} already" for k, n in taken]
            clash = plugins.failure(entry, UsageError("; ".join(texts)))
            self.broken.append(clash)
        for kind, (table, base) in tables.items():
            ours: dict[str, Factory] = self.universe.all_dialects if kind == "dialect" else self.universe.all_passes
            for name, factory in table.items():
                owner = self._owners.setdefault((kind, name), entry)
                if clash is None:
                    ours[name] = factory if plugins.is_own(entry) else _checked(entry, kind, name, factory, base)
                elif plugins.is_own(owner):
                    self.refused[kind, name] = clash
                else:
                    ours[name] = _refusing(clash)


def read_environment() -> Environment:
    """All plug-ins, built-in ones first."""
    environment = Environment()
    for entry in plugins.found("xdsl.universe"):
        environment.add(entry)
    return environment


def _checked(entry: EntryPoint, kind: str, name: str, factory: Factory, base: type) -> Factory:
    """`factory` of a plug-in; what it raises is a `PluginError`."""

    def made() -> Any:
        try:
            thing = factory()
            if not (isinstance(thing, base) or (isinstance(thing, type) and issubclass(thing, base))):
                raise TypeError(f"it gives {thing!r}")
        except (Exception, SystemExit) as e:
            raise plugins.failure(entry, e, f"{kind} '{name}'") from e
        return thing

    return made


def _refusing(error: PluginError) -> Factory:
    def refuse() -> Any:
        raise plugins.again(error)

    return refuse
