"""Scalar bodies: a few arith and math ops on given names, defined for every operand."""

from __future__ import annotations

from fuzz.generators.text import Lines, float_literal
from fuzz.tape import Tape

FLOATS = ("f32", "f64", "f16")
ALGEBRA = ("addf", "mulf", "subf", "negf", "fma", "divf")
ORDER = ("maximumf", "minimumf", "relu", "abs", "maxnumf")
FUNCTIONS = ("exp", "tanh", "erf", "sqrt", "rsqrt", "log", "sigmoid", "floor", "sin")
INT = ("addi", "muli", "subi", "andi", "ori", "xori", "maxsi", "minsi", "shli", "select")
CONSTANTS = (0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -0.0, 0.1)


def is_float(element: str) -> bool:
    """Whether the element type is a float."""
    return element in FLOATS


def constant(tape: Tape, out: Lines, element: str) -> str:
    """A scalar constant."""
    if is_float(element):
        return out.value(f"arith.constant {float_literal(tape.pick(CONSTANTS), element)} : {element}")
    if element == "i1":
        return out.value(f"arith.constant {tape.pick(('true', 'false'))}")
    return out.value(f"arith.constant {tape.pick((0, 1, -1, 2, 7))} : {element}")


def scalar_op(tape: Tape, out: Lines, names: list[str], element: str, *, functions: bool = True) -> str:
    """One op on some of `names`; its result's name."""
    a = tape.pick(names)
    b = constant(tape, out, element) if tape.chance(25) else tape.pick(names)
    if element == "i1":
        return out.value(f"arith.{tape.pick(('andi', 'ori', 'xori'))} {a}, {b} : i1")
    if not is_float(element):
        return _int_op(tape, out, a, b, element)
    kind = tape.pick(ALGEBRA + ORDER + (FUNCTIONS if functions else ("addf",)))
    t = element
    match kind:
        case "fma":
            return out.value(f"math.fma {a}, {b}, {tape.pick(names)} : {t}")
        case "negf":
            return out.value(f"arith.negf {a} : {t}")
        case "relu":
            zero = out.value(f"arith.constant 0.0 : {t}")
            above = out.value(f"arith.cmpf ugt, {a}, {zero} : {t}")
            return out.value(f"arith.select {above}, {a}, {zero} : {t}")
        case "abs":
            return out.value(f"math.absf {a} : {t}")
        case "sigmoid":
            one = out.value(f"arith.constant 1.0 : {t}")
            e = out.value(f"math.exp {out.value(f'arith.negf {a} : {t}')} : {t}")
            return out.value(f"arith.divf {one}, {out.value(f'arith.addf {e}, {one} : {t}')} : {t}")
        case "exp" | "tanh" | "erf" | "sqrt" | "rsqrt" | "log" | "floor" | "sin":
            return out.value(f"math.{kind} {a} : {t}")
        case _:
            return out.value(f"arith.{kind} {a}, {b} : {t}")


def _int_op(tape: Tape, out: Lines, a: str, b: str, element: str) -> str:
    kind = tape.pick(INT)
    if kind == "shli":
        by = out.value(f"arith.constant {tape.pick((0, 1, 3))} : {element}")
        return out.value(f"arith.shli {a}, {by} : {element}")
    if kind == "select":
        less = out.value(f"arith.cmpi {tape.pick(('slt', 'ult', 'eq'))}, {a}, {b} : {element}")
        return out.value(f"arith.select {less}, {a}, {b} : {element}")
    return out.value(f"arith.{kind} {a}, {b} : {element}")


def body(tape: Tape, out: Lines, args: list[str], element: str, *, functions: bool = True) -> str:
    """One to four ops that use every argument where they can; the result's name."""
    names = list(args)
    result = names[0]
    for _ in range(tape.between(1, 3)):
        result = scalar_op(tape, out, names, element, functions=functions)
        names.append(result)
    return result
