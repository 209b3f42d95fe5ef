"""Compare an op of the torch dialect with PyTorch's own: inferred types, verifier, reference semantics.

`check(name, args)` calls `torch.ops.aten.<name>(*args)`, builds the same op in IR, and asserts that inference gives
the result's shape and dtype (also with dynamic sizes), that the op verifies, and that its semantics give the numbers.

How close: each float must be PyTorch's own within 2 units in the last place, or the float64 result (the op run on
float64 inputs) rounded, within 1 unit; sums of many terms have the scale of their largest term as unit.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from xdsl.ir import Attribute, Block, SSAValue

from mlc.dialects.aten_schema import NO_DEFAULT, SchemaType
from mlc.dialects.torch import VTensorType, constant, device, infer, infer_call, list_construct, schema
from mlc.dialects.torch.aten import AtenOp, aten_op
from mlc.dialects.torch.promotion import SCALAR_TYPES
from mlc.dialects.torch.types import BOOL, FLOAT, INT, NUMBER, STR, BaseTensorType, TorchListType, TorchOptionalType
from mlc.interp.domains.ieee import IeeeDomain
from mlc.ir.semantics import load_dialect_semantics, semantics_of

DTYPES: dict[torch.dtype, int] = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.complex64: 9,
    torch.complex128: 10,
    torch.bool: 11,
    torch.bfloat16: 15,
}
LIST_ELEMENTS: dict[str, Attribute] = {
    "int": INT,
    "SymInt": INT,
    "float": FLOAT,
    "bool": BOOL,
    "str": STR,
    "Scalar": NUMBER,
}


class Runner:
    """What semantics of ops without regions ask for."""

    domain = IeeeDomain()
    resources = None


def tensor_type(t: torch.Tensor, dynamic: random.Random | None = None) -> VTensorType:
    """Its value type; with `dynamic` some sizes are unknown."""
    shape = [None if dynamic and dynamic.random() < 0.4 else s for s in t.shape]
    return VTensorType.get(shape, SCALAR_TYPES[DTYPES[t.dtype]])


def to_numpy(value: Any) -> Any:
    """A torch value as the interpreter carries it."""
    if isinstance(value, torch.Tensor):
        value = value.detach().resolve_conj().resolve_neg()
        return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    if isinstance(value, torch.dtype):
        return DTYPES[value]
    if isinstance(value, torch.memory_format | torch.layout):
        return 0
    if isinstance(value, list | tuple):
        return [to_numpy(v) for v in value]
    return value


def abstract(value: Any, dynamic: random.Random | None = None) -> Any:
    """A torch value as inference sees it."""
    if isinstance(value, torch.Tensor):
        return tensor_type(value, dynamic)
    if isinstance(value, list | tuple):
        return [abstract(v, dynamic) for v in value]
    return to_numpy(value)


class Builder:
    """Makes one op with its operands; tensors are block arguments."""

    def __init__(self) -> None:
        self.block = Block()

    def operand(self, value: Any, wanted: SchemaType) -> SSAValue:
        """An SSA value for an argument."""
        if isinstance(value, torch.Tensor):
            return self.block.insert_arg(tensor_type(value), len(self.block.args))
        if wanted.kind == "Optional" and value is not None:
            return self.operand(value, wanted.element)
        if wanted.kind == "List" and not isinstance(value, list | tuple):
            value = [value] * (wanted.size or 1)
        if isinstance(value, list | tuple):
            return self._add(self._list(value, wanted))
        if isinstance(value, torch.device):
            return self._add(device(str(value)))
        if wanted.kind == "float" and isinstance(value, int):
            value = float(value)
        return self._add(constant(to_numpy(value)))

    def _list(self, value: Any, wanted: SchemaType) -> Any:
        inner = wanted.element
        elements = [self.operand(v, inner) for v in value]
        if inner.kind == "Optional":
            return list_construct(elements, TorchOptionalType(VTensorType.get()))
        return list_construct(elements, LIST_ELEMENTS.get(inner.kind, VTensorType.get()))

    def _add(self, op: Any) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]


def full_arguments(name: str, args: tuple[Any, ...]) -> list[Any]:
    """Arguments in schema order, defaults filled in."""
    wanted = schema(name).arguments
    out = list(args)
    for argument in wanted[len(args) :]:
        assert argument.default is not NO_DEFAULT, f"{name} needs {argument.name}"
        default = argument.default
        out.append(list(default) if isinstance(default, tuple) else default)
    return out


def call_torch(name: str, args: list[Any]) -> Any:
    """Run PyTorch's own op."""
    namespace, base, *overload = name.split(".")
    packet = getattr(getattr(torch.ops, namespace), base)
    fn = getattr(packet, overload[0] if overload else "default")
    described = schema(name).arguments
    positional = [a for a, d in zip(args, described, strict=True) if not d.kwarg_only]
    keywords = {d.name: a for a, d in zip(args, described, strict=True) if d.kwarg_only}
    return fn(*positional, **keywords)


def in_float64(value: Any) -> Any:
    """Float tensors widened."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            return value.double()
        return value.to(torch.complex128) if value.is_complex() else value
    if isinstance(value, list | tuple):
        return [in_float64(v) for v in value]
    return torch.float64 if value in (torch.float32, torch.float16, torch.bfloat16) else value


def flat(value: Any) -> list[Any]:
    """Results as a list."""
    return list(value) if isinstance(value, tuple) else [value]


def build(name: str, args: list[Any]) -> AtenOp:
    """The op in IR, with the inferred result types."""
    builder = Builder()
    cls = aten_op(name)
    operands = [builder.operand(a, d.type) for a, d in zip(args, schema(name).arguments, strict=True)]
    op = cls.create(operands=operands, result_types=infer_call(name, [abstract(a) for a in args]))
    builder.block.add_op(op)
    return op


def check_type(what: str, inferred: Any, actual: Any, *, exact: bool) -> None:
    """The inferred type must be the actual value's; sizes may be unknown unless `exact`."""
    if isinstance(actual, torch.Tensor):
        assert isinstance(inferred, BaseTensorType), f"{what}: {inferred} for a tensor"
        wanted = tensor_type(actual)
        if inferred.shape is None and inferred.element_type is None and not exact:
            return
        assert inferred.element_type == wanted.element_type, f"{what}: inferred {inferred}, actual {wanted}"
        assert inferred.shape is not None and wanted.shape is not None
        assert len(inferred.shape) == len(wanted.shape), f"{what}: inferred {inferred}, actual {wanted}"
        for a, b in zip(inferred.shape, wanted.shape, strict=True):
            assert a == b or (a is None and not exact), f"{what}: inferred {inferred}, actual {wanted}"


def _ulp(reference: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The distance of neighbours around each reference value."""
    info = torch.finfo(dtype)
    magnitude = np.maximum(np.abs(reference.astype(np.float64)), info.tiny)
    return np.exp2(np.floor(np.log2(magnitude))) * info.eps


def _near(ours: np.ndarray, reference: np.ndarray, dtype: torch.dtype, ulps: float, scale: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        same = (ours == reference) | (np.isnan(ours) & np.isnan(reference))
        unit = np.maximum(_ulp(reference, dtype), scale * torch.finfo(dtype).eps)
        limit = float(torch.finfo(dtype).max)
        overflow = (np.abs(reference) >= limit) & np.isinf(ours) & (np.sign(ours) == np.sign(reference))
        return same | overflow | (np.abs(ours.astype(np.float64) - reference.astype(np.float64)) <= ulps * unit)


def check_values(what: str, ours: Any, actual: Any, exact64: Any, *, ulps: float, scale: float) -> None:
    """Numbers, dtype and shape of one result."""
    if isinstance(actual, list | tuple):
        assert len(ours) == len(actual), f"{what}: {len(ours)} tensors, expected {len(actual)}"
        for i, (o, a) in enumerate(zip(ours, actual, strict=True)):
            check_values(f"{what}[{i}]", o, a, None if exact64 is None else exact64[i], ulps=ulps, scale=scale)
        return
    if not isinstance(actual, torch.Tensor):
        assert type(ours) is type(actual) and (ours == actual or (ours != ours and actual != actual)), (
            what,
            ours,
            actual,
        )
        return
    wanted = to_numpy(actual)
    assert isinstance(ours, np.ndarray), f"{what}: got a {type(ours)}"
    assert ours.dtype == wanted.dtype and ours.shape == wanted.shape, (
        f"{what}: {ours.dtype}{ours.shape} {wanted.dtype}{wanted.shape}"
    )
    if wanted.dtype.kind not in "fc":
        assert np.array_equal(ours, wanted), f"{what}:\nours {ours}\ntorch {wanted}"
        return
    for part in ("real", "imag") if wanted.dtype.kind == "c" else ("real",):
        dtype = (
            actual.dtype if wanted.dtype.kind == "f" else {8: torch.float32, 16: torch.float64}[wanted.dtype.itemsize]
        )
        mine, theirs = getattr(ours, part), getattr(wanted, part)
        fine = _near(mine, theirs, dtype, 2 * ulps, scale)
        if (
            exact64 is not None
            and tuple(exact64.shape) == mine.shape
            and exact64.dtype in (torch.float64, torch.complex128)
        ):
            fine |= _near(mine, getattr(to_numpy(exact64), part), dtype, ulps, scale)
        assert fine.all(), f"{what}:\nours {mine[~fine][:8]}\ntorch {theirs[~fine][:8]}"


def check(name: str, args: tuple[Any, ...], *, ulps: float = 1, scale: float = 0, dynamic_seed: int = 0) -> None:
    """Everything about one call. `name` without dialect: `aten.add.Tensor`."""
    load_dialect_semantics("torch")
    arguments = full_arguments(name, args)
    actual = flat(call_torch(name, arguments)) if schema(name).returns else [call_torch(name, arguments)][1:]
    op = build(name, arguments)
    op.verify()
    inferred = infer(op)
    data_dependent = name in DATA_DEPENDENT
    for i, (t, a) in enumerate(zip(inferred, actual, strict=True)):
        if isinstance(a, list | tuple):
            assert isinstance(t, TorchListType), f"{name}: {t} for a list"
        else:
            check_type(f"{name} result {i}", t, a, exact=not data_dependent)
    chooser = random.Random(dynamic_seed)
    loose = infer_call(name, [abstract(a, chooser) for a in arguments])
    for i, (t, a) in enumerate(zip(loose, actual, strict=True)):
        if not isinstance(a, list | tuple):
            check_type(f"{name} result {i}, dynamic", t, a, exact=False)
    with np.errstate(all="raise"):
        ours = semantics_of(op)(op, tuple(to_numpy(a) for a in arguments), Runner())  # pyright: ignore[reportArgumentType]
    exact64: list[Any] = [None] * len(actual)
    if any(isinstance(a, torch.Tensor) and (a.is_floating_point() or a.is_complex()) for a in actual):
        try:
            exact64 = flat(call_torch(name, in_float64(arguments)))
        except (RuntimeError, NotImplementedError):
            exact64 = [None] * len(actual)
    assert len(ours) == len(actual), f"{name}: {len(ours)} results, expected {len(actual)}"
    for i, (o, a, e) in enumerate(zip(ours, actual, exact64, strict=True)):
        check_values(f"{name} result {i}", o, a, e, ulps=ulps, scale=scale)


# Sizes of these follow from the data.
DATA_DEPENDENT = frozenset(
    [
        "aten.nonzero",
        "aten.argwhere",
        "aten.masked_select",
        "aten.bincount",
        "aten.repeat_interleave.Tensor",
        "aten.repeat_interleave.self_Tensor",
        "aten.tril_indices",
        "aten.triu_indices",
    ]
)
