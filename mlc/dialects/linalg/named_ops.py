"""Named `linalg` ops that xDSL lacks, one line each: loops in nest order, how operands are read, the body.

    conv_1d_ncw_fcw   n f w | c x   (n,c,w+x) (f,c,x) -> (n,f,w)   multiply_add

A letter is a loop; those behind the bar are reductions. `w+x` is a window: `w * stride + x * dilation`, the k-th window
of an op taking the k-th of its strides and dilations. Order of the loops is upstream's: it fixes the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    ArrayAttr,
    DenseIntElementsAttr,
    FloatAttr,
    ShapedType,
    TensorType,
    i64,
)
from xdsl.dialects.linalg import abstract_ops, ops
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.ir import Attribute, BlockArgument, Operation, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap
from xdsl.irdl import irdl_op_definition, prop_def

from mlc.dialects.linalg.structured_ops import iterators, multiply_add

RegionOf = Callable[[Sequence[Attribute]], Region]
Step = Callable[[Sequence[SSAValue]], Operation]


def _body(step: Step) -> RegionOf:
    """A body that yields what `step` makes of the block's arguments."""

    def make(arg_types: Sequence[Attribute]) -> Region:
        @Builder.implicit_region(arg_types)
        def region(args: tuple[BlockArgument, ...]) -> None:
            ops.YieldOp(step(args))

        return region

    return make


def _typed(floats: Callable[..., Operation], integers: Callable[..., Operation]) -> Callable[..., Operation]:
    return lambda *args: (floats if isinstance(args[0].type, AnyFloat) else integers)(*args)


def _pool(floats: Callable[..., Operation], integers: Callable[..., Operation]) -> RegionOf:
    return _body(lambda args: _typed(floats, integers)(args[2], args[0]))


def _unary(op: Callable[..., Operation]) -> RegionOf:
    return _body(lambda args: op(args[0]))


def _reciprocal(x: SSAValue) -> Operation:
    assert isinstance(x.type, AnyFloat)
    return arith.DivfOp(arith.ConstantOp(FloatAttr(1.0, x.type)).result, x)


SUM = _pool(arith.AddfOp, arith.AddiOp)
MAX = _pool(arith.MaximumfOp, arith.MaxSIOp)
MIN = _pool(arith.MinimumfOp, arith.MinSIOp)
MAX_UNSIGNED = _pool(arith.MaximumfOp, arith.MaxUIOp)
MIN_UNSIGNED = _pool(arith.MinimumfOp, arith.MinUIOp)

# name: (loops, input operands, output, body)
LOOPS: dict[str, tuple[str, tuple[str, ...], str, RegionOf]] = {
    "dot": ("|m", ("m", "m"), "", multiply_add),
    "matvec": ("m|n", ("m,n", "n"), "m", multiply_add),
    "vecmat": ("n|m", ("m", "m,n"), "n", multiply_add),
    "batch_matvec": ("bm|k", ("b,m,k", "b,k"), "b,m", multiply_add),
    "batch_vecmat": ("bn|k", ("b,k", "b,k,n"), "b,n", multiply_add),
    "conv_1d": ("w|x", ("w+x", "x"), "w", multiply_add),
    "conv_1d_ncw_fcw": ("nfw|cx", ("n,c,w+x", "f,c,x"), "n,f,w", multiply_add),
    "conv_1d_nwc_wcf": ("nwf|xc", ("n,w+x,c", "x,c,f"), "n,w,f", multiply_add),
    "conv_2d": ("hw|yx", ("h+y,w+x", "y,x"), "h,w", multiply_add),
    "conv_3d": ("dhw|zyx", ("d+z,h+y,w+x", "z,y,x"), "d,h,w", multiply_add),
    "conv_3d_ncdhw_fcdhw": ("nfdhw|czyx", ("n,c,d+z,h+y,w+x", "f,c,z,y,x"), "n,f,d,h,w", multiply_add),
    "conv_3d_ndhwc_dhwcf": ("ndhwf|zyxc", ("n,d+z,h+y,w+x,c", "z,y,x,c,f"), "n,d,h,w,f", multiply_add),
    "depthwise_conv_1d_ncw_cw": ("nwc|x", ("n,c,w+x", "c,x"), "n,c,w", multiply_add),
    "depthwise_conv_1d_nwc_wc": ("nwc|x", ("n,w+x,c", "x,c"), "n,w,c", multiply_add),
    "depthwise_conv_1d_nwc_wcm": ("nwcm|x", ("n,w+x,c", "x,c,m"), "n,w,c,m", multiply_add),
    "depthwise_conv_2d_nhwc_hwcm": ("nhwcm|yx", ("n,h+y,w+x,c", "y,x,c,m"), "n,h,w,c,m", multiply_add),
    "depthwise_conv_3d_ncdhw_cdhw": ("ndhwc|zyx", ("n,c,d+z,h+y,w+x", "c,z,y,x"), "n,c,d,h,w", multiply_add),
    "depthwise_conv_3d_ndhwc_dhwc": ("ndhwc|zyx", ("n,d+z,h+y,w+x,c", "z,y,x,c"), "n,d,h,w,c", multiply_add),
    "depthwise_conv_3d_ndhwc_dhwcm": ("ndhwcm|zyx", ("n,d+z,h+y,w+x,c", "z,y,x,c,m"), "n,d,h,w,c,m", multiply_add),
    "pooling_ncw_sum": ("ncw|x", ("n,c,w+x", "x"), "n,c,w", SUM),
    "pooling_ncw_max": ("ncw|x", ("n,c,w+x", "x"), "n,c,w", MAX),
    "pooling_nwc_sum": ("nwc|x", ("n,w+x,c", "x"), "n,w,c", SUM),
    "pooling_nwc_max": ("nwc|x", ("n,w+x,c", "x"), "n,w,c", MAX),
    "pooling_nwc_max_unsigned": ("nwc|x", ("n,w+x,c", "x"), "n,w,c", MAX_UNSIGNED),
    "pooling_nwc_min": ("nwc|x", ("n,w+x,c", "x"), "n,w,c", MIN),
    "pooling_nwc_min_unsigned": ("nwc|x", ("n,w+x,c", "x"), "n,w,c", MIN_UNSIGNED),
    "pooling_nhwc_max_unsigned": ("nhwc|yx", ("n,h+y,w+x,c", "y,x"), "n,h,w,c", MAX_UNSIGNED),
    "pooling_nhwc_min": ("nhwc|yx", ("n,h+y,w+x,c", "y,x"), "n,h,w,c", MIN),
    "pooling_nhwc_min_unsigned": ("nhwc|yx", ("n,h+y,w+x,c", "y,x"), "n,h,w,c", MIN_UNSIGNED),
    "pooling_ndhwc_sum": ("ndhwc|zyx", ("n,d+z,h+y,w+x,c", "z,y,x"), "n,d,h,w,c", SUM),
    "pooling_ndhwc_max": ("ndhwc|zyx", ("n,d+z,h+y,w+x,c", "z,y,x"), "n,d,h,w,c", MAX),
    "pooling_ndhwc_min": ("ndhwc|zyx", ("n,d+z,h+y,w+x,c", "z,y,x"), "n,d,h,w,c", MIN),
}

# name: (number of inputs, body)
ELEMENTWISE: dict[str, tuple[int, RegionOf]] = {
    "abs": (1, _unary(_typed(math.AbsFOp, math.AbsIOp))),
    "ceil": (1, _unary(math.CeilOp)),
    "erf": (1, _unary(math.ErfOp)),
    "floor": (1, _unary(math.FloorOp)),
    "negf": (1, _unary(arith.NegfOp)),
    "reciprocal": (1, _unary(_reciprocal)),
    "round": (1, _unary(math.RoundOp)),
    "rsqrt": (1, _unary(math.RsqrtOp)),
    "square": (1, _unary(lambda x: _typed(arith.MulfOp, arith.MuliOp)(x, x))),
    "tanh": (1, _unary(math.TanhOp)),
    "div": (2, _body(lambda args: _typed(arith.DivfOp, arith.DivSIOp)(args[0], args[1]))),
    "div_unsigned": (2, _body(lambda args: arith.DivUIOp(args[0], args[1]))),
    "powf": (2, _body(lambda args: math.PowFOp(args[0], args[1]))),
}


class _Named(abstract_ops.NamedOperation):
    """What the ops of both tables share."""

    PRINT_ATTRS_IN_FRONT: ClassVar[bool] = True

    @classmethod
    def get_hidden_region(cls, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]) -> Region:
        make = LOOPS[short][3] if (short := cls.name.partition(".")[2]) in LOOPS else ELEMENTWISE[short][1]
        return make(cls.body_arg_types((*inputs, *outputs)))


class _LoopNest(_Named):
    """An op of `LOOPS`."""

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        loops, inputs, output, _ = LOOPS[self.name.partition(".")[2]]
        letters = loops.replace("|", "")
        dim = {letter: AffineDimExpr(i) for i, letter in enumerate(letters)}
        windows = [list(a.get_values()) for a in self.windows()]
        maps: list[AffineMap] = []
        for operand in (*inputs, output):
            results = []
            for term in filter(None, operand.split(",")):
                place, _, offset = term.partition("+")
                expr = dim[place]
                if offset:
                    k = sum("+" in t for t in operand.split(",")[: operand.split(",").index(term)])
                    stride, dilation = (w[k] for w in windows) if windows else (1, 1)
                    expr = expr * stride + dim[offset] * dilation
                results.append(expr)
            maps.append(AffineMap(len(letters), 0, tuple(results)))
        return tuple(maps)

    def windows(self) -> Sequence[DenseIntElementsAttr]:
        """Strides and dilations, if the op has them."""
        return ()

    def get_iterator_types(self) -> ArrayAttr[IteratorTypeAttr]:
        parallel, _, reduced = LOOPS[self.name.partition(".")[2]][0].partition("|")
        return iterators("p" * len(parallel) + "r" * len(reduced))


def _ones(rank: int) -> DenseIntElementsAttr:
    return DenseIntElementsAttr.from_list(TensorType(i64, [rank]), [1] * rank)


class _Window1D(_LoopNest):
    strides = prop_def(DenseIntElementsAttr, default_value=_ones(1))
    dilations = prop_def(DenseIntElementsAttr, default_value=_ones(1))

    def windows(self) -> Sequence[DenseIntElementsAttr]:
        return self.strides, self.dilations


class _Window2D(_LoopNest):
    strides = prop_def(DenseIntElementsAttr, default_value=_ones(2))
    dilations = prop_def(DenseIntElementsAttr, default_value=_ones(2))

    def windows(self) -> Sequence[DenseIntElementsAttr]:
        return self.strides, self.dilations


class _Window3D(_LoopNest):
    strides = prop_def(DenseIntElementsAttr, default_value=_ones(3))
    dilations = prop_def(DenseIntElementsAttr, default_value=_ones(3))

    def windows(self) -> Sequence[DenseIntElementsAttr]:
        return self.strides, self.dilations


class _Elementwise(_Named):
    """An op of `ELEMENTWISE`: all operands have the output's shape."""

    PRINT_ATTRS_IN_FRONT: ClassVar[bool] = False

    def get_default_indexing_maps(self) -> Sequence[AffineMap]:
        return (AffineMap.identity(self._rank()),) * len(self.operands)

    def get_iterator_types(self) -> ArrayAttr[IteratorTypeAttr]:
        return iterators("p" * self._rank())

    def _rank(self) -> int:
        shape = self.outputs[0].type
        assert isinstance(shape, ShapedType)
        return len(shape.get_shape())


def _loop_nest(name: str) -> type[Operation]:
    loops, inputs, output, _ = LOOPS[name]
    plain = name.count("_") < 2 and name.startswith("conv_")  # conv_1d and its kind have no strides
    base: type[_LoopNest] = _LoopNest if plain else (_LoopNest, _Window1D, _Window2D, _Window3D)[inputs[0].count("+")]
    doc = f"Loops {loops}: {', '.join(inputs)} -> {output or 'one element'}."
    return irdl_op_definition(cast(type[_LoopNest], type(name, (base,), {"name": f"linalg.{name}", "__doc__": doc})))


def _elementwise(name: str) -> type[Operation]:
    doc = f"Elementwise {name} of {ELEMENTWISE[name][0]} operands."
    return irdl_op_definition(type(name, (_Elementwise,), {"name": f"linalg.{name}", "__doc__": doc}))


OPS = (*map(_loop_nest, LOOPS), *map(_elementwise, ELEMENTWISE))
NAMES = tuple(f"linalg.{name}" for name in (*LOOPS, *ELEMENTWISE))
