"""The compiler's part of loading a saved model: IR parsed, verified and compiled, or its code taken from the cache.

for made in Loader(file, contents, options).compile(): made.bundle, made.executable

IR is parsed where the cache lacks the model, and to look at it. Weights that are packed are read once from the mapped
file, whose pages are given back each time. What is not one function of torch's ops is refused.
Tests: tests/artifact/test_load.py, test_hostile.py
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

from xdsl.dialects import func
from xdsl.dialects.builtin import LocationAttr, ModuleOp
from xdsl.utils.exceptions import ParseError as XdslParseError

from mlc.artifact import tuned
from mlc.backends.registry import Backend, check_runs_here, load_backend
from mlc.build import Builder, run_rows
from mlc.cached_bundle import cached_bundle, keep_bundle
from mlc.compiled import Compiled
from mlc.driver import module_digest
from mlc.errors import ArtifactError, InternalError, LimitError, ParseError, ShapeError, VerifyError
from mlc.fingerprint import fingerprint_of
from mlc.ir.context import MlcContext, make_context
from mlc.ir.custom_ops import names_in
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import Limits, LocatingParser, check_text, parse_text
from mlc.ir.pipeline_table import Pipeline, checked_level
from mlc.ir.verifier import verify_module
from mlc.keys import model_key, text_key
from mlc.linking import link
from mlc.options import PRECISIONS, Options
from mlc.phases import Phases
from mlc.runtime.artifact.contents import Contents, SavedVersion
from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import cache_at
from mlc.runtime.executable import Executable
from mlc.setting import Setting
from mlc.tuning.choices import Choices


class Loader:
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
        named = {name for saved in contents.versions for name in names_in(saved.text)}
        self.fingerprint = fingerprint_of(self.backend, self.machine, self.pipeline, named)
        self.cache = cache_at(self.options.cache_dir)

    def compile(self) -> list[Made]:
        """All versions, compiled."""
        check_runs_here(self.backend, self.options.target)
        made: list[Made] = []
        for saved in self.contents.versions:
            phases = Phases()
            made.append(self._compile(saved, self._tuned(saved), phases))
            if self.options.verbose:
                print(phases.table(), file=sys.stderr)
        return made

    def check(self) -> None:
        """Parse and verify all versions."""
        for saved in self.contents.versions:
            self._tuned(saved)
            ctx = self.context(saved)
            self._check_sizes(self.parse(saved, ctx), ctx)

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

    def _compile(self, saved: SavedVersion, choices: dict[str, Any] | None, phases: Phases) -> Made:
        ctx = self.context(saved)
        with phases.phase("hash"):
            settled = "choices " + json.dumps(choices, sort_keys=True) if choices else ""
            by_text = text_key(saved.text, self.fingerprint)
            known = self.cache.get(by_text) if self.cache else None
            bundle = self._cached(known.decode(), settled, saved) if known is not None else None
        functions: ModuleOp | None = None
        if bundle is None:
            with fast_build():
                module = self.parse(saved, ctx)
                self._check_sizes(module, ctx)
                own = module_digest(module) if self.cache else ""
                builder = Builder(module, ctx, self.options, self.backend, self.pipeline, self.fingerprint, self.cache)
                built = builder.build(self._choices(choices, module, ctx) if choices else builder.default, phases)
            bundle, functions = built.bundle, built.functions
            if self.cache:
                keep_bundle(
                    self.cache, model_key(own, self.fingerprint, self.options, settled), bundle, saved.places_hash
                )
                self.cache.put(by_text, own.encode())
        with fast_build():
            try:
                executable = link(
                    bundle, ctx.resources, self.backend, phases, functions=functions, made=self.file.release
                )
            except ArtifactError as error:
                raise self.file.damaged(error.message) from None
        return Made(bundle, executable)

    def _cached(self, module: str, settled: str, saved: SavedVersion) -> Bundle | None:
        """What the cache has of a version, by the digest of its module."""
        if self.cache is None:
            return None
        return cached_bundle(
            self.cache, model_key(module, self.fingerprint, self.options, settled), lambda: saved.places_hash
        )

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

    def _check_sizes(self, module: ModuleOp, ctx: MlcContext) -> None:
        """ArtifactError where operands of an op do not fit each other: capture would never have made such a program."""
        rows = self.pipeline.module
        upto = next(n for n, row in enumerate(rows, 1) if row.pass_name == "convert-torch-to-linalg")
        lowered = module.clone()
        try:
            run_rows(rows[:upto], ctx, lowered, self.options)
            verify_module(lowered, ctx)
        except (VerifyError, ShapeError, InternalError) as error:
            raise self.file.damaged(f"what is in its IR does not fit together: {error.message}") from None

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
class Made:
    """A version that was compiled, or found in the cache."""

    bundle: Bundle
    executable: Executable


@dataclass
class Unit:
    """A loaded version as it can be looked at; its module is parsed when it first is."""

    loader: Loader
    saved: SavedVersion
    executable: Executable
    choices: Any

    def compiled(self) -> Compiled:
        """As `mlc.compile` has it."""
        loader = self.loader
        ctx = loader.context(self.saved)
        module = loader.parse(self.saved, ctx)
        setting = Setting(loader.backend, loader.machine, loader.pipeline, loader.fingerprint)
        choices = Choices.from_json(self.choices)
        return Compiled(
            self.executable, lambda: module, ctx.resources, loader.options, setting, Phases(), True, choices
        )

    def ir(self, level: str) -> str:
        """The module as text at `level`."""
        known = checked_level(level)
        unit = self.compiled()
        return unit.text() if level == "torch" else unit.ir(known)

    def explain(self) -> str:
        """Its kernels, and what the passes did, as a table."""
        from mlc.explain import make_report, table  # noqa: PLC0415 - not needed to run a model

        return table(make_report(self.compiled(), None))


def _check_level(module: ModuleOp) -> None:
    """VerifyError where there is more than one straight function @forward of torch's ops: all else could do harm."""
    functions = [op for op in module.ops if isinstance(op, func.FuncOp)]
    if len(functions) != 1 or functions[0].sym_name.data != "forward" or len(functions[0].body.blocks) != 1:
        raise VerifyError("it is not one function @forward")
    for op in functions[0].walk():
        if op is not functions[0] and op.name != "func.return" and not op.name.startswith("torch."):
            raise VerifyError(f"it has an op '{op.name}', which is none of the torch level")
        if op is not functions[0] and op.regions:  # loops are made of equal steps below; one here need not end
            raise VerifyError(f"it has an op '{op.name}', which no capture records")
