"""The interpreter's value domains: each against an independent computation of the same thing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from xdsl.dialects.builtin import bf16, f16, f32, f64

from mlc.arrays.bfloat16 import round_bf16
from mlc.arrays.floats import FLOAT1, FLOAT2, compare
from mlc.interp.domains.bound import BoundDomain
from mlc.interp.domains.field import NAN, FieldDomain, P, from_float
from mlc.interp.domains.ieee import IeeeDomain
from mlc.interp.domains.integers import IntegersDomain
from mlc.interp.domains.rounding import fma_f64, fma_narrow

EDGES = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        np.inf,
        -np.inf,
        np.nan,
        1e-45,
        -1e-45,
        1.1754944e-38,
        3.4e38,
        -3.4e38,
        1 / 3,
    ],
    dtype=np.float32,
)


@pytest.fixture(autouse=True)
def quiet():
    """The engine runs with numpy's warnings off; so do these tests."""
    with np.errstate(all="ignore"):
        yield


def random_bits(n: int, seed: int = 0) -> np.ndarray:
    """float32 values of every exponent, infinities and (quiet) NaN among them."""
    x = np.random.default_rng(seed).integers(0, 2**32, n, dtype=np.uint32).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), x)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit-equal, NaN payloads aside."""
    a, b = np.asarray(a), np.asarray(b)
    both_nan = np.isnan(a) & np.isnan(b)
    return bool(np.all(both_nan | (a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}"))))


def exact_f32(value: Fraction) -> np.float32:
    """The float32 nearest a rational, by search among neighbours."""
    guess = np.float32(float(value))
    around = [guess, np.nextafter(guess, np.float32(-np.inf)), np.nextafter(guess, np.float32(np.inf))]
    finite = [g for g in around if np.isfinite(g)]
    best = min(abs(Fraction(float(g)) - value) for g in finite)
    tied = [g for g in finite if abs(Fraction(float(g)) - value) == best]
    return next((g for g in tied if g.view(np.uint32) % 2 == 0), tied[0])


def test_fma_f32_is_rounded_once():
    rng = np.random.default_rng(1)
    a = rng.standard_normal(3000).astype(np.float32)
    b = rng.standard_normal(3000).astype(np.float32)
    # sums that cancel to a tie or nearly so are where double rounding shows
    c = -(a.astype(np.float64) * b).astype(np.float32) * np.exp2(rng.integers(-3, 26, 3000)).astype(np.float32)
    got = fma_narrow(a, b, c, np.dtype(np.float32))
    want = [
        exact_f32(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))) for x, y, z in zip(a, b, c, strict=True)
    ]
    assert same(got, np.array(want, dtype=np.float32))
    tie = fma_narrow(np.float32(1 + 2**-12), np.float32(1 + 2**-12), np.float32(2**-60), np.dtype(np.float32))
    assert tie == np.float32(1 + 2**-11 + 2**-23), "1 + 2^-11 + 2^-24 + 2^-60 lies just above a tie"


def test_fma_specials():
    f = np.dtype(np.float32)
    assert np.isnan(fma_narrow(np.float32(np.inf), np.float32(0), np.float32(1), f))
    assert np.signbit(fma_narrow(np.float32(-0.0), np.float32(1), np.float32(-0.0), f))
    assert not np.signbit(fma_narrow(np.float32(1), np.float32(1), np.float32(-1), f))
    assert fma_f64(1 + 2.0**-52, 1 + 2.0**-52, -(1 + 2.0**-51)) == 2.0**-104
    assert fma_f64(1e308, 10.0, -np.inf) == -np.inf


@pytest.mark.parametrize("t", [f16, f32, f64], ids=str)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_arithmetic_is_correctly_rounded(name: str, t: object):
    d = IeeeDomain()
    dtype = d.dtype(t)
    rng = np.random.default_rng(2)
    a = (rng.standard_normal(400) * np.exp2(rng.integers(-8, 8, 400))).astype(dtype)
    b = (rng.standard_normal(400) * np.exp2(rng.integers(-8, 8, 400))).astype(dtype)
    got = d.float2(name, a, b, t)
    ops = {"add": Fraction.__add__, "sub": Fraction.__sub__, "mul": Fraction.__mul__, "div": Fraction.__truediv__}
    for x, y, r in zip(a, b, got, strict=True):
        exact = ops[name](Fraction(float(x)), Fraction(float(y)))
        if not np.isfinite(r):
            assert abs(exact) > Fraction(float(np.finfo(dtype).max))
            continue
        for neighbour in (np.nextafter(r, dtype.type(-np.inf)), np.nextafter(r, dtype.type(np.inf))):
            assert abs(Fraction(float(r)) - exact) <= abs(Fraction(float(neighbour)) - exact)


def test_f16_ops_are_correctly_rounded_on_every_value():
    d = IeeeDomain()
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    other = np.roll(every, 12345)
    wide = every.astype(np.float64), other.astype(np.float64)
    with np.errstate(all="ignore"):
        assert same(d.float2("mul", every, other, f16), (wide[0] * wide[1]).astype(np.float16))
        assert same(d.float1("sqrt", every, f16), np.sqrt(wide[0]).astype(np.float16))
        assert same(d.float1("exp", every, f16), np.exp(wide[0]).astype(np.float16))


def test_bf16_rounds_to_nearest_even():
    x = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7FC00001], dtype=np.uint32).view(np.float32)
    got = round_bf16(x)
    assert got[:4].view(np.uint32).tolist() == [0x3F800000, 0x3F820000, 0x3F810000, 0x7F800000]
    assert np.isnan(got[4])
    d = IeeeDomain()
    assert d.float2("add", np.float32(256.0), np.float32(1.0), bf16) == 256.0


def test_min_and_max_order_zeros_and_keep_nan():
    d = IeeeDomain()
    a, b = np.meshgrid(EDGES, EDGES)
    with np.errstate(all="ignore"):
        high, low = d.float2("max", a, b, f32), d.float2("min", a, b, f32)
        quiet = d.float2("maxnum", a, b, f32)
    nan = np.isnan(a) | np.isnan(b)
    assert np.all(np.isnan(high) == nan) and np.all(np.isnan(low) == nan)
    assert np.all(np.isnan(quiet) == (np.isnan(a) & np.isnan(b)))
    zeros = (a == 0) & (b == 0)
    assert np.all(np.signbit(high)[zeros] == (np.signbit(a) & np.signbit(b))[zeros])
    assert np.all(np.signbit(low)[zeros] == (np.signbit(a) | np.signbit(b))[zeros])


def test_against_torch_on_random_bits():
    torch = pytest.importorskip("torch")
    d = IeeeDomain()
    a, b = random_bits(20000, 3), random_bits(20000, 4)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    with np.errstate(all="ignore"):
        pairs = {
            "add": ta + tb, "sub": ta - tb, "mul": ta * tb, "div": ta / tb,
            "copysign": torch.copysign(ta, tb), "maxnum": torch.fmax(ta, tb), "minnum": torch.fmin(ta, tb),
        }  # fmt: skip
        for name, want in pairs.items():
            assert same(d.float2(name, a, b, f32), want.numpy()), name
        for name in ("neg", "abs", "ceil", "floor", "trunc"):
            assert same(d.float1(name, a, f32), getattr(torch, name)(ta).numpy()), name
        assert same(d.float1("roundeven", a, f32), torch.round(ta).numpy())


def test_sqrt_is_correctly_rounded():
    # torch's own vectorised sqrt is not, so float64 is the reference
    x = np.abs(random_bits(20000, 12))
    assert same(IeeeDomain().float1("sqrt", x, f32), np.sqrt(x.astype(np.float64)).astype(np.float32))


def test_functions_are_within_half_an_ulp_of_float64():
    torch = pytest.importorskip("torch")
    d = IeeeDomain()
    x = np.random.default_rng(5).uniform(-0.99, 0.99, 2000).astype(np.float32)
    for name in FLOAT1:
        reference = {"neg": "neg", "roundeven": "round", "abs": "abs"}.get(name, name)
        arg = (
            np.abs(x) + 1
            if name == "acosh"
            else np.abs(x) + np.float32(0.01)
            if name.startswith("log") or "sqrt" in name
            else x
        )
        if name in ("cbrt", "round"):
            continue
        want = getattr(torch, reference)(torch.from_numpy(arg.astype(np.float64))).numpy().astype(np.float32)
        got = d.float1(name, arg, f32)
        off = np.abs(got.view(np.int32).astype(np.int64) - want.view(np.int32))
        assert np.max(np.where(want == got, 0, off)) <= 1, name


def test_remainder_is_exact():
    d = IeeeDomain()
    a, b = random_bits(2000, 10), random_bits(2000, 11)
    keep = np.isfinite(a) & np.isfinite(b) & (b != 0)
    want = [math.fmod(float(x), float(y)) for x, y in zip(a[keep], b[keep], strict=True)]
    assert same(d.float2("rem", a[keep], b[keep], f32), np.array(want, dtype=np.float32))


def test_round_goes_half_away_and_cbrt_inverts_cubes():
    d = IeeeDomain()
    x = np.array([0.5, 1.5, -0.5, -2.5, 0.49999997, 8388609.0, -0.0], dtype=np.float32)
    assert d.float1("round", x, f32).tolist() == [1.0, 2.0, -1.0, -3.0, 0.0, 8388609.0, 0.0]
    assert d.float1("cbrt", np.float32(-27.0), f32) == -3.0


def test_predicates_partition():
    a, b = np.meshgrid(EDGES, EDGES)
    ordered = compare("ord", a, b)
    assert np.array_equal(~ordered, compare("uno", a, b))
    for name in ("eq", "gt", "ge", "lt", "le", "ne"):
        assert np.array_equal(compare("u" + name, a, b), compare("o" + name, a, b) | ~ordered)
        assert not np.any(compare("o" + name, a, b) & ~ordered)
    assert np.array_equal(compare("one", a, b), compare("olt", a, b) | compare("ogt", a, b))
    assert compare("true", a, b).all() and not compare("false", a, b).any()


def test_sequential_sum_is_the_loop():
    d = IeeeDomain()
    x = np.random.default_rng(6).standard_normal((5, 300)).astype(np.float32)
    acc = np.full(5, np.float32(0.25))
    for k in range(300):
        acc = acc + x[:, k]
    assert same(d.sum(x, (1,), f32, np.float32(0.25)), acc)


def test_field_is_a_ring_homomorphism():
    d = FieldDomain()
    rng = np.random.default_rng(7)
    a, b, c = (from_float(np.ldexp(rng.integers(-(2**20), 2**20, 200), rng.integers(-40, 40, 200))) for _ in range(3))
    one = from_float(np.float32(1.0))
    for op in ("add", "mul"):
        left = d.float2(op, d.float2(op, a, b, f32), c, f32)
        assert np.array_equal(left, d.float2(op, a, d.float2(op, b, c, f32), f32))
    assert np.array_equal(
        d.float2("mul", a, d.float2("add", b, c, f32), f32),
        d.float2("add", d.float2("mul", a, b, f32), d.float2("mul", a, c, f32), f32),
    )
    assert np.array_equal(d.float2("mul", a, d.float2("div", one, a, f32), f32), np.where(a == 0, NAN, 1))
    exact = Fraction(3, 8) * Fraction(5, 16)
    assert d.float2("mul", from_float(0.375), from_float(0.3125), f32) == from_float(float(exact))
    assert abs(from_float(0.5) * 2) % P in (1, P - 1)


def test_field_sees_a_dropped_term_and_a_changed_function():
    d = FieldDomain()
    x = from_float(np.random.default_rng(8).standard_normal(64).astype(np.float32))
    whole = d.sum(x, (0,), f32)
    assert whole == d.sum(x[::-1], (0,), f32)
    assert whole != d.sum(x[1:], (0,), f32)
    assert np.all(d.float1("exp", x, f32) != d.float1("tanh", x, f32))
    assert d.float1("exp", from_float(np.float32(-np.inf)), f32) == 0
    assert d.float2("max", from_float(np.float32(-np.inf)), x[0], f32) == x[0]


def test_bounds_hold_for_every_order():
    d = BoundDomain()
    rng = np.random.default_rng(9)
    x = (rng.standard_normal((200, 40)) * np.exp2(rng.integers(-6, 6, (200, 40)))).astype(np.float32)
    carried = d.sum(d.constant(x, f32), (1,), f32)
    exact = np.array([float(sum(Fraction(float(v)) for v in row)) for row in x])
    for order in (slice(None), slice(None, None, -1)):
        total = np.add.accumulate(x[:, order], axis=1)[:, -1]
        assert np.all(np.abs(total - exact) <= carried["e"] * 1.5 + 1e-12)
    assert np.all(np.abs(carried["v"] - exact) <= carried["e"])
    assert np.all(carried["e"] < 1e-3)


def test_bounds_are_zero_for_exact_work_and_follow_functions():
    d = BoundDomain()
    two, three = d.constant(np.float32(2), f32), d.constant(np.float32(3), f32)
    assert d.float2("add", two, three, f32)["e"] == 0
    assert d.float2("mul", two, three, f32)["e"] == 0
    third = d.float2("div", two, three, f32)
    assert 0 < third["e"] < 1e-7
    y = d.float1("exp", third, f32)
    assert abs(float(y["v"]) - np.exp(2 / 3)) <= y["e"] < 1e-6
    d.compare("olt", third, third, f32)
    assert d.ambiguous


def test_bits_of_numbers_with_a_bound_say_nothing():
    d = BoundDomain()
    two, three = d.constant(np.float32(2), f32), d.constant(np.float32(3), f32)
    assert d.looked_at(two) == np.float32(2) and not d.ambiguous
    d.looked_at(d.float2("div", two, three, f32))
    assert d.ambiguous


def test_integers_notice_what_is_not_exact():
    d = IntegersDomain()
    d.float2("mul", np.float32(3000), np.float32(5000), f32)
    assert d.exact
    d.float2("mul", np.float32(30000), np.float32(5001), f32)
    assert not d.exact
    d = IntegersDomain()
    d.float2("div", np.float32(1), np.float32(3), f32)
    assert not d.exact


@pytest.mark.parametrize("domain", [FieldDomain, BoundDomain, IntegersDomain, IeeeDomain], ids=lambda c: c.name)
def test_every_domain_knows_every_function(domain: type):
    d = domain()
    x = d.constant(np.array([0.5, 0.25, -0.75], dtype=np.float32), f32)
    with np.errstate(all="ignore"):
        for name in FLOAT1:
            assert np.shape(d.float1(name, x, f32)) == (3,), name
        for name in FLOAT2:
            assert np.shape(d.float2(name, x, x, f32)) == (3,), name
        assert np.shape(d.fma(x, x, x, f32)) == (3,)


def test_bounds_do_not_excuse_types_narrower_than_allowed():
    d = BoundDomain()
    third = d.constant(np.float32(1 / 3), f32)
    assert d.convert(third, f32, f16)["e"] > 1e-5
    d.narrowest = 32
    narrow = d.convert(third, f32, f16)
    assert narrow["e"] == 0 and abs(float(narrow["v"]) - 1 / 3) > 1e-5
