"""Vectors of every width, compiled and run in the process of this file: LLVM ends a process on what it cannot legalise.

    python tests/backends/llvm/vector_widths.py x86-64-avx2 bf16 8 9 17      # machine, element type, lanes

prints a line for each function whose native result differs from the interpreter's, and ends with code 0 when all agree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mlc.backends.llvm.compile import compile_llvm_module
from mlc.backends.llvm.target import host_machine
from mlc.backends.llvm.testing import compile_functions
from mlc.backends.machine import PRESETS, MachineModel
from mlc.interp import run_function
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass

FLOATS = {"bf16": 16, "f16": 16, "f32": 32, "f64": 64}
INTS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
STORAGE = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": np.uint16, "i1": np.bool_}


def machines() -> dict[str, MachineModel]:
    """Presets, and those that have instructions for 16-bit floats."""
    arch = {name: m for name, m in PRESETS.items() if m.arch == host_machine().arch}
    wide = PRESETS["x86-64-avx512"]
    more = {"avx512bf16": ("f16c", "avx512bf16"), "avx512fp16": ("f16c", "avx512bf16", "avx512fp16")}
    return arch | {name: replace(wide, features=(*wide.features, *extra)) for name, extra in more.items()}


def casts(t: str) -> Iterator[tuple[str, str]]:
    """Names of conversions from `t`, and what to."""
    bits = (FLOATS | INTS)[t]
    for other, width in (FLOATS | INTS).items():
        if t in FLOATS and other in FLOATS and width != bits:
            yield ("extf" if width > bits else "truncf"), other
        elif t in INTS and other in INTS and width != bits:
            yield ("extsi" if width > bits else "trunci"), other
        elif t in FLOATS and other in INTS and other != "i1":
            yield "fptosi", other
        elif t in INTS and other in FLOATS:
            yield "sitofp", other


def functions(t: str, lanes: int) -> Iterator[tuple[str, str, str]]:
    """Name, element type of the result and body of each function: %x, %y -> %r."""
    v = f"vector<{lanes}x{t}>"
    yield "copy", t, f"%r = arith.select %true, %x, %y : {v}"
    add, compare = ("addf", "cmpf olt") if t in FLOATS else ("addi", "cmpi slt")
    yield "add", t, f"%r = arith.{add} %x, %y : {v}"
    yield "mul", t, f"%r = arith.{'mulf' if t in FLOATS else 'muli'} %x, %y : {v}"
    yield "least", t, f"%c = arith.{compare}, %x, %y : {v}\n  %r = arith.select %c, %x, %y : vector<{lanes}xi1>, {v}"
    yield "less", "i1", f"%r = arith.{compare}, %x, %y : {v}"
    reverse = ", ".join(str(i) for i in reversed(range(lanes)))
    yield "reverse", t, f"%r = vector.shuffle %x, %y [{reverse}] : {v}, {v}"
    yield "splat", t, f"%s = vector.extract %y[{lanes - 1}] : {t} from {v}\n  %r = vector.broadcast %s : {t} to {v}"
    if t in FLOATS:
        yield "negate", t, f"%r = arith.negf %x : {v}"
    for cast, other in casts(t):
        yield f"{cast}_{other}", other, f"%r = arith.{cast} %x : {v} to vector<{lanes}x{other}>"


def function(name: str, t: str, out: str, lanes: int, body: str) -> str:
    """The function around a body."""
    source, target = f"memref<{lanes}x{t}>", f"memref<{lanes}x{out}>"
    return f"""func.func @{name}(%a: {source}, %b: {source}, %o: {target}) {{
  %c0 = arith.constant 0 : index
  %true = arith.constant true
  %x = vector.load %a[%c0] : {source}, vector<{lanes}x{t}>
  %y = vector.load %b[%c0] : {source}, vector<{lanes}x{t}>
  {body}
  vector.store %r, %o[%c0] : {target}, vector<{lanes}x{out}>
  func.return
}}
"""


def numbers(t: str, lanes: int, seed: int) -> np.ndarray:
    """Small whole numbers and halves, as they are stored."""
    return stored(t, np.random.default_rng(seed).integers(-6, 7, lanes) / (2 if t in FLOATS else 1))


def stored(t: str, values: np.ndarray) -> np.ndarray:
    """Numbers that `t` holds exactly, as they lie in memory."""
    if t == "bf16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return (values != 0) if t == "i1" else values.astype(STORAGE.get(t, t.replace("i", "int")))


def main(machine_name: str, t: str, *widths: str) -> int:
    """Compile all widths of a type as one module; run it where this machine can."""
    machine, ctx = machines()[machine_name], make_context()
    made = {f"{n}_{lanes}": (t, out, lanes, body) for lanes in map(int, widths) for n, out, body in functions(t, lanes)}
    module = parse_text("\n".join(function(name, *f) for name, f in made.items()), ctx, name="<widths>")
    if not set(machine.features) <= set(host_machine().features):
        make_pass("convert-to-llvm", {}).apply(ctx, module)
        compile_llvm_module(module, machine)
        return 0
    wrong = 0
    kernels = compile_functions(module, machine, ctx=ctx)
    for name, (_, out, lanes, _) in made.items():
        arrays = [numbers(t, lanes, 1), numbers(t, lanes, 2), stored(out, np.zeros(lanes))]
        _, (*_, want) = run_function(module, name, [a.copy() for a in arrays])
        kernels[name](*arrays)
        if arrays[2].tobytes() != stored(out, np.asarray(want)).tobytes():
            print(f"{name}: native {arrays[2]}, interpreter {want}")
            wrong += 1
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
