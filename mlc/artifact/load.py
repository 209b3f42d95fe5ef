"""`mlc.load(path)`: a saved model, compiled for this machine (or found in the cache), its weights on the mapped file.

    loaded = mlc.load("m.mlc", num_threads=2)
    y = loaded(x)

Torch is not imported, and nothing in the file is run: IR is parsed and verified, and only where the cache lacks the
model; weights that are used as they are stay on the file, those that are packed are read once and given back.
Tests: tests/artifact/test_load.py
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import threading
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.utils.exceptions import ParseError as XdslParseError

from mlc.artifact import tuned
from mlc.artifact.save import checked_path
from mlc.backends.registry import Backend, load_backend
from mlc.build import Builder, Phases, link, run_rows
from mlc.driver import Compiled, model_key, open_cache
from mlc.errors import LimitError, ParseError, UsageError, VerifyError
from mlc.fingerprint import fingerprint_of
from mlc.ir.collector import collector_paused
from mlc.ir.context import MlcContext, make_context
from mlc.ir.contract import Level
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import Limits, LocatingParser, check_text, parse_text, print_text
from mlc.ir.pipeline_table import LEVELS, Pipeline
from mlc.ir.verifier import verify_module
from mlc.options import PRECISIONS, Options
from mlc.runtime.artifact.call import Version
from mlc.runtime.artifact.contents import Contents, SavedVersion, read_contents
from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.artifact.model import LoadedModel
from mlc.runtime.bundle import Bundle
from mlc.runtime.executable import Executable
from mlc.tuning.choices import Choices


def load(
    path: str | os.PathLike[str],
    num_threads: int | None = None,
    target: str = "native",
    verbose: bool = False,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> LoadedModel:
    """Load what `compiled.save(path)` wrote, compiled for `target`; call it like the compiled model.

    The file is mapped as long as the model is there: write a new version beside it and rename it, as `save` does, not
    into it. ArtifactError for a file that is damaged or of a newer version, UsageError for one that cannot be read.
    """
    file_path = checked_path(path)
    given = Options(target=target, num_threads=num_threads, verbose=verbose, cache_dir=cache_dir)
    load_backend(target)
    file = ArtifactFile(file_path)
    with collector_paused():
        return _Loader(file, read_contents(file), given).model()


def check(path: str | os.PathLike[str]) -> Contents:
    """The contents of a saved model of which every byte, every reference and the IR were checked; ArtifactError."""
    file = ArtifactFile(checked_path(path))
    contents = read_contents(file)
    loader = _Loader(file, contents, Options())
    with collector_paused():
        for saved in contents.versions:
            loader.parse(saved, loader.context(saved))
    return contents


class _Loader:
    """Reads a file's index, then compiles its versions one after the other."""

    def __init__(self, file: ArtifactFile, contents: Contents, given: Options) -> None:
        self.file = file
        self.contents = contents
        if contents.precision not in PRECISIONS:
            raise file.damaged(f"its precision is {contents.precision!r}")
        self.options = replace(given, precision=contents.precision, winograd=contents.winograd)
        self.backend: Backend = load_backend(given.target)
        self.machine = self.backend.machine(given.target)
        self.pipeline: Pipeline = self.backend.pipeline(given.target).at_precision(self.options.precision)
        self.fingerprint = fingerprint_of(self.backend, self.machine, self.pipeline)
        self.cache = open_cache(self.options)

    def model(self) -> LoadedModel:
        """All versions, compiled."""
        contents = self.contents
        states = [np.array(a) for a in contents.states]
        lock = threading.Lock()
        versions: list[Version] = []
        units: list[_Unit] = []
        for saved in contents.versions:
            choices = self._tuned(saved)
            executable, settled, phases, from_cache = self._compile(saved, choices)
            try:
                versions.append(Version(saved.plan, executable, states, contents.arrays, lock))
            except ValueError as error:
                raise self.file.damaged(f"its contents do not fit together: {error}") from None
            units.append(_Unit(self, saved, executable, settled, phases, from_cache))
            if self.options.verbose:
                print(phases.table(), file=sys.stderr)
        self.file.release()
        return LoadedModel(
            contents.name,
            versions,
            contents.signature,
            ir=lambda number, level: units[number].ir(level),
            explain=lambda number: units[number].explain(),
        )

    def _tuned(self, saved: SavedVersion) -> dict[str, Any] | None:
        """What tuning settled, where it was for a machine of this kind."""
        if saved.choices is None:
            return None
        try:
            choices = tuned.checked(saved.choices, self.pipeline)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self.file.damaged(f"what tuning settled is not known: {error}") from None
        return choices if choices["machine"] == tuned.machine_kind(self.machine) else None

    def context(self, saved: SavedVersion) -> MlcContext:
        """A context with the weights of a version."""
        ctx = make_context()
        ctx.machine = self.machine
        for name, array in saved.weights.items():
            ctx.resources.set(name, array)
        return ctx

    def _compile(self, saved: SavedVersion, choices: dict[str, Any] | None) -> tuple[Executable, Choices, Phases, bool]:
        phases = Phases()
        ctx = self.context(saved)
        with phases.phase("hash"):
            settled = "choices " + json.dumps(choices, sort_keys=True) if choices else ""
            key = model_key(saved.text, self.fingerprint, self.options, settled)
            stored = self.cache.get(key) if self.cache else None
            bundle = Bundle.from_bytes(stored) if stored is not None else None
            if bundle is not None and bundle.assertions and bundle.places != saved.places_hash:
                bundle = None  # the same program from other lines
        functions: ModuleOp | None = None
        from_cache = bundle is not None
        if bundle is None:
            with fast_build():
                module = self.parse(saved, ctx)
                builder = Builder(module, ctx, self.options, self.backend, self.pipeline, self.fingerprint, self.cache)
                built = builder.build(self._choices(choices, module, ctx) if choices else builder.default, phases)
            bundle, functions = built.bundle, built.functions
            if self.cache:
                self.cache.put(key, bundle.to_bytes())
        with fast_build():
            executable = link(bundle, functions, ctx, self.backend, phases, self.file.release)
        executable.num_threads = self.options.num_threads
        return executable, Choices.from_json(bundle.choices), phases, from_cache

    def _choices(self, choices: dict[str, Any], module: ModuleOp, ctx: MlcContext) -> Choices:
        """The choices as they are called here: the kernels there are tell their keys."""
        buffers = module.clone()
        run_rows(Choices(choices["module"]).module_rows(self.pipeline.module), ctx, buffers, self.options)
        return tuned.local(choices, buffers, self.fingerprint)

    def parse(self, saved: SavedVersion, ctx: MlcContext) -> ModuleOp:
        """The module of a version, with the places of its ops; ArtifactError where it is none at the torch level."""
        try:
            module = parse_text(saved.text, ctx, name=self.contents.name)
            _check_level(module)
            self._locate(module, self.file.text(saved.places), ctx)
            verify_module(module, ctx)
        except (ParseError, VerifyError, LimitError, XdslParseError) as error:
            reason = getattr(error, "message", None) or str(error)
            raise self.file.damaged(f"its IR is not valid: {reason}") from None
        return module

    def _locate(self, module: ModuleOp, text: str, ctx: MlcContext) -> None:
        try:
            texts, numbers = json.loads(text)
            known = [self._place(t, ctx) for t in texts]
            for op, number in zip(module.walk(), numbers, strict=True):
                op.location = known[number]
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise self.file.damaged(f"the places of its ops are not: {error}") from None

    def _place(self, text: str, ctx: MlcContext) -> LocationAttr:
        check_text(text, self.contents.name, Limits())
        found = LocatingParser(ctx, text, self.contents.name).parse_attribute()
        if not isinstance(found, LocationAttr):
            raise ValueError(f"{found} is no place")
        return found


@dataclass
class _Unit:
    """A loaded version as it can be looked at; its module is parsed when it first is."""

    loader: _Loader
    saved: SavedVersion
    executable: Executable
    choices: Choices
    phases: Phases
    from_cache: bool

    def compiled(self) -> Compiled:
        """As `mlc.compile` has it."""
        loader = self.loader
        ctx = loader.context(self.saved)
        return Compiled(
            self.executable,
            loader.parse(self.saved, ctx),
            ctx,
            loader.options,
            loader.backend,
            loader.pipeline,
            self.phases,
            self.from_cache,
            loader.fingerprint,
            self.choices,
        )

    def ir(self, level: str) -> str:
        """The module as text at `level`."""
        if level not in LEVELS:
            near = difflib.get_close_matches(str(level), LEVELS, n=1)
            raise UsageError(
                f"there is no level '{level}'",
                expected=f"one of: {', '.join(LEVELS)}",
                hint=f"did you mean '{near[0]}'?" if near else None,
            )
        unit = self.compiled()
        return print_text(unit.source) if level == "torch" else unit.ir(cast(Level, level))

    def explain(self) -> str:
        """Its kernels, and what the passes did, as a table."""
        from mlc.explain import make_report, table  # noqa: PLC0415 - not needed to run a model

        return table(make_report(self.compiled(), None))


def _check_level(module: ModuleOp) -> None:
    """VerifyError where there is more than one function @forward of torch's ops: lower levels could do harm."""
    functions = [op for op in module.ops if isinstance(op, func.FuncOp)]
    if len(functions) != 1 or functions[0].sym_name.data != "forward" or len(functions[0].body.blocks) != 1:
        raise VerifyError("it is not one function @forward")
    for op in functions[0].walk():
        if op is not functions[0] and op.name != "func.return" and not op.name.startswith("torch."):
            raise VerifyError(f"it has an op '{op.name}', which is none of the torch level")
