"""Activations with arguments; those without are in `elementwise`."""

from __future__ import annotations

import math as pymath

from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.elementwise import log1p_exp
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise, rounded
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor


def _gelu_erf(b: Body, x: SSAValue, t: DType) -> SSAValue:
    erf = b.op(math.ErfOp, b.mul(x, b.const(pymath.sqrt(0.5), t), t))
    return b.mul(b.mul(x, b.const(0.5, t), t), b.add(erf, b.const(1.0, t), t), t)


def _gelu_tanh(b: Body, x: SSAValue, t: DType) -> SSAValue:
    beta = pymath.sqrt(2.0) * (2.0 / pymath.sqrt(pymath.pi)) * 0.5
    cube = b.mul(b.mul(x, x, t), x, t)
    inner = b.mul(b.const(beta, t), b.add(x, b.mul(b.const(0.044715, t), cube, t), t), t)
    return b.mul(b.mul(b.const(0.5, t), x, t), b.add(b.const(1.0, t), b.op(math.TanhOp, inner), t), t)


@lowers("aten.gelu")
def gelu(c: Conversion, x: Tensor, approximate: str = "none") -> Tensor:
    fn = _gelu_tanh if approximate == "tanh" else _gelu_erf
    return elementwise(c, [x], c.out, lambda b, v: fn(b, v, c.out.compute))


@lowers("aten.leaky_relu")
def leaky_relu(c: Conversion, x: Tensor, slope: Number) -> Tensor:
    t = c.out.compute
    return elementwise(
        c, [x, slope], c.out, lambda b, v, s: b.select(b.compare("gt", v, b.const(0, t), t), v, b.mul(v, s, t))
    )


@lowers("aten.elu")
def elu(c: Conversion, x: Tensor, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1) -> Tensor:
    t = c.out.compute

    def fn(b: Body, v: SSAValue) -> SSAValue:
        inner = v if input_scale == 1 else b.mul(v, b.const(input_scale, t), t)
        low = b.mul(b.op(math.ExpM1Op, inner), b.const(float(alpha) * float(scale), t), t)
        high = v if scale == 1 else b.mul(v, b.const(scale, t), t)
        return b.select(b.compare("le", v, b.const(0.0, t), t), low, high)

    return elementwise(c, [x], c.out, fn)


@lowers("aten.selu")
def selu(c: Conversion, x: Tensor) -> Tensor:
    return elu(c, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1)


@lowers("aten.celu")
def celu(c: Conversion, x: Tensor, alpha: Number = 1.0) -> Tensor:
    return elu(c, x, alpha, 1.0, 1.0 / float(alpha))


@lowers("aten.softplus")
def softplus(c: Conversion, x: Tensor, beta: Number = 1, threshold: Number = 20) -> Tensor:
    t = c.out.compute

    def fn(b: Body, v: SSAValue) -> SSAValue:
        scaled = v if beta == 1 else b.mul(v, b.const(beta, t), t)
        soft = log1p_exp(b, scaled)
        soft = soft if beta == 1 else b.divf(soft, b.const(beta, t))
        return b.select(b.compare("gt", scaled, b.const(threshold, t), t), v, soft)

    return elementwise(c, [x], c.out, fn)


@lowers("aten.softsign")
def softsign(c: Conversion, x: Tensor) -> Tensor:
    t = c.out.compute
    return elementwise(c, [x], c.out, lambda b, v: b.divf(v, b.add(b.abs(v, t), b.const(1.0, t), t)))


@lowers("aten.hardshrink")
def hardshrink(c: Conversion, x: Tensor, lambd: Number = 0.5) -> Tensor:
    t = c.out.compute
    lambd = rounded(float(lambd), c.out)

    def fn(b: Body, v: SSAValue) -> SSAValue:
        inside = b.logical_and(
            b.compare("ge", v, b.const(-float(lambd), t), t), b.compare("le", v, b.const(lambd, t), t)
        )
        return b.select(inside, b.const(0.0, t), v)

    return elementwise(c, [x], c.out, fn)


@lowers("aten.softshrink")
def softshrink(c: Conversion, x: Tensor, lambd: Number = 0.5) -> Tensor:
    t = c.out.compute

    def fn(b: Body, v: SSAValue) -> SSAValue:
        bound = b.const(lambd, t)
        low = b.select(
            b.compare("lt", v, b.const(-float(lambd), t), t), b.add(v, bound, t), b.mul(v, b.const(0.0, t), t)
        )
        return b.select(b.compare("gt", v, bound, t), b.sub(v, bound, t), low)

    return elementwise(c, [x], c.out, fn)


@lowers("aten.threshold")
def threshold(c: Conversion, x: Tensor, bound: Number, value: Number) -> Tensor:
    t = c.out.compute
    return elementwise(c, [x, bound, value], c.out, lambda b, v, lo, r: b.select(b.compare("le", v, lo, t), r, v))
