"""A backend of another package that raises, or breaks its protocol, is named with what it should have done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.packages import install, opt

SOURCE = """
import dataclasses
from mlc.backends.llvm import CPU_BACKEND
from mlc.ir.pipeline_table import CPU_PIPELINE

def boom(*args, **kwargs):
    raise KeyError("gone")

def end(*args, **kwargs):
    raise SystemExit(3)

class Bare:
    name = "bad"

    def targets(self):
        return ("bad-chip",)

    def machine(self, target):
        return CPU_BACKEND.machine("native")

    def __getattr__(self, attribute):
        return getattr(CPU_BACKEND, attribute)

class Bad(Bare):
    pass

class Library:
    def address(self, symbol):
        return None
    def find(self, symbol):
        return None

def few(modules, machine):
    return CPU_BACKEND.compile_many(modules, machine)[:-1]

BAD = Bad()
"""
NATIVE = ("examples/mlp.mlir", "--run", "--native", "--target=bad-chip")
ENTRY = "[mlc.backends]\nbad = bad_package:BAD\n"
WHO = "backend 'bad' (package bad_package 1.0): "


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("machine", "boom", "machine() failed: KeyError: 'gone'"),
        ("machine", "end", "machine() failed: SystemExit: 3"),
        ("machine", "lambda target: None", "machine() gave None of type NoneType\n  expected: a MachineModel"),
        ("machine", "lambda target: CPU_BACKEND.machine('nope')", "machine() failed: unknown machine model 'nope'"),
        (
            "machine",
            "lambda target: dataclasses.replace(CPU_BACKEND.machine('native'), vector_registers=0)",
            "machine() gave a model with vector_registers=0\n  expected: vector_registers: a whole number, 1 or more",
        ),
        (
            "machine",
            "lambda target: dataclasses.replace(CPU_BACKEND.machine('native'), vector_bits='128')",
            "machine() gave a model with vector_bits='128'\n  expected: vector_bits: a power of two, or 0",
        ),
        (
            "machine",
            "lambda target: dataclasses.replace(CPU_BACKEND.machine('native'), vector_bits=96)",
            "machine() gave a model with vector_bits=96\n  expected: vector_bits: a power of two, or 0",
        ),
        (
            "machine",
            "lambda target: dataclasses.replace(CPU_BACKEND.machine('native'), fma_per_cycle=0)",
            "machine() gave a model with fma_per_cycle=0\n  expected: fma_per_cycle: a number above 0",
        ),
        (
            "machine",
            "lambda target: dataclasses.replace(CPU_BACKEND.machine('native'), loads_per_cycle=float('nan'))",
            "machine() gave a model with loads_per_cycle=nan\n  expected: loads_per_cycle: a number above 0",
        ),
        (
            "machine",
            "lambda target: dataclasses.replace(CPU_BACKEND.machine('native'), features='sse2')",
            "machine() gave a model with features='sse2'\n  expected: features: a tuple of names",
        ),
        ("pipeline", "lambda target: CPU_PIPELINE.insert('cse', before='x')", "pipeline() failed: the pipeline has no"),
        ("pipeline", "boom", "pipeline() failed: KeyError: 'gone'"),
        ("pipeline", "lambda target: ['cse']", "pipeline() gave ['cse'] of type list\n  expected: a Pipeline"),
        ("fingerprint", "lambda machine: 3", "fingerprint() gave 3 of type int\n  expected: a str"),
        ("compile_many", "boom", "compile_many() failed: KeyError: 'gone'"),
        ("compile_many", "lambda modules, machine: None", "compile_many() gave None of type NoneType"),
        ("compile_many", "lambda modules, machine: []", "compile_many() gave 0 objects for "),
        ("compile_many", "few", "compile_many() gave "),
        ("load", "boom", "load() failed: KeyError: 'gone'"),
        ("load", "lambda objects: None", "load() gave None of type NoneType\n  expected: a library with address"),
        ("load", "lambda objects: Library()", "address('mlc_forward') of the loaded library gave None"),
        ("thread_pool", "boom", "thread_pool() failed: KeyError: 'gone'"),
        ("thread_pool", "lambda: 4", "thread_pool() gave 4 of type int\n  expected: an mlc.runtime.threads.ThreadPool"),
    ],
)
def test_what_a_backend_gives_is_checked(method: str, given: str, message: str, tmp_path: Path):
    env = install(tmp_path, "bad_package", f"{SOURCE}\nBAD.{method} = {given}\n", ENTRY)
    code, out, err = opt(env, *NATIVE)
    assert (code, out) == (2, "") and f"plugin: {WHO}{message}" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("BAD = Bad", "bad_package:BAD", "it is the class Bad, expected an instance: Bad()"),
        ("Bad.targets = lambda self: 'bad-chip'", "bad_package:BAD", "targets() gave 'bad-chip', expected a sequence"),
        ("Bad.targets = lambda self: None", "bad_package:BAD", "targets() gave None, expected a sequence of names"),
        ("Bad.targets = lambda self: [3]", "bad_package:BAD", "targets() gave [3], expected at least one name"),
        ("raise SystemExit(0)", "bad_package:BAD", "it ended the program"),
        ("class Own(BaseException): pass\nraise Own('x')", "bad_package:BAD", "Own: x"),
        ("", "bad package!", "'bad package!' names no object, expected module:object"),
    ],
)
def test_backends_that_are_left_out(source: str, value: str, message: str, tmp_path: Path):
    env = install(tmp_path, "bad_package", f"{SOURCE}\n{source}\n", f"[mlc.backends]\nbad = {value}\n")
    assert opt(env, "examples/mlp.mlir", "--run", "--native")[::2] == (0, "")
    code, out, err = opt(env, *NATIVE)
    assert (code, out) == (2, "") and message in err and "(package bad_package 1.0)" in err
    assert "Traceback" not in err


def test_a_list_of_entry_points_that_cannot_be_read(tmp_path: Path):
    env = install(tmp_path, "bad_package", SOURCE, "[mlc.backends]\nno equals sign\n")
    assert opt(env, "examples/mlp.mlir", "--run", "--native")[::2] == (0, "")
    code, _, err = opt(env, *NATIVE)
    assert code == 2 and "(package bad_package 1.0): its entry_points.txt cannot be read" in err


def test_near_names_do_not_hide_what_was_left_out(tmp_path: Path):
    entries = "[mlc.backends]\nbad = bad_package:BAD\nother = bad_package:GONE\n"
    env = install(tmp_path, "bad_package", SOURCE, entries)
    code, _, err = opt(env, "examples/mlp.mlir", "--target=bad-chips")
    assert code == 2 and "did you mean 'bad-chip'?" in err and "other = bad_package:GONE" in err


INVALID = """
from dataclasses import dataclass
from xdsl.passes import ModulePass
from xdsl.universe import Universe

@dataclass(frozen=True)
class Breaks(ModulePass):
    name = "bad-breaks"

    def apply(self, ctx, op):
        for inner in op.walk():
            if inner.name == "func.return":
                inner.operands = ()

UNIVERSE = Universe(all_passes={"bad-breaks": lambda: Breaks})
Bad.pipeline = lambda self, target: CPU_PIPELINE.insert("bad-breaks", before="linalg-form-kernels")
"""


@pytest.mark.parametrize("flag", ["--verify-each", "--no-verify-each"])
def test_the_pass_that_left_invalid_ir_is_blamed(flag: str, tmp_path: Path):
    env = install(tmp_path, "bad_package", SOURCE + INVALID, ENTRY + "[xdsl.universe]\nbad = bad_package:UNIVERSE\n")
    code, out, err = opt(env, *NATIVE, flag)
    assert (code, out) == (70, "") and "pass 'bad-breaks' left invalid IR: " in err
    assert "the pass comes from package 'bad_package'" in err
