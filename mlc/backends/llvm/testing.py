"""Run one function of the loops level on numpy arrays: for tests and for measuring kernels.

run_kernel(module, "kernel_0", [x, w, out])            # memref arguments in order, written in place
kernel = compile_kernel(module, "kernel_0"); kernel(x, w, out)   # compile once, call often
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects import func, llvm
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    IndexType,
    IntegerType,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
)
from xdsl.ir import Attribute

from mlc.backends.llvm.compile import compile_llvm_module
from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.thread_pool import thread_pool
from mlc.backends.machine import MachineModel
from mlc.backends.registry import Library
from mlc.errors import ExecutionError, UsageError
from mlc.ir.context import MlcContext, make_context
from mlc.ir.pipeline import make_pass

_SCALARS: dict[str, Any] = {
    "f32": ctypes.c_float, "f64": ctypes.c_double, "i1": ctypes.c_bool, "i8": ctypes.c_int8, "i16": ctypes.c_int16,
    "i32": ctypes.c_int32, "i64": ctypes.c_int64, "index": ctypes.c_int64,
}  # fmt: skip


class NativeKernel:
    """A compiled function, called with numpy arrays for memrefs and numbers for scalars. `threads`: for a kernel."""

    def __init__(
        self,
        library: Library,
        name: str,
        types: Sequence[Attribute],
        messages: Sequence[str],
        result: Attribute | None,
        *,
        kernel: bool = False,
    ) -> None:
        self.library = library
        self.name = name
        self.types = types
        self.messages = messages
        self.result = result
        self.address = library.address(name)
        restype = ctypes.c_int32 if result is None else _SCALARS[str(result)]
        argtypes: list[Any] = []
        for ty in types:
            if isinstance(ty, MemRefType):
                argtypes += [ctypes.c_void_p] + [ctypes.c_int64] * (len(dynamic_sizes(ty)) + len(dynamic_strides(ty)))
            else:
                argtypes.append(_SCALARS[str(ty)])
        self.kernel = kernel
        self.threads = 1
        if kernel:
            argtypes.append(ctypes.c_void_p)
        self.pointer: Callable[..., Any] = ctypes.CFUNCTYPE(restype, *argtypes)(self.address)

    def arguments(self, args: Sequence[Any]) -> list[Any]:
        """The flat C arguments; `kernel.pointer(*kernel.arguments(args))` is the bare native call."""
        if len(args) != len(self.types):
            raise UsageError(f"@{self.name} takes {len(self.types)} arguments, not {len(args)}")
        out: list[Any] = []
        for ty, value in zip(self.types, args, strict=True):
            if not isinstance(ty, MemRefType):
                out.append(value)
                continue
            if not isinstance(value, np.ndarray) or value.ndim != ty.get_num_dims():
                raise UsageError(f"@{self.name}: argument of type {ty} needs an array of rank {ty.get_num_dims()}")
            if value.dtype.itemsize != _bytes(ty.element_type):
                raise UsageError(f"@{self.name}: argument of type {ty} got an array of {value.dtype}")
            out.append(value.ctypes.data)
            out += [value.shape[i] for i in dynamic_sizes(ty)]
            out += [value.strides[i] // value.dtype.itemsize for i in dynamic_strides(ty)]
        if self.kernel:
            pool = thread_pool()
            out.append(pool.team(self.threads) if pool is not None else 0)
        return out

    def __call__(self, *args: Any) -> Any:
        code = self.pointer(*self.arguments(args))
        if self.result is None and code:
            raise ExecutionError(
                f"@{self.name} failed: {self.messages[code - 1] if code <= len(self.messages) else code}"
            )
        return code if self.result is not None else None


def dynamic_sizes(ty: MemRefType) -> list[int]:
    """Dimensions whose size is passed beside the pointer."""
    return [i for i, size in enumerate(ty.get_shape()) if size == DYNAMIC_INDEX]


def dynamic_strides(ty: MemRefType) -> list[int]:
    """Dimensions whose stride is passed after the sizes: those a strided layout leaves open."""
    if not isinstance(ty.layout, StridedLayoutAttr):
        return []
    return [i for i, stride in enumerate(ty.layout.get_strides()) if stride is None]


def _bytes(ty: Attribute) -> int:
    if isinstance(ty, IndexType):
        return 8
    if isinstance(ty, IntegerType):
        return max(1, ty.width.data // 8)
    return {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}[str(ty)]


def compile_functions(
    module: ModuleOp,
    machine: MachineModel | None = None,
    *,
    opt_level: int = 2,
    ctx: MlcContext | None = None,
) -> dict[str, NativeKernel]:
    """Lower (a copy of) a loops-level module, compile and load it: all its functions by name."""
    sources = {op.sym_name.data: op for op in module.ops if isinstance(op, func.FuncOp) and op.body.blocks}
    sources = {name: op for name, op in sources.items() if "parallel" not in op.attributes}
    types = {name: op.function_type for name, op in sources.items()}
    copy = module.clone()
    make_pass("convert-to-llvm", {}).apply(ctx or make_context(), copy)
    library = load_objects([compile_llvm_module(copy, machine, opt_level=opt_level)], exports=list(types))
    messages = {op.sym_name.data: failure_messages(op) for op in copy.ops if isinstance(op, llvm.FuncOp)}
    return {
        name: NativeKernel(
            library,
            name,
            list(ty.inputs),
            messages[name],
            next(iter(ty.outputs), None),
            kernel="kernel" in sources[name].attributes,
        )
        for name, ty in types.items()
    }


def failure_messages(op: llvm.FuncOp) -> list[str]:
    """Messages of a function's asserts; status n is entry n - 1."""
    messages = op.attributes.get("mlc.asserts")
    return [str(getattr(m, "data", m)) for m in messages] if isinstance(messages, ArrayAttr) else []


def compile_kernel(
    module: ModuleOp,
    name: str,
    machine: MachineModel | None = None,
    *,
    opt_level: int = 2,
    ctx: MlcContext | None = None,
) -> NativeKernel:
    """One function of a loops-level module, compiled with the rest of it."""
    functions = compile_functions(module, machine, opt_level=opt_level, ctx=ctx)
    if name not in functions:
        raise UsageError(f"no function @{name}", expected=", ".join(functions))
    return functions[name]


def run_kernel(
    module: ModuleOp,
    name: str,
    arrays: Sequence[Any],
    machine: MachineModel | None = None,
    *,
    opt_level: int = 2,
    ctx: MlcContext | None = None,
) -> None:
    """Lower, compile, load and call a function: memref arguments in order, written in place."""
    compile_kernel(module, name, machine, opt_level=opt_level, ctx=ctx)(*arrays)
