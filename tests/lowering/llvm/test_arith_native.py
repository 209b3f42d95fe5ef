"""arith and math, compiled and run, against the reference semantics: edge values, scalars and vectors, all widths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

FLOATS = {"f32": np.float32, "f64": np.float64, "f16": np.float16}
INTS = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
WIDTH = 16


def float_edges(dtype) -> list[float]:
    info = np.finfo(dtype)
    return [
        0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.5, 3.14159, -7.25, float(info.max), -float(info.max), float(info.tiny),
        float(info.smallest_subnormal), -float(info.smallest_subnormal), float("inf"), float("-inf"), float("nan"),
        float(info.eps), 1.0 + float(info.eps),
    ]  # fmt: skip


def int_edges(dtype) -> list[int]:
    info = np.iinfo(dtype)
    return [
        0,
        1,
        -1,
        2,
        -2,
        3,
        7,
        -7,
        10,
        -10,
        int(info.max),
        int(info.min),
        int(info.max) - 1,
        int(info.min) + 1,
        100,
        -100,
    ]


def tuples(values: list, arity: int, dtype) -> list[np.ndarray]:
    """All tuples of edge values, as one array per position, padded to whole vectors."""
    rows = list(itertools.product(values, repeat=arity))
    if len(rows) > 512:
        rows = rows[:: len(rows) // 499 + 1]
    rows += [rows[0]] * (-len(rows) % WIDTH)
    with np.errstate(all="ignore"):
        return [np.array(column).astype(dtype) for column in zip(*rows, strict=True)]


def program(ops: list[tuple[str, str]], n: int, arity: int, ty: str, out: str) -> str:
    """One function per op and form (scalar loop, vector loop). An op is (name, text with {0} {1} {2} and {t})."""
    functions = []
    for (name, text), vector in itertools.product(ops, (False, True)):
        t = f"vector<{WIDTH}x{ty}>" if vector else ty
        o = f"vector<{WIDTH}x{out}>" if vector else out
        args = ", ".join(f"%a{k}: memref<{n}x{ty}>" for k in range(arity))
        load = "vector.load" if vector else "memref.load"
        tail = f", {t}" if vector else ""
        loads = "\n".join(f"    %v{k} = {load} %a{k}[%i] : memref<{n}x{ty}>{tail}" for k in range(arity))
        body = text.format(*(f"%v{k}" for k in range(arity)), t=t, o=o)
        store = (
            f"vector.store %r, %out[%i] : memref<{n}x{out}>, {o}"
            if vector
            else f"memref.store %r, %out[%i] : memref<{n}x{out}>"
        )
        functions.append(f"""
func.func @{name}_{"v" if vector else "s"}({args}, %out: memref<{n}x{out}>) {{
  %c0 = arith.constant 0 : index
  %n = arith.constant {n} : index
  %step = arith.constant {WIDTH if vector else 1} : index
  scf.for %i = %c0 to %n step %step {{
{loads}
    %r = {body}
    {store}
  }}
  func.return
}}""")
    return "\n".join(functions)


def check_ops(check, parse, ops, arrays, ty, out, out_dtype):
    module = parse(program(ops, len(arrays[0]), len(arrays), ty, out))
    for name, _ in ops:
        for form in "sv":
            check(module, f"{name}_{form}", [*arrays, np.zeros(len(arrays[0]), out_dtype)])


@pytest.mark.parametrize("ty", FLOATS)
def test_float_binary(check, parse, ty):
    names = ["addf", "subf", "mulf", "divf", "maximumf", "minimumf"]
    ops = [(n, f"arith.{n} {{0}}, {{1}} : {{t}}") for n in names]
    ops.append(("copysign", "math.copysign {0}, {1} : {t}"))
    check_ops(check, parse, ops, tuples(float_edges(FLOATS[ty]), 2, FLOATS[ty]), ty, ty, FLOATS[ty])


@pytest.mark.parametrize("ty", FLOATS)
def test_num_max_and_min_prefer_numbers(parse, native, ty):
    """maxnumf and minnumf leave the sign of a zero open, so they are compared with numpy by value."""
    ops = [(n, f"arith.{n} {{0}}, {{1}} : {{t}}") for n in ("maxnumf", "minnumf")]
    a, b = tuples(float_edges(FLOATS[ty]), 2, FLOATS[ty])
    module = parse(program(ops, len(a), 2, ty, ty))
    for name, fn in (("maxnumf", np.fmax), ("minnumf", np.fmin)):
        for form in "sv":
            out = np.zeros_like(a)
            native(module, f"{name}_{form}")(a, b, out)
            assert np.array_equal(out, fn(a, b), equal_nan=True)


@pytest.mark.parametrize("ty", FLOATS)
def test_float_unary(check, parse, ty):
    ops = [("negf", "arith.negf {0} : {t}")]
    ops += [(n, f"math.{n} {{0}} : {{t}}") for n in ("absf", "sqrt", "floor", "ceil", "trunc", "roundeven", "round")]
    check_ops(check, parse, ops, tuples(float_edges(FLOATS[ty]), 1, FLOATS[ty]), ty, ty, FLOATS[ty])


@pytest.mark.parametrize("ty", ["f32", "f64"])
def test_fma_rounds_once(check, parse, ty):
    ops = [("fma", "math.fma {0}, {1}, {2} : {t}")]
    check_ops(check, parse, ops, tuples(float_edges(FLOATS[ty]), 3, FLOATS[ty]), ty, ty, FLOATS[ty])


PREDICATES = [
    "false",
    "oeq",
    "ogt",
    "oge",
    "olt",
    "ole",
    "one",
    "ord",
    "ueq",
    "ugt",
    "uge",
    "ult",
    "ule",
    "une",
    "uno",
    "true",
]


@pytest.mark.parametrize("ty", FLOATS)
def test_cmpf(check, parse, ty):
    ops = [(p + "_", f"arith.cmpf {p}, {{0}}, {{1}} : {{t}}") for p in PREDICATES]
    check_ops(check, parse, ops, tuples(float_edges(FLOATS[ty]), 2, FLOATS[ty]), ty, "i1", np.bool_)


@pytest.mark.parametrize("ty", INTS)
def test_int_binary(check, parse, ty):
    names = ["addi", "subi", "muli", "andi", "ori", "xori", "minsi", "maxsi", "minui", "maxui"]
    ops = [(n, f"arith.{n} {{0}}, {{1}} : {{t}}") for n in names]
    check_ops(check, parse, ops, tuples(int_edges(INTS[ty]), 2, INTS[ty]), ty, ty, INTS[ty])


@pytest.mark.parametrize("ty", INTS)
def test_int_division(check, parse, ty):
    """Divisors 0 and the quotient that overflows are undefined in arith and left out."""
    names = ["divsi", "divui", "remsi", "remui", "floordivsi", "ceildivsi", "ceildivui"]
    a, b = tuples(int_edges(INTS[ty]), 2, INTS[ty])
    undefined = (b == 0) | ((a == np.iinfo(INTS[ty]).min) & (b == -1))
    b = np.where(undefined, 3, b).astype(INTS[ty])
    check_ops(check, parse, [(n, f"arith.{n} {{0}}, {{1}} : {{t}}") for n in names], [a, b], ty, ty, INTS[ty])


@pytest.mark.parametrize("ty", INTS)
def test_shifts(check, parse, ty):
    a, b = tuples(int_edges(INTS[ty]), 2, INTS[ty])
    amount = (b % np.iinfo(INTS[ty]).bits).astype(INTS[ty])
    ops = [(n, f"arith.{n} {{0}}, {{1}} : {{t}}") for n in ("shli", "shrsi", "shrui")]
    check_ops(check, parse, ops, [a, amount], ty, ty, INTS[ty])


@pytest.mark.parametrize("ty", INTS)
def test_int_unary(check, parse, ty):
    ops = [(n, f"math.{n} {{0}} : {{t}}") for n in ("absi", "ctpop", "ctlz", "cttz")]
    check_ops(check, parse, ops, tuples(int_edges(INTS[ty]), 1, INTS[ty]), ty, ty, INTS[ty])


@pytest.mark.parametrize("ty", INTS)
def test_cmpi(check, parse, ty):
    names = ["eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"]
    ops = [(p, f"arith.cmpi {p}, {{0}}, {{1}} : {{t}}") for p in names]
    check_ops(check, parse, ops, tuples(int_edges(INTS[ty]), 2, INTS[ty]), ty, "i1", np.bool_)


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in INTS for b in INTS if a != b])
def test_int_resize(check, parse, source, target):
    if np.dtype(INTS[source]).itemsize < np.dtype(INTS[target]).itemsize:
        ops = [(n, f"arith.{n} {{0}} : {{t}} to {{o}}") for n in ("extsi", "extui")]
    else:
        ops = [("trunci", "arith.trunci {0} : {t} to {o}")]
    check_ops(check, parse, ops, tuples(int_edges(INTS[source]), 1, INTS[source]), source, target, INTS[target])


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in INTS for b in FLOATS])
def test_int_to_float(check, parse, source, target):
    values = int_edges(INTS[source])
    if source == "i64":
        values += [
            2**53 + 1,
            2**24 + 1,
            -(2**53) - 1,
            2049,
            4097,
            65519,
            65520,
            65521,
            2**62 + 2**51,
            2**62 + 2**51 + 1,
        ]
    ops = [(n, f"arith.{n} {{0}} : {{t}} to {{o}}") for n in ("sitofp", "uitofp")]
    check_ops(check, parse, ops, tuples(values, 1, INTS[source]), source, target, FLOATS[target])


@pytest.mark.parametrize(("source", "target"), [("f16", "f32"), ("f16", "f64"), ("f32", "f64")])
def test_widen_float(check, parse, source, target):
    ops = [("extf", "arith.extf {0} : {t} to {o}")]
    check_ops(check, parse, ops, tuples(float_edges(FLOATS[source]), 1, FLOATS[source]), source, target, FLOATS[target])


def narrowing_values(source: str, target: str) -> list[float]:
    """Values at, just above and just below the middle between two numbers of the target type."""
    info = np.finfo(FLOATS[target])
    step = float(info.eps)
    out = float_edges(FLOATS[source])
    for base in (1.0, 1.0 + step, float(info.tiny), float(info.smallest_subnormal), float(info.max)):
        gap = float(np.spacing(FLOATS[target](base / 2))) * 2
        middle = base + gap / 2
        out += [middle, np.nextafter(FLOATS[source](middle), FLOATS[source](0)), -middle]
        out.append(float(np.nextafter(FLOATS[source](middle), FLOATS[source](np.inf))))
    return [float(v) for v in out]


@pytest.mark.parametrize(("source", "target"), [("f64", "f32"), ("f64", "f16"), ("f32", "f16")])
def test_narrow_float_rounds_once(check, parse, source, target):
    ops = [("truncf", "arith.truncf {0} : {t} to {o}")]
    values = tuples(narrowing_values(source, target), 1, FLOATS[source])
    check_ops(check, parse, ops, values, source, target, FLOATS[target])


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """Bits of f64 values rounded once to bf16, by exact arithmetic."""
    out = np.empty(x.shape, np.uint16)
    for i, v in enumerate(x.astype(np.float64)):
        if np.isnan(v):
            out[i] = 0x7FC0
            continue
        with np.errstate(all="ignore"):
            near = np.float32(v)
        bits = int(near.view(np.uint32)) & 0x7FFF0000
        candidates = [b for b in (bits - 0x10000, bits, bits + 0x10000) if 0 <= b <= 0x7F800000]

        def distance(b, v=v):
            value = float(np.uint32(b).view(np.float32)) if b < 0x7F800000 else 2.0**128
            return (abs(value - abs(float(v))) if np.isfinite(v) else (b != 0x7F800000), (b >> 16) & 1)

        out[i] = min(candidates, key=distance) >> 16 | (0x8000 if np.signbit(v) else 0)
    return out


@pytest.mark.parametrize("source", ["f32", "f64"])
def test_narrow_to_bfloat16_rounds_once(parse, native, source):
    """Denormals are kept: the hardware conversion would flush them."""
    dtype = FLOATS[source]
    middles = [1 + 2.0**-8, 1 + 2.0**-8 + 2.0**-20, 1 + 3 * 2.0**-8]
    values = [*float_edges(dtype), *middles, 2.0**-133, 3 * 2.0**-134, 2.0**-127]
    if source == "f64":
        values += [1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8 - 2.0**-40, 3.4e38, 3.39e38, 1e39]
    (x,) = tuples(values, 1, dtype)
    module = parse(program([("truncf", "arith.truncf {0} : {t} to {o}")], len(x), 1, source, "bf16"))
    for form in "sv":
        out = np.zeros(len(x), np.uint16)
        native(module, f"truncf_{form}")(x, out)
        want = to_bfloat16(x)
        nan = np.isnan(x)
        assert np.array_equal(out[~nan], want[~nan])
        assert np.all((out[nan] & 0x7FFF) > 0x7F80)


@pytest.mark.parametrize("name", ["addf", "mulf", "divf", "maximumf"])
def test_bfloat16_arithmetic_rounds_once(parse, native, name):
    x, y = (
        v.astype(np.float32)
        for v in tuples([0.0, -0.0, 1.0, 1.0078125, 3.0, -7.25, 1e30, 2.0**-130, np.inf, np.nan], 2, np.float32)
    )
    a, b = to_bfloat16(x), to_bfloat16(y)
    wide = [(v.astype(np.uint32) << 16).view(np.float32) for v in (a, b)]
    with np.errstate(all="ignore"):
        fn = {"addf": np.add, "mulf": np.multiply, "divf": np.divide, "maximumf": np.maximum}[name]
        want = to_bfloat16(fn(wide[0].astype(np.float64), wide[1].astype(np.float64)))
    module = parse(program([(name, f"arith.{name} {{0}}, {{1}} : {{t}}")], len(a), 2, "bf16", "bf16"))
    for form in "sv":
        out = np.zeros(len(a), np.uint16)
        native(module, f"{name}_{form}")(a, b, out)
        nan = (want & 0x7FFF) > 0x7F80
        zero = (want & 0x7FFF) == 0
        assert np.array_equal(out[~nan & ~zero], want[~nan & ~zero])
        assert np.all((out[nan] & 0x7FFF) > 0x7F80)
        assert not np.any(out[zero] & 0x7FFF)


@pytest.mark.parametrize("target", ["i8", "i16", "i32", "i64"])
@pytest.mark.parametrize("source", ["f32", "f64", "f16"])
def test_float_to_int_in_range(check, parse, source, target):
    info = np.iinfo(INTS[target])
    values = [v for v in float_edges(FLOATS[source]) if np.isfinite(v) and info.min <= int(v) <= info.max]
    check_ops(
        check, parse, [("fptosi", "arith.fptosi {0} : {t} to {o}")], tuples(values, 1, FLOATS[source]), source, target,
        INTS[target],
    )  # fmt: skip


@pytest.mark.parametrize("target", ["i8", "i16", "i32", "i64"])
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_float_to_int_out_of_range_is_torch(parse, native, source, target):
    """Out of range and NaN: the low bits of the indefinite integer of the conversion width, as on x86 in PyTorch."""
    (x,) = tuples(
        [*float_edges(FLOATS[source]), 2.0**31, -(2.0**31), 2.0**63, 1e10, -1e10, 300.0, -129.0], 1, FLOATS[source]
    )
    module = parse(program([("fptosi", "arith.fptosi {0} : {t} to {o}")], len(x), 1, source, target))
    width = 64 if target == "i64" else 32
    wide = [
        int(v) if np.isfinite(v) and -(2 ** (width - 1)) <= int(v) < 2 ** (width - 1) else -(2 ** (width - 1))
        for v in x
    ]
    want = np.array(wide, np.int64).astype(INTS[target])
    for form in "sv":
        out = np.zeros(len(x), INTS[target])
        native(module, f"fptosi_{form}")(x, out)
        assert np.array_equal(out, want)


def test_float_to_unsigned(parse, native):
    (x,) = tuples(
        [0.0, -0.0, 1.5, 255.0, 256.0, -1.0, 2.0**31, 2.0**32 - 1, 2.0**63, 2.0**63 + 2.0**12, 1.8e19], 1, np.float64
    )
    for target, dtype in (("i8", np.uint8), ("i32", np.uint32), ("i64", np.uint64)):
        module = parse(program([("fptoui", "arith.fptoui {0} : {t} to {o}")], len(x), 1, "f64", target))
        bits = np.iinfo(dtype).bits
        limit = 2**64 if bits == 64 else 2**63
        want = np.array([int(v) % 2**bits if int(v) < limit else 2**63 % 2**bits for v in x], dtype)
        for form in "sv":
            out = np.zeros(len(x), dtype)
            native(module, f"fptoui_{form}")(x, out)
            assert np.array_equal(out, want), (target, out, want)


def test_select_bitcast_extended(check, parse):
    a, b = tuples(int_edges(np.int32), 2, np.int32)
    text = """
func.func @f(%a: memref<{n}xi32>, %b: memref<{n}xi32>, %o: memref<{n}xi32>, %h: memref<{n}xi32>,
             %f: memref<{n}xf32>, %c: memref<{n}xi1>) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = arith.constant {n} : index
  scf.for %i = %c0 to %n step %c1 {{
    %x = memref.load %a[%i] : memref<{n}xi32>
    %y = memref.load %b[%i] : memref<{n}xi32>
    %lt = arith.cmpi slt, %x, %y : i32
    memref.store %lt, %c[%i] : memref<{n}xi1>
    %s = arith.select %lt, %x, %y : i32
    %sum, %carry = arith.addui_extended %s, %y : i32, i1
    %lo, %hi = arith.mulsi_extended %sum, %y : i32
    %ulo, %uhi = arith.mului_extended %lo, %x : i32
    %t = arith.select %carry, %ulo, %hi : i32
    memref.store %t, %o[%i] : memref<{n}xi32>
    memref.store %uhi, %h[%i] : memref<{n}xi32>
    %g = arith.bitcast %t : i32 to f32
    memref.store %g, %f[%i] : memref<{n}xf32>
  }}
  func.return
}}""".format(n=len(a))
    zeros = [np.zeros(len(a), d) for d in (np.int32, np.int32, np.float32, np.bool_)]
    check(text, "f", [a, b, *zeros])


@pytest.mark.parametrize("name", ["exp", "log", "sin", "tanh", "erf", "log1p", "expm1", "atan2", "powf"])
@pytest.mark.parametrize("ty", ["f32", "f64"])
def test_transcendental_calls(parse, native, name, ty):
    """What `expand-math` leaves alone still runs, one libm call per element."""
    arity = 2 if name in ("atan2", "powf") else 1
    arrays = [v.astype(FLOATS[ty]) for v in tuples([0.25, 0.5, 1.0, 2.0, 3.5], arity, FLOATS[ty])]
    operands = ", ".join(f"{{{k}}}" for k in range(arity))
    module = parse(program([(name, f"math.{name} {operands} : {{t}}")], len(arrays[0]), arity, ty, ty))
    import math

    fn = {"powf": math.pow}.get(name) or getattr(math, name)
    want = np.array([fn(*map(float, row)) for row in zip(*arrays, strict=True)])
    for form in "sv":
        out = np.zeros(len(arrays[0]), FLOATS[ty])
        native(module, f"{name}_{form}")(*arrays, out)
        np.testing.assert_allclose(out, want, rtol=4 * np.finfo(FLOATS[ty]).eps)


def test_ipowi(check, parse):
    """Zero to a negative power is undefined and left out."""
    base, power = tuples([0, 1, -1, 2, -2, 3, 7, 127, -128], 2, np.int32)
    power = np.where((base == 0) & (power < 0), 5, power).astype(np.int32)
    check_ops(check, parse, [("ipowi", "math.ipowi {0}, {1} : {t}")], [base, power], "i32", "i32", np.int32)


def test_fast_math_flags_are_passed_on_and_no_others(parse, ctx):
    from mlc.backends.llvm.compile import llvm_ir
    from mlc.lowering.llvm.convert_to_llvm import ConvertToLLVM

    module = parse("""
func.func @f(%a: f32, %b: f32) -> f32 {
  %x = arith.addf %a, %b fastmath<reassoc,nnan> : f32
  %y = arith.mulf %x, %b : f32
  func.return %y : f32
}""")
    ConvertToLLVM().apply(ctx, module)
    text = llvm_ir(module)
    assert "fadd nnan reassoc float" in text
    assert "fmul float" in text
