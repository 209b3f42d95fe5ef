"""The recorder: a dispatch mode that appends every ATen op of a run to `@forward`.

    with Recorder(...): model(x)      -->   %0 = torch.aten.conv2d %arg0, …
                                            %1 = torch.aten.relu %0

It sits below functionalization, so what it sees is functional and composite ops come whole. Arithmetic that shows
nothing new is left out until somebody looks at a value (`deferred.py`). Values are tracked by tensor identity, weakly:
an intermediate that was computed dies as soon as eager would let it die. What is computed from nothing but Python
numbers (masks, position ids) is folded into literals on the way, since its value is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import TensorWeakRef

from mlc.dialects.aten_schema import has_schema, schema
from mlc.frontends.torch.arrays import element_type
from mlc.frontends.torch.decompose import decomposition, may_differ
from mlc.frontends.torch.deferred import Deferred, tensors
from mlc.frontends.torch.emit import Emitter, op_name, tensor_type
from mlc.frontends.torch.entries import Entry, Origin, View
from mlc.frontends.torch.functional import call_functionally
from mlc.frontends.torch.graph import UNKNOWN, Location, Value
from mlc.frontends.torch.nested import NESTED, makes_nested
from mlc.frontends.torch.normalise import NORMALISERS, is_random, is_switched
from mlc.frontends.torch.places import Places
from mlc.frontends.torch.plans import Plans
from mlc.frontends.torch.problems import (
    CLASSES,
    CONTROL_FLOW,
    DATA_SIZE,
    OUTPUT_SIZE,
    RANDOM,
    READS_VALUE,
    TRAINING,
    Problems,
)

FOLD_LIMIT = 4 << 20
_ABOUT_TYPES = ("aten::result_type", "aten::sym_")
_DATA_SIZED = "makes a tensor whose size depends on the values of another: {}"
_UNINITIALISED = ("aten.empty", "aten.new_empty")


class Recorder(TorchDispatchMode):
    """See the module. `state_names` names weights by `id`; `symbolic`: sizes may be symbols and tensors fake."""

    def __init__(
        self,
        emitter: Emitter,
        places: Places,
        problems: Problems,
        state_names: dict[int, str],
        *,
        symbolic: bool = False,
        with_real_tensors: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        super().__init__()
        self.emitter = emitter
        self.places = places
        self.problems = problems
        self.symbolic = symbolic
        self._with_real_tensors = with_real_tensors
        self.real: dict[int, torch.Tensor] = {}  # what fake tensors of an exported graph stand for
        self.externals: list[Entry] = []
        self._literals: dict[tuple[Any, ...], Value] = {}
        self.values_read: set[int] = set()
        self.entries_read: list[Entry] = []
        self.reads_layout = False
        self.asks_gradients = False
        self.asked: list[tuple[torch.Tensor, str]] = []
        self.gradients_matter = False
        self._target: torch.Tensor | None = None
        self._names = state_names
        self.entries: dict[int, Entry] = {}  # by id of the tensor
        watched = symbolic or torch._C._len_torch_dispatch_stack()  # by a mode of the caller's, which sees every op
        self.deferred = None if watched else Deferred()
        self.plans = None if watched else Plans(self)
        self.calls = 0
        self.shared = 0  # of these, such that may have given memory that was there before
        self.place = UNKNOWN

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import torch._dynamo (1.7 s) to hide this mode from a compiler that never sees it."""
        return False

    # entries

    def add_input(self, tensor: torch.Tensor, value: Value) -> Entry:
        """Declare an argument of @forward."""
        entry = Entry(Origin.INPUT, value, TensorWeakRef(tensor))
        self.entries[id(tensor)] = entry
        return entry

    def entry(self, tensor: torch.Tensor) -> Entry:
        """What is known of a tensor; one never seen is a weight or another tensor from outside."""
        found = self.entries.get(id(tensor))
        if found is not None and found.ref is not None and found.ref.ref() is tensor:
            return found
        return self._external(tensor)

    def value(self, tensor: torch.Tensor, location: Location) -> Value:
        """The value of a tensor, making its literal at first need."""
        return self.value_of(self.entry(tensor), location)

    def value_of(self, entry: Entry, location: Location) -> Value:
        """The value of an entry, making its literal at first need."""
        if entry.value is None:
            kept = entry.kept
            assert kept is not None
            if entry.origin is Origin.MADE:
                entry.value = self.emitter.small_literal(kept, location)
                entry.kept = None
            else:
                entry.value = self._literal(entry, location)
        return entry.value

    def depends_on_inputs(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor's elements may differ from call to call, as far as is known while recording."""
        return self.symbolic or self.entry(tensor).origin is Origin.INPUT

    def note_read(self, tensor: torch.Tensor) -> None:
        """The capture rests on the value of this tensor, which no input decides."""
        self.values_read.add(id(tensor))
        self.entries_read.append(self.entry(tensor))

    def real_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The weight that a fake tensor stands for; a real tensor itself."""
        return self.real.get(id(tensor), tensor)

    def _external(self, tensor: torch.Tensor) -> Entry:
        real = self.real_of(tensor)
        name = self._names.get(id(real)) or "constant"
        refuse_exotic(real, f"'{name}'", self.problems, self.places.here())
        entry = Entry(Origin.STATE, ref=TensorWeakRef(tensor), kept=tensor, name=name)
        self.entries[id(tensor)] = entry
        self.externals.append(entry)
        return entry

    def _literal(self, entry: Entry, location: Location) -> Value:
        """A weight's literal; tied weights share one."""
        assert entry.kept is not None
        real = self.real_of(entry.kept)
        bits = real.is_conj(), real.is_neg()  # of the same memory, read in another way
        key = (real.data_ptr() or id(real), tuple(real.shape), real.stride(), real.dtype, bits)
        if key not in self._literals:
            with self._with_real_tensors():
                self._literals[key] = self.emitter.literal(real, entry.name, location)
        return self._literals[key]

    # recording

    def made(
        self,
        tensor: torch.Tensor,
        origin: Origin,
        value: Value,
        view: View | None,
        look: tuple[Any, ...] | None = None,
    ) -> None:
        """`tensor` is the result of what was just recorded."""
        self.entries[id(tensor)] = Entry(origin, value, TensorWeakRef(tensor), view=view, look=look)

    @contextmanager
    def changing(self, target: torch.Tensor) -> Iterator[None]:
        """The user's call inside changes `target` in place: what replaces that is laid out in memory as it was.

        Other views of the same memory are taken anew, of the tensor that functionalization puts in its place.
        """
        before, self._target = self._target, target
        try:
            yield
        finally:
            self._target = before

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.calls += 1
        self.place = location = self.places.here()
        plans = self.plans if self._target is None else None
        key = plans.key(func, args, kwargs) if plans is not None else None
        if plans is not None and key is not None:
            plan = plans.known.get(key)
            if plan is not None:
                return plans.follow(plan, func, args, location)
        self.shared += 1
        before = len(self.emitter.graph.nodes)
        result = self._looked_at(func, args, kwargs, location)
        if plans is not None and key is not None:
            plans.learn(key, func, args, result, before)
        return result

    def _looked_at(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], location: Location) -> Any:
        """Call and record an op that nothing is known of."""
        if not isinstance(func, torch._ops.OpOverload):
            self.problems.fail(f"uses the control-flow op '{func}'", location, CONTROL_FLOW)
        if func._schema.is_mutable and func.namespace != "profiler":
            self._refuse_mutation(func, args, kwargs, location)
        if (definition := decomposition(func)) is not None:
            if op_name(func) == "aten.one_hot" and self._shape_depends(func, args, kwargs):
                self.problems.fail(_DATA_SIZED.format(op_name(func)), location, CLASSES)
            return self._taken_apart(func, definition, args, kwargs)
        inputs = [] if self._is_fresh(func, args) else [self.entry(t) for t in tensors(args, kwargs)]
        origin = max((e.origin for e in inputs), default=Origin.MADE)
        if is_random(func, args, kwargs):
            way = TRAINING if is_switched(func) else RANDOM
            self.problems.add(f"draws random numbers: {op_name(func)}", location, way)
        result = self._called(func, args, kwargs) if origin is Origin.INPUT else func(*args, **kwargs)
        if func._schema.name.replace("::", ".").startswith(_UNINITIALISED):
            result.zero_()
        if self._target is not None and isinstance(result, torch.Tensor) and not self._is_known(result):
            result = self._laid_out_as(self._target, result, args)
        self._note_reads(func, args, kwargs, result, origin, location)
        if func._schema.name == "aten::_assert_async":
            condition, *said = args
            message = said[0] if said else "the assertion does not hold"
            self.emitter.call("aten._assert_async.msg", [self.value(condition, location), message], [], location)
        elif isinstance(result, torch.Tensor) or _has_tensors(result):
            self._record(func, args, kwargs, result, origin, location)
        return result

    def _called(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.deferred is not None:
            return self.deferred.run(func, args, kwargs)
        # PyTorch finds some open sizes by definitions in Python, whose ops need theirs
        with enable_python_dispatcher() if self.symbolic else nullcontext():
            return func(*args, **kwargs)

    def _taken_apart(
        self, func: torch._ops.OpOverload, definition: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What an op is made of, recorded; eager's own kernel says first what it refuses, and which dtypes it gives."""
        kinds = None
        if not self.symbolic and may_differ(func):
            made = pytree.tree_leaves(self._called(func, args, kwargs))
            kinds = [t.dtype for t in made if isinstance(t, torch.Tensor)]
        with self:
            found = call_functionally(definition, args, kwargs)
            leaves, spec = pytree.tree_flatten(found)
            if kinds is None or [t.dtype for t in leaves if isinstance(t, torch.Tensor)] == kinds:
                return found
            left = iter(kinds)
            return pytree.tree_unflatten([t.to(next(left)) if isinstance(t, torch.Tensor) else t for t in leaves], spec)

    def _record(
        self,
        func: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        origin: Origin,
        location: Location,
    ) -> None:
        outputs = [result] if isinstance(result, torch.Tensor) else list(tensors((result,), {}))
        for out in outputs:
            refuse_exotic(out, f"the result of {op_name(func)}", self.problems, location)
        if origin is Origin.MADE and not self.symbolic and sum(o.nbytes for o in outputs) <= FOLD_LIMIT:
            for out in outputs:
                self.entries[id(out)] = Entry(Origin.MADE, ref=TensorWeakRef(out), kept=out)
            return
        new = [o for o in outputs if not self._is_known(o)]
        if not new:
            return
        values = self._emit(func, args, kwargs, result, outputs, location)
        views = self._views(func, args, kwargs, result, outputs)
        for out, value, view in zip(outputs, values, views, strict=True):
            self.made(out, origin, value, view)

    def _emit(
        self,
        func: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        outputs: list[torch.Tensor],
        location: Location,
    ) -> Sequence[Value]:
        bound = bind(func, args, kwargs)
        name = op_name(func)
        normalise = NORMALISERS.get(name)
        if normalise is not None:
            made = normalise(self, bound, outputs, location)
            if made is not None:
                return made
        name = self._numbers(name, bound, location)
        operands = [self._operand(a, location) for a in bound]
        if isinstance(result, list):
            self.problems.fail(f"uses {name}, which returns a list of tensors", location, "use another op")
        types = [tensor_type(o) for o in outputs]
        return self.emitter.call(name, operands, types, location)

    def _numbers(self, name: str, bound: list[Any], location: Location) -> str:
        """Python numbers in the place of tensors (`x * 0.5` is mul.Tensor): the op's Scalar form, or 0-d literals."""
        if not has_schema(name):
            return name
        wanted = schema(name).arguments
        numbers = [
            i
            for i, a in enumerate(wanted)
            if a.type.kind == "Tensor" and isinstance(bound[i], bool | int | float | torch.SymInt)
        ]
        if not numbers:
            return name
        scalar_form = name.replace(".Tensor", ".Scalar") if ".Tensor" in name else f"{name}.Scalar"
        if numbers == [1] and has_schema(scalar_form):
            same = [a.name for a in schema(scalar_form).arguments] == [a.name for a in wanted]
            if same:
                return scalar_form
        others = [b for b in bound if isinstance(b, torch.Tensor)]
        for i in numbers:
            dtype = torch.result_type(others[0], bound[i]) if others else None
            with self._with_real_tensors():
                bound[i] = self.emitter.small_literal(torch.tensor(bound[i], dtype=dtype), location)
        return name

    def _operand(self, value: Any, location: Location) -> Any:
        if isinstance(value, torch.Tensor):
            return self.value(value, location)
        if isinstance(value, list | tuple):
            return [self._operand(v, location) for v in value]
        return value

    def _views(
        self,
        func: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        outputs: list[torch.Tensor],
    ) -> list[View | None]:
        """For each output, how it is a view of the only tensor argument; None where it has its own memory."""
        positions = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
        if self.symbolic or len(positions) != 1 or len(list(tensors(args, kwargs))) != 1:
            return [None] * len(outputs)
        position = positions[0]
        source = args[position]
        storage = _storage(source)
        base = self.entry(source)
        blank = (*args[:position], None, *args[position + 1 :])
        several = not isinstance(result, torch.Tensor)
        return [
            View(base, func, blank, kwargs, position, i if several else None) if _storage(o) == storage else None
            for i, o in enumerate(outputs)
        ]

    def _laid_out_as(self, model: torch.Tensor, tensor: torch.Tensor, args: Sequence[Any]) -> torch.Tensor:
        """`tensor`, or a copy of it, with the strides of `model`, where both are of one kind; views of `args` stay."""
        if model.is_contiguous() or tensor.stride() == model.stride() or 0 in model.stride():
            return tensor
        if tensor.shape != model.shape or tensor.dtype != model.dtype:
            return tensor
        if any(_storage(tensor) == _storage(t) for t in tensors(args, {})):
            return tensor
        if self.deferred is not None:
            self.deferred.settle(tensor)
        return torch.empty_strided(model.shape, model.stride(), dtype=model.dtype).copy_(tensor)

    def _is_fresh(self, func: torch._ops.OpOverload, args: tuple[Any, ...]) -> bool:
        """Whether this is `torch.tensor([...])` handing in what it has just made."""
        if not func._schema.name.startswith("aten::lift") or self.symbolic:
            return False
        return not self._is_known(args[0]) and id(args[0]) not in self._names

    def _is_known(self, tensor: torch.Tensor) -> bool:
        found = self.entries.get(id(tensor))
        return found is not None and found.ref is not None and found.ref() is tensor

    # refusals

    def _refuse_mutation(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], location: Location
    ) -> None:
        for value, argument in zip(bind(func, args, kwargs), func._schema.arguments, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, torch.Tensor):
                name = self.entry(value).name or "a tensor"
                self.problems.fail(
                    f"changes '{name}' in place ({op_name(func)}), which is neither an input nor a buffer",
                    location,
                    "register it with register_buffer(), or compute a new tensor",
                )

    def _note_reads(
        self,
        func: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        origin: Origin,
        location: Location,
    ) -> None:
        """Refuse what makes Python depend on values: numbers and flags read, shapes that depend on data."""
        reads = isinstance(result, bool | int | float | complex) and bool(list(tensors(args, kwargs)))
        reads = reads and not func._schema.name.startswith(_ABOUT_TYPES)
        name = op_name(func)
        sized = torch.Tag.dynamic_output_shape in func.tags or name == "aten.repeat_interleave.self_Tensor"
        sizes = sized and self._shape_depends(func, args, kwargs)
        if not reads and not sizes:
            return
        if origin is Origin.INPUT or self.symbolic:
            if sizes:
                way = OUTPUT_SIZE if name.startswith("aten.repeat_interleave") else DATA_SIZE
                self.problems.add(_DATA_SIZED.format(name), location, way)
            else:
                self.problems.add(f"reads the value of a tensor in Python: {name}", location, READS_VALUE)
        elif origin is Origin.STATE:
            for tensor in tensors(args, kwargs):
                self.note_read(tensor)

    def _shape_depends(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        name = op_name(func)
        if name.startswith(("aten.index.", "aten.index_put", "aten._index_put")):
            masks = [t for t in args[1] if t is not None and t.dtype in (torch.bool, torch.uint8)]
            return any(self.entry(t).origin is Origin.INPUT for t in masks) and name == "aten.index.Tensor"
        if name == "aten.one_hot":
            return bind(func, args, kwargs)[1] == -1 and self.depends_on_inputs(args[0])
        if name == "aten.repeat_interleave.self_Tensor":
            origin = self.entry(args[1]).origin
            if kwargs.get("output_size") is None and origin is Origin.STATE:
                self.note_read(args[1])
            return kwargs.get("output_size") is None and origin is Origin.INPUT
        return name != "aten.repeat_interleave.Tensor" or kwargs.get("output_size") is None


def bind(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments in schema order, defaults filled in; where a tensor lives is left open: it is always the CPU."""
    out = list(args)
    for argument in func._schema.arguments[len(args) :]:
        placement = argument.name in ("device", "layout", "pin_memory")
        out.append(None if placement else kwargs.get(argument.name, argument.default_value))
    return out


def _has_tensors(result: Any) -> bool:
    return isinstance(result, list | tuple) and any(isinstance(r, torch.Tensor) for r in result)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def refuse_exotic(tensor: torch.Tensor, what: str, problems: Problems, location: Location) -> None:
    """Refuse tensors that are not dense CPU tensors of a plain dtype."""
    if tensor.device.type != "cpu" and makes_nested():
        problems.fail("makes a nested tensor", location, NESTED)
    if tensor.device.type != "cpu":
        problems.fail(f"has {what} on device '{tensor.device}'", location, "keep model and inputs on the CPU")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        kind = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else str(tensor.layout)
        problems.fail(f"has {what}, which is not a dense tensor ({kind})", location, "make it dense")
    element_type(tensor.dtype)
