"""Integer arithmetic, casts and comparisons: exhaustive over i8 pairs (and i1, i4) against Python's own ints."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import ExecutionError

A, B = (x.reshape(-1) for x in np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-128, 128, dtype=np.int8)))


def wrap(x: int, width: int = 8) -> int:
    """Two's complement."""
    x &= 2**width - 1
    return x - 2**width if x >= 2 ** (width - 1) else x


def trunc_div(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def u(x: int, width: int = 8) -> int:
    return x & (2**width - 1)


REFERENCE = {
    "addi": lambda a, b, w: a + b,
    "subi": lambda a, b, w: a - b,
    "muli": lambda a, b, w: a * b,
    "andi": lambda a, b, w: a & b,
    "ori": lambda a, b, w: a | b,
    "xori": lambda a, b, w: a ^ b,
    "divsi": lambda a, b, w: trunc_div(a, b),
    "floordivsi": lambda a, b, w: a // b,
    "ceildivsi": lambda a, b, w: -(-a // b),
    "remsi": lambda a, b, w: a - b * trunc_div(a, b),
    "divui": lambda a, b, w: u(a, w) // u(b, w),
    "ceildivui": lambda a, b, w: -(-u(a, w) // u(b, w)),
    "remui": lambda a, b, w: u(a, w) % u(b, w),
    "minsi": lambda a, b, w: min(a, b),
    "maxsi": lambda a, b, w: max(a, b),
    "minui": lambda a, b, w: min(u(a, w), u(b, w)),
    "maxui": lambda a, b, w: max(u(a, w), u(b, w)),
    "shli": lambda a, b, w: a << b,
    "shrsi": lambda a, b, w: a >> b,
    "shrui": lambda a, b, w: u(a, w) >> b,
}


def defined(name: str, a: int, b: int, width: int) -> bool:
    """Whether the op has a result at all."""
    if "div" in name or "rem" in name:
        return b != 0 and not ("s" in name and a == -(2 ** (width - 1)) and b == -1 and "ui" not in name)
    return u(b, width) < width if name.startswith("sh") else True


@pytest.mark.parametrize("name", REFERENCE)
def test_every_pair_of_i8(run, name: str):
    keep = np.array([defined(name, int(a), int(b), 8) for a, b in zip(A, B, strict=True)])
    a, b = A[keep], B[keep]
    text = f"""func.func @f(%a: tensor<{len(a)}xi8>, %b: tensor<{len(a)}xi8>) -> tensor<{len(a)}xi8> {{
      %r = arith.{name} %a, %b : tensor<{len(a)}xi8>
      func.return %r : tensor<{len(a)}xi8>
    }}"""
    want = [wrap(REFERENCE[name](int(x), int(y), 8)) for x, y in zip(a, b, strict=True)]
    assert run(text, a, b)[0].tolist() == want


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("name", REFERENCE)
def test_every_pair_of_narrow_ints_as_scalars(run, parse, name: str, width: int):
    from mlc.interp import run_function

    module = parse(f"""func.func @f(%a: i{width}, %b: i{width}) -> i{width} {{
      %r = arith.{name} %a, %b : i{width}
      func.return %r : i{width}
    }}""")
    low = -(2 ** (width - 1))
    for a in range(low, low + 2**width):
        for b in range(low, low + 2**width):
            args = [np.bool_(v & 1) if width == 1 else np.int8(v) for v in (a, b)]
            if not defined(name, a, b, width):
                with pytest.raises(ExecutionError):
                    run_function(module, "f", args)
                continue
            (got,), _ = run_function(module, "f", args)
            assert wrap(int(got), width) == wrap(REFERENCE[name](a, b, width), width), (a, b)


PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


@pytest.mark.parametrize("predicate", PREDICATES)
def test_comparisons_of_every_pair(run, predicate: str):
    t = f"tensor<{len(A)}xi8>"
    text = f"""func.func @f(%a: {t}, %b: {t}) -> tensor<{len(A)}xi1> {{
      %r = "arith.cmpi"(%a, %b) <{{predicate = {PREDICATES.index(predicate)} : i64}}>
        : ({t}, {t}) -> tensor<{len(A)}xi1>
      func.return %r : tensor<{len(A)}xi1>
    }}"""
    pair = (A.view(np.uint8), B.view(np.uint8)) if predicate[0] == "u" else (A, B)
    a, b = (x.astype(int) for x in pair)
    kind = predicate if predicate in ("eq", "ne") else predicate[1:]
    want = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[kind]
    assert np.array_equal(run(text, A, B)[0], want)


def test_undefined_behaviour_names_op_and_place(run):
    text = """func.func @f(%a: i32, %b: i32) -> i32 {
      %r = arith.divsi %a, %b : i32 loc("model.py":7:3)
      func.return %r : i32
    }"""
    with pytest.raises(ExecutionError, match=r"model\.py:7: execution: 'arith\.divsi': division by zero"):
        run(text, np.int32(1), np.int32(0))
    with pytest.raises(ExecutionError, match="overflow"):
        run(text, np.int32(-(2**31)), np.int32(-1))
    shift = text.replace("divsi", "shli")
    with pytest.raises(ExecutionError, match="shift by 32"):
        run(shift, np.int32(1), np.int32(32))
    flagged = """func.func @f(%a: i32, %b: i32) -> i32 {
      %r = arith.addi %a, %b overflow<nsw> : i32
      func.return %r : i32
    }"""
    assert run(flagged, np.int32(2**31 - 2), np.int32(1))[0] == 2**31 - 1
    with pytest.raises(ExecutionError, match="nsw"):
        run(flagged, np.int32(2**31 - 1), np.int32(1))


def test_casts(run):
    text = """func.func @f(%a: i8, %x: f32, %c: i1) -> (i32, i32, i8, i1, i64, f32, f32, i32, f16, index) {
      %0 = arith.extsi %a : i8 to i32
      %1 = arith.extui %a : i8 to i32
      %2 = arith.trunci %1 : i32 to i8
      %3 = arith.trunci %a : i8 to i1
      %4 = arith.extsi %c : i1 to i64
      %5 = arith.sitofp %c : i1 to f32
      %6 = arith.uitofp %a : i8 to f32
      %7 = arith.fptosi %x : f32 to i32
      %8 = arith.truncf %x : f32 to f16
      %9 = arith.index_cast %a : i8 to index
      func.return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9 : i32, i32, i8, i1, i64, f32, f32, i32, f16, index
    }"""
    got = [g.item() for g in run(text, np.int8(-3), np.float32(-2.75), np.bool_(True))]
    assert got == [-3, 253, -3, True, -1, -1.0, 253.0, -2, -2.75, -3]
    with pytest.raises(ExecutionError, match="does not fit"):
        run(text, np.int8(1), np.float32(3e9), np.bool_(True))
    with pytest.raises(ExecutionError, match="does not fit"):
        run(text, np.int8(1), np.float32(np.nan), np.bool_(True))


def test_extended_arithmetic_and_bits(run):
    text = """func.func @f(%a: i8, %b: i8) -> (i8, i1, i8, i8, i8, i8, i8, i8, i8) {
      %0, %1 = arith.addui_extended %a, %b : i8, i1
      %2, %3 = arith.mului_extended %a, %b : i8
      %4, %5 = arith.mulsi_extended %a, %b : i8
      %6 = math.ctlz %a : i8
      %7 = math.cttz %a : i8
      %8 = math.ctpop %a : i8
      func.return %0, %1, %2, %3, %4, %5, %6, %7, %8 : i8, i1, i8, i8, i8, i8, i8, i8, i8
    }"""
    for a, b in [(-1, -1), (100, 100), (-128, -128), (0, 5), (64, 3)]:
        got = [g.item() for g in run(text, np.int8(a), np.int8(b))]
        whole_u, whole_s = u(a) * u(b), a * b
        bits = f"{u(a):08b}"
        assert got == [
            wrap(a + b), u(a) + u(b) > 255, wrap(whole_u), wrap(whole_u >> 8), wrap(whole_s), wrap(whole_s >> 8),
            len(bits) - len(bits.lstrip("0")), len(bits) - len(bits.rstrip("0")), bits.count("1"),
        ]  # fmt: skip


def test_bitcast_keeps_bits(run):
    text = """func.func @f(%x: f32, %v: tensor<3xi16>) -> (i32, tensor<3xf16>) {
      %0 = arith.bitcast %x : f32 to i32
      %1 = "arith.bitcast"(%v) : (tensor<3xi16>) -> tensor<3xf16>
      func.return %0, %1 : i32, tensor<3xf16>
    }"""
    bits, halves = run(text, np.float32(-0.0), np.array([0x3C00, 1, -1], dtype=np.int16))
    assert bits == -(2**31)
    assert halves[0] == 1.0 and halves[1] == np.float16(6e-8) and np.isnan(halves[2])
