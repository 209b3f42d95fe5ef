"""Convert functions of the torch dialect to linalg on builtin tensors.

    func.func @forward(%x: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,4],f32> {
      %w = torch.vtensor.literal(dense_resource<w> : tensor<4x3xf32>) : !torch.vtensor<[4,3],f32>
      %none = torch.constant.none
      %y = torch.aten.linear %x, %w, %none : … -> !torch.vtensor<[2,4],f32>
      %z = torch.aten.relu %y : …
      return %z
    }
    -->
    func.func @forward(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {
      %c0 = arith.constant 0.0 : f32
      %w = arith.constant dense_resource<w> : tensor<4x3xf32>
      %e = tensor.empty() : tensor<3x4xf32>
      %t = linalg.transpose ins(%w) outs(%e) permutation = [1, 0]
      …linalg.fill, linalg.matmul, linalg.generic { relu }…
      return
    }

What: walks each function once and builds its replacement; every op that has no lowering is named in one error.
Runs after `torch-canonicalize` and `torch-fold-batch-norm`. Runs before the linalg passes.
Tests: tests/lowering/torch/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects import arith, func
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AffineMapAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FunctionType,
    IndexType,
    IntegerType,
    ModuleOp,
    TensorType,
    f64,
    i1,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.ir.affine import AffineSymExpr

from mlc.dialects.torch import prim
from mlc.dialects.torch.constants import ScalarConstant, VTensorLiteralOp
from mlc.dialects.torch.control_flow import PrimLoopConditionOp, PrimLoopOp
from mlc.dialects.torch.tensor_ops import BindSymbolicShapeOp, SymbolicIntOp
from mlc.dialects.torch.types import (
    TorchBoolType,
    TorchFloatType,
    TorchIntType,
    TorchType,
    VTensorType,
)
from mlc.errors import DTypeError, ShapeError, UnsupportedError
from mlc.ir import custom_ops
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.locations import format_location
from mlc.ir.passes import MlcPass
from mlc.lowering.torch.custom_op import lower_custom
from mlc.lowering.torch.stated_types import RAISED_BY_MISTAKE, check_stated, check_types, operands_do_not_fit
from mlc.lowering.torch.to_linalg import dtypes
from mlc.lowering.torch.to_linalg.all_lowerings import COMPARED_WITH_PYTORCH, FAMILIES, LOWERINGS
from mlc.lowering.torch.to_linalg.complex_numbers import COMPLEX_LOWERINGS, Complex, is_complex, lower_complex
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F64, I64
from mlc.lowering.torch.to_linalg.loops import convert_loop
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.scalars import as_scalar
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor, plain


def _family(module: str) -> str:
    """The file of lowerings: elementwise, pooling, ..."""
    return module.rpartition(".")[2]


@dataclass(frozen=True)
class ConvertTorchToLinalg(MlcPass):
    """torch -> linalg on tensors."""

    name = "convert-torch-to-linalg"
    contract: ClassVar[Contract] = Contract(
        level_in="torch",
        level_out="linalg",
        preserves=Reassociates("sums of products are added in the order of the loops, not of ATen's kernels"),
        profile="torch-lowering",
        establishes=("no torch op or type is left",),
        rules={
            family: "ops of this family -> linalg on tensors"
            for family in sorted(_family(m.__name__) for m in FAMILIES if m not in COMPARED_WITH_PYTORCH)
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        functions = [op for op in module.body.ops if isinstance(op, func.FuncOp) and _is_torch(op)]
        problems = [p for f in functions for p in _unsupported(f)]
        if problems:
            raise UnsupportedError(
                f"{len(problems)} op{'s have' if len(problems) > 1 else ' has'} no lowering:\n"
                + "\n".join(f"  {p}" for p in problems),
                hint=_way_around(functions),
            )
        for function in functions:
            converted = _FunctionConversion(function)
            converted.run()
            for family, times in sorted(converted.families.items()):
                ctx.remarks.count(self.name, family, times)
            count = converted.families.total() + converted.custom
            ctx.remarks.analysis(self.name, function, f"converted {count} ops")
        for name in [name for name in module.attributes if name.startswith("torch.")]:
            del module.attributes[name]


def _is_torch(function: func.FuncOp) -> bool:
    ftype = function.function_type
    if any(isinstance(t, TorchType) for t in (*ftype.inputs, *ftype.outputs)):
        return True
    return bool(function.body.blocks) and any(op.name.startswith("torch.") for op in function.body.block.ops)


def _unsupported(function: func.FuncOp) -> list[str]:
    """Lines naming each op of `function` that no lowering knows."""
    out: list[str] = []
    for op in function.walk():
        if op is function or op.name in LOWERINGS or op.name in COMPLEX_LOWERINGS or _is_structural(op):
            continue
        name = op.operator_name if isinstance(op, prim.OperatorOp) else op.name
        if isinstance(op, prim.OperatorOp) and (op.known_name in LOWERINGS or custom_ops.find(_short(op))):
            continue
        where = format_location(op.location)
        line = f"{name} at {where}" if where else name
        if line not in out:
            out.append(line)
    return out


def _short(op: prim.OperatorOp) -> str:
    """`tacc.bias_relu`, also where torch-mlir wrote `torch.tacc.bias_relu`."""
    return op.known_name.removeprefix("torch.")


def _way_around(functions: Sequence[func.FuncOp]) -> str:
    """What to do about ops without a lowering."""
    foreign = any(isinstance(op, prim.OperatorOp) for f in functions for op in f.walk())
    hint = "replace these ops in the model, or decompose them before compiling"
    return f"{hint}; for ops of torch.library see the entry point group {custom_ops.GROUP}" if foreign else hint


def _is_structural(op: Operation) -> bool:
    return (
        isinstance(
            op,
            ScalarConstant
            | VTensorLiteralOp
            | func.ReturnOp
            | prim.PrimListConstructOp
            | prim.PrimTupleConstructOp
            | prim.PrimListUnpackOp
            | prim.PrimTupleUnpackOp
            | prim.PrimTupleIndexOp
            | prim.TensorStaticInfoCastOp
            | SymbolicIntOp
            | BindSymbolicShapeOp
            | PrimLoopOp
            | PrimLoopConditionOp,
        )
        or prim.is_cast(op)
        or op.name in ("torch.aten.__getitem__.t", "torch.aten.len.t")
    )


def _of(op: Operation, error: ShapeError | DTypeError) -> ShapeError | DTypeError:
    """`error` with the name and the place of its op."""
    if error.where is not None:
        return error
    return type(error)(f"{op.name}: {error.message}", format_location(op.location) or None, error.expected, error.hint)


class _FunctionConversion:
    """Converts one function in place."""

    def __init__(self, function: func.FuncOp) -> None:
        self.function = function
        self.families: Counter[str] = Counter()
        self.custom = 0
        self.env: dict[SSAValue, Any] = {}

    def run(self) -> None:
        old = self.function.body.block
        inputs = [_builtin_type(t) for t in self.function.function_type.inputs]
        block = Block(arg_types=inputs)
        c = Conversion(block)
        c.location = self.function.location
        for before, after in zip(old.args, block.args, strict=True):
            after.name_hint = before.name_hint
            self.env[before] = _argument(c, after, before.type)
        self._bind_symbols(c, old)
        for op in old.ops:
            self._convert_at(c, op)
        c.finish()
        _drop_unused(block)
        outputs = list(block.last_op.operand_types) if block.last_op is not None else []
        self.function.body.detach_block(old)
        self.function.body.add_block(block)
        old.erase(safe_erase=False)
        self.function.properties["function_type"] = FunctionType.from_lists(inputs, outputs)
        for key in ("arg_attrs", "res_attrs"):
            self.function.properties.pop(key, None)

    def _convert_at(self, c: Conversion, op: Operation) -> None:
        outer, c.location = c.location, op.location
        try:
            self._convert(c, op)
        except RAISED_BY_MISTAKE as error:
            if isinstance(error, AttributeError | TypeError) and self._is_open(op):
                text = "a number among its arguments is known only at run time"
                raise c.refuse(text, hint="make it a constant of the model") from error
            if (wrong := operands_do_not_fit(op)) is not None:
                raise _of(op, wrong) from error
            raise
        except (ShapeError, DTypeError) as e:
            raise _of(op, e) from None
        c.location = outer

    def _is_open(self, op: Operation) -> bool:
        """Whether a number among the operands is known only at run time."""
        return any(isinstance(v, Scalar) for v in _flattened([self.env.get(v) for v in op.operands]))

    def _convert(self, c: Conversion, op: Operation) -> None:
        match op:
            case ScalarConstant():
                self.env[op.results[0]] = op.value
            case VTensorLiteralOp():
                self.env[op.results[0]] = _literal(c, op)
            case prim.PrimListConstructOp() | prim.PrimTupleConstructOp():
                self.env[op.results[0]] = [self.env[v] for v in op.operands]
            case prim.PrimListUnpackOp() | prim.PrimTupleUnpackOp():
                self._bind(c, op, self.env[op.operands[0]])
            case func.ReturnOp():
                flat = _flattened([self.env[v] for v in op.operands])
                c.emit(func.ReturnOp(*[_returned(c, v) for v in flat]))
            case _ if prim.is_cast(op):
                self.env[op.results[0]] = self.env[op.operands[0]]
            case prim.TensorStaticInfoCastOp():
                self._bind(c, op, self.env[op.operands[0]])
            case _ if op.name in ("torch.aten.__getitem__.t", "torch.prim.TupleIndex"):
                self.env[op.results[0]] = self.env[op.operands[0]][self.env[op.operands[1]]]
            case _ if op.name == "torch.aten.len.t":
                self.env[op.results[0]] = len(self.env[op.operands[0]])
            case SymbolicIntOp():
                if op.results[0].first_use and op.results[0] not in self.env:
                    raise UnsupportedError(
                        f"the size {op.string('symbol_name')} is bound to no input",
                        format_location(op.location) or None,
                    )
            case PrimLoopOp():
                self._bind(c, op, convert_loop(c, op, self.env, lambda inner: self._convert_at(c, inner)))
            case BindSymbolicShapeOp():
                pass  # read by _bind_symbols
            case _:
                self._lower(c, op)

    def _lower(self, c: Conversion, op: Operation) -> None:
        name = op.known_name if isinstance(op, prim.OperatorOp) else op.name
        check_types(op)
        c.operation, c.result_types = op, op.result_types
        operands = [self.env[v] for v in op.operands]
        custom = custom_ops.find(_short(op)) if isinstance(op, prim.OperatorOp) and name not in LOWERINGS else None
        if custom is not None:
            out = lower_custom(c, custom, operands)
            self.custom += 1
        elif is_complex(operands, op.result_types):
            out = lower_complex(c, name, operands)
            self.families[_family(lower_complex.__module__)] += 1
        else:
            lowering = LOWERINGS[name]
            out = lowering(c, *operands)
            self.families[_family(lowering.__module__)] += 1
        self._bind(c, op, (out,) if len(op.results) == 1 and custom is None else out)

    def _bind(self, c: Conversion, op: Operation, results: Any) -> None:
        if not isinstance(results, tuple | list):
            results = (results,)
        for result, value in zip(op.results, results, strict=True):
            if isinstance(value, Tensor) and isinstance(result.type, VTensorType) and result.type.shape is not None:
                if result.first_use is not None:  # some lowerings give empty tensors for what nothing reads
                    check_stated(value, result.type)
                value = c.refine(value, [-1 if n is None else n for n in result.type.shape])
            self.env[result] = value

    def _bind_symbols(self, c: Conversion, block: Block) -> None:
        """Sizes of arguments that the program says are the same become one value, checked when the function starts."""
        sizes: dict[SSAValue, Dim] = {}
        for op in block.ops:
            if not isinstance(op, BindSymbolicShapeOp) or op.operands[0] not in block.args:
                continue
            tensor = self.env[op.operands[0]]
            assert isinstance(tensor, Tensor)
            shape = list(tensor.shape)
            expressions = op.attributes["shape_expressions"]
            assert isinstance(expressions, AffineMapAttr)
            c.location = op.location
            for d, expr in enumerate(expressions.data.results):
                if not isinstance(expr, AffineSymExpr) or isinstance(shape[d], int):
                    continue
                symbol = op.operands[1 + expr.position]
                if symbol not in sizes:
                    sizes[symbol] = shape[d]
                    _limit(c, shape[d], symbol)
                known = sizes[symbol]
                if known is not shape[d]:
                    same = arith.CmpiOp(c.dims.value(known), c.dims.value(shape[d]), "eq")
                    c.check(c.emit(same).results[0], f"input size {d} must equal that of an earlier input")
                    shape[d] = known
            self.env[op.operands[0]] = plain(tensor.value, tensor.dtype, tuple(shape))
        self.env.update({symbol: as_scalar(size) for symbol, size in sizes.items()})


def _limit(c: Conversion, size: Dim, symbol: SSAValue) -> None:
    """Learn the range that the program states for a symbol, and check it when the function starts."""
    if isinstance(size, int) or not isinstance(symbol.owner, SymbolicIntOp):
        return
    low, high = symbol.owner.range
    for kind, bound in (("sge", low), ("sle", high)):
        if 0 < bound < 2**62:
            c.check(c.op(arith.CmpiOp, size, c.index(bound), kind), f"an input's size must be in {low}..{high}")
    c.dims.limit(size, low, high)


def _builtin_type(t: Attribute) -> Attribute:
    """Type at the linalg level of a value that crosses the function's border."""
    match t:
        case VTensorType():
            if t.shape is None or t.element_type is None:
                raise UnsupportedError(
                    f"an argument of type {t} has no rank or element type", hint="give example inputs"
                )
            sizes = [DYNAMIC_INDEX if n is None else n for n in t.shape]
            return TensorType(dtypes.of_attribute(t.element_type).mlir, sizes)
        case TorchIntType():
            return i64
        case TorchFloatType():
            return f64
        case TorchBoolType():
            return i1
        case TensorType() | IntegerType():
            return t
        case _:
            raise UnsupportedError(f"a function argument of type {t} has no lowering")


def _argument(c: Conversion, value: SSAValue, torch_type: Attribute) -> Any:
    match torch_type:
        case VTensorType():
            assert torch_type.shape is not None and torch_type.element_type is not None
            shape = tuple(c.argument_size(value, d) if n is None else n for d, n in enumerate(torch_type.shape))
            return plain(value, dtypes.of_attribute(torch_type.element_type), shape)
        case TorchIntType():
            return Scalar(c.op(arith.IndexCastOp, value, IndexType()), I64)
        case TorchFloatType():
            return Scalar(value, F64)
        case _:
            return Scalar(value, BOOL)


def _literal(c: Conversion, op: VTensorLiteralOp) -> Tensor:
    """A constant of builtin type: the handle, or the elements, under a signless element type."""
    held = op.value
    old = held.type
    assert isinstance(old, TensorType)
    torch_type = op.results[0].type
    assert isinstance(torch_type, VTensorType)
    dtype = dtypes.of_attribute(old.element_type)
    shape = tuple(old.get_shape())
    new = TensorType(dtype.mlir, shape)
    if isinstance(held, DenseResourceAttr):
        attr: Attribute = DenseResourceAttr(held.resource_handle, new)
    else:
        assert isinstance(held, DenseIntOrFPElementsAttr)
        attr = DenseIntOrFPElementsAttr(new, held.data)
    location, c.location = c.location, op.location
    value = c.head(arith.ConstantOp(attr, new))  # pyright: ignore[reportArgumentType]
    c.location = location
    value.name_hint = op.results[0].name_hint
    c.constants.add(value)
    splat = None
    if isinstance(held, DenseIntOrFPElementsAttr) and not shape:
        element = held.get_values()[0]
        splat = None if isinstance(element, tuple) else bool(element) if dtype.is_bool else element
    return Tensor(value, dtype, shape, tuple(range(len(shape))), shape, splat)


def _flattened(items: Sequence[Any]) -> list[Any]:
    out: list[Any] = []
    for item in items:
        out += _flattened(item) if isinstance(item, list | tuple) else [item]
    return out


def _returned(c: Conversion, value: Any) -> SSAValue:
    match value:
        case Tensor():
            return c.plain(value).value
        case Scalar() if value.dtype == I64:
            return c.op(arith.IndexCastOp, value.value, i64)
        case Scalar():
            return value.value
        case Complex():
            raise UnsupportedError(
                "the model returns a complex tensor, which compiled code cannot", hint="return torch.view_as_real(...)"
            )
        case bool():
            return c.number(value, BOOL)
        case int():
            return c.number(value, I64)
        case float():
            return c.number(value, F64)
        case _:
            raise UnsupportedError(
                f"the model returns {value!r}, which is neither a tensor nor a number",
                hint="return tensors",
            )


def _drop_unused(block: Block) -> None:
    """Remove ops whose results nothing reads. Checks (`cf.assert`) stay, and what they read."""
    for op in reversed(list(block.ops)):
        if op.results and not any(r.first_use for r in op.results) and not _has_check(op):
            op.detach()
            op.erase(safe_erase=False)


def _has_check(op: Operation) -> bool:
    return any(inner.name == "cf.assert" for inner in op.walk())
