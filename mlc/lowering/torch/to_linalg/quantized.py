"""Quantisation to and from integers, and its simulation in floats."""

from __future__ import annotations

from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F32
from mlc.lowering.torch.to_linalg.elementwise import clamp_high, clamp_low
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor


def _grid(b: Body, x: SSAValue, inverse: SSAValue, zero: SSAValue) -> SSAValue:
    """Nearest point of the integer grid: roundeven(x / scale) + zero, in f32."""
    return b.add(b.op(math.RoundEvenOp, b.mul(x, inverse, F32)), zero, F32)


def _clamped(b: Body, v: SSAValue, low: int, high: int) -> SSAValue:
    return clamp_high(b, clamp_low(b, v, b.const(low, F32), F32), b.const(high, F32), F32)


def _across(c: Conversion, p: Tensor, x: Tensor, axis: int) -> Tensor:
    """Per-channel parameters with unit dims behind, to stretch over `x`."""
    return c.viewed(p, (p.shape[0], *(1,) * (x.rank - 1 - x.dim(axis))))


@lowers("quantized_decomposed.quantize_per_tensor")
def quantize(c: Conversion, x: Tensor, scale: float, zero: int, low: int, high: int, *_: object) -> Tensor:
    inverse = 1.0 / scale

    def fn(b: Body, v: SSAValue) -> SSAValue:
        return _clamped(b, _grid(b, v, b.const(inverse, F32), b.const(zero, F32)), low, high)

    return elementwise(c, [x], c.out, fn, compute=F32)


@lowers("quantized_decomposed.dequantize_per_tensor")
def dequantize(c: Conversion, x: Tensor, scale: float, zero: int, *_: object) -> Tensor:
    return elementwise(
        c, [x], c.out, lambda b, v: b.mul(b.sub(v, b.const(zero, F32), F32), b.const(scale, F32), F32), compute=F32
    )


@lowers("quantized_decomposed.quantize_per_channel")
def quantize_per_channel(
    c: Conversion, x: Tensor, scales: Tensor, zeros: Tensor, axis: int, low: int, high: int, *_: object
) -> Tensor:
    def fn(b: Body, v: SSAValue, s: SSAValue, z: SSAValue) -> SSAValue:
        return _clamped(b, _grid(b, v, b.divf(b.const(1.0, F32), s), z), low, high)

    inputs = [x, _across(c, scales, x, axis), _across(c, zeros, x, axis)]
    return elementwise(c, inputs, c.out, fn, compute=F32)


@lowers("quantized_decomposed.dequantize_per_channel")
def dequantize_per_channel(
    c: Conversion, x: Tensor, scales: Tensor, zeros: Tensor | None, axis: int, *_: object
) -> Tensor:
    inputs = [x, _across(c, scales, x, axis), *([] if zeros is None else [_across(c, zeros, x, axis)])]

    def fn(b: Body, v: SSAValue, s: SSAValue, *z: SSAValue) -> SSAValue:
        return b.mul(b.sub(v, z[0], F32) if z else v, s, F32)

    return elementwise(c, inputs, c.out, fn, compute=F32)


@lowers("aten.fake_quantize_per_tensor_affine_cachemask")
def fake_quantize(c: Conversion, x: Tensor, scale: float, zero: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    inverse = 1.0 / scale

    def nearest(b: Body, v: SSAValue) -> SSAValue:
        return _grid(b, v, b.const(inverse, F32), b.const(zero, F32))

    def value(b: Body, v: SSAValue) -> SSAValue:
        whole = _clamped(b, nearest(b, v), low, high)
        return b.mul(b.sub(whole, b.const(zero, F32), F32), b.const(scale, F32), F32)

    def inside(b: Body, v: SSAValue) -> SSAValue:
        n = nearest(b, v)
        return b.logical_and(b.compare("ge", n, b.const(low, F32), F32), b.compare("le", n, b.const(high, F32), F32))

    return (
        elementwise(c, [x], c.out, value, compute=F32),
        elementwise(c, [x], BOOL, inside, compute=F32, returns=BOOL),
    )


@lowers("aten.fake_quantize_per_tensor_affine")
def fake_quantize_only(c: Conversion, x: Tensor, scale: float, zero: int, low: int, high: int) -> Tensor:
    return fake_quantize(c, x, scale, zero, low, high)[0]
