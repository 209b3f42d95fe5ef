"""The face: `mlc.compile(model)` and what it returns.

compiled = mlc.compile(model)              # captured and compiled at the first call, again for new shapes
y = compiled(x)                            # torch in, torch out; numpy in, numpy out; any pytree
print(compiled.ir("linalg"), compiled.explain(), compiled.asm())
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlc.advice import advise
from mlc.backends.registry import load_backend
from mlc.compiled import Compiled
from mlc.errors import InternalError, MlcError, ShapeError, UnsupportedError, UsageError
from mlc.ir.collector import collector_paused
from mlc.ir.pipeline_table import checked_level
from mlc.ir.resources import ResourceStore
from mlc.options import Options
from mlc.phases import Phases, importing
from mlc.recorded import compile_recorded
from mlc.runtime.files import write_whole
from mlc.runtime.offload import Placed, place
from mlc.sample_inputs import random_inputs

if TYPE_CHECKING:
    from mlc.frontends.torch import Binding, Captured, TorchSource

MAX_VARIANTS = 8
RETRIES = 2
"""Captures after the first when another thread changes the weights meanwhile."""

_compiling = threading.RLock()
"""One capture or compile at a time: PyTorch's tracing has process-wide state. A fork waits for it to end."""
os.register_at_fork(before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_compiling.release)
atexit.register(_compiling.acquire, timeout=30)  # a thread that the interpreter ends inside of C++ ends the process


def compile(
    model: Any,
    example_inputs: Any = None,
    *,
    dynamic_shapes: Any = None,
    target: str = "native",
    precision: str = "float32",
    num_threads: int | None = None,
    tune: bool = False,
    winograd: bool = True,
    offload_weights: bool = False,
    verbose: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    debug: str = "",
) -> CompiledModel:
    """Compile a PyTorch model (module, function of tensors, or ExportedProgram) to native code.

    With `example_inputs` (a tuple of arguments, a dict of keywords, or one tensor) it is compiled now, otherwise at
    the first call. New shapes, dtypes, Python arguments, weights or a train()/eval() switch compile again. After
    `MAX_VARIANTS` versions, sizes that vary are left open; otherwise the version used least makes room. With
    `dynamic_shapes` (as for torch.export) one version serves all sizes it allows. 3x3 convolutions are computed by
    Winograd's filtering where that is faster, products with constant weights by his inner product, or through a matrix
    unit for bf16, every number as the sum of three, with the errors of float32; `winograd=False` computes all of them
    directly. With `offload_weights` the memory of weights of which compiled code has packed copies, or only looks up
    rows, is mapped to files without names in the cache directory: it stays where it is and what it is, so that the
    model can be called, changed, copied and saved as before, but is read from disk when it is touched. No other thread
    may write to the weights while they are moved. A lower `precision` pays where the machine has instructions for it
    (AVX512_BF16, AVX512_VNNI); a warning says where it does not. The other arguments are those of
    `mlc.options.Options`.
    """
    options = Options(
        target=target,
        precision=precision,
        num_threads=num_threads,
        tune=tune,
        winograd=winograd,
        offload_weights=offload_weights,
        verbose=verbose,
        cache_dir=cache_dir,
        debug=debug,
    )
    with importing(), collector_paused():  # most of what is imported here makes objects that stay
        backend = load_backend(target)
        if importlib.util.find_spec("torch") is None:
            raise UsageError("PyTorch is not installed", hint='pip install "mlc-compiler[torch]"')
        from mlc.frontends.torch import TorchSource  # noqa: PLC0415 - torch is an extra

    advise(options, backend)
    if isinstance(model, CompiledModel):
        model = model._source.model
    source = TorchSource(model, dynamic_shapes)
    if dynamic_shapes is not None and example_inputs is None:
        raise UsageError("dynamic_shapes needs example_inputs", hint="mlc.compile(model, (x,), dynamic_shapes=...)")
    compiled = CompiledModel(source, options)
    if example_inputs is not None:
        args, kwargs = source.example_call(example_inputs)
        compiled.prepare(*args, **kwargs)
    return compiled


@dataclass
class _Variant:
    """One capture with its native code."""

    binding: Binding
    unit: Compiled
    placed: Placed | None = None
    """Where its weights are, with `offload_weights`."""

    @property
    def captured(self) -> Captured:
        return self.binding.captured


class CompiledModel:
    """A compiled model: call it like the model. Results are dense in row-major order, whatever strides eager's have.

    What it does not have itself it answers for the model: `state_dict()`, `parameters()`, `config`; `eval()`, `train()`
    and `to()` change the model and return the compiled one. Attributes set on it are set on the model. Methods of the
    model other than `forward` run as they did before. It is no `torch.nn.Module`: a module that holds it does not list
    its parameters.
    """

    def __init__(self, source: TorchSource, options: Options) -> None:
        from mlc.frontends.torch import MISS  # noqa: PLC0415 - torch is an extra

        self._miss = MISS
        self._source = source
        self._options = options
        self._variants: tuple[_Variant, ...] = ()
        self._calls: tuple[tuple[Binding, Callable[[tuple[Any, ...], dict[str, Any]], Any]], ...] = ()
        self._last: _Variant | None = None
        self._warned = False
        self._cannot_open = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles carry the model and the options; native code is made (or found in the cache) again."""
        return CompiledModel, (self._source, self._options)

    def __repr__(self) -> str:
        options = self._options
        lines = [f"CompiledModel({self._source.name}, target={options.target!r}, precision={options.precision!r})"]
        if not self._variants:
            return f"{lines[0]}: nothing is compiled yet"
        for number, variant in enumerate(reversed(self._variants)):
            lines.append(f"  version {number}: {self._source.describe(variant.captured)}")
        return "\n".join(lines)

    def __getattr__(self, name: str) -> Any:
        if "_source" not in self.__dict__:  # while it is being made
            raise AttributeError(name)
        return self._source.attribute(name, self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._source.model, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run natively; compiles first when these shapes, dtypes, values or weights are new."""
        for binding, call in self._calls:
            out = call(args, kwargs)
            if out is not self._miss:
                binding.was_used = True
                return out
        if self._source.is_recording(args, kwargs):  # inside the capture of another model: a part of that one
            return self._source.model(*args, **kwargs)
        return self._told_once(self._compile_and_call, args, kwargs)

    def _told_once(self, work: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do it; of an error show the user's own frames alone, unless `debug` is on or the fault is ours."""
        try:
            return work(args, kwargs)
        except MlcError as error:
            if self._options.debug or isinstance(error, InternalError):
                raise
            shown, cause = self._source.told(error)
            raise shown from cause

    def _compile_and_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with _compiling, self._timed(), collector_paused():
            for _, call in self._calls:  # another thread may have compiled it in the meantime
                out = call(args, kwargs)
                if out is not self._miss:
                    return out
            for _ in range(1 + RETRIES):
                variant = self._new_variant(args, kwargs)
                with variant.unit.phases.phase("run"):
                    out = variant.binding.call(args, kwargs)
                if out is not self._miss:
                    return out
        self._source.refuse(self._latest().captured, args, kwargs)
        raise UnsupportedError(
            "the model's state changes with every call, so that no compiled version stays valid",
            hint="keep changing values in buffers (register_buffer) or pass them as inputs",
        )

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Compile for arguments like these without running the compiled code."""
        self._told_once(self._prepare, args, kwargs)

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with _compiling, self._timed(), collector_paused():
            self._new_variant(args, kwargs)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Around a call that compiles: tells the new version what all of it took."""
        before, start = self._last, time.perf_counter()
        try:
            yield
        finally:
            if self._last is not None and self._last is not before:
                phases = self._last.unit.phases
                phases.close(time.perf_counter() - start)
                if self._options.verbose:
                    print(phases.table(), file=sys.stderr)

    def _new_variant(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Variant:
        if self._source.is_fixed and self._variants:
            self._refuse_other_sizes(args, kwargs)
        keep = [v for v in self._variants if not v.captured.state.is_stale()]
        variant = self._build_open(keep, args, kwargs) if len(keep) >= MAX_VARIANTS else None
        if variant is not None:
            opened = [v for v in keep if v.captured.is_dynamic][: MAX_VARIANTS - 1]
            exact = [v for v in keep if not v.captured.is_dynamic][: MAX_VARIANTS - 1 - len(opened)]
            self._variants = (*exact, variant, *opened)  # exact versions are tried first: they are faster
        else:
            phases = Phases.begun()
            with phases.phase("capture"):
                resources = ResourceStore()
                captured = self._capture(args, kwargs, resources)
            variant = self._build(captured, resources, phases)
            if len(keep) >= MAX_VARIANTS:
                keep.remove(self._least_used(keep))
            self._variants = (variant, *keep)
        self._last = variant
        self._calls = tuple((v.binding, v.binding.call) for v in self._variants)
        if self._options.offload_weights:
            self._offload(variant)
        return variant

    def _offload(self, new: _Variant) -> None:
        """Move what a new version was made from to a file, and back what it reads where it lies."""
        with new.unit.phases.phase("offload"):
            in_use = [m for v in self._variants for m in v.unit.memory_in_use(v.captured.graph.only_looked_up())]
            blocks = [*self._source.weight_blocks(new.captured), *new.unit.copies_of_weights()]
            new.placed = place(blocks, in_use, new.unit.scratch_directory())
        if new.placed.failed is not None:
            warnings.warn(f"offload_weights: weights stay in memory, {new.placed.failed}", stacklevel=6)
        if self._options.verbose:
            print(f"  weights: {new.placed.describe()}", file=sys.stderr)

    def _refuse_other_sizes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise what the first version says about these arguments, unless it or a later one is of their kind and only
        decided otherwise."""
        refused: list[MlcError] = []
        for variant in reversed(self._variants):
            try:
                self._source.refuse(variant.captured, args, kwargs, for_good=False)
            except MlcError as error:
                refused.append(error)
            else:
                return
        raise refused[0]

    def _least_used(self, known: list[_Variant]) -> _Variant:
        """The oldest version not called since the last look; the oldest of all when every one was."""
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"more than {MAX_VARIANTS} versions of this model: the least used one makes room for the new one. "
                + self._source.variation([v.captured for v in known]),
                stacklevel=6,
            )
        unused = [v for v in known if not v.binding.was_used]
        for version in known:
            version.binding.was_used = False
        return (unused or known)[-1]

    def ir(self, level: str = "torch") -> str:
        """The version compiled last as text at a level of the staircase."""
        known = checked_level(level)
        variant = self._latest()
        if level == "torch":
            return variant.unit.text()
        return variant.unit.ir(known)

    def asm(self) -> str:
        """Assembly of the version compiled last."""
        return self._latest().unit.asm()

    def explain(self, *, profile: bool = False, html: str | os.PathLike[str] | None = None) -> str:
        """What was captured, which kernels came of it, what each pass did and did not do there and why, as a table.

        `profile` measures every kernel on random inputs of the compiled shapes (zeros for integers), on one thread;
        open sizes are small ones then, which the title says.
        `html` also writes it as a page to that file.
        """
        if not isinstance(profile, bool):
            raise UsageError(f"profile is {profile!r}", expected="True or False")
        if html is not None and not isinstance(html, str | os.PathLike):
            raise UsageError(f"html is {html!r}", expected="the path of a file to write", hint='html="report.html"')
        from mlc.explain import html as html_page  # noqa: PLC0415 - not needed to run a model
        from mlc.explain import make_report, table  # noqa: PLC0415

        lines: list[str] = []
        pages: list[str] = []
        for number, variant in enumerate(reversed(self._variants)):
            captured = variant.captured
            title = f"version {number}: {self._source.describe(captured)}"
            if self._options.precision != "float32":
                title += f"; precision: {self._options.precision}"
            ops = Counter(op.name for op in variant.unit.source.walk() if op.name.startswith("torch.aten"))
            counts = f"captured {ops.total()} ops: {', '.join(f'{n} {c}' for n, c in ops.most_common(8))}"
            inputs = random_inputs(captured, variant.unit.executable.inputs) if profile else None
            if inputs is not None and captured.symbols:
                title += f"; measured on {', '.join('x'.join(map(str, array.shape)) for array in inputs)}"
            report = make_report(variant.unit, inputs)
            lines += [title, counts, *table(report).splitlines(), "compile time", variant.unit.phases.table()]
            if variant.placed is not None:
                lines.append(f"weights: {variant.placed.describe()}")
            pages.append(html_page(report, title))
        if html is not None:
            _write_page(Path(html), "\n".join(pages))
        return "\n".join(lines) if lines else "nothing is compiled yet: call it once"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write every compiled version that holds for the model as it is now to one file, for `mlc.load`.

        The file is data only: IR, weights and options. It is written whole or not at all, and has the same bytes for
        the same model. UsageError where nothing is compiled or the file cannot be written; UnsupportedError for what
        cannot be kept.
        """
        from mlc.artifact.save import save  # noqa: PLC0415 - not needed to run a model
        from mlc.runtime.artifact.file import checked_path  # noqa: PLC0415 - not needed to run a model

        target = checked_path(path)
        with _compiling, collector_paused():
            self._latest()
            captured = self._source.saved([v.captured for v in self._variants])
            units = [next(v.unit for v in self._variants if v.captured is c) for c in captured]
            save(target, self._source, list(zip(captured, units, strict=True)), self._options)

    def _latest(self) -> _Variant:
        if self._last is None:
            raise UsageError("nothing is compiled yet", hint="call it once, or pass example_inputs to mlc.compile")
        return self._last

    def _build(self, captured: Captured, resources: ResourceStore, before: Phases) -> _Variant:
        try:
            unit = compile_recorded(captured.graph, resources, self._options, partial(random_inputs, captured))
        except UnsupportedError as error:
            raise self._source.with_inputs(error, captured) from error
        unit.phases.items[:0] = before.items
        with unit.phases.phase("guard"):
            return _Variant(self._source.bind(captured, unit.run, unit.executable), unit)

    def _build_open(self, known: list[_Variant], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Variant | None:
        """A version for any of the sizes that vary from call to call; None where there cannot be one."""
        if self._cannot_open:
            return None
        phases, resources = Phases.begun(), ResourceStore()
        try:
            with phases.phase("capture"):
                captured = self._source.capture_open([v.captured for v in known], args, kwargs, resources)
            return self._build(captured, resources, phases) if captured is not None else None
        except (
            UnsupportedError,
            ShapeError,
        ):  # torch.export refuses the model, or an op is lowered for known sizes only
            self._cannot_open = True
            return None

    def _capture(self, args: tuple[Any, ...], kwargs: dict[str, Any], resources: ResourceStore) -> Captured:
        try:
            return self._source.capture(args, kwargs, resources)
        except MlcError as error:
            if not self._variants:
                raise
            told = self._source.recapture_failed(error, self._variants[0].captured, args, kwargs)
            if told is error:
                raise
            raise told from error


def _write_page(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode())
    except OSError as e:
        raise UsageError(f"cannot write '{path}': {e.strerror}", expected="a file in a directory that exists") from e
