"""One ATen op, lowered to linalg and run in the reference interpreter, against eager PyTorch.

check("aten.add.Tensor", x, y)                   exact
check("aten.exp", x, ulp=4)                      within 4 ulp of the f64 result, or eager's own error
check("aten.mm", a, b, reassociates=True)        within the error bound of a sum
check("aten.add.Tensor", x, y, dynamic=True)     every size of the inputs unknown while compiling
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.dialects.aten_schema import NO_DEFAULT, Schema, SchemaType, schema
from mlc.dialects.torch.build import constant, create, list_construct
from mlc.dialects.torch.prim import PrimListUnpackOp
from mlc.dialects.torch.types import (
    BOOL,
    FLOAT,
    INT,
    NONE,
    TorchListType,
    TorchOptionalType,
    VTensorType,
    bf16,
    f16,
    f32,
    f64,
    i1,
    si8,
    si16,
    si32,
    si64,
    ui8,
)
from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.verifier import verify_module

ELEMENTS: dict[torch.dtype, Attribute] = {
    torch.float32: f32,
    torch.float64: f64,
    torch.float16: f16,
    torch.bfloat16: bf16,
    torch.int64: si64,
    torch.int32: si32,
    torch.int16: si16,
    torch.int8: si8,
    torch.uint8: ui8,
    torch.bool: i1,
}
CODES = {
    torch.float32: 6,
    torch.float64: 7,
    torch.float16: 5,
    torch.bfloat16: 15,
    torch.int64: 4,
    torch.int32: 3,
    torch.int16: 2,
    torch.int8: 1,
    torch.uint8: 0,
    torch.bool: 11,
}
INF, NAN = float("inf"), float("nan")
EDGE = torch.tensor(
    [
        NAN,
        INF,
        -INF,
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        3.0,
        -3.7,
        1e-40,
        -1e-40,
        1e30,
        -1e30,
        6.0,
        5.99,
        20.5,
        -20.5,
        80.0,
        -80.0,
        104.0,
        -104.0,
        0.1,
        -0.1,
        0.9999,
        1e-4,
        16777217.0,
        0.499999,
    ]
)


def tensor_type(t: torch.Tensor, dynamic: bool = False) -> VTensorType:
    return VTensorType.get(tuple(None if dynamic else n for n in t.shape), ELEMENTS[t.dtype])


class _Builder:
    """The function that calls one op; tensors among `args` become its arguments."""

    def __init__(self, dynamic: bool) -> None:
        self.dynamic = dynamic
        self.block = Block()
        self.inputs: list[torch.Tensor] = []

    def value(self, x: Any, kind: SchemaType | None = None) -> SSAValue:
        if isinstance(x, torch.Tensor):
            self.inputs.append(x)
            return self.block.insert_arg(tensor_type(x, self.dynamic), len(self.block.args))
        if isinstance(x, torch.dtype):
            x = CODES[x]
        if kind is not None and kind.kind == "List" and kind.size is not None and isinstance(x, int):
            x = [x] * kind.size
        if isinstance(x, list | tuple):
            kinds = kind
            while kinds is not None and kinds.kind == "Optional":
                kinds = kinds.element
            inner = kinds.element if kinds is not None and kinds.kind == "List" else None
            items = [self.value(v, inner) for v in x]
            return self.add(list_construct(items, _list_element(items, x)))
        if isinstance(x, torch.device):
            x = None
        if kind is not None and kind.kind == "float" and isinstance(x, int) and not isinstance(x, bool):
            x = float(x)
        return self.add(constant(x))

    def add(self, op: Operation) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]


def _list_element(items: list[SSAValue], xs: Any) -> Attribute:
    if any(x is None for x in xs):
        return TorchOptionalType(VTensorType.get(None, None))
    if any(isinstance(x, torch.Tensor) for x in xs):
        return VTensorType.get(None, None)
    return {bool: BOOL, int: INT, float: FLOAT}.get(type(xs[0]), NONE) if items else INT


def _arguments(found: Schema, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    out: list[Any] = []
    for i, argument in enumerate(found.arguments):
        if i < len(args):
            out.append(args[i])
        elif argument.name in kwargs:
            out.append(kwargs[argument.name])
        else:
            default = None if argument.default is NO_DEFAULT else argument.default
            out.append(list(default) if isinstance(default, tuple) else default)
    return out


def eager(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What PyTorch computes."""
    packet: Any = torch.ops
    parts = name.split(".")
    for part in parts:
        packet = getattr(packet, part)
    overload = packet if len(parts) == 3 else packet.default
    named = {a.name: x for a, x in zip(schema(name).arguments, args, strict=False) if a.kwarg_only}
    return overload(*args[: len(args) - len(named)], **named, **kwargs)


def module_of(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: Any, dynamic: bool
) -> tuple[ModuleOp, list[torch.Tensor]]:
    """`@forward` that calls the op once."""
    found = schema(name)
    builder = _Builder(dynamic)
    operands = [builder.value(x, a.type) for x, a in zip(_arguments(found, args, kwargs), found.arguments, strict=True)]
    if isinstance(expected, list):
        op = create(name, operands, [TorchListType(VTensorType.get(None, None))])
        builder.block.add_op(op)
        unpack = PrimListUnpackOp.create(operands=op.results, result_types=[tensor_type(t, dynamic) for t in expected])
        builder.block.add_op(unpack)
        results = list(unpack.results)
    else:
        flat = pytree.tree_leaves(expected)
        op = create(name, operands, [tensor_type(t, dynamic) for t in flat])
        builder.block.add_op(op)
        results = list(op.results)
    builder.block.add_op(func.ReturnOp(*results))
    types = FunctionType.from_lists([a.type for a in builder.block.args], [r.type for r in results])
    return ModuleOp([func.FuncOp("forward", types, Region(builder.block))]), builder.inputs


def lowered(module: ModuleOp) -> MlcContext:
    """Convert in place, verifying before and after."""
    ctx = make_context()
    verify_module(module, ctx)
    passes = [make_pass(name) for name in ("torch-canonicalize", "torch-fold-batch-norm", "convert-torch-to-linalg")]
    run_pipeline(passes, ctx, module)
    verify_module(module, ctx)
    assert not any(op.name.startswith("torch.") for op in module.walk())
    return ctx


def to_numpy(t: torch.Tensor) -> np.ndarray:
    """bfloat16, which numpy lacks, as the bits the interpreter takes."""
    t = t.detach().resolve_conj().contiguous()
    return t.view(torch.uint16).numpy() if t.dtype is torch.bfloat16 else t.numpy()


def check(
    name: str,
    *args: Any,
    ulp: float = 0.0,
    reassociates: bool = False,
    dynamic: bool = False,
    **kwargs: Any,
) -> None:
    """Lower one call and compare with eager, results and dtypes."""
    with torch.inference_mode():
        expected = eager(name, args, kwargs)
    flat = pytree.tree_leaves(expected)
    module, inputs = module_of(name, args, kwargs, expected, dynamic)
    ctx = lowered(module)
    outputs = run_module(module, "forward", [to_numpy(t) for t in inputs], resources=ctx.resources)
    assert len(outputs) == len(flat)
    wide = eager(name, *_widened(args, kwargs)) if ulp or reassociates else expected
    for got, want, exact in zip(outputs, flat, pytree.tree_leaves(wide), strict=True):
        compare(name, got, want, exact, ulp=ulp, reassociates=reassociates)


def _widened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def widen(x: Any) -> Any:
        return x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    return pytree.tree_map(widen, args), pytree.tree_map(widen, kwargs)


def compare(name: str, got: Any, want: torch.Tensor, exact: torch.Tensor, *, ulp: float, reassociates: bool) -> None:
    """Same shape and dtype, and elements as near as the op's kind demands."""
    got = np.asarray(got)
    assert got.shape == tuple(want.shape), f"{name}: shape {got.shape}, eager {tuple(want.shape)}"
    if want.dtype is not torch.bfloat16:
        kind = want.numpy().dtype
        assert got.dtype == kind or (got.dtype.itemsize == kind.itemsize and got.dtype.kind in "iu"), (
            f"{name}: {got.dtype}, eager {kind}"
        )
    if not want.is_floating_point():
        np.testing.assert_array_equal(got.view(want.numpy().dtype), want.numpy(), err_msg=name)
        return
    reference = want.double().numpy()
    mine = got.astype(np.float64)
    if not ulp and not reassociates:
        np.testing.assert_array_equal(mine, reference, err_msg=name)
        return
    true = exact.double().numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        special = ~np.isfinite(reference) | ~np.isfinite(mine)
        np.testing.assert_array_equal(mine[special], reference[special], err_msg=name)
        error, theirs = np.abs(mine - true)[~special], np.abs(reference - true)[~special]
    step = float(torch.finfo(want.dtype).eps)
    tiny = float(torch.finfo(want.dtype).tiny)
    if reassociates:
        scale = max(float(np.abs(true[~special]).max(initial=0.0)), 1e-3)
        allowed = np.maximum(4 * theirs.max(initial=0.0), 16 * step * scale)
    else:
        allowed = np.maximum(4 * theirs, ulp * step * np.abs(true[~special]) + tiny)
    worst = float((error - allowed).max(initial=-1.0))
    assert worst <= 0, f"{name}: beyond the bound by {worst}: {mine[~special][:8]} for {reference[~special][:8]}"
