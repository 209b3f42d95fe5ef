"""Runs a torch-dialect module with PyTorch's own ops: an oracle that shares no code with mlc's semantics.

replay(module, ctx, [x])   -->   the results of @forward as tensors
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DenseIntOrFPElementsAttr, DenseResourceAttr, ModuleOp
from xdsl.ir import Operation, SSAValue

from mlc.dialects.torch import BaseTensorType, OperatorOp, VTensorLiteralOp, VTensorType
from mlc.dialects.torch.constants import ScalarConstant
from mlc.frontends.torch import Binding, Captured, capture
from mlc.frontends.torch.arrays import ELEMENT_TYPES, SCALAR_TYPE_NUMBERS, from_numpy, to_numpy
from mlc.frontends.torch.binding import Run
from mlc.frontends.torch.build_module import ELEMENTS
from mlc.frontends.torch.captured import TensorGuard
from mlc.frontends.torch.quick_call import Miss
from mlc.ir.context import make_context
from mlc.ir.resources import ResourceStore
from mlc.ir.verifier import verify_module

DTYPES = {ELEMENTS[name]: dtype for dtype, name in ELEMENT_TYPES.items()}
_BY_NUMBER = {number: dtype for dtype, number in SCALAR_TYPE_NUMBERS.items()}


def replay(module: ModuleOp, resources: ResourceStore, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Run @forward; every result's shape and dtype is checked against its type."""
    (forward,) = [op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "forward"]
    block = forward.body.block
    env: dict[SSAValue, Any] = dict(zip(block.args, inputs, strict=True))
    with torch.no_grad():
        for op in block.ops:
            if isinstance(op, func.ReturnOp):
                return [env[v] for v in op.operands]
            results = _run(op, [env[v] for v in op.operands], resources)
            for value, result in zip(op.results, results, strict=True):
                if isinstance(value.type, BaseTensorType):
                    _check(op, value.type, result)
                env[value] = result
    raise AssertionError("@forward has no return")


def _run(op: Operation, args: list[Any], resources: ResourceStore) -> Sequence[Any]:
    if isinstance(op, ScalarConstant):
        return [op.value]
    if isinstance(op, VTensorLiteralOp):
        return [_literal(op, resources)]
    if op.name in ("torch.symbolic_int", "torch.bind_symbolic_shape"):
        return [None] * len(op.results)  # say what is known about sizes
    if op.name == "torch.prim.ListConstruct":
        return [args]
    name = op.operator_name if isinstance(op, OperatorOp) else op.name.removeprefix("torch.")
    if name == "aten.view":  # values have no strides: it always works here
        return [args[0].reshape(args[1])]
    namespace, base, *overload = name.split(".")
    overloads = getattr(getattr(torch.ops, namespace), base)
    target = getattr(overloads, overload[0] if overload else "default")
    positional, keywords = _bind(target, args)
    result = target(*positional, **keywords)
    return list(result) if isinstance(result, tuple | list) else [result]


def _bind(target: Any, args: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for value, argument in zip(args, target._schema.arguments, strict=True):
        if argument.name in ("dtype", "memory_format", "layout") and isinstance(value, int):
            formats = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
            value = {"dtype": _BY_NUMBER.get(value), "memory_format": formats[value % 4], "layout": torch.strided}[
                argument.name
            ]
        if argument.kwarg_only:
            keywords[argument.name] = value
        else:
            positional.append(value)
    return positional, keywords


def _literal(op: VTensorLiteralOp, resources: ResourceStore) -> torch.Tensor:
    held = op.value
    result = op.results[0].type
    assert isinstance(result, VTensorType) and result.shape is not None and result.element_type is not None
    shape, dtype = [d or 0 for d in result.shape], DTYPES[result.element_type]
    if isinstance(held, DenseResourceAttr):
        array = resources.get(held.resource_handle.data)
        return torch.from_numpy(array.copy()).view(dtype).reshape(shape)
    assert isinstance(held, DenseIntOrFPElementsAttr) and not isinstance(held, ArrayAttr)
    if dtype is torch.bool:
        return torch.tensor([bool(v) for v in held.get_values()]).reshape(shape)
    data = bytearray(held.data.data)
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)


def _check(op: Operation, type: BaseTensorType, got: torch.Tensor) -> None:
    assert type.shape is not None
    same = len(type.shape) == got.dim() and all(d is None or d == g for d, g in zip(type.shape, got.shape, strict=True))
    assert same and type.element_type == ELEMENTS[ELEMENT_TYPES[got.dtype]], (
        f"{op.name} is typed {type} but gave {got.dtype}{list(got.shape)}"
    )


def replaying(captured: Captured, resources: ResourceStore) -> Run:
    """What a binding runs, by replay instead of native code."""

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        dtypes = [guard.dtype for guard in captured.guards if isinstance(guard, TensorGuard)]
        dtypes += [buffer.dtype for buffer in captured.inputs if isinstance(buffer, torch.Tensor)]
        inputs = [from_numpy(np.array(a), d) for a, d in zip(arrays, dtypes, strict=True)]
        return [to_numpy(r.contiguous()).copy() for r in replay(captured.module, resources, inputs)]

    return run


def recorded(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Binding:
    """Capture `model` for these arguments; the module is verified. Calling the result replays it."""
    ctx = make_context()
    captured = capture(model, args, kwargs, ctx.resources)
    verify_module(captured.module, ctx)
    return Binding(captured, replaying(captured, ctx.resources))


def check(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Binding:
    """Capture, replay, and compare with eager: outputs, and what became of the inputs."""
    eager_args, eager_kwargs = copy.deepcopy((args, kwargs))
    eager_model = copy.deepcopy(model) if isinstance(model, torch.nn.Module) else model
    binding = recorded(model, *copy.deepcopy(args), **copy.deepcopy(kwargs))
    with torch.no_grad():
        expected = eager_model(*eager_args, **eager_kwargs)
        got = binding(args, kwargs)
    assert not isinstance(got, Miss)
    same(got, expected)
    same((args, kwargs), (eager_args, eager_kwargs))
    if isinstance(model, torch.nn.Module):
        same(model.state_dict(), eager_model.state_dict())
    return binding


def same(got: Any, expected: Any) -> None:
    """Equal structure, shapes, dtypes and (nearly) values."""
    assert pytree.tree_structure(got) == pytree.tree_structure(expected)
    for g, e in zip(pytree.tree_leaves(got), pytree.tree_leaves(expected), strict=True):
        if isinstance(e, torch.Tensor):
            torch.testing.assert_close(g, e, rtol=1e-5, atol=1e-6, equal_nan=True)
        else:
            assert g == e and type(g) is type(e)


def ops(binding: Any) -> list[str]:
    """Names of the ATen ops of a captured module, in order."""
    return [
        op.name.removeprefix("torch.aten.") for op in binding.captured.module.walk() if op.name.startswith("torch.aten")
    ]
