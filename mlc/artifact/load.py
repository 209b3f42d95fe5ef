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
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
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
from mlc.ir.parsing import LocatingParser, parse_text, print_text
from mlc.ir.pipeline_table import LEVELS, Pipeline
from mlc.ir.verifier import verify_module
from mlc.options import Options
from mlc.runtime.artifact.call import Version
from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.artifact.model import LoadedModel, Signature
from mlc.runtime.artifact.plan import Plan
from mlc.runtime.artifact.tensors import ARRAY_TYPES
from mlc.runtime.bundle import Bundle
from mlc.runtime.executable import Executable
from mlc.tuning.choices import Choices

MAX_VERSIONS = 64
MAX_RANK = 64
_DECLARED = re.compile(r"dense_resource<([^<>]*)> : tensor<([0-9x]*?)(bf16|f16|f32|f64|[su]?i\d+|complex<f\d\d>)>")
_MISMATCHES = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError)
"""What reading data of another form than expected raises."""


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
        try:
            return _Loader(file, given).model()
        except _MISMATCHES as error:
            raise file.damaged(f"its contents do not fit together: {error}") from None


@dataclass
class _Saved:
    """One saved version: its IR as text, what goes with it, and how it is bound."""

    text: str
    places: int
    places_hash: str
    weights: Mapping[str, np.ndarray]
    plan: Plan
    choices: dict[str, Any] | None


class _Loader:
    """Reads a file's index, then compiles its versions one after the other."""

    def __init__(self, file: ArtifactFile, given: Options) -> None:
        self.file = file
        index = file.index
        self.options = Options(
            target=given.target,
            precision=_text(index["precision"]),
            num_threads=given.num_threads,
            winograd=index["winograd"] is True,
            verbose=given.verbose,
            cache_dir=given.cache_dir,
        )
        self.backend: Backend = load_backend(given.target)
        self.machine = self.backend.machine(given.target)
        self.pipeline: Pipeline = self.backend.pipeline(given.target).at_precision(self.options.precision)
        self.fingerprint = fingerprint_of(self.backend, self.machine, self.pipeline)
        self.cache = open_cache(self.options)
        self.arrays = [self._array(*row) for row in index["arrays"]]
        self.name = _text(index["name"])

    def _array(self, part: Any, dtype: Any, shape: Any) -> np.ndarray:
        sizes = tuple(shape)
        if not all(type(n) is int for n in sizes) or len(sizes) > MAX_RANK:
            raise ValueError("the shape of an array")
        return self.file.array(part, ARRAY_TYPES[_text(dtype)], sizes)

    def _numbered(self, number: Any) -> np.ndarray:
        if type(number) is not int or number < 0:
            raise ValueError("the number of an array")
        return self.arrays[number]

    def model(self) -> LoadedModel:
        """All versions, compiled."""
        index = self.file.index
        rows = index["versions"]
        if not 0 < len(rows) <= MAX_VERSIONS:
            raise ValueError(f"{len(rows)} versions")
        states = [np.array(self._numbered(n)) for n in index["states"]]
        positional, names, text = index["signature"]
        signature = Signature(tuple(map(_text, positional)), tuple(map(_text, names)), _text(text))
        lock = threading.Lock()
        saved = [self._saved(row) for row in rows]
        versions: list[Version] = []
        units: list[_Unit] = []
        for one in saved:
            executable, choices, phases, from_cache = self._compile(one)
            versions.append(Version(one.plan, executable, states, self.arrays, lock))
            units.append(_Unit(self, one, executable, choices, phases, from_cache))
            if self.options.verbose:
                print(phases.table(), file=sys.stderr)
        self.file.release()
        return LoadedModel(
            self.name,
            versions,
            signature,
            ir=lambda number, level: units[number].ir(level),
            explain=lambda number: units[number].explain(),
        )

    def _saved(self, row: Mapping[str, Any]) -> _Saved:
        weights = {_text(n): self._numbered(k) for n, k in row["weights"].items()}
        text = self.file.text(row["text"])
        _check_weights(text, weights)
        choices = row["choices"]
        if choices is not None:
            choices = tuned.checked(choices, self.pipeline)
            if choices["machine"] != tuned.machine_kind(self.machine):
                choices = None
        plan = Plan.from_json(row["plan"])
        return _Saved(text, row["places"], _text(row["places_hash"]), weights, plan, choices)

    def context(self, saved: _Saved) -> MlcContext:
        """A context with the weights of a version."""
        ctx = make_context()
        ctx.machine = self.machine
        for name, array in saved.weights.items():
            ctx.resources.set(name, array)
        return ctx

    def _compile(self, saved: _Saved) -> tuple[Executable, Choices, Phases, bool]:
        phases = Phases()
        ctx = self.context(saved)
        with phases.phase("hash"):
            settled = "choices " + json.dumps(saved.choices, sort_keys=True) if saved.choices else ""
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
                built = builder.build(self._choices(saved, module, ctx, builder.default), phases)
            bundle, functions = built.bundle, built.functions
            if self.cache:
                self.cache.put(key, bundle.to_bytes())
        with fast_build():
            executable = link(bundle, functions, ctx, self.backend, phases, self.file.release)
        executable.num_threads = self.options.num_threads
        return executable, Choices.from_json(bundle.choices), phases, from_cache

    def _choices(self, saved: _Saved, module: ModuleOp, ctx: MlcContext, default: Choices) -> Choices:
        if saved.choices is None:
            return default
        buffers = module.clone()
        run_rows(Choices(saved.choices["module"]).module_rows(self.pipeline.module), ctx, buffers, self.options)
        return tuned.local(saved.choices, buffers, self.fingerprint)

    def parse(self, saved: _Saved, ctx: MlcContext) -> ModuleOp:
        """The module of a version, with the places of its ops; ArtifactError where it is none at the torch level."""
        try:
            module = parse_text(saved.text, ctx, name=self.name)
            _check_level(module)
            self._locate(module, self.file.text(saved.places), ctx)
            verify_module(module, ctx)
        except (ParseError, VerifyError, LimitError, XdslParseError) as error:
            reason = getattr(error, "message", None) or str(error)
            raise self.file.damaged(f"its IR is not valid: {reason}") from None
        return module

    def _locate(self, module: ModuleOp, text: str, ctx: MlcContext) -> None:
        texts, numbers = json.loads(text)
        known = [LocatingParser(ctx, _text(t), self.name).parse_attribute() for t in texts]
        for op, number in zip(module.walk(), numbers, strict=True):
            op.location = known[number]  # pyright: ignore[reportAttributeAccessIssue]


@dataclass
class _Unit:
    """A loaded version as it can be looked at; its module is parsed when it first is."""

    loader: _Loader
    saved: _Saved
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


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a name that is no text")
    return value


def _check_weights(text: str, weights: Mapping[str, np.ndarray]) -> None:
    """ValueError where the text names a weight that is not there, or of another size: code from the cache trusts it."""
    declared = _DECLARED.findall(text)
    if text.count("dense_resource<") != len(declared):
        raise ValueError("weights in the text")
    for name, sizes, kind in declared:
        if name not in weights:
            raise ValueError(f"the weight '{name}' is missing")
        array = weights[name]
        shape = tuple(int(n) for n in sizes.split("x")[:-1])
        if array.shape != shape or not _is_of(array.dtype, kind):
            raise ValueError(f"the weight '{name}' is {array.dtype}{list(array.shape)}, not {sizes}{kind}")


def _is_of(dtype: np.dtype[Any], kind: str) -> bool:
    if kind == "bf16":
        return dtype == np.uint16
    if kind == "i1":
        return dtype == np.bool_
    if kind.startswith("complex"):
        return dtype == np.dtype({"complex<f32>": "c8", "complex<f64>": "c16"}.get(kind, "V1"))
    letters = "f" if kind.startswith("f") else "iu"
    return dtype.kind in letters and dtype.itemsize * 8 == int(kind.lstrip("suif"))


def _check_level(module: ModuleOp) -> None:
    """VerifyError where there is more than one function @forward of torch's ops: lower levels could do harm."""
    functions = [op for op in module.ops if isinstance(op, func.FuncOp)]
    if len(functions) != 1 or functions[0].sym_name.data != "forward" or len(functions[0].body.blocks) != 1:
        raise VerifyError("it is not one function @forward")
    for op in functions[0].walk():
        if op is not functions[0] and op.name != "func.return" and not op.name.startswith("torch."):
            raise VerifyError(f"it has an op '{op.name}', which is none of the torch level")
