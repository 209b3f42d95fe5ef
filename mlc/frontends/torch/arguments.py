"""Mistakes in the arguments of a call, told as such: before the model is run on them, and again where a call needs it.

model(x, msk=m)       -->   UsageError: forward() got an unexpected keyword argument 'msk'
                              expected: forward(x, mask=None)
                              hint: did you mean 'mask'?
model(x.to_sparse())  -->   UnsupportedError: argument 'x' is a sparse tensor (torch.sparse_coo)
                              hint: pass x.to_dense()
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from mlc.errors import DTypeError, MlcError, UnsupportedError, UsageError
from mlc.frontends.torch.arrays import ELEMENT_TYPES, numpy_dtype
from mlc.frontends.torch.captured_values import is_constant

_DTYPES = ", ".join(str(d).removeprefix("torch.") for d in ELEMENT_TYPES)


def positional_names(model: Callable[..., Any]) -> Iterator[str]:
    """Names of the arguments that may be given by position."""
    signature = signature_of(model)
    for parameter in signature.parameters.values() if signature else ():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            yield parameter.name


def leaf_names(model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """What errors call the leaves of the arguments: `x`, `mask`, `inputs['ids']`."""
    given = list(positional_names(model))[: len(args)]
    given += [f"args[{i}]" for i in range(len(given), len(args))]
    names: list[str] = []
    for name, value in [*zip(given, args, strict=True), *kwargs.items()]:
        names += [name + pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(value)[0]]
    return names


def signature_of(model: Callable[..., Any]) -> inspect.Signature | None:
    """The signature a call of `model` must fit; None where Python does not know it."""
    try:
        return inspect.signature(model.forward if isinstance(model, torch.nn.Module) else model)
    except (TypeError, ValueError):
        return None


def takes_any_keyword(model: Callable[..., Any]) -> bool:
    """Whether the program can see the order of its keyword arguments."""
    signature = signature_of(model)
    return signature is None or any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())


def check_call(model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse missing, surplus and misspelt arguments."""
    signature = signature_of(model)
    if signature is None or getattr(model, "_forward_pre_hooks", None):  # a hook may change the arguments
        return
    if isinstance(model, torch.nn.Module) and type(model).__call__ is not torch.nn.Module.__call__:
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        named = [n for n, p in signature.parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        near = [m for k in kwargs if k not in named for m in difflib.get_close_matches(k, named, n=1)]
        raise UsageError(
            f"{call_name(model)}() {error}",
            expected=describe_signature(model),
            hint=f"did you mean '{near[0]}'?" if near else None,
        ) from None


def check_tracers() -> None:
    """Refuse calls under a tracer of PyTorch's ops: it does not see native code and would keep results as constants."""
    tracer = None
    if torch._C._is_tracing():
        tracer = "torch.jit.trace"
    elif any(type(mode).__name__ == "ProxyTorchDispatchMode" for mode in _get_current_dispatch_mode_stack()):
        tracer = "make_fx or torch.export"
    if tracer is not None:
        raise UnsupportedError(
            f"a compiled model is called inside of {tracer}", hint="trace the model that it was compiled from"
        )


def check_initialised(model: Callable[..., Any]) -> None:
    """Refuse lazy modules that have not seen an input: their first run makes their weights."""
    modules = model.named_modules() if isinstance(model, torch.nn.Module) else ()
    for path, module in modules:
        for name, weight in module._parameters.items():
            if weight is not None and torch.nn.parameter.is_lazy(weight):
                raise UsageError(
                    f"the parameter '{path + '.' if path else ''}{name}' is not initialised",
                    expected="a model with weights",
                    hint="lazy modules make their weights in their first run: call model(*inputs) once, then compile",
                )


def call_name(model: Callable[..., Any]) -> str:
    """What the user calls the thing that is called."""
    if isinstance(model, torch.nn.Module):
        return f"{type(model).__name__}.forward"
    return getattr(model, "__name__", type(model).__name__)


def describe_signature(model: Callable[..., Any]) -> str | None:
    """`Net.forward(x, mask=None)`."""
    signature = signature_of(model)
    if signature is None:
        return None
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return f"{call_name(model)}{signature.replace(parameters=plain, return_annotation=signature.empty)}"


def describe_value(value: Any) -> str:
    """`float32[4, 6]` of a tensor or array, the type of anything else."""
    if isinstance(value, torch.Tensor | np.ndarray):
        try:
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        except RuntimeError:  # nested tensors have no shape
            return type(value).__name__
    return type_name(value)


def type_name(value: object) -> str:
    """`a float`, `an Embedding`."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def check_leaves(names: Sequence[str], leaves: Sequence[Any]) -> None:
    """Refuse arguments that no compiled code can take; several at once when there are several."""
    found = [e for e in map(refusal, names, leaves) if e is not None]
    if len(found) == 1:
        raise found[0]
    if found:
        hints = "; ".join(dict.fromkeys(e.hint for e in found if e.hint))
        raise UnsupportedError(
            f"{len(found)} arguments cannot be compiled:\n" + "\n".join(f"  {e.message}" for e in found), hint=hints
        )


def refusal(name: str, value: Any) -> MlcError | None:
    """Why this argument cannot be an input of compiled code; None when it can."""
    if isinstance(value, torch.Tensor):
        return _tensor_refusal(name, value)
    if isinstance(value, np.ndarray):
        return _array_refusal(name, value)
    if is_constant(value):
        return None
    return UnsupportedError(
        f"argument '{name}' is {type_name(value)}",
        expected="tensors, arrays, numbers, strings and containers of them",
        hint="pass what the model reads of it as arguments of their own; torch.utils._pytree knows dict, list, tuple, "
        "namedtuple and registered classes",
    )


def _tensor_refusal(name: str, tensor: torch.Tensor) -> MlcError | None:
    if tensor.is_nested:
        return UnsupportedError(
            f"argument '{name}' is a nested tensor",
            expected="a dense tensor",
            hint=f"pass torch.nested.to_padded_tensor({name}, 0.0), and the lengths or a mask",
        )
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return UnsupportedError(
            f"argument '{name}' is {type_name(tensor)}, a subclass of torch.Tensor",
            expected="a plain torch.Tensor",
            hint=f"pass {name}.as_subclass(torch.Tensor), or the plain tensors it is made of",
        )
    if is_functorch_wrapped_tensor(tensor):
        return UnsupportedError(
            f"argument '{name}' is inside a transform of torch.func (vmap, grad, jvp, …)",
            expected="a tensor of its own",
            hint="call the compiled model outside of the transform; for vmap, compile the model for the batch",
        )
    if tensor.is_quantized:
        return UnsupportedError(
            f"argument '{name}' is a quantized tensor ({tensor.dtype})",
            expected="a tensor of plain numbers",
            hint=f"pass {name}.dequantize() or {name}.int_repr()",
        )
    if tensor.layout is not torch.strided:
        kind = "an MKL-DNN" if str(tensor.layout) == "torch._mkldnn" else "a sparse"
        return UnsupportedError(
            f"argument '{name}' is {kind} tensor ({tensor.layout})",
            expected="a dense tensor",
            hint=f"pass {name}.to_dense()",
        )
    if tensor.device.type != "cpu":
        way = "pass a tensor with data" if tensor.is_meta else f"pass {name}.cpu()"
        return DTypeError(f"argument '{name}' is on device '{tensor.device}'", expected="device 'cpu'", hint=way)
    if not tensor.data_ptr() and tensor.numel():
        return UsageError(f"argument '{name}' has no memory: its storage was freed", expected="a tensor with data")
    if tensor.dtype not in ELEMENT_TYPES:
        return DTypeError(
            f"argument '{name}' has dtype {tensor.dtype}",
            expected=f"one of: {_DTYPES}",
            hint=f"pass {name}.to(…)",
        )
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None:
        return UnsupportedError(
            f"argument '{name}' carries a tangent of forward-mode differentiation",
            hint="compiled code does not differentiate: call the model itself there",
        )
    return None


def _array_refusal(name: str, array: np.ndarray) -> MlcError | None:
    if isinstance(array, np.ma.MaskedArray):
        return UnsupportedError(
            f"argument '{name}' is a masked array", expected="a plain array", hint=f"pass {name}.filled(0)"
        )
    if numpy_dtype(array) is not None:
        return None
    native = array.dtype.newbyteorder("=")
    return DTypeError(
        f"argument '{name}' is an array of {array.dtype}",
        expected=f"one of: {_DTYPES}",
        hint=f"pass {name}.astype({str(native)!r}): its bytes are in another order than this machine's"
        if native != array.dtype
        else None,
    )
