"""One saved version, bound to its compiled code: checks the arguments, runs, writes back, builds the results.

    version.leaves_of(args, kwargs)   -->   the leaves, or None where the structure is another
    version.fits(leaves)              -->   whether shapes, dtypes and values are those it was compiled for
    version.call(leaves)              -->   the results: tensors of torch where one was passed, else arrays
Tests: tests/artifact/test_load.py
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlc.errors import ArtifactError, DTypeError, ShapeError, UnsupportedError, UsageError
from mlc.runtime.artifact import tensors
from mlc.runtime.artifact.plan import Output, Plan, Shape, TensorGuard
from mlc.runtime.artifact.sizes import evaluate, first_broken, sizes_of, test_of
from mlc.runtime.artifact.trees import flatten, unflatten
from mlc.runtime.artifact.values import same_value
from mlc.runtime.executable import Executable


class Version:
    """`states`: what the model keeps between calls, shared by its versions, as is `lock`. `arrays`: what is only
    handed out.

    ValueError where `plan` refers to more than there is.
    """

    def __init__(
        self,
        plan: Plan,
        executable: Executable,
        states: Sequence[np.ndarray],
        arrays: Sequence[np.ndarray],
        lock: threading.Lock,
    ) -> None:
        self.plan = plan
        self.executable = executable
        self._states = states
        self._arrays = arrays
        if len(plan.inputs) != len(executable.inputs):
            raise ValueError("numbers of inputs")
        results = [s.shape for s in executable.outputs]
        bits = {"result": executable.outputs, "state": states, "array": arrays}
        plan.check_against(results, [s.shape for s in states], [a.shape for a in arrays])
        for output in plan.outputs:
            if output.kind in bits and not _same_bits(bits[output.kind][output.index].dtype, output.dtype):
                raise ValueError("the dtype of a result")
        self._count = len(plan.guards) if all(c.kind == "leaf" for c in plan.arguments.children[0].children) else -1
        if plan.arguments.children[1].children:
            self._count = -1
        self._single = plan.results.kind == "leaf"
        self._names = [g.name for g in plan.guards]
        self._decided_so = test_of(plan.conditions, [s.name for s in plan.symbols])
        self._lock = lock if any(kind == "state" for kind, *_ in (*plan.inputs, *plan.writes)) else None

    def leaves_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any] | None:
        """The leaves of these arguments, or None where their structure is another."""
        if not kwargs and len(args) == self._count:
            return args
        if self.plan.keywords_in_order and tuple(kwargs) != self.plan.arguments.children[1].keys:
            return None
        leaves: list[Any] = []
        return leaves if flatten(self.plan.arguments, (args, kwargs), leaves) else None

    def fits(self, leaves: Sequence[Any]) -> bool:
        """Whether these leaves are such as it was compiled for."""
        plan = self.plan
        for guard, leaf in zip(plan.guards, leaves, strict=True):
            if isinstance(guard, TensorGuard):
                if not (isinstance(leaf, np.ndarray) or (tensors.is_tensor(leaf) and not leaf.is_nested)):
                    return False
                if not _is_of(leaf, guard.dtype) or not _fits_shape(tuple(leaf.shape), guard.shape):
                    return False
            elif not same_value(guard.value, leaf):
                return False
        return self._special(leaves) is None

    def _special(self, leaves: Sequence[Any]) -> str | None:
        """Why open sizes, strides, or which arguments are one tensor, do not fit."""
        plan = self.plan
        if plan.layouts is not None and plan.layouts != _layouts(leaves):
            return f"the strides are {_layouts(leaves)}, but the model asked for them and they were {plan.layouts}"
        if plan.identities is not None and _identities(leaves) not in plan.identities:
            return "the arguments that are one tensor are others than when the model was compiled"
        found = sizes_of(plan.symbols, self._names, leaves) if plan.symbols else {}
        if isinstance(found, str) or self._decided_so([found[s.name] for s in plan.symbols]):
            return found if isinstance(found, str) else None
        return first_broken(plan.conditions, found)

    def refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the error that says why these arguments do not fit; returns where they do."""
        leaves = self.leaves_of(args, kwargs)
        if leaves is None:
            raise ShapeError(
                f"the arguments have another structure: {_structure(args, kwargs)}",
                expected=_call_text(self.plan),
            )
        for guard, leaf in zip(self.plan.guards, leaves, strict=True):
            given = isinstance(leaf, np.ndarray) or tensors.is_tensor(leaf)
            shown = tensors.describe(leaf)
            if not isinstance(guard, TensorGuard):
                if not same_value(guard.value, leaf):
                    shown = shown if given else repr(leaf)
                    raise ShapeError(f"argument '{guard.name}' is {shown}", expected=guard.describe())
                continue
            if not given:
                raise DTypeError(f"argument '{guard.name}' is {shown}", expected=guard.describe())
            wrong = tensors.refusal(guard.name, leaf)
            if wrong is not None:
                raise wrong
            if not _is_of(leaf, guard.dtype):
                raise DTypeError(f"argument '{guard.name}' is {shown}", expected=guard.describe())
            if not _fits_shape(tuple(leaf.shape), guard.shape):
                raise ShapeError(f"argument '{guard.name}' is {shown}", expected=guard.describe())
        special = self._special(leaves)
        if special is not None:
            raise ShapeError(special)

    def call(self, leaves: Sequence[Any]) -> Any:
        """Run on leaves that fit."""
        if self._lock is None:
            return self._call(leaves)
        with self._lock:  # reads what the call before wrote
            return self._call(leaves)

    def _call(self, leaves: Sequence[Any]) -> Any:
        plan = self.plan
        arrays = [
            tensors.as_array(self._names[n], leaves[n]) if kind == "leaf" else self._states[n]
            for kind, n in plan.inputs
        ]
        as_torch = any(map(tensors.is_tensor, leaves))
        if plan.writes:
            self._check_writes(leaves)
        results = self.executable.run(arrays)
        targets = [leaves[n] if kind == "leaf" else self._states[n] for kind, n, _ in plan.writes]
        for target, (_, _, result) in zip(targets, plan.writes, strict=True):
            if tuple(target.shape) != results[result].shape:  # open sizes of a file that says they are the same
                raise ArtifactError(f"{list(results[result].shape)} is written to {list(target.shape)}")
        for target, (kind, _, result) in zip(targets, plan.writes, strict=True):
            self._write(target, results[result], kind)
        outputs = self._outputs(leaves, results, as_torch)
        return outputs[0] if self._single else unflatten(plan.results, iter(outputs))

    def _outputs(self, leaves: Sequence[Any], results: Sequence[np.ndarray], as_torch: bool) -> list[Any]:
        found: list[Any] = []
        made: dict[tuple[str, int], Any] = {}
        for plan in self.plan.outputs:
            if plan.kind == "constant":
                found.append(plan.value)
                continue
            if plan.kind == "size":
                sizes = sizes_of(self.plan.symbols, self._names, leaves)
                assert isinstance(sizes, dict)
                found.append(evaluate(plan.value, sizes))
                continue
            base = made.get((plan.kind, plan.index))
            if base is None:
                base = made[plan.kind, plan.index] = self._base(plan, leaves, results, as_torch)
            found.append(base if plan.view is None else _view(base, plan.view))
        return found

    def _base(self, plan: Output, leaves: Sequence[Any], results: Sequence[np.ndarray], as_torch: bool) -> Any:
        """What an output is, or is a view of."""
        if plan.kind == "leaf":
            leaf = leaves[plan.index]
            return tensors.as_tensor(leaf, plan.dtype) if as_torch and isinstance(leaf, np.ndarray) else leaf
        if plan.kind == "result":
            array = results[plan.index]
        else:
            array = self._states[plan.index] if plan.kind == "state" else self._arrays[plan.index].copy()
        wanted = tensors.ARRAY_TYPES[plan.dtype]
        if array.dtype != wanted:  # unsigned integers travel as their bits
            array = array.view(wanted)
        return tensors.as_tensor(array, plan.dtype) if as_torch else array

    @staticmethod
    def _write(target: Any, value: np.ndarray, kind: str) -> None:
        if kind == "leaf" and tensors.is_tensor(target):
            torch = tensors.torch_module()
            with torch.no_grad():
                target.copy_(tensors.as_tensor(value, tensors.dtype_name(target)))
        else:
            target[...] = value if value.dtype == target.dtype else value.view(target.dtype)

    def _check_writes(self, leaves: Sequence[Any]) -> None:
        """Refuse what is changed in place and cannot be, or shares memory with something else that the model reads."""
        written = {n for kind, n, _ in self.plan.writes if kind == "leaf"}
        if not written:
            return
        read = [n for kind, n in self.plan.inputs if kind == "leaf"]
        seen = {n: tensors.as_array(self._names[n], leaves[n]) for n in dict.fromkeys([*read, *written])}
        for n in sorted(written):
            name, array = self._names[n], seen[n]
            if isinstance(leaves[n], np.ndarray) and not array.flags.writeable:
                raise UsageError(
                    f"the model changes input '{name}' in place, and the array is read-only",
                    hint=f"pass a copy: {name}.copy()",
                )
            if any(s == 0 for s, k in zip(array.strides, array.shape, strict=True) if k > 1):
                raise UnsupportedError(
                    f"the model changes input '{name}' in place, whose elements share memory (it was expanded)",
                    hint="pass a copy",
                )
            for other, inner in seen.items():
                if other != n and np.may_share_memory(array, inner):
                    raise UnsupportedError(
                        f"input '{self._names[other]}' and input '{name}' share memory, and the model changes one in "
                        "place",
                        hint="pass a copy",
                    )


def _same_bits(held: np.dtype[Any], dtype: str) -> bool:
    """Whether elements are held as this dtype's are; integers travel without their sign."""
    wanted = tensors.ARRAY_TYPES[dtype]
    return held == wanted or (held.itemsize == wanted.itemsize and held.kind in "iu" and wanted.kind in "iu")


def _is_of(leaf: Any, dtype: str) -> bool:
    name = tensors.dtype_name(leaf)
    return name == dtype or (dtype == "bfloat16" and isinstance(leaf, np.ndarray) and name == "uint16")


def _fits_shape(got: Shape, wanted: Shape) -> bool:
    return got == wanted or (
        len(got) == len(wanted) and all(w is None or w == g for w, g in zip(wanted, got, strict=True))
    )


def _layouts(leaves: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tensors.strides(v) for v in leaves if isinstance(v, np.ndarray) or tensors.is_tensor(v))


def _identities(leaves: Sequence[Any]) -> tuple[int, ...]:
    """For each leaf the first one that is the same tensor."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(v), i) if tensors.is_tensor(v) else i for i, v in enumerate(leaves))


def _view(base: Any, view: tuple[tuple[int, ...], tuple[int, ...], int]) -> Any:
    """A view of a dense base, of a copy of one that is not."""
    sizes, strides, offset = view
    if not isinstance(base, np.ndarray):
        dense = base.contiguous()
        return dense.as_strided(sizes, strides, offset + dense.storage_offset())
    flat = np.ascontiguousarray(base).reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, sizes, [s * base.itemsize for s in strides])


def _structure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    parts = [_shown(a) for a in args] + [f"{k}={_shown(v)}" for k, v in kwargs.items()]
    return f"({', '.join(parts)})"


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        inner = ", ".join(map(_shown, value))
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_shown(v)}' for k, v in value.items())}}}"
    return "*"


def _call_text(plan: Plan) -> str:
    args, kwargs = plan.arguments.children
    keywords = [f"{k}={c.describe()}" for k, c in zip(kwargs.keys, kwargs.children, strict=True)]
    return f"({', '.join([*(c.describe() for c in args.children), *keywords])})"
