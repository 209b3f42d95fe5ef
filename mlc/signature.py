"""What a buffers-level `@forward` takes and returns, as the runtime needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    BFloat16Type,
    ComplexType,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    MemRefType,
    ModuleOp,
    StringAttr,
)
from xdsl.ir import Attribute, Operation

from mlc.errors import InternalError, UnsupportedError
from mlc.module_parts import ENTRY, ModuleParts
from mlc.runtime.executable import TensorSpec


@dataclass(frozen=True)
class Signature:
    """Input and output tensors of a model, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def numpy_dtype(ty: Attribute) -> np.dtype:
    """numpy's dtype of an element type; bf16 travels as uint16, i1 as bool."""
    match ty:
        case Float32Type():
            return np.dtype(np.float32)
        case Float64Type():
            return np.dtype(np.float64)
        case Float16Type():
            return np.dtype(np.float16)
        case BFloat16Type():
            return np.dtype(np.uint16)
        case IntegerType() if ty.bitwidth == 1:
            return np.dtype(np.bool_)
        case IntegerType() if ty.bitwidth in (8, 16, 32, 64):
            return np.dtype(f"i{ty.bitwidth // 8}")
        case IndexType():
            return np.dtype(np.int64)
        case ComplexType():
            return np.dtype(np.complex64 if isinstance(ty.element_type, Float32Type) else np.complex128)
        case _:
            raise UnsupportedError(f"element type {ty} at the boundary of a model")


def signature_of(module: ModuleOp) -> Signature:
    """Specs from `@forward(inputs…, outputs…, arena)`; the attribute `inputs = N` says where outputs begin."""
    for op in module.ops:
        if isinstance(op, func.FuncOp) and op.sym_name.data == ENTRY:
            count = op.attributes.get("num_inputs")
            types = list(op.function_type.inputs)[:-1]
            split = count.value.data if count is not None else len(types)  # pyright: ignore
            specs = [_spec(t, i, split) for i, t in enumerate(types)]
            return Signature(tuple(specs[:split]), tuple(specs[split:]))
    raise InternalError(f"the module has no @{ENTRY}")


def _spec(ty: Attribute, index: int, inputs: int) -> TensorSpec:
    if not isinstance(ty, MemRefType):
        raise InternalError(f"argument {index} of @{ENTRY} is {ty}, not a memref")
    name = f"arg{index}" if index < inputs else f"out{index - inputs}"
    shape = tuple(None if d < 0 else d for d in ty.get_shape())
    return TensorSpec(shape, numpy_dtype(ty.element_type), name)


def assertion_messages(parts: ModuleParts) -> dict[int, str]:
    """Message of every `cf.assert` by the status code that reports it (ARCHITECTURE.md, "llvm")."""
    return messages_of(parts.main, {f"k_{k.key}": k.module for k in parts.kernels})


def messages_of(main: Operation, kernels: Mapping[str, Operation]) -> dict[int, str]:
    """The same of a main function and the functions it may call, by name."""
    by_symbol = {name: _asserts(kernel) for name, kernel in kernels.items()}
    found = dict(enumerate(_asserts(main), 1))
    calls = [op for op in main.walk() if isinstance(op, func.CallOp)]
    for i, call in enumerate(calls, 1):
        for j, message in enumerate(by_symbol.get(call.callee.root_reference.data, ()), 1):
            found[(i << 16) | j] = message
    return found


def _asserts(module: Operation) -> list[str]:
    """Messages in order of first use: asserts of one message share a number (`convert-to-llvm`)."""
    found = [op.properties["msg"] for op in module.walk() if op.name == "cf.assert"]
    return list(dict.fromkeys(m.data for m in found if isinstance(m, StringAttr)))
