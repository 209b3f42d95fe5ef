"""A torch program as the face sees it: something that can be captured for given arguments and then called.

source = TorchSource(model)
source.capture(args, kwargs, resources) -> Captured;  source.bind(captured, run) -> Binding
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mlc.errors import DTypeError, ExecutionError, MlcError, ShapeError, UnsupportedError, UsageError
from mlc.frontends.torch.arguments import (
    check_call,
    check_initialised,
    check_leaves,
    check_tracers,
    describe_signature,
    leaf_names,
    positional_names,
    signature_of,
    takes_any_keyword,
)
from mlc.frontends.torch.arrays import to_numpy
from mlc.frontends.torch.binding import Binding, Run, refuse
from mlc.frontends.torch.captured import Captured, TensorGuard, ValueGuard
from mlc.frontends.torch.failures import raised_by_hand, told
from mlc.frontends.torch.functional import is_wrapped
from mlc.frontends.torch.quick_call import MISS, Native
from mlc.frontends.torch.record import capture
from mlc.frontends.torch.stand_in import attribute, unwrapped
from mlc.ir.resources import ResourceStore
from mlc.runtime.artifact.plan import Plan
from mlc.runtime.offload import Block

__all__ = ["MISS", "Binding", "TorchSource"]


def marked_dynamic(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`dynamic_shapes` of arguments marked by `torch._dynamo.mark_dynamic`; None when none is."""

    def dims(leaf: Any) -> Any:
        marks = getattr(leaf, "_dynamo_dynamic_indices", None) if isinstance(leaf, torch.Tensor) else None
        return {d: torch.export.Dim.DYNAMIC for d in marks} if marks else None

    if not any(map(dims, pytree.tree_leaves((args, kwargs)))):  # some containers cannot be made of what `dims` gives
        return None
    found = [pytree.tree_map(dims, list(args)), pytree.tree_map(dims, kwargs)]
    return found[1] if kwargs and not args else tuple(found[0])


class TorchSource:
    """`model`: a module or a function of tensors, or an ExportedProgram. `dynamic_shapes`: as for torch.export."""

    def __init__(self, model: Any, dynamic_shapes: Any = None) -> None:
        model = unwrapped(model)
        self.model = model
        self.dynamic_shapes = dynamic_shapes
        self.exported = type(model).__name__ == "ExportedProgram" and type(model).__module__.startswith("torch.export")
        if not self.exported and not callable(model):
            raise UsageError(
                f"cannot compile a {type(model).__name__}",
                expected="a torch.nn.Module, a function of tensors, or a torch.export.ExportedProgram",
            )
        if isinstance(model, type):
            raise UsageError(f"cannot compile the class {model.__name__}", hint=f"make an instance: {model.__name__}()")
        plain = dynamic_shapes is None or isinstance(dynamic_shapes, dict | tuple | list)
        if not plain and type(dynamic_shapes).__name__ not in ("ShapesCollection", "AdditionalInputs"):
            raise UsageError(
                f"dynamic_shapes is {dynamic_shapes!r}",
                expected="for each argument a dict of its dynamic dimensions, in a tuple or by name",
                hint='dynamic_shapes=({0: "batch"},) leaves the first size of the first argument open',
            )

    @property
    def name(self) -> str:
        """What the user calls the model."""
        return getattr(self.model, "__name__", type(self.model).__name__)

    def attribute(self, name: str, compiled: Any) -> Any:
        """What `compiled`, made from this, answers for the model."""
        return attribute(self.model, name, compiled)

    @property
    def is_fixed(self) -> bool:
        """Captures serve the sizes that were asked for: other shapes are wrong, not new."""
        return self.exported or self.dynamic_shapes is not None

    def example_call(self, example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of a call from `example_inputs`: a tuple or list of arguments, a dict of keywords, one tensor."""
        if isinstance(example_inputs, Mapping):
            return (), dict(example_inputs)
        if isinstance(example_inputs, tuple | list):
            return tuple(example_inputs), {}
        return (example_inputs,), {}

    def capture(self, args: tuple[Any, ...], kwargs: dict[str, Any], resources: ResourceStore) -> Captured:
        """Capture for these arguments; weights go to `resources`."""
        check_tracers()
        shapes = self.dynamic_shapes
        if shapes is None:
            shapes = marked_dynamic(args, kwargs)
        if shapes is None and not self.exported:
            return capture(self.model, args, kwargs, resources)
        from mlc.frontends.torch import exported  # noqa: PLC0415 - torch.export takes 1.2 s to import

        if self.exported:
            return exported.capture_exported(self.model, resources)
        check_call(self.model, args, kwargs)
        check_initialised(self.model)
        check_leaves(leaf_names(self.model, args, kwargs), pytree.tree_leaves((args, kwargs)))
        program = exported.export(self.model, args, kwargs, shapes)
        return exported.capture_exported(program, resources, self.model)

    def capture_open(
        self, known: Sequence[Captured], args: tuple[Any, ...], kwargs: dict[str, Any], resources: ResourceStore
    ) -> Captured | None:
        """One capture for these arguments and all sizes seen so far; None where no size varies.

        UnsupportedError where the model cannot be captured so, whatever the sizes.
        """
        from mlc.frontends.torch import exported, widen  # noqa: PLC0415 - torch.export takes 1.2 s to import

        example = widen.open_sizes(known, args, kwargs, signature_of(self.model))
        if example is None:
            return None
        try:
            program = exported.export(self.model, example.args, example.kwargs, example.dynamic_shapes)
            captured = exported.capture_exported(program, resources, self.model)
            refuse(captured, args, kwargs)
        except ShapeError as error:
            raise UnsupportedError(error.message) from error
        return captured

    def portable(self, captured: Captured, array: Any, state: Any) -> Plan:
        """What `compiled.save` keeps of a capture; `array` and `state` number the arrays and buffers it refers to."""
        from mlc.frontends.torch.portable import Stores, portable  # noqa: PLC0415 - not needed to run a model

        return portable(captured, Stores(array, state))

    def signature(self) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        """Names of arguments by position, all names, and the call as text; the last two empty where any name fits."""
        found = signature_of(self.model) if not self.exported else None
        if found is None or takes_any_keyword(self.model):
            return tuple(positional_names(self.model)) if found else (), (), ""
        return tuple(positional_names(self.model)), tuple(found.parameters), describe_signature(self.model) or ""

    def array_of(self, tensor: torch.Tensor) -> np.ndarray:
        """The present values of a buffer."""
        return to_numpy(tensor)

    def weight_blocks(self, captured: Captured) -> list[Block]:
        """The memory of the weights that a capture rests on."""
        from mlc.frontends.torch.weight_memory import weight_blocks  # noqa: PLC0415 - not needed to run a model

        return weight_blocks(captured)

    def saved(self, known: Sequence[Captured]) -> list[Captured]:
        """The captures that `compiled.save` keeps: those that hold for the model as it is now, one for each kind of
        arguments. UsageError where there is none, UnsupportedError where they cannot stand together."""
        from mlc.frontends.torch.portable import check_together, distinct  # noqa: PLC0415 - not needed to run a model

        found = distinct([c for c in known if c.state.holds()])
        if not found:
            raise UsageError(
                "no compiled version holds for the model as it is now: its weights, mode or attributes changed",
                hint="call it once, then save it",
            )
        check_together(self.model, found)
        return found

    def bind(self, captured: Captured, run: Run, native: Native | None) -> Binding:
        """Join a capture with its compiled code."""
        return Binding(captured, run, native)

    def recapture_failed(
        self, error: MlcError, known: Captured, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> MlcError:
        """The model failed on new arguments where it had worked on others: name the argument that differs."""
        if not isinstance(error, ExecutionError) or raised_by_hand(error.__cause__):
            return error
        try:
            refuse(known, args, kwargs)
        except (ShapeError, DTypeError) as difference:
            expected = f"{difference.expected} (as compiled before)" if difference.expected else None
            return type(difference)(
                f"{difference.message}; {error.message}", where=error.where, expected=expected, hint=error.hint
            )
        return error

    def told(self, error: MlcError) -> tuple[MlcError, BaseException | None]:
        """An error and its cause as the user is to read them."""
        return told(error)

    def is_recording(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether these arguments are those of a model that is being captured right now."""
        return any(is_wrapped(leaf) for leaf in pytree.tree_leaves((args, kwargs)))

    def with_inputs(self, error: UnsupportedError, captured: Captured) -> UnsupportedError:
        """An error of the lowering; where it is about complex numbers, the arguments that brought them in."""
        names = [g for g in captured.guards if isinstance(g, TensorGuard) and g.dtype.is_complex]
        if not names or "complex" not in error.message:
            return error
        given = ", ".join(f"argument '{g.name}' is {g.describe()}" for g in names)
        way = f"pass torch.view_as_real({names[0].name}) and compute on its two parts"
        return UnsupportedError(f"{given}: {error.message}", where=error.where, expected=error.expected, hint=way)

    def variation(self, known: Sequence[Captured]) -> str:
        """Advice about the arguments in which captures differ."""
        values: dict[str, set[str]] = {}
        for captured in known:
            for guard in captured.guards:
                shown = guard.describe() if isinstance(guard, TensorGuard) else repr(guard.value)
                values.setdefault(guard.name, set()).add(shown)
        many = [name for name, seen in values.items() if len(seen) > len(known) // 2]
        numbers = {g.name for c in known for g in c.guards if isinstance(g, ValueGuard)}
        hints = [f"'{n}' varies: pass it as a tensor" for n in many if n in numbers]
        hints += [f"'{n}' varies: say so by dynamic_shapes" for n in many if n not in numbers]
        return "; ".join(hints) or "Compile each use by mlc.compile of its own."

    def refuse(
        self, captured: Captured, args: tuple[Any, ...], kwargs: dict[str, Any], *, for_good: bool = True
    ) -> None:
        """Raise the error that says why these arguments do not fit. Not `for_good`: only where no other capture of
        these open sizes could serve them."""
        if not self.exported:
            check_call(self.model, args, kwargs)
        refuse(captured, args, kwargs, but_conditions=not for_good and not self.exported)

    def describe(self, captured: Captured) -> str:
        """The inputs a capture serves, for `explain()`."""
        parts = [
            f"{g.name}: {g.describe()}" if isinstance(g, TensorGuard) else f"{g.name}={g.value!r}"
            for g in captured.guards
        ]
        return ", ".join(parts) or "no inputs"
