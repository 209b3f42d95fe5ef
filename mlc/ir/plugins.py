"""Entry points of other packages: in a fixed order, loaded one by one, so that one that fails spoils nothing else.

    broken = "broken_package:BACKEND"   -->   PluginError: entry point 'broken = broken_package:BACKEND' of group
                                              mlc.backends (package broken-package 1.0): ImportError: …

What comes with mlc and xDSL is first and cannot be replaced. Whoever asks for a thing of a plug-in that did not load
gets the error; `mlc-opt --debug` shows the traceback of its cause. Tests: `tests/repo/test_plugins.py`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mlc.errors import MlcError, PluginError

OWN = ("xdsl", "mlc")
"""Top-level modules whose entry points are built in, in order."""


def is_own(entry: EntryPoint) -> bool:
    """Whether it is mlc's or xDSL's."""
    return _owner(entry) in OWN


def found(group: str, name: str | None = None) -> list[EntryPoint]:
    """Entry points of a group (of one name): built-in ones first, then by name and package."""
    entries = entry_points(group=group) if name is None else entry_points(group=group, name=name)
    return sorted(set(entries), key=lambda e: (_rank(e), e.name, package_of(e), e.value))


def package_of(entry: EntryPoint) -> str:
    """Name and version of the package that brought it."""
    dist = entry.dist
    return f"{dist.name} {dist.version}" if dist is not None else _owner(entry)


def described(entry: EntryPoint) -> str:
    """The entry point as a message names it."""
    return f"entry point '{entry.name} = {entry.value}' of group {entry.group} (package {package_of(entry)})"


def load(entry: EntryPoint) -> Any:
    """The object it names. Whatever goes wrong is a `PluginError` whose cause is the original exception."""
    try:
        return entry.load()
    except Exception as e:
        raise failure(entry, e) from e
    except SystemExit as e:
        raise failure(entry, RuntimeError("its import ended the program")) from e


def failure(entry: EntryPoint, cause: Exception, what: str = "") -> PluginError:
    """The error that names package, entry point and cause."""
    if isinstance(cause, PluginError):
        return cause
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


def _owner(entry: EntryPoint) -> str:
    return entry.value.partition(":")[0].partition(".")[0].strip()


def _rank(entry: EntryPoint) -> int:
    owner = _owner(entry)
    return OWN.index(owner) if owner in OWN else len(OWN)
