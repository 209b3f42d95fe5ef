"""One captured module to a bundle under given choices.

builder = Builder(module, ctx, options, backend, pipeline, fingerprint, cache)
built = builder.build(Choices(), phases)         # or builder.tuned(inputs, phases)
executable = link(built.bundle, ctx.resources, backend, phases, functions=built.functions)     # mlc/linking.py
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from mlc.arrays.recipes import Recipes
from mlc.backends.registry import Backend
from mlc.compile_parts import MAIN, compile_parts, run_rows, workers_for
from mlc.derived import SETTLED_BY, DerivedConstants
from mlc.interp.recipes import recipes_of
from mlc.ir.compact import to_compact
from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location
from mlc.ir.pipeline_table import Pipeline
from mlc.ir.resource_text import resource_attributes
from mlc.linking import link
from mlc.module_parts import KernelPart, split_module
from mlc.options import Options
from mlc.phases import Phases
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import DiskCache
from mlc.runtime.executable import Executable, TensorSpec
from mlc.signature import assertion_messages, signature_of
from mlc.tuning.choices import DIRECT, Choices
from mlc.workers.pool import Workers

InputsFor = Callable[[Sequence[TensorSpec]], list[np.ndarray]]
"""Makes inputs for these signatures."""


class _Memory:
    """Object code while one model is tuned, where no disk cache is wanted."""

    def __init__(self) -> None:
        self._found: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self._found.get(key)

    def put(self, key: str, payload: bytes) -> None:
        self._found[key] = payload


@dataclass
class Built:
    """A bundle, the functions of its derived constants, what computes them already, and its parts as they were at the
    buffers level."""

    bundle: Bundle
    functions: ModuleOp
    main: ModuleOp
    kernels: list[KernelPart]
    derived: DerivedConstants | None


@dataclass
class Builder:
    """Builds one captured module, under any choices."""

    source: ModuleOp
    ctx: MlcContext
    options: Options
    backend: Backend
    pipeline: Pipeline
    fingerprint: str
    cache: DiskCache | _Memory | None

    def __post_init__(self) -> None:
        self.weights = set(self.ctx.resources)

    @property
    def default(self) -> Choices:
        """What is settled before anything is measured."""
        if self.options.winograd:
            return Choices()
        passes = {row.pass_name for row in self.pipeline.module}  # a saved model's choices name no others
        return Choices(module={name: given for name, given in DIRECT.module.items() if name in passes})

    def build(self, choices: Choices, phases: Phases, *, keep_parts: bool = False) -> Built:
        """Every pass of the table; object code from the cache or made now. `keep_parts`: also as they were before."""
        source = None if keep_parts else self.source  # who builds many times over does not wait for processes
        with (
            workers_for(source, self.backend, self.pipeline, self.ctx, self.options) as workers,
            DerivedConstants(self.ctx.resources) as derived,
        ):
            return self._build(choices, phases, workers, None if keep_parts else derived, keep_parts=keep_parts)

    def _build(
        self, choices: Choices, phases: Phases, workers: Workers, derived: DerivedConstants | None, *, keep_parts: bool
    ) -> Built:
        options, ctx = self.options, self.ctx
        with phases.phase("lower to buffers"):
            module = self.source.clone()
            rows = choices.module_rows(self.pipeline.module)
            settled = next((n for n, row in enumerate(rows, 1) if row.pass_name == SETTLED_BY), len(rows))
            run_rows(rows[:settled], ctx, module, options)
            if derived is not None:
                derived.start(module)
            run_rows(rows[settled:], ctx, module, options)
        with phases.phase("split"):
            signature = signature_of(module)
            parts = split_module(module, self.fingerprint)
            messages = assertion_messages(parts)
            main = parts.main.clone() if keep_parts else parts.main
            kernels = [KernelPart(k.key, k.module.clone()) for k in parts.kernels] if keep_parts else []
        bounds = options.debug == "bounds"
        to_loops, to_llvm = self.pipeline.kernel_rows(bounds=bounds)
        cache = None if bounds else self.cache  # checks have locations: no two kernels are alike
        objects: dict[str, bytes] = {}
        for kernel in parts.kernels:
            found = cache.get(choices.object_key(kernel.key)) if cache else None
            if found is not None:
                objects[kernel.key] = found
        missing = [k for k in parts.kernels if k.key not in objects]
        rows = to_llvm if bounds else (*to_loops, *to_llvm)
        with phases.phase(f"lower and compile {len(missing)} of {len(parts.kernels)} kernels"):
            if bounds:  # their messages are numbered over all parts
                for key, part in ((MAIN, parts.main), *((k.key, k.module) for k in missing)):
                    run_rows(choices.kernel_rows(to_loops, key), ctx, part, options)
                messages = assertion_messages(parts)
            rows_for = partial(choices.kernel_rows, rows)
            compiled = compile_parts(parts.main, missing, rows_for, ctx, self.backend, options, workers)
        objects |= compiled
        if cache:
            for kernel in missing:
                cache.put(choices.object_key(kernel.key), compiled[kernel.key])
        names = {op.sym_name.data for op in parts.constant_functions.ops if isinstance(op, FuncOp)}
        recipes = recipes_of(parts.constant_functions)
        bundle = Bundle(
            objects=[compiled[MAIN], *(objects[k.key] for k in parts.kernels)],
            inputs=signature.inputs,
            outputs=signature.outputs,
            constants=parts.constants,
            derived=sorted(names),
            recipes=recipes,
            constant_functions=_without(recipes, parts.constant_functions),
            literals={n: ctx.resources.get(n) for n in parts.constants if n not in self.weights and n not in names},
            weights=self._weights_of_source(),
            assertions=messages,
            places=places_of(self.source) if messages else "",
            choices=choices.to_json(),
        )
        return Built(bundle, parts.constant_functions, main, kernels, derived)

    def _weights_of_source(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Dtype and shape of every weight that the module names."""
        names = self.weights & {attr.resource_handle.data for _, attr in resource_attributes(self.source)}
        arrays = {n: self.ctx.resources.get(n) for n in sorted(names)}
        return {n: (a.dtype.str, a.shape) for n, a in arrays.items()}

    def tuned(self, inputs: InputsFor, phases: Phases) -> tuple[Bundle, Executable]:
        """The build that measuring found fastest on these inputs."""
        from mlc.tuning import alternatives  # noqa: PLC0415 - only when it is asked for
        from mlc.tuning.search import Search, Trial  # noqa: PLC0415 - only when it is asked for

        self.cache = self.cache or _Memory()

        def trial(choices: Choices) -> Trial:
            built = self.build(choices, Phases(), keep_parts=True)
            executable = link(built.bundle, self.ctx.resources, self.backend, Phases(), functions=built.functions)
            executable.num_threads = self.options.num_threads
            return Trial(choices, built.bundle, executable, built.main, built.kernels)

        with phases.phase("tune"):
            search = Search(trial, inputs)
            tiles = alternatives.WINOGRAD_TILES if self.options.winograd else ()
            machine = self.ctx.machine
            layouts = alternatives.layouts(machine, winograd=self.options.winograd)
            best = search.run(layouts, alternatives.kernels(machine), tiles, self.default)
        if self.options.verbose:
            print("\n".join(f"  tuned: {line}" for line in search.log), file=sys.stderr)
        return best.bundle, best.executable


def places_of(module: ModuleOp) -> str:
    """A hash of the source lines of a module's ops."""
    lines = "\n".join(format_location(op.location) for op in module.walk())
    return hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()


def _without(recipes: Recipes, functions: ModuleOp) -> str:
    """The functions that have no recipe, as they are stored."""
    rest = [op for op in functions.ops if isinstance(op, FuncOp) and op.sym_name.data not in recipes.results]
    return to_compact(ModuleOp([op.clone() for op in rest])) if rest else ""
