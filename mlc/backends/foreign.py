"""The backend of another package behind checks: whatever it raises or gives that is not what the protocol says ends
as a `PluginError` that names backend, package and method.

    backend.machine("narrow") gives None   -->   PluginError: backend 'narrow' (package narrow-package 1.0): machine()
                                                 gave None of type NoneType; expected: a MachineModel

Errors of mlc's own (a pass that refuses the model while kernels are lowered for `compile_many`) stay what they are.
Tests: `tests/repo/test_bad_backends.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from mlc.backends.machine import MachineModel
from mlc.errors import MlcError, PluginError
from mlc.ir.pipeline_table import Pipeline
from mlc.runtime.threads import ThreadPool

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from mlc.backends.registry import Backend

T = TypeVar("T")
_LEAST = {"vector_registers": 1, "fma_latency": 0, "l1": 1, "l2": 1, "l3": 1}
"""Whole numbers of a machine model that passes count with, and the least that they can be."""
_RATES = ("fma_per_cycle", "loads_per_cycle", "narrow_per_cycle")
HINT = "report it to the package that brings the backend; --debug, or the error's cause, shows the traceback"


def target_names(given: Any) -> list[str]:
    """What `targets()` gave, if it is a sequence of names."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f'targets() gave {given!r}, expected a sequence of names: ("name",)')
    names: list[Any] = list(given)
    wrong = [n for n in names if not isinstance(n, str) or not n]
    if wrong or not names:
        raise TypeError(f"targets() gave {names!r}, expected at least one name, each a string that is not empty")
    return names


class ForeignBackend:
    """`backend` with every method checked; `package` says whose it is."""

    def __init__(self, backend: Backend, package: str) -> None:
        self.backend = backend
        self.name = str(backend.name)
        self.package = package

    def targets(self) -> Sequence[str]:
        return self._asked("targets", lambda: target_names(self.backend.targets()))

    def machine(self, target: str) -> MachineModel:
        model = self._answered("machine", MachineModel, lambda: self.backend.machine(target))
        for name, least in _LEAST.items():
            value: Any = getattr(model, name)
            if type(value) is not int or value < least:
                self._refuse(name, value, f"a whole number, {least} or more")
        bits: Any = model.vector_bits
        if type(bits) is not int or bits < 0 or bits & (bits - 1):
            self._refuse("vector_bits", bits, "a power of two, or 0")
        for name in _RATES:
            rate: Any = getattr(model, name)
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
                self._refuse(name, rate, "a number above 0")
        features: Any = model.features
        if not isinstance(features, tuple) or not all(isinstance(f, str) for f in features):
            self._refuse("features", features, 'a tuple of names: ("avx2",)')
        return model

    def _refuse(self, name: str, value: object, expected: str) -> NoReturn:
        raise self._error(f"machine() gave a model with {name}={_shown(value)}", f"{name}: {expected}")

    def pipeline(self, target: str) -> Pipeline:
        return self._answered("pipeline", Pipeline, lambda: self.backend.pipeline(target))

    def fingerprint(self, machine: MachineModel) -> str:
        return self._typed("fingerprint", str, lambda: self.backend.fingerprint(machine))

    def compile_many(self, modules: Iterable[ModuleOp], machine: MachineModel) -> list[bytes]:
        count = 0

        def counted() -> Iterator[ModuleOp]:
            nonlocal count
            for module in modules:
                count += 1
                yield module

        given = counted()
        objects: Any = self._asked("compile_many", lambda: self.backend.compile_many(given, machine))
        for _ in given:  # what the backend did not ask for counts too
            pass
        if not isinstance(objects, list) or not all(isinstance(o, bytes) for o in objects):
            raise self._wrong("compile_many", objects, "a list with the object code of each module, as bytes")
        if len(objects) != count:
            message = f"compile_many() gave {len(objects)} objects for {count} modules"
            raise self._error(message, "the object code of each module, in their order")
        return objects

    def assembly(self, module: ModuleOp, machine: MachineModel) -> str:
        return self._typed("assembly", str, lambda: self.backend.assembly(module, machine))

    def llvm_ir(self, module: ModuleOp, machine: MachineModel) -> str:
        return self._typed("llvm_ir", str, lambda: self.backend.llvm_ir(module, machine))

    def load(self, objects: Sequence[bytes]) -> ForeignLibrary:
        library = self._asked("load", lambda: self.backend.load(objects))
        if not all(callable(getattr(library, name, None)) for name in ("address", "find")):
            raise self._wrong("load", library, "a library with address(symbol) and find(symbol)")
        return ForeignLibrary(self, library)

    def thread_pool(self) -> ThreadPool | None:
        pool = self._asked("thread_pool", self.backend.thread_pool)
        if pool is not None and not isinstance(pool, ThreadPool):
            raise self._wrong("thread_pool", pool, "an mlc.runtime.threads.ThreadPool, or None")
        return pool

    def _answered(self, method: str, kind: type[T], ask: Callable[[], Any]) -> T:
        """As `_typed`; what mlc refuses while the backend answers (a pass put beside one that is not there) is the
        backend's too: it works on nothing of the user's."""
        try:
            return self._typed(method, kind, ask)
        except PluginError:
            raise
        except MlcError as e:
            raise self._error(f"{_call(method)} failed: {e.message}", e.expected) from e

    def _typed(self, method: str, kind: type[T], ask: Callable[[], Any]) -> T:
        given = self._asked(method, ask)
        if not isinstance(given, kind):
            raise self._wrong(method, given, f"a {kind.__name__}")
        return given

    def _asked(self, method: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except MlcError:
            raise
        except (Exception, SystemExit) as e:
            raise self._error(f"{_call(method)} failed: {type(e).__name__}: {e}".rstrip(": ")) from e

    def _wrong(self, method: str, given: object, expected: str) -> PluginError:
        return self._error(f"{_call(method)} gave {_shown(given)} of type {type(given).__name__}", expected)

    def _error(self, message: str, expected: str | None = None) -> PluginError:
        return PluginError(f"backend '{self.name}' (package {self.package}): {message}", expected=expected, hint=HINT)


class ForeignLibrary:
    """Code that another package's backend loaded; an address that is none never reaches the call."""

    def __init__(self, owner: ForeignBackend, library: Any) -> None:
        self._owner = owner
        self._library = library

    def address(self, symbol: str) -> int:
        return self._number(f"address({symbol!r}) of the loaded library", lambda: self._library.address(symbol))

    def find(self, symbol: str) -> int | None:
        what = f"find({symbol!r}) of the loaded library"
        found = self._owner._asked(what, lambda: self._library.find(symbol))
        return None if found is None else self._number(what, lambda: found)

    def _number(self, what: str, ask: Callable[[], Any]) -> int:
        given = self._owner._asked(what, ask)
        if isinstance(given, bool) or not isinstance(given, int) or given <= 0:
            raise self._owner._wrong(what, given, "an address: an int above 0")
        return given


def _call(method: str) -> str:
    return method if "(" in method else f"{method}()"


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."
