"""expand-math against float64 references: ULP over the whole f32 range, and every special value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc.backends.llvm.target import host_machine
from mlc.backends.llvm.testing import compile_kernel
from mlc.interp import run_function
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass
from mlc.ir.verifier import verify_module
from mlc.lowering.vector.math_double import DOUBLE
from mlc.lowering.vector.math_single import ONE_PLUS, SINGLE
from mlc.lowering.vector.math_tables import ONE_PLUS_TABLES, TABLES

REFERENCE: dict[str, Callable[..., np.ndarray]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "cbrt": np.cbrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "powf": np.power,
    "atan2": np.arctan2,
}
SPECIAL = [
    0.0, -0.0, math.inf, -math.inf, math.nan, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1e-45, -1e-45, 1.1754944e-38, 3.4e38,
    -3.4e38, 88.72283, 88.7229, -87.4, -103.97, -104, 127.99999, 128, -149, -150, 1e-8, 16777216, 1e10, 0.92, 0.55,
]  # fmt: skip


FUSED, UNFUSED, TABLES_FUSED, TABLES_UNFUSED = (
    dict[str, object](fma=fma, lookup=lookup) for lookup in (False, True) for fma in (True, False)
)
# what the machine at hand can run; tables are compared in the interpreter too, which runs them anywhere
NATIVE = [FUSED, UNFUSED, *([TABLES_FUSED, TABLES_UNFUSED] if host_machine().lookup else [])]


def module(
    name: str,
    count: int,
    kind: str,
    *,
    options: dict[str, object] = FUSED,
    element: str = "f32",
    width: int = 16,
) -> tuple[ModuleOp, MlcContext]:
    """A kernel that applies `math.<name>` to arrays of `count` elements, `width` lanes at a time or one by one."""
    operands = 2 if name in ("powf", "atan2") else 1
    array = f"memref<{count}x{element}>"
    lanes = f"vector<{width}x{element}>"
    vectors = kind == "vector"
    loads = [
        f"%x{i} = vector.load %a{i}[%i] : {array}, {lanes}" if vectors else f"%x{i} = memref.load %a{i}[%i] : {array}"
        for i in range(operands)
    ]
    store = f"vector.store %y, %o[%i] : {array}, {lanes}" if vectors else f"memref.store %y, %o[%i] : {array}"
    parameters = ", ".join([*(f"%a{i}: {array}" for i in range(operands)), f"%o: {array}"])
    text = f"""func.func private @k({parameters}) attributes {{kernel}} {{
      %low = arith.constant 0 : index
      %step = arith.constant {width if vectors else 1} : index
      %high = arith.constant {count} : index
      scf.for %i = %low to %high step %step {{
        {chr(10).join(loads)}
        %y = math.{name} {", ".join(f"%x{i}" for i in range(operands))} : {lanes if vectors else element}
        {store}
      }}
      func.return
    }}"""
    ctx = make_context()
    parsed = parse_text(text, ctx)
    make_pass("expand-math", options).apply(ctx, parsed)
    verify_module(parsed, ctx)
    return parsed, ctx


def inputs(name: str, count: int) -> list[np.ndarray]:
    """Special values, every exponent, and the usual range; pairs of special values for functions of two."""
    rng = np.random.default_rng(7)
    special = np.array(SPECIAL, np.float32)
    n = count - len(special)
    anywhere = rng.integers(0, 2**32, n // 2, dtype=np.uint64).astype(np.uint32).view(np.float32)
    usual = (rng.standard_normal(n - n // 2) * np.exp(rng.uniform(-6, 6, n - n // 2))).astype(np.float32)
    x = np.concatenate([special, anywhere, usual])
    if name not in ("powf", "atan2"):
        return [x]
    y = rng.permutation(x)
    pairs = np.array([(p, q) for p in special for q in special], np.float32)[: count // 2]
    x, y = x.copy(), y.copy()
    x[: len(pairs)], y[: len(pairs)] = pairs[:, 0], pairs[:, 1]
    third = count // 3
    x[-third:], y[-third:] = np.abs(x[-third:]) ** np.float32(0.3), rng.uniform(-30, 30, third)
    return [x, y]


def errors(got: np.ndarray, reference: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest error in ULP of the reference, and where specials (inf, NaN, sign of zero) differ."""
    with np.errstate(over="ignore"):
        rounded = reference.astype(np.float32)
    both = np.isfinite(got) & np.isfinite(rounded)
    ulp = np.spacing(np.abs(rounded[both])).astype(np.float64)
    worst = np.abs(got[both].astype(np.float64) - reference[both]) / ulp
    same = (np.isnan(got) & np.isnan(rounded)) | (got == rounded) | both
    signs = (got == 0) & (rounded == 0) & (np.signbit(got) != np.signbit(rounded))
    return float(worst.max()), np.flatnonzero(~same | signs)


@pytest.mark.parametrize("options", NATIVE, ids=str)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_within_two_ulp(name: str, options: dict[str, object]):
    count = 16 * (1 << 12)
    args = inputs(name, count)
    parsed, _ = module(name, count, "vector", options=options)
    got = np.zeros(count, np.float32)
    compile_kernel(parsed, "k")(*args, got)
    with np.errstate(all="ignore"):
        reference = REFERENCE[name](*(a.astype(np.float64) for a in args))
    worst, wrong = errors(got, reference)
    assert worst <= 2
    assert [(*(float(a[i]) for a in args), float(got[i])) for i in wrong[:5]] == []


@pytest.mark.parametrize("options", NATIVE, ids=str)
@pytest.mark.parametrize("kind", ["vector", "scalar"])
def test_whole_powers_of_two_are_exact(kind: str, options: dict[str, object]):
    """Scales rely on it."""
    x = np.arange(-128, 128).astype(np.float32)
    parsed, _ = module("exp2", x.size, kind, options=options)
    got = np.zeros_like(x)
    interpreted = run_function(parsed, "k", [x, got])[1][-1]
    compile_kernel(parsed, "k")(x, got)
    for y in (got, interpreted):
        np.testing.assert_array_equal(y, np.ldexp(np.float32(1), x.astype(np.int32)))


def sums(name: str, x: np.ndarray, options: dict[str, object]) -> tuple[np.ndarray, ...]:
    """1 + f(x) where f is used nowhere else, the same where it is, f(x) from there, and 1 + f(-x)."""
    array, lanes = f"memref<{x.size}xf32>", "vector<16xf32>"
    arguments = ", ".join(f"%{name}: {array}" for name in "astuw")
    text = f"""func.func private @k({arguments}) attributes {{kernel}} {{
      %low = arith.constant 0 : index
      %step = arith.constant 16 : index
      %high = arith.constant {x.size} : index
      %one = arith.constant dense<1.0> : {lanes}
      scf.for %i = %low to %high step %step {{
        %x = vector.load %a[%i] : {array}, {lanes}
        %alone = math.{name} %x : {lanes}
        %p = arith.addf %one, %alone : {lanes}
        vector.store %p, %s[%i] : {array}, {lanes}
        %shared = math.{name} %x : {lanes}
        %q = arith.addf %shared, %one : {lanes}
        vector.store %q, %t[%i] : {array}, {lanes}
        vector.store %shared, %u[%i] : {array}, {lanes}
        %n = arith.negf %x : {lanes}
        %negated = math.{name} %n : {lanes}
        %r = arith.addf %negated, %one : {lanes}
        vector.store %r, %w[%i] : {array}, {lanes}
      }}
      func.return
    }}"""
    ctx = make_context()
    parsed = parse_text(text, ctx)
    make_pass("expand-math", options).apply(ctx, parsed)
    verify_module(parsed, ctx)
    found = tuple(np.zeros_like(x) for _ in range(4))
    compile_kernel(parsed, "k")(x, *found)
    return found


def bounded_exp(x: np.ndarray, high: float, options: dict[str, object]) -> ModuleOp:
    """A kernel of exp(min(x, high)), vectors of 16 and single elements after one another."""
    array, lanes = f"memref<{x.size}xf32>", "vector<16xf32>"
    text = f"""func.func private @k(%a: {array}, %s: {array}, %t: {array}) attributes {{kernel}} {{
      %low = arith.constant 0 : index
      %one = arith.constant 1 : index
      %step = arith.constant 16 : index
      %high = arith.constant {x.size} : index
      %bounds = arith.constant dense<{high}> : {lanes}
      %bound = arith.constant {high} : f32
      scf.for %i = %low to %high step %step {{
        %x = vector.load %a[%i] : {array}, {lanes}
        %n = arith.minimumf %x, %bounds : {lanes}
        %y = math.exp %n : {lanes}
        vector.store %y, %s[%i] : {array}, {lanes}
      }}
      scf.for %i = %low to %high step %one {{
        %x = memref.load %a[%i] : {array}
        %n = arith.minimumf %bound, %x : f32
        %y = math.exp %n : f32
        memref.store %y, %t[%i] : {array}
      }}
      func.return
    }}"""
    ctx = make_context()
    parsed = parse_text(text, ctx)
    make_pass("expand-math", options).apply(ctx, parsed)
    verify_module(parsed, ctx)
    return parsed


@pytest.mark.parametrize("high", [0.0, -2.5, 1.0])
@pytest.mark.parametrize("options", NATIVE, ids=str)
def test_exp_of_what_is_bounded(high: float, options: dict[str, object]):
    """Denormals are rounded once, NaN stays; a bound that is not above zero becomes the formula's own."""
    (x,) = inputs("exp", 16 << 12)
    x[x.size // 2 :] = np.random.default_rng(1).uniform(-110, 5, x.size // 2)
    parsed = bounded_exp(x, high, options)
    assert any(op.name == "arith.minimumf" for op in parsed.walk()) == (high > 0)
    vectors, scalars = np.zeros_like(x), np.zeros_like(x)
    compile_kernel(parsed, "k")(x, vectors, scalars)
    with np.errstate(all="ignore"):
        worst, wrong = errors(vectors, np.exp(np.minimum(x, np.float32(high)).astype(np.float64)))
    assert worst <= 2 and not wrong.size
    np.testing.assert_array_equal(vectors, scalars)


def test_exp_of_what_is_bounded_by_tables():
    """In the interpreter, as not every machine looks up lanes."""
    (x,) = inputs("exp", 16 << 6)
    x[x.size // 2 :] = np.random.default_rng(1).uniform(-110, 5, x.size // 2)
    parsed = bounded_exp(x, 0.0, {"fma": True, "lookup": True})
    vectors = run_function(parsed, "k", [x, np.zeros_like(x), np.zeros_like(x)])[1][1]
    with np.errstate(all="ignore"):
        worst, wrong = errors(vectors, np.exp(np.minimum(x, np.float32(0)).astype(np.float64)))
    assert worst <= 2 and not wrong.size


@pytest.mark.parametrize("options", NATIVE, ids=str)
@pytest.mark.parametrize("name", sorted(ONE_PLUS))
def test_shorter_formulas_beside_one(name: str, options: dict[str, object]):
    name = name.removeprefix("math.")
    (x,) = inputs(name, 16 << 16)
    x[x.size // 2 :] = (
        np.random.default_rng(1).uniform(-110, 95, x.size // 2) * {"exp": 1, "erf": 0.05, "tanh": 0.1}[name]
    )
    alone, beside, value, negated = sums(name, x, options)
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(np.float64))
        reference = 1 + exact
        bit = np.maximum(np.spacing(np.abs(reference).astype(np.float32)), np.float32(2.0**-24))
        finite = np.isfinite(reference.astype(np.float32))
        apart = np.where(finite, np.abs(alone - reference) / bit, 0)
    assert apart.max() <= 2  # bits of the sum, or of an erf near -1
    np.testing.assert_array_equal(alone[~finite], reference.astype(np.float32)[~finite])
    np.testing.assert_array_equal(beside, np.float32(1) + value)  # whole, denormals and all, where it is used elsewhere
    worst, wrong = errors(value, exact)
    assert worst <= 2 and not wrong.size
    assert (alone != beside).any()
    np.testing.assert_array_equal(negated, sums(name, -x, options)[0])


@pytest.mark.parametrize("options", [o for o in NATIVE if not o["fma"]], ids=str)
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_interpreter_agrees_with_native_code_and_scalars_with_vectors(name: str, options: dict[str, object]):
    count = 512
    args = inputs(name, count)
    vectors, _ = module(name, count, "vector", options=options)
    native = np.zeros(count, np.float32)
    compile_kernel(vectors, "k")(*args, native)
    for kind in ("vector", "scalar"):
        parsed, _ = module(name, count, kind, options=options)
        _, after = run_function(parsed, "k", [*args, np.zeros(count, np.float32)])
        np.testing.assert_array_equal(np.isnan(after[-1]), np.isnan(native))
        keep = ~np.isnan(native)
        np.testing.assert_array_equal(after[-1][keep].view(np.int32), native[keep].view(np.int32))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_within_two_ulp_in_the_interpreter_whatever_the_width(name: str):
    name = name.removeprefix("math.")
    count = 16 << 8
    (x,) = inputs(name, count)
    found: list[np.ndarray] = []
    for width in (4, 8, 16):
        parsed, _ = module(name, count, "vector", options=TABLES_FUSED, width=width)
        assert any(op.name == "x86vector.avx512.permvar" for op in parsed.walk())
        found.append(run_function(parsed, "k", [x, np.zeros(count, np.float32)])[1][-1])
    with np.errstate(all="ignore"):
        worst, wrong = errors(found[0], REFERENCE[name](x.astype(np.float64)))
    assert worst <= 2 and not wrong.size
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("width", [4, 8, 16])
def test_lookups_of_every_width_give_the_same_bits(width: int):
    options = NATIVE[-2]
    count = 16 << 8
    (x,) = inputs("tanh", count)
    x = x[~np.isnan(x)][: count // 2]
    narrow, single = (module("tanh", x.size, kind, options=options, width=width)[0] for kind in ("vector", "scalar"))
    results = [np.zeros_like(x), np.zeros_like(x)]
    for parsed, result in zip((narrow, single), results, strict=True):
        compile_kernel(parsed, "k")(x, result)
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0]).max() == 1


def test_no_table_for_vectors_that_registers_do_not_hold():
    parsed, _ = module("exp", 96, "vector", options=TABLES_FUSED, width=24)
    assert not any(op.name == "x86vector.avx512.permvar" for op in parsed.walk())


def test_every_formula_has_a_reference():
    assert {f"math.{n}" for n in REFERENCE} == {*SINGLE, *DOUBLE}
    assert {*TABLES} <= {*SINGLE} and {*ONE_PLUS_TABLES} <= {*ONE_PLUS}


def test_half_precision_goes_through_single():
    parsed, _ = module("exp", 64, "vector", element="f16")
    x = np.linspace(-12, 11, 64).astype(np.float16)
    got = np.zeros(64, np.float16)
    compile_kernel(parsed, "k")(x, got)
    np.testing.assert_array_equal(got, np.exp(x.astype(np.float64)).astype(np.float16))


def test_doubles_are_left_to_the_c_library():
    parsed, ctx = module("exp", 64, "scalar", element="f64")
    assert any(op.name == "math.exp" for op in parsed.walk())
    assert [r.kind for r in ctx.remarks] == ["missed"]
