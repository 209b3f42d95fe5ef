"""`mlc-opt --run`: execute a file in the reference interpreter, or natively, with given or random inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    IndexType,
    IntegerType,
    MemRefType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
    TensorType,
)
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Attribute

from mlc.dialects.torch import VTensorType
from mlc.errors import DTypeError, LimitError, ShapeError, UnsupportedError, UsageError
from mlc.interp import run_module
from mlc.interp.run import function_type, run_function
from mlc.ir.context import MlcContext
from mlc.ir.values import DYNAMIC, dtype_of, element_type, is_float, static_shape
from mlc.module_parts import ENTRY
from mlc.tools.opt_native import run_native
from mlc.tools.opt_target import Target

MAX_INPUT_BYTES = 4 << 30


def claim_entry(module: ModuleOp, name: str) -> str:
    """Make `@name` the function that our pipeline compiles for calls from outside; returns its new name.

    func.func @main(…)   -->   func.func @forward(…)
    """
    functions = {op.sym_name.data: op for op in module.ops if isinstance(op, FuncOp)}
    if name == ENTRY or name not in functions:
        return name
    if ENTRY in functions:
        raise UsageError(f"@{name} cannot be the entry point of a module that has @{ENTRY}", hint=f"rename @{ENTRY}")
    functions[name].properties["sym_name"] = StringAttr(ENTRY)
    for op in module.walk():
        if isinstance(op, CallOp) and op.callee.root_reference.data == name:
            op.properties["callee"] = SymbolRefAttr(ENTRY)
    return ENTRY


def reachable(module: ModuleOp, name: str) -> ModuleOp:
    """A copy with only the functions that `@name` calls, itself and what is no function."""
    copy = module.clone()
    functions = {op.sym_name.data: op for op in copy.ops if isinstance(op, FuncOp)}
    wanted: set[str] = set()
    todo = [name]
    while todo:
        at = todo.pop()
        if at in functions and at not in wanted:
            wanted.add(at)
            todo += [o.callee.root_reference.data for o in functions[at].walk() if isinstance(o, CallOp)]
    for symbol, op in functions.items():
        if symbol not in wanted and "constant" not in op.attributes:
            op.detach()
            op.erase()
    return copy


def make_inputs(module: ModuleOp, name: str, file: str | None, seed: int) -> list[np.ndarray]:
    """Arrays for the parameters of `@name`: from an .npz file (arg0, arg1, …), the rest random by `seed`.

    Floats are standard normal, integers 0 to 7, dynamic dimensions 2. Buffers-level functions get their inputs only.
    """
    if any(_named(op, "mlc_forward") for op in module.ops):
        raise UnsupportedError(
            "the module is at the llvm level, where the entry point takes bare pointers",
            hint="run the file of a level before (--mlc-to=loops), or look at --emit=asm",
        )
    params = list(function_type(module, name).inputs.data)
    outputs = next(
        (op.attributes["num_inputs"] for op in module.ops if _named(op, name) and "num_inputs" in op.attributes), None
    )
    if outputs is not None:
        params = params[: outputs.value.data]  # pyright: ignore[reportAttributeAccessIssue]
    given = _load(file) if file else {}
    unknown = sorted(set(given) - {f"arg{i}" for i in range(len(params))})
    if unknown:
        raise UsageError(f"'{file}' holds {', '.join(unknown)}", expected=f"arg0 … arg{len(params) - 1}")
    rng = np.random.default_rng(seed)
    made = [given[f"arg{i}"] if f"arg{i}" in given else random_value(t, rng) for i, t in enumerate(params)]
    return made


def random_value(t: Attribute, rng: np.random.Generator) -> np.ndarray:
    """A value of type `t` (see `make_inputs`)."""
    shape_type = _shaped(t)
    if not isinstance(shape_type, TensorType | MemRefType | IntegerType | IndexType) and not is_float(shape_type):
        raise UsageError(f"cannot make a random value of type {t}", hint="give it with --inputs file.npz")
    shape = tuple(2 if d == DYNAMIC else d for d in static_shape(shape_type))
    dtype = dtype_of(shape_type)
    if math.prod(shape) * dtype.itemsize > MAX_INPUT_BYTES:
        raise LimitError(f"an input of type {t} is larger than {MAX_INPUT_BYTES >> 30} GiB")
    if is_float(element_type(shape_type)):
        values = rng.standard_normal(shape).astype(np.float32)
        if isinstance(element_type(shape_type), BFloat16Type):
            return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return values.astype(dtype)
    return rng.integers(0, 2 if dtype == np.bool_ else 8, shape).astype(dtype)


def run(
    module: ModuleOp, ctx: MlcContext, name: str, inputs: Sequence[np.ndarray], native: Target | None
) -> list[np.ndarray]:
    """Results of `@name` on `inputs`, then its buffers after the call, in the interpreter or on a target. bf16 is
    float32 on both sides."""
    if native is not None and name != ENTRY:
        raise UsageError(f"the module has no function @{name}", hint="--entry-point=NAME")
    signature = function_type(module, name)
    types = [_shaped(t) for t in signature.inputs.data]
    given = [_checked(x, t, f"arg{k}") for k, (x, t) in enumerate(zip(inputs, types, strict=False))]
    in_place = [t for t in types if isinstance(t, MemRefType)] if len(given) == len(types) else []
    if native is None:
        if not in_place:
            return run_module(module, name, given, resources=ctx.resources)
        results, after = run_function(module, name, given, resources=ctx.resources)
        return [*results, *after]
    bits = [_narrowed(x) if _is_bf16(t) else x for x, t in zip(given, types, strict=False)]
    whole = any(_named(op, name) and "num_inputs" in op.attributes for op in module.ops)  # @arena_size belongs to it
    made = run_native(module.clone() if whole else reachable(module, name), ctx, name, bits, native)
    shown = [*signature.outputs.data, *in_place] if in_place or signature.outputs.data else types[len(given) :]
    return [_as_result(r, _shaped(t)) for r, t in zip(made, shown, strict=False)]


def _shaped(t: Attribute) -> Attribute:
    """The builtin tensor type of a torch tensor of known shape."""
    if isinstance(t, VTensorType) and t.shape is not None and t.element_type is not None:
        return TensorType(t.element_type, [DYNAMIC if d is None else d for d in t.shape])
    return t


def _is_bf16(t: Attribute) -> bool:
    return isinstance(t, TensorType | MemRefType | BFloat16Type) and isinstance(element_type(t), BFloat16Type)


def _checked(x: np.ndarray, t: Attribute, name: str) -> np.ndarray:
    """The input, refused by name when its shape or dtype is another; bits of bf16 are widened."""
    if not isinstance(t, TensorType | MemRefType | IntegerType | IndexType) and not is_float(t):
        return x
    x, wanted = np.asarray(x), dtype_of(t)
    if _is_bf16(t) and x.dtype == np.uint16:
        x = _widened(x)
    if x.dtype != wanted and not (x.dtype.kind in "iu" and wanted.kind in "iu" and x.dtype.itemsize == wanted.itemsize):
        also = " or uint16 (its bits)" if _is_bf16(t) else ""
        raise DTypeError(f"input '{name}' is {x.dtype}", expected=f"{wanted}{also} for {t}")
    shape = static_shape(t)
    if x.ndim != len(shape) or any(d not in (DYNAMIC, n) for d, n in zip(shape, x.shape, strict=True)):
        raise ShapeError(f"input '{name}' has shape {list(x.shape)}", expected=f"{t}")
    if _is_bf16(t) and not np.array_equal(_widened(_narrowed(x)), x, equal_nan=True):
        raise DTypeError(f"input '{name}' holds numbers that bf16 does not have", expected="float32 rounded to bf16")
    return x


def _widened(bits: np.ndarray) -> np.ndarray:
    return np.asarray(np.asarray(bits.astype(np.uint32) << np.uint32(16)).view(np.float32))


def _narrowed(x: np.ndarray) -> np.ndarray:
    return np.asarray((np.asarray(x, dtype=np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16))


def _as_result(r: np.ndarray, t: Attribute) -> np.ndarray:
    """A native result as the interpreter gives it: bf16 widened, unsigned integers as such."""
    if _is_bf16(t):
        return _widened(r)
    if (
        isinstance(t, TensorType | MemRefType | IntegerType)
        and r.dtype.kind in "iu"
        and dtype_of(t).itemsize == r.dtype.itemsize
    ):
        return r.view(dtype_of(t))
    return r


def format_results(results: Sequence[np.ndarray]) -> str:
    """`%0 = float32[2, 3]` and the values, long ones abridged."""
    lines: list[str] = []
    for i, r in enumerate(results):
        a = np.asarray(r)
        lines.append(f"%{i} = {a.dtype}{list(a.shape)}")
        lines.append(np.array2string(a, precision=6, threshold=64, max_line_width=110))
    return "\n".join(lines) + "\n"


def _named(op: object, name: str) -> bool:
    symbol = getattr(op, "sym_name", None)
    return symbol is not None and symbol.data == name


def _load(file: str) -> dict[str, np.ndarray]:
    try:
        with np.load(Path(file), allow_pickle=False) as data:
            return {k: data[k] for k in data.files}
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot read inputs '{file}': {e}", expected="an .npz file with arg0, arg1, …") from None
