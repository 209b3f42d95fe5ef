"""`linalg_ext.bf16_parts`: verified, printed as it was read; three parts sum to the number, each is the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects import test
from xdsl.dialects.builtin import VectorType, f32

from mlc.dialects.linalg_ext.split_matmul_ops import LANES, PARTS, STEP, BF16PartsOp
from mlc.errors import MlcError
from mlc.interp import run_function
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module

HALF = "vector<32xbf16>"


def program(operands: tuple[str, str] = ("vector<16xf32>",) * 2, results: tuple[str, ...] = (HALF,) * PARTS) -> str:
    names = ", ".join(f"%{n}" for n in range(len(results)))
    bound = f"{names} = " if results else ""
    return f"""
func.func @f(%a: {operands[0]}, %b: {operands[1]}) {{
  {bound}"linalg_ext.bf16_parts"(%a, %b) : ({", ".join(operands)}) -> ({", ".join(results)})
  func.return
}}"""


def test_it_prints_as_it_was_read():
    ctx = make_context()
    module = parse_text(program(), ctx)
    verify_module(module, ctx)
    text = print_text(module)
    assert f'"linalg_ext.bf16_parts"(%a, %b) : (vector<16xf32>, vector<16xf32>) -> ({HALF}, {HALF}, {HALF})' in text
    assert print_text(parse_text(text, ctx)) == text


def test_what_is_made_in_code_is_what_is_read():
    a, b = test.TestOp(result_types=[VectorType(f32, [LANES])] * 2).results
    op = BF16PartsOp(a, b)
    op.verify()
    assert [str(r.type) for r in op.parts] == [HALF] * PARTS


@pytest.mark.parametrize(
    ("operands", "results", "message"),
    [
        (("vector<8xf32>", "vector<16xf32>"), (HALF,) * 3, "vector<8xf32>"),
        (("vector<16xf32>", "vector<32xf32>"), (HALF,) * 3, "vector<32xf32>"),
        (("vector<16xf64>", "vector<16xf32>"), (HALF,) * 3, "vector<16xf64>"),
        (("vector<16xf32>", "vector<16xf32>"), (HALF,) * 2, "expected 3 results, got 2"),
        (("vector<16xf32>", "vector<16xf32>"), (HALF,) * 4, "expected 3 results, got 4"),
        (("vector<16xf32>", "vector<16xf32>"), (), "expected 3 results, got 0"),
        (("vector<16xf32>", "vector<16xf32>"), (HALF, "vector<16xbf16>", HALF), "vector<16xbf16>"),
        (("vector<16xf32>", "vector<16xf32>"), (HALF, "vector<32xf32>", HALF), "vector<32xf32>"),
    ],
)
def test_what_does_not_fit_is_refused(operands: tuple[str, str], results: tuple[str, ...], message: str):
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(program(operands, results), ctx), ctx)


STORED = f"""
func.func @f(%x: memref<2x16xf32>, %o: memref<3x32xbf16>) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = vector.load %x[%c0, %c0] : memref<2x16xf32>, vector<16xf32>
  %b = vector.load %x[%c1, %c0] : memref<2x16xf32>, vector<16xf32>
  %p, %q, %r = "linalg_ext.bf16_parts"(%a, %b) : (vector<16xf32>, vector<16xf32>) -> ({HALF}, {HALF}, {HALF})
  vector.store %p, %o[%c0, %c0] : memref<3x32xbf16>, {HALF}
  vector.store %q, %o[%c1, %c0] : memref<3x32xbf16>, {HALF}
  vector.store %r, %o[%c2, %c0] : memref<3x32xbf16>, {HALF}
  func.return
}}"""


def parts(x: np.ndarray) -> np.ndarray:
    """Of the numbers in order: [numbers, 3], as numbers of single precision."""
    module = parse_text(STORED, make_context())
    found: list[np.ndarray] = []
    for some in np.resize(x.astype(np.float32), (-(-len(x) // STEP), 2, LANES)):
        _, (_, out) = run_function(module, "f", [some, np.zeros((PARTS, STEP), np.uint16)])
        wide = np.asarray(out)
        assert wide.dtype == np.float32
        found.append(wide.reshape(PARTS, LANES, 2).transpose(2, 1, 0).reshape(STEP, PARTS))
    return np.concatenate(found)[: len(x)]


def normal_numbers(count: int, low: int, high: int) -> np.ndarray:
    """Of any sign and bits, from 2^low up to 2^(high + 1)."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 24, count, dtype=np.uint32)
    sign, fraction = bits >> 23 << 31, bits & 0x7FFFFF
    fraction[::5] |= 0x7F8000  # what rounds up to the next power of two
    fraction[1::5] = fraction[1::5] & 0x7F0000 | 0x8000  # as near to two
    return (sign | rng.integers(low + 127, high + 128, count, dtype=np.uint32) << 23 | fraction).view(np.float32)


@pytest.mark.parametrize(("low", "high"), [(-3, 3), (-110, -100), (100, 126), (-110, 126)])
def test_parts_sum_to_the_number(low: int, high: int):
    x = normal_numbers(4096, low, high)
    p = parts(x)
    assert np.isfinite(p).all() and not (p.view(np.uint32) & 0xFFFF).any()
    np.testing.assert_array_equal(p.astype(np.float64).sum(axis=1), x.astype(np.float64))
    summed = p[:, 2] + p[:, 1] + p[:, 0]  # in single precision too
    np.testing.assert_array_equal(summed, x)


def test_parts_are_the_nearest():
    """Each is at most half a unit in the last of the eight bits of the one before."""
    x = normal_numbers(4096, -20, 20)
    p = parts(x).astype(np.float64)
    left = x.astype(np.float64)
    for n in range(PARTS - 1):
        unit = np.exp2(np.floor(np.log2(np.abs(np.where(left == 0, 1, left)))) - 7)
        left = left - p[:, n]
        assert (np.abs(left) <= unit / 2).all()
    np.testing.assert_array_equal(left, p[:, -1])


def test_two_as_near_are_the_larger():
    """One of 257/256 lies between two of bf16, as do the remainders of the second part."""
    x = np.array([1 + 2.0**-8, -1 - 2.0**-8, 1 + 2.0**-17 + 2.0**-9, 3.0, 2.0 - 2.0**-23])
    np.testing.assert_array_equal(
        parts(x),
        [
            [1 + 2.0**-7, -(2.0**-8), 0],
            [-1 - 2.0**-7, 2.0**-8, 0],
            [1, 2.0**-9 + 2.0**-16, -(2.0**-17)],
            [3, 0, 0],
            [2, -(2.0**-23), 0],
        ],
    )


def test_zeros_keep_their_signs():
    p = parts(np.array([0.0, -0.0] * 16))
    assert not p.any()
    assert np.array_equal(np.signbit(p[:, 0]), [False, True] * 16)


def test_the_largest_that_have_parts():
    """From half a unit below 2^128 on the first part is infinite: rows are scaled, so that none comes near."""
    limit = 2.0**128 - 2.0**119
    most = np.nextafter(np.float32(limit), np.float32(0))
    p = parts(np.array([most, -most, limit]))
    assert np.isfinite(p[:2]).all() and np.isinf(p[2, 0])
    np.testing.assert_array_equal(p[:2].astype(np.float64).sum(axis=1), [most, -most])


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0x7F800000, 0xFF800000])
def test_what_is_no_number_has_a_part_that_is_none(bits: int):
    """And spoils no other lane."""
    x = np.ones(STEP, np.float32)
    x[[3, 20]] = np.array(bits, np.uint32).view(np.float32)
    p = parts(x)
    others = np.isfinite(x)
    np.testing.assert_array_equal(p[others], [[1, 0, 0]] * 30)
    assert not np.isfinite(p[~others]).all(axis=1).any()
