"""Structured `linalg` ops that xDSL lacks: batch matmul, depthwise convolutions, more poolings.

`GenericOp` and `MatmulOp` refine xDSL's classes of the same name (so `isinstance` against xDSL's keeps working): the
first reads several results in parentheses, the second reads and writes `indexing_maps`, as upstream does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    AffineMapAttr,
    AnyFloat,
    ArrayAttr,
    DenseIntElementsAttr,
    IntegerType,
    TensorType,
    i64,
)
from xdsl.dialects.linalg import abstract_ops, ops
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap
from xdsl.irdl import irdl_op_definition, prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer

from mlc.dialects.optional_parens import OptionalParens

_ONES = DenseIntElementsAttr.from_list(TensorType(i64, [2]), [1, 1])


def tensor_results(outputs: Sequence[SSAValue]) -> tuple[Attribute, ...]:
    """Result types of a structured op on `outputs`: the tensors among them."""
    return tuple(o.type for o in outputs if isinstance(o.type, TensorType))


def pair(a: int, b: int) -> DenseIntElementsAttr:
    """`dense<[a, b]> : tensor<2xi64>`: strides and dilations of two-dimensional windows."""
    return DenseIntElementsAttr.from_list(TensorType(i64, [2]), [a, b])


def iterators(kinds: str) -> ArrayAttr[IteratorTypeAttr]:
    """The attribute of `ppr`: parallel and reduction loops."""
    return ArrayAttr(IteratorTypeAttr.parallel() if k == "p" else IteratorTypeAttr.reduction() for k in kinds)


def is_multiply_add(body: Block) -> bool:
    """Whether a body of floats yields acc + a * b, in any order of operands, and does nothing else."""
    if len(body.args) != 3 or len(ops := list(body.ops)) != 3:
        return False
    product, total, end = ops
    a, b, acc = body.args
    return (
        isinstance(product, arith.MulfOp)
        and isinstance(total, arith.AddfOp)
        and {product.lhs, product.rhs} == {a, b}
        and {total.lhs, total.rhs} == {acc, product.result}
        and tuple(end.operands) == (total.result,)
    )


def _widened(value: SSAValue, wanted: Attribute) -> SSAValue:
    """An operand in the type that products are summed in, as upstream's named ops cast it (signed)."""
    if value.type == wanted:
        return value
    if isinstance(wanted, AnyFloat):
        if isinstance(value.type, AnyFloat):
            narrow = wanted.bitwidth < value.type.bitwidth
            return (arith.TruncFOp(value, wanted) if narrow else arith.ExtFOp(value, wanted)).results[0]
        return arith.SIToFPOp(value, wanted).results[0]
    if isinstance(value.type, AnyFloat):
        assert isinstance(wanted, IntegerType)
        return arith.FPToSIOp(value, wanted).results[0]
    assert isinstance(wanted, IntegerType) and isinstance(value.type, IntegerType)
    narrow = wanted.bitwidth < value.type.bitwidth
    return (arith.TruncIOp(value, wanted) if narrow else arith.ExtSIOp(value, wanted)).results[0]


def multiply_add(arg_types: Sequence[Attribute]) -> Region:
    """The body `acc + a * b`, in the type of `acc`."""
    floats = isinstance(arg_types[-1], AnyFloat)

    @Builder.implicit_region(arg_types)
    def region(args: tuple[BlockArgument, ...]) -> None:
        a, b = _widened(args[0], args[2].type), _widened(args[1], args[2].type)
        product = (arith.MulfOp if floats else arith.MuliOp)(a, b)
        total = (arith.AddfOp if floats else arith.AddiOp)(args[2], product.result)
        ops.YieldOp(total)

    return region


def _reduce(arg_types: Sequence[Attribute], combine: type[Operation]) -> Region:
    @Builder.implicit_region(arg_types)
    def region(args: tuple[BlockArgument, ...]) -> None:
        ops.YieldOp(combine(args[2], args[0]))  # pyright: ignore[reportCallIssue]

    return region


def _parse_indexing_maps(parser: Parser) -> ArrayAttr[AffineMapAttr] | None:
    if parser.parse_optional_keyword("indexing_maps") is None:
        return None
    parser.parse_punctuation("=")
    maps = parser.parse_attribute()
    if not isinstance(maps, ArrayAttr):
        parser.raise_error("expected an array of affine maps")
    return maps


def _print_indexing_maps(printer: Printer, maps: ArrayAttr[AffineMapAttr], default: ArrayAttr[AffineMapAttr]) -> None:
    if maps != default:
        printer.print_string(" indexing_maps = ")
        printer.print_attribute(maps)


class GenericOp(ops.GenericOp):
    """`linalg.generic`; reads `-> (tensor<…>, tensor<…>)` too."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        return super().parse(OptionalParens(parser))  # pyright: ignore[reportArgumentType]


class MatmulOp(ops.MatmulOp):
    """`linalg.matmul`; `indexing_maps` other than the usual ones are read and written."""

    _DEFAULT: ClassVar[ArrayAttr[AffineMapAttr]] = ArrayAttr(
        [
            AffineMapAttr(AffineMap.from_callable(lambda i, _, k: (i, k))),
            AffineMapAttr(AffineMap.from_callable(lambda _, j, k: (k, j))),
            AffineMapAttr(AffineMap.from_callable(lambda i, j, _: (i, j))),
        ]
    )

    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        return multiply_add(cls.body_arg_types((*inputs, *outputs)))

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        maps = _parse_indexing_maps(parser)
        op = super().parse(parser)
        if maps is not None:
            op.properties["indexing_maps"] = maps
        return op

    def print(self, printer: Printer) -> None:
        _print_indexing_maps(printer, self.indexing_maps, self._DEFAULT)
        super().print(printer)


@irdl_op_definition
class BatchMatmulOp(abstract_ops.NamedOperation):
    """`out[b, m, n] += lhs[b, m, k] * rhs[b, k, n]`; other `indexing_maps` transpose or broadcast lhs or rhs."""

    name = "linalg.batch_matmul"
    PRINT_ATTRS_IN_FRONT: ClassVar[bool] = True
    _DEFAULT: ClassVar[ArrayAttr[AffineMapAttr]] = ArrayAttr(
        [
            AffineMapAttr(AffineMap.from_callable(lambda b, m, _, k: (b, m, k))),
            AffineMapAttr(AffineMap.from_callable(lambda b, _, n, k: (b, k, n))),
            AffineMapAttr(AffineMap.from_callable(lambda b, m, n, _: (b, m, n))),
        ]
    )

    indexing_maps = prop_def(ArrayAttr[AffineMapAttr], default_value=_DEFAULT)

    def __init__(
        self,
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
        res: Sequence[Attribute] | None = None,
        indexing_maps: ArrayAttr[AffineMapAttr] | None = None,
    ) -> None:
        super().__init__(
            ins=inputs,
            outs=outputs,
            result_types=(tensor_results(outputs) if res is None else res,),
            properties={"indexing_maps": indexing_maps or self._DEFAULT},
            hidden_region=self.get_hidden_region(inputs, outputs),
        )

    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        return multiply_add(cls.body_arg_types((*inputs, *outputs)))

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return tuple(m.data for m in self.indexing_maps)

    def get_indexing_maps(self) -> ArrayAttr[AffineMapAttr]:
        return self.indexing_maps

    def get_iterator_types(self) -> ArrayAttr[IteratorTypeAttr]:
        return iterators("pppr")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        maps = _parse_indexing_maps(parser)
        op = super().parse(parser)
        if maps is not None:
            op.properties["indexing_maps"] = maps
        return op

    def print(self, printer: Printer) -> None:
        _print_indexing_maps(printer, self.indexing_maps, self._DEFAULT)
        super().print(printer)


class _WindowOperation(abstract_ops.NamedOperation):
    """A two-dimensional window over (input, window), six loops, the last two over the window."""

    PRINT_ATTRS_IN_FRONT: ClassVar[bool] = True
    strides = prop_def(DenseIntElementsAttr, default_value=_ONES)
    dilations = prop_def(DenseIntElementsAttr, default_value=_ONES)

    def __init__(
        self,
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
        res: Sequence[Attribute] | None = None,
        *,
        strides: DenseIntElementsAttr = _ONES,
        dilations: DenseIntElementsAttr = _ONES,
    ) -> None:
        super().__init__(
            ins=inputs,
            outs=outputs,
            result_types=(tensor_results(outputs) if res is None else res,),
            properties={"strides": strides, "dilations": dilations},
            hidden_region=self.get_hidden_region(inputs, outputs),
        )

    def get_iterator_types(self) -> ArrayAttr[IteratorTypeAttr]:
        return iterators("pppprr")

    def _window_maps(self, layout: str, window: str, loops: str) -> Sequence[AffineMap]:
        """Maps from letters: `layout` orders n, c, h, w of input and output, `loops` all six loops."""
        dim = {letter: AffineDimExpr(i) for i, letter in enumerate(loops)}
        stride = dict(zip("hw", self.strides.get_values(), strict=True))
        dilation = dict(zip("hw", self.dilations.get_values(), strict=True))
        reach: dict[str, AffineExpr] = {
            "n": dim["n"],
            "c": dim["c"],
            "h": dim["h"] * stride["h"] + dim["y"] * dilation["h"],
            "w": dim["w"] * stride["w"] + dim["x"] * dilation["w"],
        }
        return (
            AffineMap(6, 0, tuple(reach[letter] for letter in layout)),
            AffineMap(6, 0, tuple(dim[letter] for letter in window)),
            AffineMap(6, 0, tuple(dim[letter] for letter in layout)),
        )


class _DepthwiseConvOperation(_WindowOperation):
    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        return multiply_add(cls.body_arg_types((*inputs, *outputs)))


@irdl_op_definition
class DepthwiseConv2DNchwChwOp(_DepthwiseConvOperation):
    """Depthwise convolution, channel multiplier 1: input NCHW, kernel CHW. Loops n, oh, ow, c, kh, kw."""

    name = "linalg.depthwise_conv_2d_nchw_chw"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return self._window_maps("nchw", "cyx", "nhwcyx")


@irdl_op_definition
class DepthwiseConv2DNhwcHwcOp(_DepthwiseConvOperation):
    """Depthwise convolution, channel multiplier 1: input NHWC, kernel HWC. Loops n, oh, ow, c, kh, kw."""

    name = "linalg.depthwise_conv_2d_nhwc_hwc"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return self._window_maps("nhwc", "yxc", "nhwcyx")


class _SumPooling(_WindowOperation):
    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        types = cls.body_arg_types((*inputs, *outputs))
        return _reduce(types, arith.AddfOp if isinstance(types[-1], AnyFloat) else arith.AddiOp)


class _MaxPooling(_WindowOperation):
    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        types = cls.body_arg_types((*inputs, *outputs))
        return _reduce(types, arith.MaximumfOp if isinstance(types[-1], AnyFloat) else arith.MaxSIOp)


@irdl_op_definition
class PoolingNchwSumOp(_SumPooling):
    """Sum over a window, NCHW. Loops n, c, oh, ow, kh, kw."""

    name = "linalg.pooling_nchw_sum"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return self._window_maps("nchw", "yx", "nchwyx")


@irdl_op_definition
class PoolingNhwcSumOp(_SumPooling):
    """Sum over a window, NHWC. Loops n, oh, ow, c, kh, kw."""

    name = "linalg.pooling_nhwc_sum"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return self._window_maps("nhwc", "yx", "nhwcyx")


@irdl_op_definition
class PoolingNchwMaxOp(_MaxPooling):
    """Maximum over a window, NCHW. Loops n, c, oh, ow, kh, kw. (xDSL's reads the window's elements instead.)"""

    name = "linalg.pooling_nchw_max"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return self._window_maps("nchw", "yx", "nchwyx")


@irdl_op_definition
class PoolingNhwcMaxOp(_MaxPooling):
    """Maximum over a window, NHWC. Loops n, oh, ow, c, kh, kw."""

    name = "linalg.pooling_nhwc_max"

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return self._window_maps("nhwc", "yx", "nhwcyx")


OPS = (
    GenericOp,
    MatmulOp,
    BatchMatmulOp,
    DepthwiseConv2DNchwChwOp,
    DepthwiseConv2DNhwcHwcOp,
    PoolingNchwMaxOp,
    PoolingNchwSumOp,
    PoolingNhwcSumOp,
    PoolingNhwcMaxOp,
)
