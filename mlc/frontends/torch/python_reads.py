"""What Python does with tensors above dispatch: reading memory, printing, copying; and state hidden in composite ops.

A function mode sees the calls that never reach ATen, or reach it too late:

    x.tolist(), x.numpy(), np.asarray(x), f"{x}"   -->   refused (or answered, when no input decides the value)
    F.batch_norm(training=True)                    -->   its definition, so that running statistics are seen to change
    F.relu6(inplace=True), x.square_(), x &= y     -->   the functional form and a copy
    x.resize_(x.shape)                             -->   x
    self.weight.clone()                            -->   a tensor whose changes in place are seen
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from mlc.frontends.torch.entries import Origin
from mlc.frontends.torch.functional import is_wrapped, unwrap, wrap
from mlc.frontends.torch.leaks import Leaks
from mlc.frontends.torch.lost_views import LostViews
from mlc.frontends.torch.nested import NESTED, makes_nested
from mlc.frontends.torch.problems import GIVES_MEMORY, PRINTS, READS_VALUE
from mlc.frontends.torch.recorder import Recorder

_AS_MEMORY = {
    "data_ptr",
    "storage",
    "untyped_storage",
    "__dlpack__",
    "__reduce_ex__",
    "__cuda_array_interface__",
    "__repr__",
    "__format__",
    "register_hook",
    "backward",
}


_LAYOUT = {"stride", "is_contiguous", "storage_offset", "dim_order"}
_GRADIENTS = {"requires_grad", "is_leaf", "grad_fn", "grad"}


class PythonReads(TorchFunctionMode):
    """See the module."""

    def __init__(self, recorder: Recorder, leaks: Leaks) -> None:
        super().__init__()
        self.recorder = recorder
        self.leaks = leaks
        self.lost = LostViews(recorder.places, recorder.problems)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        recorder = self.recorder
        calls, shared = recorder.calls, recorder.shared
        if name in _LAYOUT:
            recorder.reads_layout = True
        elif name == "__get__" and getattr(func.__self__, "__name__", "") in _GRADIENTS:
            self._asks_gradients(args[0], func.__self__.__name__)
        elif name == "__set__" and getattr(func.__self__, "__name__", "") == "data":  # PyTorch would end the process
            recorder.problems.fail("assigns to Tensor.data", recorder.places.here(), GIVES_MEMORY)
        handler = _HANDLERS.get(name)
        if handler is not None:
            result = handler(self, func, args, kwargs)
        elif name in _AS_MEMORY and args and isinstance(args[0], torch.Tensor):
            shown = name in ("__repr__", "__format__")
            what = f"prints or formats a tensor (Tensor.{name})" if shown else f"uses Tensor.{name}"
            if makes_nested():
                recorder.problems.fail("makes a nested tensor", recorder.places.here(), NESTED)
            recorder.problems.fail(what, recorder.places.here(), PRINTS if shown else READS_VALUE)
        else:
            target = args[0] if _changes(name) else kwargs.get("out")
            if isinstance(target, torch.Tensor):
                with recorder.changing(target):
                    result = func(*args, **kwargs)
            else:
                result = func(*args, **kwargs)
            result = wrap(result) if _made_of_weights(result, args, kwargs) else result
            if recorder.shared > shared or recorder.calls == calls:  # else it is in memory that nothing had before
                result = self.lost.found(name, result, (args, kwargs))
        self.leaks.note(result, recorder.place if recorder.calls > calls else None)
        return result

    def _asks_gradients(self, tensor: torch.Tensor, name: str) -> None:
        """What a weight says is guarded; inputs that require gradients are refused where one is asked."""
        if is_wrapped(tensor):
            self.recorder.asks_gradients = True
        else:
            self.recorder.asked.append((tensor, name))

    def actual(self, tensor: torch.Tensor, what: str) -> torch.Tensor:
        """The tensor behind the wrapper, for a read of its value; refused where an input decides it."""
        tensor = unwrap(tensor)
        recorder = self.recorder
        entry = recorder.entry(tensor)
        if entry.origin is Origin.INPUT or recorder.symbolic:
            recorder.problems.add(f"reads the value of a tensor in Python: {what}", recorder.places.here(), READS_VALUE)
        elif entry.origin is Origin.STATE:
            recorder.note_read(tensor)
        if recorder.deferred is not None:
            recorder.deferred.settle(tensor)
        return tensor


def _made_of_weights(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this is a new tensor computed from unwrapped ones alone, that forward may go on to change in place."""
    if type(result) is not torch.Tensor or is_wrapped(result) or is_functorch_wrapped_tensor(result):
        return False
    given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    if not given or any(map(is_wrapped, given)):
        return False
    memory = result.untyped_storage()._cdata
    return all(t.untyped_storage()._cdata != memory for t in given)


def _changes(name: str) -> bool:
    """Whether a function of this name changes its first argument."""
    return name.endswith("_") and (name[:2] != "__" or name == "__setitem__" or name.startswith("__i"))


def _tolist(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = mode.actual(args[0], "Tensor.tolist()")
    with torch._C._DisableTorchDispatch():
        return tensor.detach().tolist()


def _numpy(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = mode.actual(args[0], "Tensor.numpy()")
    with torch._C._DisableTorchDispatch():
        array = tensor.detach().numpy().copy()
    dtype = args[1] if len(args) > 1 else None
    return array if dtype is None else array.astype(dtype)


def _deepcopy(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, memo = args[0], args[1] if len(args) > 1 else {}
    return memo.setdefault(id(tensor), tensor.clone())


def _batch_norm(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    defaults: dict[str, Any] = {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}
    given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
    if not given["training"] or func is torch.batch_norm:
        return func(*args, **kwargs)
    x, mean, var = given["input"], given["running_mean"], given["running_var"]
    if not x.numel():  # eager leaves the statistics alone
        return x.clone()
    dims = [d for d in range(x.dim()) if d != 1]
    batch_var, batch_mean = torch.var_mean(x, dims, correction=0)
    if mean is not None:
        momentum, count = given["momentum"], x.numel() // x.shape[1]
        mean.mul_(1 - momentum).add_(batch_mean * momentum)
        var.mul_(1 - momentum).add_(batch_var * (momentum * count / max(1, count - 1)))
    return func(x, batch_mean, batch_var, given["weight"], given["bias"], False, 0.0, given["eps"])


def _dropout(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Identity in eval mode, in place or not (the in-place form has no functional twin in ATen)."""
    functional = func.__module__ == "torch.nn.functional"
    default = {"p": 0.5, "training": functional and "alpha" not in func.__name__, "train": True}
    given = {
        **default,
        **dict(zip(("input", "p", "training" if functional else "train"), args, strict=False)),
        **kwargs,
    }
    on = given["training"] if functional else given["train"]
    return func(*args, **kwargs) if on and given["p"] else given["input"]


def _in_place(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Activations whose in-place form has no functional twin in ATen: the functional form, then a copy."""
    name = func.__name__
    given = inspect.signature(getattr(F, name)).bind(*args, **kwargs) if hasattr(F, name) and name[-1] != "_" else None
    if given is not None and not given.arguments.get("inplace"):
        return func(*args, **kwargs)
    if given is not None:
        target = given.arguments["input"]
        given.arguments["inplace"] = False
        return target.copy_(func(*given.args, **given.kwargs))
    return args[0].copy_(getattr(F, name[:-1])(*args, **kwargs))


def _second_name(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x.multiply_(y)`, `x &= y`: the functional form and a copy; eager refuses what does not fit."""
    out = getattr(torch, SECOND_NAMES[func.__name__])(*args, **kwargs)
    if not torch.can_cast(out.dtype, args[0].dtype) or out.shape != args[0].shape:
        return func(*args, **kwargs)
    return args[0].copy_(out)


def _checked(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """In-place ops whose functional form casts any result into the target: eager refuses some, tried on one element."""

    def small(t: torch.Tensor) -> torch.Tensor:
        return torch.ones((1,) * t.dim(), dtype=t.dtype)

    functionalize = torch._C.DispatchKeySet(torch._C.DispatchKey.Functionalize)
    with torch._C._DisableTorchDispatch(), torch._C._ExcludeDispatchKeyGuard(functionalize):
        func(*pytree.tree_map_only(torch.Tensor, small, args), **pytree.tree_map_only(torch.Tensor, small, kwargs))
    with mode.recorder.changing(args[0]):
        return func(*args, **kwargs)


# in-place ops that ATen defines by others, which functionalization does not know -> their functional forms
SECOND_NAMES = {
    "__iand__": "bitwise_and",
    "__ior__": "bitwise_or",
    "__ixor__": "bitwise_xor",
    **{
        f"{name}_": name
        for name in [
            *("absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "clip", "divide"),
            *("fix", "float_power", "greater", "greater_equal", "less", "less_equal", "multiply", "negative"),
            *("not_equal", "square", "subtract", "true_divide"),
        ]
    },
}


def _instance_norm(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {"running_mean": None, "use_input_stats": True}
    names = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats")
    given.update(zip(names, args, strict=False))
    given.update(kwargs)
    if given["running_mean"] is not None and given["use_input_stats"]:
        recorder = mode.recorder
        recorder.problems.add(
            "updates running statistics in instance_norm", recorder.places.here(), "call model.eval()"
        )
    return func(*args, **kwargs)


def _tensor_split(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Places to cut at that are a tensor decide how many results there are."""

    def known(places: Any) -> Any:
        return _tolist(mode, func, (places,), {}) if isinstance(places, torch.Tensor) else places

    given = [known(a) if i == 1 else a for i, a in enumerate(args)]
    return func(*given, **{k: known(v) if k != "input" else v for k, v in kwargs.items()})


def _fill_diagonal(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A select by position; the diagonal of a tall matrix starts again below its end where it wraps."""
    target: torch.Tensor = args[0]
    value: Any = args[1] if len(args) > 1 else kwargs["fill_value"]
    wraps = args[2] if len(args) > 2 else kwargs.get("wrap", False)
    chosen = torch.zeros(target.numel(), dtype=torch.bool)
    width = target.shape[-1]
    end = target.numel() if wraps or target.dim() != 2 else min(target.shape[0], width) * width
    chosen[: end : sum(width**d for d in range(target.dim()))] = True
    return target.copy_(torch.where(chosen.view(target.shape), value, target))


def _getitem(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """x[i] with a 0-d integer tensor, which eager reads in Python: a lookup of one row, whose dimension goes."""
    x, index = args
    items: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
    if not isinstance(x, torch.Tensor) or not any(map(_is_number, items)):
        return func(*args, **kwargs)
    if any(i is Ellipsis for i in items):
        at = next(n for n, i in enumerate(items) if i is Ellipsis)
        taken = sum(i is not None and i is not Ellipsis for i in items)
        items = (*items[:at], *(slice(None),) * (x.dim() - taken), *items[at + 1 :])
    rest: list[Any] = []
    d = 0
    for item in items:
        if _is_number(item):
            wrapped = torch.where(item < 0, item + x.shape[d], item).long()
            x = x.index_select(d, wrapped.view(1)).squeeze(d)
            continue
        rest.append(item)
        d += item is not None
    x = x[tuple(rest)] if rest else x
    if is_wrapped(args[0]) and is_wrapped(x) and all(map(_is_basic, items)):
        mode.lost.note("indexing by a tensor", args[0], x, replaced=True)
    return x


def _resize(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Nothing where the tensor has this size already, whatever its strides."""
    target, *sizes = args
    size = sizes[0] if sizes and not isinstance(sizes[0], int) else sizes
    size = size.shape if isinstance(size, torch.Tensor) else size
    return target if not kwargs and tuple(size) == tuple(target.shape) else func(*args, **kwargs)


def _is_basic(item: Any) -> bool:
    """Whether an item of an index leaves a view."""
    return _is_number(item) or not isinstance(item, torch.Tensor | list | tuple)


def _fill(mode: PythonReads, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An expanded tensor is filled once per element of memory: functionalization would add up the copies."""
    target = args[0]
    part = target
    for d, (n, step) in enumerate(zip(target.shape, target.stride(), strict=True)):
        part = part.narrow(d, 0, 1) if step == 0 and n > 1 else part
    func(part, *args[1:], **kwargs)
    return target


def _is_number(index: Any) -> bool:
    """Whether an index is one integer in a tensor."""
    return isinstance(index, torch.Tensor) and index.dim() == 0 and index.dtype in _INTEGERS


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)

_HANDLERS: dict[str, Callable[[PythonReads, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]] = {
    "tolist": _tolist,
    "numpy": _numpy,
    "__array__": _numpy,
    "__deepcopy__": _deepcopy,
    "__getitem__": _getitem,
    "tensor_split": _tensor_split,
    "resize_": _resize,
    "resize_as_": _resize,
    "fill_": _fill,
    "zero_": _fill,
    "fill_diagonal_": _fill_diagonal,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    **dict.fromkeys(SECOND_NAMES, _second_name),
    **dict.fromkeys(("mul_", "__imul__", "addcmul_", "addcdiv_", "ldexp_", "logit_", "cumsum_", "cumprod_"), _checked),
    **dict.fromkeys(("relu6", "selu", "rrelu", "selu_", "rrelu_"), _in_place),
    **dict.fromkeys(
        (
            "dropout",
            "dropout_",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "alpha_dropout",
            "alpha_dropout_",
            "feature_dropout",
            "feature_dropout_",
            "feature_alpha_dropout",
            "feature_alpha_dropout_",
        ),
        _dropout,
    ),
}
