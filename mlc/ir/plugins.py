"""Entry points of other packages: in a fixed order, loaded one by one, so that one that fails spoils nothing else.

    broken = "broken_package:BACKEND"   -->   PluginError: entry point 'broken = broken_package:BACKEND' of group
                                              mlc.backends (package broken-package 1.0): ImportError: …

What comes with mlc and xDSL is first and cannot be replaced. Whoever asks for a thing of a plug-in that did not load
gets the error; `mlc-opt --debug` shows the traceback of its cause. Tests: `tests/repo/test_plugins.py`.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any

from mlc.errors import MlcError, PluginError, UsageError

OWN = ("xdsl", "mlc")
"""Top-level modules whose entry points are built in, in order."""
UNREADABLE = "(unreadable)"
"""Name in place of the entry points of a package that lists them wrongly."""


def is_own(entry: EntryPoint) -> bool:
    """Whether it is mlc's or xDSL's."""
    return owner(entry) in OWN


def found(group: str, name: str | None = None) -> list[EntryPoint]:
    """Entry points of a group (of one name): built-in ones first, then by name and package. A package whose list of
    them cannot be read stands there with one that `load` refuses."""
    try:
        entries = list(entry_points(group=group))
    except Exception:  # of any package, in no order: each is read on its own to keep the others
        entries = [e for d in distributions() for e in _of_package(d, group)]
    return sorted(
        {e for e in entries if name is None or e.name in (name, UNREADABLE)},
        key=lambda e: (_rank(e), e.name, package_of(e), e.value),
    )


def package_of(entry: EntryPoint) -> str:
    """Name and version of the package that brought it."""
    dist = entry.dist
    return f"{dist.name} {dist.version}" if dist is not None else owner(entry)


def described(entry: EntryPoint) -> str:
    """The entry point as a message names it."""
    return f"entry point '{entry.name} = {entry.value}' of group {entry.group} (package {package_of(entry)})"


def load(entry: EntryPoint) -> Any:
    """The object it names. Whatever goes wrong is a `PluginError` whose cause is the original exception."""
    if entry.name == UNREADABLE:
        raise failure(entry, UsageError("its entry_points.txt cannot be read, expected lines: name = module:object"))
    if re.fullmatch(r"[\w.]+\s*(:\s*[\w.]+\s*)?(\[.*\])?", entry.value) is None:
        raise failure(entry, UsageError(f"'{entry.value}' names no object, expected module:object"))
    try:
        return entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # an import can end the program, or raise a kind of its own
        raise failure(entry, e) from e


def _of_package(package: Distribution, group: str) -> list[EntryPoint]:
    try:
        return [e for e in package.entry_points if e.group == group]
    except Exception:
        unreadable = EntryPoint(UNREADABLE, package.name, group)
        vars(unreadable)["dist"] = package
        return [unreadable]


def failure(entry: EntryPoint, cause: BaseException, what: str = "") -> PluginError:
    """The error that names package, entry point and cause."""
    if isinstance(cause, PluginError):
        return cause
    if isinstance(cause, SystemExit):
        cause = RuntimeError("it ended the program")
    text = cause.message if isinstance(cause, MlcError) else f"{type(cause).__name__}: {cause}".rstrip(": ")
    return PluginError(
        f"{what + ' of ' if what else ''}{described(entry)}: {text}",
        hint="mend or uninstall the package; --debug shows the traceback",
    )


def again(error: PluginError) -> PluginError:
    """A fresh copy to raise: one exception object raised several times would collect tracebacks."""
    copy = PluginError(error.message, error.where, error.expected, error.hint)
    copy.__cause__ = error.__cause__
    return copy


def owner(entry: EntryPoint) -> str:
    """The top-level module it names."""
    return entry.value.partition(":")[0].partition(".")[0].strip()


def _rank(entry: EntryPoint) -> int:
    name = owner(entry)
    return OWN.index(name) if name in OWN else len(OWN)
