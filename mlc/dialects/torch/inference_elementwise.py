"""Result types of elementwise ops."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ComplexType
from xdsl.ir import Attribute

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.promotion import (
    from_scalar_type,
    result_type,
    tensor_dtype,
    to_float,
    to_real,
)
from mlc.dialects.torch.shapes import broadcast, dims, known, like, tensor
from mlc.dialects.torch.types import f32, i1, si32
from mlc.errors import ShapeError


@infers(
    *aten(
        """
        relu relu6 neg positive ceil floor round round.decimals trunc frac sign sgn square bitwise_not
        hardtanh hardswish hardsigmoid silu gelu leaky_relu elu selu celu mish dropout threshold
        fill.Scalar fill.Tensor masked_fill.Scalar masked_fill.Tensor zero rrelu
        alpha_dropout feature_dropout
        """
    )
)
def same(x: Any, *_: Any) -> Any:
    """Shape and dtype of the first operand."""
    return like(x)


@infers(*aten("tril triu"))
def triangle(x: Any, *_: Any) -> Any:
    """The type of a matrix, or of a batch of these."""
    if len(dims(x)) < 2:
        raise ShapeError(f"a tensor of rank {len(dims(x))}", expected="matrices")
    return like(x)


@infers(
    *aten(
        """
        clone contiguous detach alias lift_fresh_copy lift_fresh log_sigmoid softplus softshrink hardshrink
        prelu _prelu_kernel conj _conj resolve_conj resolve_neg flip roll copy nan_to_num
        fliplr flipud masked_scatter index_fill.int_Scalar index_fill.int_Tensor index_add index_copy index_reduce
        scatter.src scatter.value scatter.reduce scatter.value_reduce scatter_add scatter_reduce.two
        index_put _index_put_impl index_put.hacked_twin slice_scatter select_scatter diagonal_scatter
        as_strided_scatter bernoulli bernoulli.p normal_functional uniform exponential put
        native_dropout_backward renorm to.prim_other
        """
    )
)
def same_no_inplace(x: Any, *_: Any) -> Any:
    """Shape and dtype of the first operand."""
    return like(x)


@infers(
    *aten(
        """
        exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tan asin acos atan sinh cosh tanh asinh
        acosh atanh sigmoid erf erfc erfinv lgamma digamma sinc i0 deg2rad rad2deg logit special_erfcx special_ndtri
        special_i0e special_i1 special_i1e
        """
    )
)
def float_unary(x: Any, *_: Any) -> Any:
    """Integers become the default float."""
    return like(x, dtype=to_float(tensor_dtype(x)))


@infers(
    *aten(
        """
        abs absolute real imag
        """
    )
)
def real_unary(x: Any) -> Any:
    """Complex numbers become their real type."""
    return like(x, dtype=to_real(tensor_dtype(x)))


@infers(*aten("frexp.Tensor"))
def frexp(x: Any) -> Any:
    """Mantissa and exponent."""
    return like(x), like(x, dtype=si32)


@infers(*aten("angle"))
def angle(x: Any) -> Any:
    """A real float."""
    return like(x, dtype=to_real(to_float(tensor_dtype(x))))


@infers(
    *aten(
        """
        isnan isinf isfinite isposinf isneginf signbit logical_not
        """
    )
)
def predicate(x: Any) -> Any:
    """Bools."""
    return like(x, dtype=i1)


@infers(
    *aten(
        """
        eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor eq.Scalar ne.Scalar lt.Scalar le.Scalar
        gt.Scalar ge.Scalar logical_and logical_or logical_xor isclose less.Tensor greater.Tensor
        less_equal.Tensor greater_equal.Tensor not_equal.Tensor not_equal.Scalar
        """
    )
)
def comparison(a: Any, b: Any, *_: Any) -> Any:
    """Bools of the common shape."""
    return tensor(broadcast(a, b), i1)


@infers(
    *aten(
        """
        add.Tensor add.Scalar sub.Tensor sub.Scalar mul.Tensor mul.Scalar remainder.Tensor remainder.Scalar
        fmod.Tensor fmod.Scalar floor_divide floor_divide.Scalar bitwise_and.Tensor bitwise_and.Scalar
        bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar bitwise_left_shift.Tensor
        bitwise_right_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor_Scalar gcd
        lcm multiply.Tensor multiply.Scalar subtract.Tensor
        """
    )
)
@infers(
    *aten(
        """
        rsub.Tensor rsub.Scalar maximum minimum fmax fmin max.other min.other __and__.Tensor __and__.Scalar
        __or__.Tensor __or__.Scalar __xor__.Tensor __xor__.Scalar __lshift__.Scalar __lshift__.Tensor
        __rshift__.Scalar __rshift__.Tensor remainder.Scalar_Tensor bitwise_and.Scalar_Tensor bitwise_or.Scalar_Tensor
        bitwise_xor.Scalar_Tensor bitwise_left_shift.Scalar_Tensor bitwise_right_shift.Scalar_Tensor
        """
    )
)
def binary(a: Any, b: Any, *_: Any) -> Any:
    """Promoted dtype, common shape."""
    return tensor(broadcast(a, b), result_type((a, b)))


@infers(*aten("pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar"))
def power(a: Any, b: Any) -> Any:
    """Promoted dtype; a bool base with a bool exponent stays bool."""
    return tensor(broadcast(a, b), result_type((a, b)))


@infers(
    *aten(
        """
        div.Tensor div.Scalar true_divide.Tensor true_divide.Scalar atan2 divide.Tensor copysign.Tensor
        copysign.Scalar xlogy.Tensor logaddexp logaddexp2 arctan2 xlogy.Scalar_Other xlogy.Scalar_Self
        """
    )
)
def float_binary(a: Any, b: Any, *_: Any) -> Any:
    """Promoted dtype, made float."""
    return tensor(broadcast(a, b), to_float(result_type((a, b))))


@infers(*aten("hypot nextafter heaviside"))
def plain_binary(a: Any, b: Any) -> Any:
    """Promoted dtype."""
    return tensor(broadcast(a, b), result_type((a, b)))


@infers(*aten("ldexp.Tensor"))
def ldexp(a: Any, b: Any) -> Any:
    """self * 2 ** other, and 2 ** other is a float."""
    return tensor(broadcast(a, b), to_float(result_type((a, b))))


@infers(*aten("div.Tensor_mode div.Scalar_mode"))
def div_mode(a: Any, b: Any, mode: Any) -> Any:
    """Float without a rounding mode; else the promoted dtype."""
    dtype = result_type((a, b))
    return tensor(broadcast(a, b), to_float(dtype) if known(mode) is None else dtype)


@infers(
    *aten(
        """
        where.self where.ScalarOther where.ScalarSelf where.Scalar
        """
    )
)
def where(condition: Any, a: Any, b: Any) -> Any:
    """Promoted dtype of the two values."""
    return tensor(broadcast(condition, a, b), result_type((a, b)))


@infers(
    *aten(
        """
        clamp clamp_ clip clamp.Tensor clamp_.Tensor clip.Tensor
        """
    )
)
def clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    """Promoted with the bounds."""
    return tensor(broadcast(x, low, high), result_type((x, low, high)))


@infers(*aten("clamp_min clamp_max clamp_min.Tensor clamp_max.Tensor"))
def clamp_one(x: Any, bound: Any) -> Any:
    """Promoted with the bound."""
    return tensor(broadcast(x, bound), result_type((x, bound)))


@infers(*aten("lerp.Scalar lerp.Tensor"))
def lerp(a: Any, b: Any, weight: Any) -> Any:
    """Dtype of the ends."""
    return tensor(broadcast(a, b, weight), tensor_dtype(a))


@infers(
    *aten(
        """
        addcmul addcdiv addcmul_ addcdiv_
        """
    )
)
def addc(x: Any, a: Any, b: Any, *_: Any) -> Any:
    """Promoted over the three tensors."""
    return tensor(broadcast(x, a, b), result_type((x, a, b)))


@infers(*aten("_to_copy to.dtype"))
def to_dtype(x: Any, dtype: Any = None, *_: Any) -> Any:
    """The dtype asked for, if any."""
    return like(x, dtype=None if known(dtype) is None else from_scalar_type(dtype))


@infers(*aten("to.dtype_layout"))
def to_dtype_layout(x: Any, dtype: Any = None, *_: Any) -> Any:
    """The dtype asked for, if any."""
    return to_dtype(x, dtype)


@infers(*aten("to.device"))
def to_device(x: Any, _device: Any, dtype: Any, *_: Any) -> Any:
    """The dtype asked for."""
    return to_dtype(x, dtype)


@infers(*aten("to.other type_as"))
def to_other(x: Any, other: Any, *_: Any) -> Any:
    """The dtype of the other tensor."""
    return like(x, dtype=tensor_dtype(other))


@infers("prims.convert_element_type")
def convert_element_type(x: Any, dtype: Any) -> Any:
    """The dtype asked for."""
    return to_dtype(x, dtype)


@infers(*aten("rrelu_with_noise_functional"))
def rrelu_with_noise(x: Any, noise: Any, *_: Any) -> Any:
    """The tensor and the noise."""
    return like(x), like(noise)


@infers(*aten("native_dropout"))
def native_dropout(x: Any, *_: Any) -> Any:
    """The tensor and the mask."""
    return like(x), like(x, dtype=i1)


@infers(*aten("complex"))
def make_complex(real: Any, imag: Any) -> Any:
    """The complex type of the parts."""
    return tensor(broadcast(real, imag), _complex_of(result_type((real, imag))))


@infers(*aten("polar"))
def polar(magnitude: Any, phase: Any) -> Any:
    """The complex type of the parts."""
    return make_complex(magnitude, phase)


def _complex_of(dtype: Attribute) -> Attribute:
    return ComplexType(dtype)  # pyright: ignore[reportArgumentType]


@infers(*aten("view_as_real"))
def view_as_real(x: Any) -> Any:
    """A trailing dimension of two parts."""
    return tensor((*dims(x), 2), to_real(tensor_dtype(x)))


@infers(*aten("view_as_complex"))
def view_as_complex(x: Any) -> Any:
    """Takes the trailing dimension of two parts away."""
    return tensor(dims(x)[:-1], _complex_of(tensor_dtype(x)))


@infers("quantized_decomposed.quantize_per_tensor")
def quantize_per_tensor(x: Any, _scale: Any, _zero: Any, _low: Any, _high: Any, dtype: Any) -> Any:
    """The dtype asked for."""
    return like(x, dtype=from_scalar_type(known(dtype)))


@infers("quantized_decomposed.dequantize_per_tensor")
def dequantize_per_tensor(
    x: Any, _scale: Any, _zero: Any, _low: Any, _high: Any, _dtype: Any, out_dtype: Any = None
) -> Any:
    """f32, or the dtype asked for."""
    return like(x, dtype=f32 if known(out_dtype) is None else from_scalar_type(out_dtype))
