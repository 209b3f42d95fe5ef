"""From numpy arrays to values of a domain and back: what callers of the interpreter use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, FunctionType, IntegerType, MemRefType, ModuleOp
from xdsl.ir import Attribute, Operation

from mlc.arrays.bfloat16 import bf16_bits
from mlc.errors import DTypeError, ShapeError, UsageError
from mlc.interp.derived import DerivedResources
from mlc.interp.domains import make_domain
from mlc.interp.engine import MAX_ITERATIONS, Interpreter
from mlc.ir.memory import Buffer, allocate, buffer_from
from mlc.ir.resources import ResourceStore
from mlc.ir.semantics import ANY_ORDER, Domain
from mlc.ir.values import DYNAMIC, ShapedTypes, dtype_of, element_type, is_bf16, is_float, static_shape


def run_module(
    module: ModuleOp,
    name: str,
    inputs: Sequence[Any],
    *,
    resources: ResourceStore | None = None,
    domain: str | Domain = "ieee",
    output_shapes: Sequence[Sequence[int]] | None = None,
    raw: bool = False,
) -> list[Any]:
    """Run function `name` of any level on numpy inputs; returns its results as numpy arrays.

    Works alike on functions that return tensors or scalars, and on those of the buffers level, which take
    `(inputs…, outputs…, arena)` memrefs: the outputs and the arena are allocated here (`output_shapes` where the types
    are dynamic), the arena's size comes from `@arena_size`. `raw` gives domain values instead of IEEE arrays.
    """
    resources = DerivedResources(module, resources, lambda n, store: evaluate_constant(module, n, store))
    interpreter = Interpreter(module, resources=resources, domain=make_domain(domain))
    ftype = function_type(module, name)
    params = list(ftype.inputs.data)
    if len(params) > len(inputs) and not ftype.outputs.data and all(isinstance(t, MemRefType) for t in params):
        return _run_buffers(interpreter, name, params, inputs, output_shapes, raw=raw)
    return _run_values(interpreter, name, ftype, inputs, raw=raw)


def run_function(
    module: ModuleOp,
    name: str,
    inputs: Sequence[Any],
    *,
    resources: ResourceStore | None = None,
    domain: str | Domain = "ieee",
    raw: bool = False,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[list[Any], list[Any]]:
    """Run function `name`, one input per parameter; returns its results, and its memref arguments' contents after."""
    interpreter = Interpreter(module, resources=resources, domain=make_domain(domain), max_iterations=max_iterations)
    ftype = function_type(module, name)
    params = list(ftype.inputs.data)
    _check_count(name, len(params), len(inputs))
    args = [
        convert_input(x, t, interpreter.domain, f"argument {k} of @{name}")
        for k, (x, t) in enumerate(zip(inputs, params, strict=True))
    ]
    results = interpreter.run_function(name, args)
    after = [
        _output(a, t, interpreter.domain, raw=raw) for a, t in zip(args, params, strict=True) if isinstance(a, Buffer)
    ]
    return [_output(r, t, interpreter.domain, raw=raw) for r, t in zip(results, ftype.outputs.data, strict=True)], after


def evaluate_constant(module: ModuleOp, name: str, resources: ResourceStore | None) -> np.ndarray:
    """Compute a `@const.*` function (no arguments, one tensor result) from weights, in any memory layout.

    The array is what the weight store holds: bf16 as its bits, which is also what native code reads.
    """
    return constants_of(module, resources)(name)


def constants_of(module: ModuleOp, resources: ResourceStore | None) -> Callable[[str], np.ndarray]:
    """`evaluate_constant` for many functions of one module."""
    interpreter = Interpreter(module, resources=resources, domain=make_domain("ieee"))
    interpreter.state[ANY_ORDER] = True
    return partial(_constant, interpreter)


def _constant(interpreter: Interpreter, name: str) -> np.ndarray:
    found = interpreter.symbol(name)
    known = found.properties.get("function_type") if found is not None else None
    ftype = known if isinstance(known, FunctionType) else function_type(interpreter.module, name)
    if ftype.inputs.data or len(ftype.outputs.data) != 1:
        raise UsageError(f"@{name} is no constant function: it must take nothing and return one tensor")
    (result,) = interpreter.run_function(name, ())
    array = np.asarray(_output(result, ftype.outputs.data[0], interpreter.domain, raw=False))
    return bf16_bits(array) if is_bf16(ftype.outputs.data[0]) else array


def function_type(module: ModuleOp, name: str) -> FunctionType:
    """Signature of a function of the module."""
    found: Operation | None = None
    names: list[str] = []
    for op in module.body.ops:
        symbol = op.properties.get("sym_name")
        if symbol is not None and "function_type" in op.properties:
            text = str(getattr(symbol, "data", ""))
            names.append(f"@{text}")
            if text == name:
                found = op
    if found is None:
        raise UsageError(f"the module has no function @{name}", expected=", ".join(names))
    ftype = found.properties["function_type"]
    if isinstance(ftype, FunctionType):
        return ftype
    inputs = getattr(ftype, "inputs", None)
    output = getattr(ftype, "output", None)
    if inputs is None or output is None:
        raise UsageError(f"@{name} has a type the interpreter does not know: {ftype}")
    return FunctionType.from_lists(list(inputs.data), [] if output.name == "llvm.void" else [output])


def convert_input(x: Any, t: Attribute, domain: Domain, what: str = "input") -> Any:
    """A numpy array (or scalar) as a domain value of type `t`; refuses another shape or dtype by name."""
    if isinstance(x, Buffer) or t.name == "llvm.ptr":
        return x
    if not isinstance(t, ShapedTypes | IntegerType) and not is_float(t) and t.name != "index":
        return _convert_foreign(x, t)
    array = np.asarray(x)
    wanted = dtype_of(t)
    if array.dtype != wanted:
        array = _cast_input(array, t, wanted, what)
    shape = static_shape(t)
    if len(shape) != array.ndim or any(d not in (DYNAMIC, n) for d, n in zip(shape, array.shape, strict=True)):
        raise ShapeError(f"{what} has shape {list(array.shape)}", expected=f"{t}")
    value = domain.constant(array, element_type(t)) if is_float(t) else array
    if isinstance(t, MemRefType):
        return buffer_from(value, t, domain)
    return value if isinstance(t, ShapedTypes) else value[()]


def _convert_foreign(x: Any, t: Attribute) -> Any:
    """Values of other dialects' types (a `!torch.vtensor` or `!torch.int`) pass as they are."""
    return x


def _cast_input(array: np.ndarray, t: Attribute, wanted: np.dtype[Any], what: str) -> np.ndarray:
    same_bits = array.dtype.kind in "iu" and wanted.kind in "iu" and array.dtype.itemsize == wanted.itemsize
    if same_bits:
        return array.view(wanted)
    if isinstance(element_type(t), BFloat16Type) and array.dtype == np.uint16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if array.ndim == 0 and array.dtype.kind in "iuf" and not isinstance(t, ShapedTypes):
        return array.astype(wanted)
    raise DTypeError(f"{what} is {array.dtype}", expected=f"{t}")


def _output(value: Any, t: Attribute, domain: Domain, *, raw: bool) -> Any:
    if isinstance(value, Buffer):
        value = value.read()
    if raw or not (isinstance(value, np.ndarray | np.generic)):
        return value
    if is_float(t) and domain.name != "ieee":
        return domain.to_ieee(value, element_type(t))
    return np.asarray(value)


def _check_count(name: str, wanted: int, given: int) -> None:
    if wanted != given:
        raise UsageError(f"@{name} takes {wanted} inputs, {given} were given")


def _run_values(
    interpreter: Interpreter, name: str, ftype: FunctionType, inputs: Sequence[Any], *, raw: bool
) -> list[Any]:
    params = list(ftype.inputs.data)
    _check_count(name, len(params), len(inputs))
    args = [
        convert_input(x, t, interpreter.domain, f"input {k} of @{name}")
        for k, (x, t) in enumerate(zip(inputs, params, strict=True))
    ]
    results = interpreter.run_function(name, args)
    return [_output(r, t, interpreter.domain, raw=raw) for r, t in zip(results, ftype.outputs.data, strict=True)]


def _run_buffers(
    interpreter: Interpreter,
    name: str,
    params: list[Attribute],
    inputs: Sequence[Any],
    output_shapes: Sequence[Sequence[int]] | None,
    *,
    raw: bool,
) -> list[Any]:
    domain = interpreter.domain
    args: list[Any] = [
        convert_input(x, t, domain, f"input {k} of @{name}")
        for k, (x, t) in enumerate(zip(inputs, params, strict=False))
    ]
    shapes = [static_shape(t) for t in params]
    dims = [
        np.int64(n) for s, x in zip(shapes, inputs, strict=False) for d, n in zip(s, np.shape(x), strict=True) if d < 0
    ]
    has_arena = interpreter.symbol("arena_size") is not None
    last = len(params) - 1 if has_arena else len(params)
    outputs = shapes[len(inputs) : last]
    if output_shapes is not None:
        outputs = [tuple(s) for s in output_shapes]
    elif interpreter.symbol("output_dims") is not None:
        found = iter(interpreter.run_function("output_dims", dims))
        outputs = [tuple(int(next(found)) if d < 0 else d for d in s) for s in outputs]
    for k, (t, shape) in enumerate(zip(params[len(inputs) : last], outputs, strict=True)):
        if any(d < 0 for d in shape):
            raise UsageError(f"output {k} of @{name} has a dynamic shape {t}: say how large", hint="output_shapes=…")
        args.append(allocate(t, shape, domain))
    results = list(zip(args[len(inputs) :], params[len(inputs) : last], strict=True))
    if has_arena:
        (size,) = interpreter.run_function("arena_size", dims)
        args.append(allocate(params[-1], (int(size),), domain))
    interpreter.run_function(name, args)
    return [_output(b, t, domain, raw=raw) for b, t in results]
