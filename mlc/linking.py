"""A bundle to an executable: constants, object code, worker threads.

executable = link(bundle, ctx.resources, backend, phases)

What the bundle has recipes for is computed without the IR: a start from the cache imports no xDSL for it.
Tests: tests/api/test_linking.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlc.backends.llvm.same_words import same_words
from mlc.ir.resources import ResourceStore
from mlc.phases import Phases
from mlc.runtime.bundle import Bundle
from mlc.runtime.executable import Executable, NativeCode
from mlc.runtime.large_pages import on_large_pages

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from mlc.backends.registry import Backend
    from mlc.derived import DerivedConstants


def link(
    bundle: Bundle,
    resources: ResourceStore,
    backend: Backend,
    phases: Phases,
    *,
    functions: ModuleOp | None = None,
    made: Callable[[], None] = lambda: None,
    derived: DerivedConstants | None = None,
) -> Executable:
    """Constants and object code to an executable. `resources`: the weights. `functions`: those of derived constants, at
    hand. `made` is called after each derived constant is there; `derived`: what has begun to compute them.

    ArtifactError where the weights are others than those the bundle was made for, by dtype or shape.
    """
    with phases.phase("constants"):
        bundle.check_weights(lambda n: resources.get(n) if n in resources else None)
        ready = derived.take(functions) if derived is not None and functions is not None else {}
        arrays = on_large_pages(_constants(bundle, functions, resources, made, ready))
    with phases.phase("link"):
        library = backend.load(bundle.objects)
        dims = library.find("mlc_output_dims")
        code = NativeCode(library.address("mlc_forward"), library.address("mlc_arena_size"), dims, library)
        pool = backend.thread_pool()
        words = same_words()  # here, where the cache is at hand: later LLVM would be loaded for it
    return Executable(code, bundle.inputs, bundle.outputs, arrays, bundle.assertions, pool, same_words=words)


def _constants(
    bundle: Bundle,
    functions: ModuleOp | None,
    resources: ResourceStore,
    made: Callable[[], None],
    ready: Mapping[str, np.ndarray],
) -> Iterator[np.ndarray]:
    """The constants of a bundle, one by one, in any memory layout."""
    derived = set(bundle.derived)
    compute = bundle.recipes.computer(resources.get)
    interpret: Callable[[str], np.ndarray] | None = None
    for name in bundle.constants:
        if name in bundle.literals:
            yield bundle.literals[name]
        elif name in ready:
            yield ready[name]
        elif name not in derived:
            yield resources.get(name)
        elif name in bundle.recipes.results:
            yield compute(name)
            made()
        else:
            if interpret is None:
                interpret = _interpreter(bundle, functions, resources)
            yield interpret(name)
            made()


def _interpreter(bundle: Bundle, functions: ModuleOp | None, resources: ResourceStore) -> Callable[[str], np.ndarray]:
    """What computes constants that have no recipe."""
    from mlc.interp import constants_of  # noqa: PLC0415 - imports xDSL
    from mlc.ir.compact import from_compact  # noqa: PLC0415
    from mlc.ir.context import make_context  # noqa: PLC0415

    return constants_of(functions or from_compact(bundle.constant_functions, make_context()), resources)
