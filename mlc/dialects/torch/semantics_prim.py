"""Meaning of the torch dialect's own ops: constants, lists, casts, control flow, numbers, and `torch_c`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation

from mlc.dialects.aten_schema import has_schema
from mlc.dialects.torch.aten import aten_op
from mlc.dialects.torch.constants import ScalarConstant, TensorLiteralOp, VTensorLiteralOp
from mlc.dialects.torch.numpy_values import Call, aten, numpy_dtype, torch_semantics
from mlc.dialects.torch.prim import OperatorOp
from mlc.dialects.torch.promotion import SCALAR_TYPE_OF
from mlc.dialects.torch.types import BaseTensorType
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.ir.semantics import Args, Runner, fail, semantics, semantics_of
from mlc.ir.values import attribute_array, dtype_of


@semantics(
    "torch.constant.int",
    "torch.constant.float",
    "torch.constant.bool",
    "torch.constant.str",
    "torch.constant.none",
    "torch.constant.number",
    "torch.constant.device",
)
def constant(op: Operation, _args: Args, _run: Runner) -> Any:
    """The Python value."""
    assert isinstance(op, ScalarConstant)
    return (op.value,)


@semantics("torch.vtensor.literal", "torch.tensor.literal")
def literal(op: Operation, _args: Args, run: Runner) -> Any:
    """The elements, from the IR or the weight store."""
    assert isinstance(op, VTensorLiteralOp | TensorLiteralOp)
    return (attribute_array(op.value, run.resources),)


@semantics("torch.prim.ListConstruct")
def list_construct(_op: Operation, args: Args, _run: Runner) -> Any:
    """A Python list."""
    return (list(args),)


@semantics("torch.prim.TupleConstruct")
def tuple_construct(_op: Operation, args: Args, _run: Runner) -> Any:
    """A Python tuple."""
    return (tuple(args),)


@semantics("torch.prim.ListUnpack", "torch.prim.TupleUnpack")
def unpack(op: Operation, args: Args, _run: Runner) -> Any:
    """The elements; there must be as many as results."""
    if len(args[0]) != len(op.results):
        fail(op, f"{len(args[0])} elements for {len(op.results)} results")
    return tuple(args[0])


@semantics("torch.prim.TupleIndex")
def tuple_index(_op: Operation, args: Args, _run: Runner) -> Any:
    """One element."""
    return (args[0][args[1]],)


@semantics("torch.prim.DictConstruct")
def dict_construct(_op: Operation, args: Args, _run: Runner) -> Any:
    """A Python dict: keys first, then values."""
    half = len(args) // 2
    return (dict(zip(args[:half], args[half:], strict=True)),)


@semantics("torch.derefine", "torch.prim.unchecked_cast", "torch.copy.to_tensor", "torch.copy.to_vtensor")
def same(_op: Operation, args: Args, _run: Runner) -> Any:
    """The value itself."""
    return (args[0],)


@semantics("torch.tensor_static_info_cast")
def static_info_cast(op: Operation, args: Args, _run: Runner) -> Any:
    """The tensor, which must be what the result type says."""
    wanted = op.results[0].type
    assert isinstance(wanted, BaseTensorType)
    shape = np.shape(args[0])
    if wanted.shape is not None and (
        len(shape) != len(wanted.shape) or any(w not in (None, s) for s, w in zip(shape, wanted.shape, strict=True))
    ):
        fail(op, f"a tensor of shape {list(shape)} is not {wanted}")
    if wanted.element_type is not None and numpy_dtype(wanted.element_type) != np.asarray(args[0]).dtype:
        fail(op, f"a tensor of {np.asarray(args[0]).dtype} is not {wanted}")
    return (args[0],)


@semantics("torch.prim.Uninitialized")
def uninitialized(_op: Operation, _args: Args, _run: Runner) -> Any:
    """Never read; None."""
    return (None,)


@semantics("torch.operator")
def operator_by_name(op: Operation, args: Args, run: Runner) -> Any:
    """What the op of that name means: torch-mlir quotes the names of ATen ops that it has no class for."""
    assert isinstance(op, OperatorOp)
    name = op.known_name.removeprefix("torch.")
    if not has_schema(name):
        raise UnsupportedError(
            f"operator '{op.operator_name}' has no reference semantics", where=format_location(op.location) or None
        )
    known = aten_op(name).create(operands=op.operands, result_types=op.result_types, location=op.location)
    try:
        return semantics_of(known)(known, args, run)
    finally:
        known.erase()


@semantics("torch.runtime.assert")
def runtime_assert(op: Operation, args: Args, _run: Runner) -> Any:
    """Stops the program when the condition does not hold."""
    if not args[0]:
        fail(op, str(op.attributes["message"]))
    return ()


@semantics("torch.bind_symbolic_shape")
def bind_symbolic_shape(_op: Operation, _args: Args, _run: Runner) -> Any:
    """A statement about types only."""
    return ()


@semantics("torch.prim.If")
def if_(op: Operation, args: Args, run: Runner) -> Any:
    """One of the two branches."""
    return run.run_region(op.regions[0 if args[0] else 1], ())


@semantics("torch.prim.If.yield", "torch.prim.Loop.condition")
def yield_(_op: Operation, args: Args, _run: Runner) -> Any:
    """Hands the values over."""
    return args


@semantics("torch.prim.Loop")
def loop(op: Operation, args: Args, run: Runner) -> Any:
    """At most `max` trips while the condition holds."""
    limit, go_on, *carried = args
    trip = 0
    while go_on and trip < limit:
        run.tick()
        go_on, *carried = run.run_region(op.regions[0], (trip, *carried))
        trip += 1
    return tuple(carried)


# torch_c: builtin integers are signless; the bits stay.


@semantics("torch_c.to_builtin_tensor")
def to_builtin_tensor(op: Operation, args: Args, run: Runner) -> Any:
    """The same elements, unsigned ones read as signless."""
    target = op.results[0].type
    assert isinstance(target, TensorType)
    return (run.domain.constant(np.asarray(args[0]).view(dtype_of(target)), target),)


@semantics("torch_c.from_builtin_tensor")
def from_builtin_tensor(op: Operation, args: Args, run: Runner) -> Any:
    """The same elements, signless ones read as the torch type says."""
    source = op.operands[0].type
    target = op.results[0].type
    assert isinstance(target, BaseTensorType) and target.element_type is not None
    plain = run.domain.to_ieee(args[0], source) if np.asarray(args[0]).dtype.kind == "f" else np.asarray(args[0])
    return (plain.view(numpy_dtype(target.element_type)),)


@semantics("torch_c.to_i64")
def to_i64(_op: Operation, args: Args, _run: Runner) -> Any:
    """A Python int as i64."""
    return (np.int64(args[0]),)


@semantics("torch_c.to_f64")
def to_f64(op: Operation, args: Args, run: Runner) -> Any:
    """A Python float as f64."""
    return (run.domain.constant(np.float64(args[0]), op.results[0].type),)


@semantics("torch_c.to_i1")
def to_i1(_op: Operation, args: Args, _run: Runner) -> Any:
    """A Python bool as i1."""
    return (np.bool_(args[0]),)


@semantics("torch_c.from_i64")
def from_i64(_op: Operation, args: Args, _run: Runner) -> Any:
    """i64 as a Python int."""
    return (int(args[0]),)


@semantics("torch_c.from_f64")
def from_f64(op: Operation, args: Args, run: Runner) -> Any:
    """f64 as a Python float."""
    return (float(run.domain.to_ieee(args[0], op.operands[0].type)),)


@semantics("torch_c.from_i1")
def from_i1(_op: Operation, args: Args, _run: Runner) -> Any:
    """i1 as a Python bool."""
    return (bool(args[0]),)


# Numbers


def _wrap64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _ints(fn: Callable[..., int]) -> Callable[..., int]:
    return lambda _c, *args: _wrap64(fn(*args))


def _plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _c, *args: fn(*args)


for _name, _fn in {
    "add.int": operator.add,
    "sub.int": operator.sub,
    "mul.int": operator.mul,
    "neg.int": operator.neg,
    "abs.int": abs,
}.items():
    if _name != "abs.int":
        aten(_name)(_ints(_fn))
torch_semantics("prim.max.int")(_plain(max))
torch_semantics("prim.min.int")(_plain(min))
torch_semantics("prim.max.self_int")(_plain(max))
torch_semantics("prim.min.self_int")(_plain(min))
for _name, _fn in {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}.items():
    for _kind in ("int", "float", "float_int", "int_float"):
        aten(f"{_name}.{_kind}")(_plain(_fn))
for _name, _fn in {"add": operator.add, "sub": operator.sub, "mul": operator.mul}.items():
    for _kind in ("float", "float_int", "int_float"):
        aten(f"{_name}.{_kind}")(_plain(_fn))
for _name, _fn in {
    "sqrt.int": math.sqrt,
    "sqrt.float": math.sqrt,
    "ceil.float": math.ceil,
    "floor.float": math.floor,
    "neg.float": operator.neg,
    "Float.Scalar": float,
    "Float.int": float,
    "Int.Scalar": int,
    "Int.float": int,
    "Int.bool": int,
    "Bool.int": bool,
    "Bool.float": bool,
    "__not__": operator.not_,
    "__and__.bool": lambda a, b: a and b,
    "__or__.bool": lambda a, b: a or b,
    "eq.bool": operator.eq,
    "eq.str": operator.eq,
    "ne.str": operator.ne,
    "eq.int_list": operator.eq,
    "ne.int_list": operator.ne,
    "len.t": len,
    "__getitem__.t": operator.getitem,
    "__is__": lambda a, b: a is b or (a == b if isinstance(a, bool | int | float | str) else False),
    "__isnot__": lambda a, b: not (a is b or (a == b if isinstance(a, bool | int | float | str) else False)),
    "__contains__.int_list": operator.contains,
    "add.t": operator.add,
}.items():
    aten(_name)(_plain(_fn))


@aten("div.int div.float div")
def div_number(c: Call, a: float, b: float) -> Any:
    """True division."""
    return a / b if b else c.fail("division by zero")


@aten("floordiv.int")
def floordiv(c: Call, a: int, b: int) -> Any:
    """Division rounded down."""
    return _wrap64(a // b) if b else c.fail("division by zero")


@aten("remainder.int")
def remainder(c: Call, a: int, b: int) -> Any:
    """Remainder with the divisor's sign."""
    return a % b if b else c.fail("division by zero")


@aten("pow.int")
def pow_int(_c: Call, a: int, b: int) -> Any:
    """A power, as a float."""
    return float(a) ** b


@aten("size.int sym_size.int")
def size_int(_c: Call, x: np.ndarray, dim: int) -> Any:
    """One size."""
    return x.shape[dim]


@aten("size sym_size")
def size(_c: Call, x: np.ndarray) -> Any:
    """All sizes."""
    return list(x.shape)


@aten("numel sym_numel")
def numel(_c: Call, x: np.ndarray) -> Any:
    """How many elements."""
    return int(x.size)


@aten("dim")
def dim(_c: Call, x: np.ndarray) -> Any:
    """How many dimensions."""
    return x.ndim


@aten("len.Tensor")
def len_tensor(_c: Call, x: np.ndarray) -> Any:
    """The first size."""
    return x.shape[0]


@aten("item _local_scalar_dense ScalarImplicit")
def item(c: Call, x: np.ndarray) -> Any:
    """The only element as a Python number."""
    return x.item() if x.size == 1 else c.fail(f"a tensor of {x.size} elements is not one number")


@aten("Int.Tensor IntImplicit")
def int_of(c: Call, x: np.ndarray) -> Any:
    """The only element as an int."""
    return int(item(c, x))


@aten("Float.Tensor FloatImplicit")
def float_of(c: Call, x: np.ndarray) -> Any:
    """The only element as a float."""
    return float(item(c, x))


@aten("Bool.Tensor is_nonzero")
def bool_of(c: Call, x: np.ndarray) -> Any:
    """Whether the only element is not 0."""
    return bool(item(c, x))


@torch_semantics("prim.dtype")
def dtype(c: Call, _x: np.ndarray) -> Any:
    """The number of the dtype."""
    return SCALAR_TYPE_OF[c.argument_element(0)]


@torch_semantics("prim.device")
def device(_c: Call, _x: np.ndarray) -> Any:
    """Always the CPU."""
    return "cpu"


@torch_semantics("prim.RaiseException")
def raise_exception(c: Call, message: str, _cls: Any = None) -> Any:
    """Stops the program."""
    return c.fail(message)


@aten("_assert_tensor_metadata")
def assert_tensor_metadata(
    c: Call,
    x: np.ndarray,
    sizes: Any = None,
    _strides: Any = None,
    dtype: Any = None,
    _device: Any = None,
    _layout: Any = None,
) -> Any:
    """Sizes and dtype must be as said."""
    if sizes is not None and tuple(sizes) != x.shape:
        c.fail(f"a tensor of shape {list(x.shape)}, expected {list(sizes)}")
    if dtype is not None and SCALAR_TYPE_OF[c.argument_element(0)] != dtype:
        c.fail(f"a tensor of dtype number {SCALAR_TYPE_OF[c.argument_element(0)]}, expected {dtype}")
    return ()


@aten("_assert_scalar")
def assert_scalar(c: Call, value: Any, message: str) -> Any:
    """The value must not be 0."""
    return () if value else c.fail(message)
