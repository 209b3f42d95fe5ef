"""What `mlc.load` returns: a saved model that is called like the compiled one.

    loaded = mlc.load("m.mlc")
    y = loaded(x)                  # numpy in, numpy out; torch in, torch out; any structure of both
    loaded.inputs, loaded.outputs, loaded.ir("linalg"), loaded.explain()
    copy.deepcopy(loaded), pickle.dumps(loaded)     # loaded again from the same file, with what the model keeps
Tests: tests/artifact/test_load.py
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlc.errors import MlcError, ShapeError, UsageError
from mlc.runtime.artifact.call import Version
from mlc.runtime.artifact.plan import Shape, TensorGuard


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: name, shape (None for an open size) and dtype by torch's name."""

    name: str
    shape: Shape
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class Signature:
    """What the model's forward takes: names by position, all names, and as text. Empty where Python did not know it."""

    positional: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    text: str = ""


class LoadedModel:
    """Call it like the compiled model it was saved from. Calls from several threads are safe.

    Arguments that no saved version serves are refused with a ShapeError, DTypeError or UsageError that names them.
    """

    def __init__(
        self,
        name: str,
        versions: Sequence[Version],
        signature: Signature,
        *,
        ir: Callable[[int, str], str],
        explain: Callable[[int], str],
        again: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]],
    ) -> None:
        self._name = name
        self._versions = tuple(versions)
        self._signature = signature
        self._ir = ir
        self._explain = explain
        self._again = again

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """What makes this model again, here or in another process: its code and its mapped file stay where they are."""
        return self._again()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run natively."""
        for version in self._versions:
            leaves = version.leaves_of(args, kwargs)
            if leaves is not None and version.fits(leaves):
                return version.call(leaves)
        return self._otherwise(args, kwargs)

    def _otherwise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Arguments given by position that were saved by name, or the other way round; else the error."""
        self._check_names(args, kwargs)
        positional = self._signature.positional
        given = {**dict(zip(positional, args, strict=False)), **kwargs}
        if len(args) <= len(positional) and len(given) == len(args) + len(kwargs):
            for version in self._versions:
                by_position, by_name = version.plan.arguments.children
                names = [*positional[: len(by_position.children)], *by_name.keys]
                if sorted(names) != sorted(given):
                    continue
                args = tuple(given[n] for n in positional[: len(by_position.children)])
                kwargs = {n: given[n] for n in by_name.keys}
                leaves = version.leaves_of(args, kwargs)
                if leaves is not None and version.fits(leaves):
                    return version.call(leaves)
        raise self._refusal(args, kwargs)

    def _check_names(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        known = self._signature
        unknown = [k for k in kwargs if k not in known.names]
        if not known.text or not unknown:
            return
        near = difflib.get_close_matches(unknown[0], known.names, n=1)
        raise UsageError(
            f"{self._name} got an unexpected keyword argument '{unknown[0]}'",
            expected=known.text,
            hint=f"did you mean '{near[0]}'?" if near else None,
        )

    def _refusal(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MlcError:
        """The error of the version that comes nearest, with the list of all where there are several."""
        found: list[MlcError] = []
        for version in self._versions:
            try:
                version.refuse(args, kwargs)
            except MlcError as error:
                found.append(error)
        error = next((e for e in found if "structure" not in e.message), found[0])
        if len(self._versions) == 1:
            return error
        saved = "".join(f"\n    {v.plan.describe()}" for v in self._versions)
        kind = type(error) if isinstance(error, ShapeError) or type(error).code == "dtype" else ShapeError
        return kind(f"no saved version takes these arguments: {error.message}", expected=f"one of:{saved}")

    @property
    def versions(self) -> tuple[str, ...]:
        """The arguments that each saved version serves, as text, in the order they are tried."""
        return tuple(v.plan.describe() for v in self._versions)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The tensors among the arguments of the version compiled last."""
        guards = self._versions[0].plan.guards
        return tuple(TensorInfo(g.name, g.shape, g.dtype) for g in guards if isinstance(g, TensorGuard))

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The tensors that the version compiled last computes, in the order of the results."""
        version = self._versions[0]
        shapes = [s.shape for s in version.executable.outputs]
        found = [o for o in version.plan.outputs if o.kind == "result"]
        return tuple(
            TensorInfo(f"result {i}", o.view[0] if o.view else shapes[o.index], o.dtype) for i, o in enumerate(found)
        )

    def ir(self, level: str = "torch") -> str:
        """The version compiled last as text at a level of the staircase."""
        return self._ir(0, level)

    def explain(self) -> str:
        """Which kernels came of each version, and what each pass did and did not do there and why, as a table."""
        return "\n".join(f"version {n}: {v.plan.describe()}\n{self._explain(n)}" for n, v in enumerate(self._versions))

    def __repr__(self) -> str:
        lines = [f"LoadedModel({self._name})", *(f"  version {n}: {v}" for n, v in enumerate(self.versions))]
        return "\n".join(lines)
