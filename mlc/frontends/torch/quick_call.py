"""The short path of a call, written out as Python source for one capture.

    captured for f32[1, 4] -> f32[1, 4]   -->

    def call(args, kwargs):
        if len(args) != 1 or kwargs:
            return MISS
        a0, = args
        if not plain(a0):                    # or, asked one by one:
            if type(a0) is not Tensor: return long()(args, kwargs)
            if a0.dtype is not dtype0 or a0.shape != shape0: return MISS
            if a0.requires_grad or a0.is_neg() or not a0.is_cpu …: return long()(args, kwargs)
        if not holds(): return MISS
        …
        o0 = empty_like(model0)
        pointers[0] = a0.data_ptr(); pointers[1] = o0.data_ptr()
        status = forward(frame.table, dims, constants, frame.address, team())
        return o0

It is the overhead of every call of a small model. What it does not serve it leaves to `long`, the call of `Binding`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Final, Protocol

import torch
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

from mlc.frontends.torch.captured import Alias, Captured, Constant, FromResult, Output, TensorGuard
from mlc.frontends.torch.captured_values import same_value
from mlc.frontends.torch.guard_code import like
from mlc.frontends.torch.identities import alike, identities
from mlc.frontends.torch.reuse import LARGE, ReusedMemory

_A_FEW = 4
"""Tensors up to which comparing each with each is faster than a set of them."""


class Native(Protocol):
    """What the short path needs of `mlc.runtime.executable.Executable`."""

    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    is_static: bool
    free_frames: list[Any]
    forward: Callable[..., int]
    no_dims: Any
    constant_table: Any
    same_words: Callable[[int], int] | None

    def new_frame(self) -> Any:
        """Argument table and arena of one call."""
        ...

    def team(self) -> int:
        """Who helps with parallel loops."""
        ...

    def failure(self, status: int) -> Exception:
        """The error that a status other than 0 stands for."""
        ...


class Miss:
    """Type of `MISS`."""


MISS: Final = Miss()

Call = Callable[[tuple[Any, ...], dict[str, Any]], Any]


def quick_call(captured: Captured, native: Native, long: Callable[[], Call | None]) -> Call | None:
    """The short path of calls of `captured`, in front of the one that `long` refers to (weakly: weights that nobody
    needs any more must not wait for the cycle collector). None where it cannot serve any: dynamic sizes, buffers
    written back, outputs that are weights or views of them or of each other, nested arguments, captures under autocast.
    """
    names = _argument_names(captured)
    results = [r for r in captured.outputs if isinstance(r, FromResult)]
    if (
        names is None
        or captured.symbols
        or captured.mutations
        or (captured.context is not None and captured.context.autocast)
        or captured.layouts not in (None, contiguous_layouts(captured))
        or not native.is_static
        or not all(map(_is_at_hand, captured.outputs))
        or len(results) != len(native.outputs)
    ):
        return None
    space: dict[str, Any] = {
        "MISS": MISS,
        "long": long,
        "Tensor": torch.Tensor,
        "holds": captured.state.quicker(native.same_words),
        "modes": torch._C._len_torch_dispatch_stack,
        "tracing": torch._C._is_tracing,
        "autocast": torch._C._is_any_autocast_enabled,
        "default_dtype": torch.get_default_dtype,
        "wanted_default": captured.context and captured.context.default_dtype,
        "grad_enabled": torch.is_grad_enabled,
        "forward_ad": forward_ad,
        "empty_like": torch.empty_like,
        "same_value": same_value,
        "frames": native.free_frames,
        "new_frame": native.new_frame,
        "forward": native.forward,
        "dims": ctypes.addressof(native.no_dims),  # numbers pass faster than arrays
        "constants": ctypes.addressof(native.constant_table),
        "team": native.team,
        "failure": native.failure,
        "unflatten": pytree.tree_unflatten,
        "out_spec": captured.out_spec,
    }
    lines = _arguments(names, captured.keywords_in_order)
    lines += [*_checks(captured, space), *_run(captured, results, native, space)]
    source = "def call(args, kwargs):\n" + "\n".join(f"    {line}" for line in lines)
    exec(compile(source, "<mlc call>", "exec"), space)
    return space.pop("call")


def _is_at_hand(output: Output) -> bool:
    """Whether the short path has it: a result, a value that is no tensor, an argument or a view of one."""
    match output:
        case FromResult():
            return True
        case Constant(value=value):
            return not isinstance(value, torch.Tensor)
        case Alias(base=base):
            return isinstance(base, int)
        case _:
            return False


def contiguous_layouts(captured: Captured) -> tuple[tuple[int, ...], ...]:
    """Strides of inputs without gaps, in the order of their elements."""
    shapes = [g.shape for g in captured.guards if isinstance(g, TensorGuard)]
    return tuple(tuple(math.prod(max(n or 0, 1) for n in s[d + 1 :]) for d in range(len(s))) for s in shapes)


def _argument_names(captured: Captured) -> tuple[int, list[str]] | None:
    """How many arguments come by position, and the names of the others; None when one is a container."""
    args, kwargs = captured.in_spec.children()
    if not all(child.is_leaf() for child in (*args.children(), *kwargs.children())):
        return None
    return args.num_children, list(kwargs.context)


def _arguments(names: tuple[int, list[str]], in_order: bool) -> list[str]:
    count, keywords = names
    lines = [f"if len(args) != {count} or " + (f"len(kwargs) != {len(keywords)}:" if keywords else "kwargs:")]
    lines.append("    return MISS")
    if count:
        lines.append(f"{''.join(f'a{i}, ' for i in range(count))}= args")
    if keywords and in_order:
        lines += [f"if tuple(kwargs) != {tuple(keywords)!r}:", "    return MISS"]
    if keywords:
        lines.append("try:")
        lines += [f"    a{count + i} = kwargs[{name!r}]" for i, name in enumerate(keywords)]
        lines += ["except KeyError:", "    return MISS"]
    return lines


def _checks(captured: Captured, space: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    examples: dict[str, torch.Tensor] = {}
    classes: list[str] = []
    checks: list[str] = []
    for i, guard in enumerate(captured.guards):
        a = f"a{i}"
        if isinstance(guard, TensorGuard):
            space[f"dtype{i}"], space[f"shape{i}"] = guard.dtype, torch.Size(guard.shape)  # pyright: ignore[reportArgumentType]
            examples[a] = torch.empty(space[f"shape{i}"], dtype=guard.dtype, device="cpu")
            classes += [f"    if type({a}) is not Tensor:", "        return long()(args, kwargs)"]
            checks += [f"        if {a}.dtype is not dtype{i} or {a}.shape != shape{i}:", "            return MISS"]
            checks += [f"        if not {a}.is_contiguous() or {a}.is_neg() or not {a}.is_cpu or {a}.requires_grad:"]
            checks += ["            return long()(args, kwargs)"]
        else:
            space[f"value{i}"] = guard.value
            lines += [f"if {a} is not value{i} and not same_value(value{i}, {a}):", "    return MISS"]
    if examples:
        # mostly one call in C++ says yes; it says no, too, to inference tensors and where one tensor is given twice
        space["plain"] = like([*examples.values()])
        lines += [f"if not plain({', '.join(examples)}):", *classes, "    try:", *checks]
        lines += [
            "    except (RuntimeError, TypeError):",
            "        return long()(args, kwargs)",
        ]  # nested, sparse, functorch
    lines += _identities(captured, space)
    # another model is being captured, fake tensors are about, or a tracer follows PyTorch's ops
    odd = ["modes() or tracing() or forward_ad._current_level >= 0"]
    if captured.context is not None:
        odd += ["autocast()", "default_dtype() is not wanted_default"]
        if captured.context.gradients is not None:
            odd.append(f"grad_enabled() is not {captured.context.gradients}")
    lines += [f"if {' or '.join(odd)}:", "    return long()(args, kwargs)"]
    return [*lines, "if not holds():", "    return MISS"]


def _identities(captured: Captured, space: dict[str, Any]) -> list[str]:
    """Which arguments are one tensor, and which are not, where it makes a difference."""
    served = captured.identities
    if served is None:
        return []
    (first, *others) = served
    wrong = [f"a{i} is not a{k}" for i, k in enumerate(first) if i != k]
    for group in alike(captured.guards):
        apart = [i for i in group if first[i] == i]
        if len(apart) <= _A_FEW:
            wrong += [f"a{i} is a{k}" for i, k in combinations(apart, 2)]
        else:
            wrong.append(f"len({{{', '.join(f'id(a{i})' for i in apart)}}}) != {len(apart)}")
    condition = " or ".join(wrong)
    if others:
        space["identities"], space["served"] = identities, frozenset(served)
        given = "".join(f"a{i}, " for i in range(len(captured.guards)))
        condition = f"({condition}) and identities(({given})) not in served"
    return [f"if {condition}:", "    return MISS"]


def _run(captured: Captured, results: Sequence[Any], native: Native, space: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for k, result in enumerate(results):
        spec = native.outputs[result.index]
        shape = spec.shape
        if spec.dtype.itemsize * math.prod(shape) >= LARGE:
            space[f"take{k}"] = ReusedMemory(shape, result.dtype).take
            lines.append(f"o{k} = take{k}()")
            continue
        with torch.inference_mode(False), torch.no_grad():
            space[f"model{k}"] = torch.empty(shape, dtype=result.dtype, device="cpu")  # pyright: ignore[reportArgumentType]
        lines.append(f"o{k} = empty_like(model{k})")
    lines += ["try:", "    frame = frames.pop()", "except IndexError:", "    frame = new_frame()"]
    lines.append("pointers = frame.pointers")
    if captured.inputs:
        lines.append("try:")
        for i, leaf in enumerate(captured.inputs):
            lines.append(f"    pointers[{i}] = address = a{leaf}.data_ptr()")
            if 0 not in native.inputs[i].shape:
                lines += ["    if not address:", "        return long()(args, kwargs)"]  # its memory was freed
        lines += ["except RuntimeError:", "    return long()(args, kwargs)"]  # a wrapper without memory of its own
    first = len(captured.inputs)
    lines += [f"pointers[{first + r.index}] = o{k}.data_ptr()" for k, r in enumerate(results)]
    lines.append("status = forward(frame.table, dims, constants, frame.address, team())")
    lines.append("frames.append(frame)")
    lines += ["if status:", "    raise failure(status)"]
    given = _given(captured, space)
    if captured.out_spec.is_leaf():
        return [*lines, f"return {given[0]}"]
    outputs = ", ".join(given)
    if captured.out_spec.type is tuple and all(c.is_leaf() for c in captured.out_spec.children()):
        return [*lines, f"return ({outputs},)" if outputs else "return ()"]
    return [*lines, f"return unflatten([{outputs}], out_spec)"]


def _given(captured: Captured, space: dict[str, Any]) -> list[str]:
    """Each output as an expression."""
    given: list[str] = []
    for output in captured.outputs:
        k = len(given)
        match output:
            case Alias(base=int() as leaf, views=()):
                given.append(f"a{leaf}")
            case Alias(base=int() as leaf):
                space[f"view{k}"] = output.build
                given.append(f"view{k}(a{leaf})")
            case Constant():
                space[f"constant{k}"] = output.value
                given.append(f"constant{k}")
            case _:
                given.append(f"o{sum(isinstance(o, FromResult) for o in captured.outputs[:k])}")
    return given
