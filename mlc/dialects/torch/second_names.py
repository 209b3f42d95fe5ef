"""Ops that are others under a second name: NumPy's names, `torch.special`, operators, primitives.

    aten.arccos %x   -->   as aten.acos %x
    prims.add %x, %y -->   as aten.add.Tensor %x, %y

Inference, reference semantics and lowering of a second name are those of the first.
"""

from __future__ import annotations

_INVERSE = ("cos", "cosh", "sin", "sinh", "tan", "tanh")

_ALIASES = {
    **{f"arc{name}": f"a{name}" for name in _INVERSE},
    "absolute": "abs",
    "negative": "neg",
    "arctan2": "atan2",
    "special_erf": "erf",
    "special_exp2": "exp2",
    "special_expit": "sigmoid",
    "special_expm1": "expm1",
    "special_log1p": "log1p",
    "special_log_softmax": "log_softmax.int",
    "special_logit": "logit",
    "special_logsumexp": "logsumexp",
    "special_round": "round.decimals",
    "special_softmax": "softmax.int",
    "special_xlogy": "xlogy.Tensor",
    "special_xlogy.other_scalar": "xlogy.Scalar_Other",
    "special_xlogy.self_scalar": "xlogy.Scalar_Self",
    "special_digamma": "digamma",
    "special_erfc": "erfc",
    "special_erfinv": "erfinv",
    "special_gammaln": "lgamma",
    "special_i0": "i0",
    "special_modified_bessel_i0": "i0",
    "special_modified_bessel_i1": "special_i1",
    "special_psi": "digamma",
    "special_sinc": "sinc",
    "linalg_matmul": "matmul",
    "clip.Tensor": "clamp.Tensor",
    **{f"multiply.{form}": f"mul.{form}" for form in ("Tensor", "Scalar")},
    **{f"subtract.{form}": f"sub.{form}" for form in ("Tensor", "Scalar")},
    **{f"divide.{form}": f"div.{form}" for form in ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode")},
    **{f"true_divide.{form}": f"div.{form}" for form in ("Tensor", "Scalar")},
    **{
        f"{long}.{form}": f"{short}.{form}"
        for long, short in (
            ("greater", "gt"),
            ("greater_equal", "ge"),
            ("less", "lt"),
            ("less_equal", "le"),
            ("not_equal", "ne"),
        )
        for form in ("Tensor", "Scalar")
    },
}

_UNARY_PRIMITIVES = (
    "abs acos acosh asin asinh atan atanh bitwise_not ceil cos cosh digamma erf erfc exp exp2 expm1 floor isfinite "
    "lgamma log log10 log1p log2 neg reciprocal rsqrt sign signbit sin sinh sqrt tan tanh trunc"
)

_PRIMITIVES = {
    **{name: name for name in _UNARY_PRIMITIVES.split()},
    **{
        name: f"{name}.Tensor"
        for name in [
            "add",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "eq",
            "fmod",
            "ge",
            "gt",
            "le",
            "lt",
            "mul",
            "ne",
        ]
    },
    **{name: f"{name}.Tensor" for name in ["remainder", "sub"]},
    **{
        name: name
        for name in ["amax", "amin", "atan2", "fmax", "fmin", "gcd", "hypot", "maximum", "minimum", "nextafter"]
    },
    "bessel_i0": "i0",
    "bessel_i0e": "special_i0e",
    "bessel_i1": "special_i1",
    "bessel_i1e": "special_i1e",
    "erf_inv": "erfinv",
    "erfcx": "special_erfcx",
    "frexp": "frexp.Tensor",
    "ndtri": "special_ndtri",
    "pow": "pow.Tensor_Tensor",
    "round": "round",
    "shift_left": "bitwise_left_shift.Tensor",
    "shift_right_arithmetic": "bitwise_right_shift.Tensor",
    "where": "where.self",
}

SECOND_NAMES = {
    **{f"aten.{second}": f"aten.{first}" for second, first in _ALIASES.items()},
    **{f"prims.{second}": f"aten.{first}" for second, first in _PRIMITIVES.items()},
}
