"""Running the llvm level: buffers become addresses in a flat byte memory, as the C entry point gets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr

from mlc.dialects.llvm.semantics_memory import memory_of
from mlc.errors import ExecutionError
from mlc.interp.derived import DerivedResources
from mlc.interp.domains import make_domain
from mlc.interp.engine import MAX_ITERATIONS, Interpreter
from mlc.interp.run import evaluate_constant
from mlc.ir.resources import ResourceStore

ENTRY, ENTRY_ARENA_SIZE = "mlc_forward", "mlc_arena_size"
NO_TEAM = np.int64(0)


def run_kernel(
    module: ModuleOp,
    name: str,
    args: Sequence[Any],
    *,
    resources: ResourceStore | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[list[Any], list[np.ndarray]]:
    """Call an `llvm.func`: arrays are passed by address (of a copy), scalars as they are.

    Returns its results, and the arrays as the call left them.
    """
    interpreter = Interpreter(module, resources=resources, domain=make_domain("ieee"), max_iterations=max_iterations)
    held: list[np.ndarray] = []
    values: list[Any] = []
    for a in args:
        if isinstance(a, np.ndarray) and a.ndim:
            values.append(_place(interpreter, a, held))
        else:
            values.append(a)
    return list(interpreter.run_function(name, with_team(interpreter, name, values))), held


def with_team(interpreter: Interpreter, name: str, values: list[Any]) -> list[Any]:
    """A kernel's arguments, with nobody to help it."""
    entry = interpreter.symbol(name)
    takes = len(entry.regions[0].blocks[0].args) if entry is not None and entry.regions[0].blocks else len(values)
    return [*values, NO_TEAM] if takes == len(values) + 1 else values


def _place(interpreter: Interpreter, a: np.ndarray, held: list[np.ndarray]) -> np.int64:
    copy = np.array(a, order="C")
    held.append(copy)
    return np.int64(memory_of(interpreter).allocate(copy.nbytes, data=copy))


def run_forward(
    module: ModuleOp,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    *,
    dims: Sequence[int] = (),
    resources: ResourceStore | None = None,
) -> list[np.ndarray]:
    """Call `mlc_forward`: `outputs` give shapes and dtypes, `dims` the dynamic sizes of the inputs."""
    resources = DerivedResources(module, resources, lambda name, store: evaluate_constant(module, name, store))
    interpreter = Interpreter(module, resources=resources, domain=make_domain("ieee"))
    memory = memory_of(interpreter)
    held: list[np.ndarray] = []
    arrays = np.array([_place(interpreter, a, held) for a in (*inputs, *outputs)], dtype=np.int64)
    entry = interpreter.symbol(ENTRY)
    names = entry.attributes.get("mlc.consts") if entry is not None else None
    consts = [n.data for n in names.data if isinstance(n, StringAttr)] if isinstance(names, ArrayAttr) else []
    weights = np.array([_constant(memory, resources, n) for n in consts], dtype=np.int64)
    sizes = np.array(dims, dtype=np.int64)
    tables = [np.int64(memory.allocate(t.nbytes, data=t)) for t in (arrays, sizes, weights)]
    (arena_bytes,) = interpreter.run_function(ENTRY_ARENA_SIZE, [tables[1]])
    arena = np.int64(memory.allocate(int(arena_bytes)))
    (status,) = interpreter.run_function(ENTRY, [*tables, arena, NO_TEAM])
    if int(status):
        raise ExecutionError(f"@{ENTRY} returned status {int(status)}: an assertion of the program failed")
    return held[len(inputs) :]


def _constant(memory: Any, resources: ResourceStore | None, name: str) -> np.int64:
    if resources is None:
        raise ExecutionError(f"weight '{name}' is needed but there is no weight store")
    return np.int64(memory.allocate(resources.get(name).nbytes, data=resources.get(name), constant=True))
