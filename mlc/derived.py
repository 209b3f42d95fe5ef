"""Derived constants, computed by a thread beside the passes that come after those that say what they are.

    … linalg-hoist-constants ──▶ fusion, kernels, buffers ──▶ code of the kernels ──▶ link
                 └──▶ @const.w.packed, @const.w.winograd, … in memory of large pages ──┘

Computing them is mostly copying, and numpy lets other threads run meanwhile: while a model is lowered the other cores
have little to do. Constants that are not there when they are asked for, or whose functions have changed since, are
computed then, by who asks, who also is told what is wrong with them.
Tests: tests/api/test_derived.py
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from itertools import takewhile

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from mlc.interp import constants_of
from mlc.ir.resources import ResourceStore
from mlc.ir.structural_key import Numbering, sequence_key
from mlc.runtime.large_pages import on_large_pages
from mlc.runtime.threads import available_cores

SETTLED_BY = "linalg-hoist-constants"
"""The last pass that makes many of them."""
NICE = 10
"""Of the thread: where there are not cores enough, kernels are compiled first."""


class DerivedConstants:
    """The constants of the functions that a module has when this is told to start.

    with DerivedConstants(resources) as derived:    # an exception stops it
        derived.start(module)
        …
    derived.take(functions)
    """

    def __init__(self, resources: ResourceStore) -> None:
        self._resources = resources
        self._keys: dict[str, Hashable] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._stopped = False
        self._evaluate: Callable[[str], np.ndarray]
        self._thread = threading.Thread(target=self._compute, daemon=True, name="mlc-constants")

    def __enter__(self) -> DerivedConstants:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._stop()

    def start(self, module: ModuleOp) -> None:
        """Compute what `module` has functions for, where another core can."""
        if available_cores() > 1 and (functions := _functions(module)):
            self._keys = {name: _key(function) for name, function in functions.items()}
            self._evaluate = constants_of(module, self._resources)
            with contextlib.suppress(RuntimeError):  # no more threads, or Python is about to end
                self._thread.start()

    def take(self, functions: ModuleOp) -> Mapping[str, np.ndarray]:
        """Those that there are by now, by name, of functions that are still the same.

        It waits for the one that is being computed, not for the rest: on a machine that is busy otherwise, that would
        take a thread of low priority long.
        """
        self._stop()
        now = _functions(functions) if self._arrays else {}
        return {n: a for n, a in self._arrays.items() if n in now and _key(now[n]) == self._keys[n]}

    def _stop(self) -> None:
        self._stopped = True
        if self._thread.is_alive():
            self._thread.join()

    def _compute(self) -> None:
        if sys.platform == "linux":  # there it is a thread's own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        names = list(self._keys)
        with contextlib.suppress(Exception):  # whoever asks for them is told
            arrays = on_large_pages(self._evaluate(n) for n in takewhile(lambda _: not self._stopped, names))
            self._arrays = dict(zip(names, arrays, strict=False))


def _functions(module: ModuleOp) -> dict[str, FuncOp]:
    """The functions of derived constants, by name. They stay as they are, wherever they are moved."""
    found = (op for op in module.ops if isinstance(op, FuncOp) and "constant" in op.attributes)
    return {function.sym_name.data: function for function in found}


def _key(function: FuncOp) -> Hashable:
    """The same for functions that compute the same."""
    return sequence_key(list(function.body.block.ops), Numbering())
