"""Kernels that map elementary functions over buffers, as vectors and as scalars: what math expansion takes apart.

Each function sees loaded values, edges among them, mostly where it is defined; results are stored at once, so that
every function is compared by itself.
"""

from __future__ import annotations

from fuzz.generators.text import Lines, memref
from fuzz.tape import Tape
from mlc.testing.program import Program, build

FUNCTIONS = (
    *("exp", "tanh", "erf", "log", "sin", "cos", "exp2", "expm1", "log1p", "log2", "log10", "rsqrt", "sqrt", "atan"),
    *("cbrt", "sinh", "cosh", "tan", "asin", "acos", "powf", "atan2", "asinh", "acosh", "atanh", "exp", "exp", "exp"),
)
BESIDE_ONE = ("exp", "tanh", "erf")  # half of them are only added to one, negated or not
POSITIVE = ("log", "log2", "log10", "rsqrt", "sqrt")


def function_kernel(tape: Tape) -> Program:
    """One buffer in, one buffer out per function."""
    out = Lines()
    seed = tape.byte()
    element = tape.pick(("f32", "f32", "f32", "f16", "f64"))
    lanes = tape.pick((4, 8, 16, 1))
    n = lanes * tape.pick((2, 1, 3))
    count = tape.pick((1, 6, 7, 6, 5, 7, 6))
    source = memref((n,), element)
    vector = f"vector<{lanes}x{element}>"
    zero, one, end, step = (out.value(f"arith.constant {k} : index") for k in (0, 1, n, lanes))
    features: list[str] = []
    for k in range(count):
        name = tape.pick(FUNCTIONS)
        features.append(name)
        scalar = tape.chance(30)
        kind = element if scalar else vector
        i = out.name()
        out.emit(f"scf.for {i} = {zero} to {end} step {one if scalar else step} {{")
        out.depth += 1
        load = "memref.load" if scalar else "vector.load"
        where = f"[{i}] : {source}" if scalar else f"[{i}] : {source}, {vector}"
        x = out.value(f"{load} %x{where}")
        if name in POSITIVE and tape.chance(70):
            x = out.value(f"math.absf {x} : {kind}")
        operands = f"{x}, {out.value(f'{load} %y{where}')}" if name in ("powf", "atan2") else x
        if name == "powf":
            operands = f"{out.value(f'math.absf {x} : {kind}')}, {operands.split(', ')[1]}"
        beside_one = name in BESIDE_ONE and tape.chance(50)
        if beside_one and tape.chance(50):
            operands = out.value(f"arith.negf {x} : {kind}")
        if name == "exp" and not beside_one and tape.chance(60):  # as in softmax; a near miss: a bound above zero
            high = tape.pick(("0.0", "0.0", "-2.5", "0.0", "3.0"))
            bound = out.value(f"arith.constant {high if scalar else f'dense<{high}>'} : {kind}")
            pair = (x, bound) if tape.chance(50) else (bound, x)
            operands = out.value(f"arith.minimumf {', '.join(pair)} : {kind}")
        r = out.value(f"math.{name} {operands} : {kind}")
        if beside_one:
            unit = out.value(f"arith.constant {'1.0' if scalar else 'dense<1.0>'} : {kind}")
            r = out.value(f"arith.addf {unit}, {r} : {kind}")
        if tape.chance(20):
            r = out.value(f"arith.mulf {r}, {x} : {kind}")
        store = "memref.store" if scalar else "vector.store"
        out.emit(f"{store} {r}, %o{k}{where}")
        out.depth -= 1
        out.emit("}")
    arguments = ", ".join(f"%{name}: {source}" for name in ("x", "y", *(f"o{k}" for k in range(count))))
    text = f"func.func private @kernel({arguments}) attributes {{kernel}} {{\n{out.text()}\n  func.return\n}}\n"
    return build(text, entry="kernel", seed=seed, features=tuple(features))
