"""Object code, linking, targets."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from mlc.backends.llvm import CPU_BACKEND, host_machine, load_objects
from mlc.backends.llvm.codegen import compile_ir, optimize_ir
from mlc.backends.llvm.compile import (
    assembly,
    compile_llvm_module,
    compile_many,
    llvm_ir,
    optimized_ir,
)
from mlc.backends.machine import PRESETS, preset
from mlc.backends.registry import load_backend
from mlc.errors import ArtifactError, UsageError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.runtime.elf import missing_symbols, read_object


def module(text: str):
    return parse_text(text, make_context(), name="<test>")


def adder(name: str, number: int):
    return module(f"""
llvm.func @{name}(%x: i32) -> i32 {{
  %c = llvm.mlir.constant({number} : i32) : i32
  %y = llvm.add %x, %c : i32
  llvm.return %y : i32
}}""")


CALLER = """
llvm.func @inner(i32) -> i32
llvm.func @outer(%x: i32) -> i32 {
  %y = llvm.call @inner(%x) : (i32) -> i32
  llvm.return %y : i32
}"""


def call(library, name: str, x: int) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(library.address(name))(x)


def test_scalar_loops_are_vectorised_beside_vectors():
    """A kernel that copies by vectors and then adds single elements, as a scatter does."""
    text = """
define void @k(ptr noalias %x, ptr noalias %y) {
b0:
  %v = load <16 x float>, ptr %x, align 4
  store <16 x float> %v, ptr %y, align 4
  br label %b1
b1:
  %i = phi i64 [ 0, %b0 ], [ %next, %b1 ]
  %from = getelementptr inbounds float, ptr %x, i64 %i
  %a = load float, ptr %from, align 4
  %to = getelementptr inbounds float, ptr %y, i64 %i
  %b = load float, ptr %to, align 4
  %c = fadd float %a, %b
  store float %c, ptr %to, align 4
  %next = add nsw i64 %i, 1
  %more = icmp slt i64 %next, 4096
  br i1 %more, label %b1, label %b2
b2:
  ret void
}"""
    assert re.search(r"fadd <\d+ x float>", optimize_ir(text, preset("x86-64-avx512")))
    # a loop with vectors in it is left as it is
    whole = text.replace(
        "  %c = fadd float %a, %b", "  %w = load <16 x float>, ptr %x, align 4\n  %c = fadd float %a, %b"
    )
    assert not re.search(r"fadd <\d+ x float>", optimize_ir(whole, preset("x86-64-avx512")))


def test_many_modules_compile_in_parallel_as_one_by_one():
    modules = [adder(f"f{i}", i) for i in range(8)]
    objects = compile_many(modules, threads=4)
    assert objects == [compile_llvm_module(m) for m in modules]
    library = load_objects(objects)
    assert [call(library, f"f{i}", 100) for i in range(8)] == [100 + i for i in range(8)]


def test_objects_link_with_each_other_and_libraries_are_apart():
    one = load_objects([compile_llvm_module(module(CALLER)), compile_llvm_module(adder("inner", 1))])
    two = load_objects([compile_llvm_module(adder("inner", 2)), compile_llvm_module(module(CALLER))])
    assert (call(one, "outer", 0), call(two, "outer", 0)) == (1, 2)
    assert one.find("nothing") is None
    with pytest.raises(UsageError, match="no symbol 'nothing'"):
        one.address("nothing")


def test_unresolved_symbols_are_named():
    with pytest.raises(ArtifactError, match="inner"):
        load_objects([compile_llvm_module(module(CALLER))])
    symbols = read_object(compile_llvm_module(module(CALLER)))
    assert symbols.defined == {"outer"} and symbols.undefined == {"inner"}
    assert missing_symbols([symbols]) == ["inner"]


def test_damaged_objects_are_refused():
    good = compile_llvm_module(adder("f", 1))
    with pytest.raises(UsageError, match="no object code"):
        load_objects([])
    for bad in (
        b"",
        b"x" * 100,
        good[:40],
        good[:200],
        good[: len(good) // 2],
        b"\x7fELF" + good[4:18] + b"\xff\xff" + good[20:],
    ):
        with pytest.raises(ArtifactError):
            load_objects([bad])


def test_threads_share_the_linker():
    code = compile_llvm_module(adder("f", 3))
    results: list[int] = []

    def work() -> None:
        for _ in range(5):
            results.append(call(load_objects([code]), "f", 4))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [7] * 20


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_levels_agree(level):
    assert call(load_objects([compile_llvm_module(adder("f", 5), opt_level=level)]), "f", 1) == 6


def test_bad_level():
    with pytest.raises(UsageError, match="optimisation level"):
        compile_llvm_module(adder("f", 5), opt_level=7)


SCALAR_LOOP = """
llvm.func @f(%p: !llvm.ptr {llvm.noalias}, %q: !llvm.ptr {llvm.noalias}) {
  %zero = llvm.mlir.constant(0) : i64
  %one = llvm.mlir.constant(1) : i64
  %n = llvm.mlir.constant(1024) : i64
  llvm.br ^loop(%zero : i64)
^loop(%i: i64):
  %a = llvm.getelementptr inbounds %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
  %v = llvm.load %a {alignment = 4 : i64} : !llvm.ptr -> f32
  %w = llvm.fmul %v, %v : f32
  %b = llvm.getelementptr inbounds %q[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
  llvm.store %w, %b {alignment = 4 : i64} : f32, !llvm.ptr
  %next = llvm.add %i, %one overflow<nsw> : i64
  %more = llvm.icmp "slt" %next, %n : i64
  llvm.cond_br %more, ^loop(%next : i64), ^done
^done:
  llvm.return
}"""


def test_scalar_loops_are_vectorised_by_llvm_and_vector_code_is_left_alone():
    avx512 = preset("x86-64-avx512")
    assert "<16 x float>" in optimized_ir(module(SCALAR_LOOP), avx512)
    vector = SCALAR_LOOP.replace("-> f32\n", "-> vector<16xf32>\n").replace("%v, %v : f32", "%v, %v : vector<16xf32>")
    vector = vector.replace("i64} : f32, !llvm.ptr", "i64} : vector<16xf32>, !llvm.ptr")
    assert optimized_ir(module(vector), avx512).count("fmul") == 1


def test_targets():
    """Every preset compiles; a foreign one gives assembly, too."""
    for name in PRESETS:
        text = assembly(module(SCALAR_LOOP), preset(name))
        assert "f:" in text
    assert "%zmm" in assembly(module(SCALAR_LOOP), preset("x86-64-avx512"))
    assert "%ymm" in assembly(module(SCALAR_LOOP), preset("x86-64-avx2"))
    assert "%ymm" not in assembly(module(SCALAR_LOOP), preset("x86-64-sse2"))
    host = llvm_ir(module(SCALAR_LOOP), host_machine())
    assert f'"tune-cpu"="{host_machine().name}"' in host and '"target-features"="+' in host


def test_backend_object():
    backend = load_backend("native")
    assert backend is CPU_BACKEND
    machine = backend.machine("native")
    assert machine == host_machine() and machine.l1 >= 8 << 10 and machine.vector_bits >= 128
    assert backend.fingerprint(machine) != backend.fingerprint(replace(machine, features=machine.features[1:]))
    library = backend.load(backend.compile_many([adder("f", 1)], machine))
    assert call(library, "f", 1) == 2
    with pytest.raises(UsageError, match="unknown machine model"):
        backend.machine("pdp11")


def test_line_tables():
    """With debug, instructions carry the user's file and line."""
    text = module("""
llvm.func @f(%x: f32) -> f32 {
  %y = llvm.fmul %x, %x : f32 loc("net"("model.py":42:7))
  llvm.return %y : f32 loc("other.py":7:0)
} loc("model.py":40:0)""")
    ir = llvm_ir(text, debug=True)
    assert "!DILocation(line: 42, column: 7" in ir and '!DIFile(filename: "model.py"' in ir
    assert "fmul float %0, %0, !dbg" in ir
    assert "!DILexicalBlockFile" in ir
    code = compile_llvm_module(text, debug=True)
    assert b".debug_line" in code
    assert b".debug_line" not in compile_llvm_module(text)
    assert ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)(load_objects([code]).address("f"))(3.0) == 9.0


def test_code_is_the_same_in_another_process():
    """No hash seed, address or time gets into the bytes."""
    script = (
        "import hashlib; from mlc.backends.llvm.codegen import compile_ir; from mlc.backends.llvm import host_machine\n"
        "text = 'define i32 @f(i32 %x) { %y = mul i32 %x, 3 ret i32 %y }'\n"
        "print(hashlib.sha256(compile_ir(text, host_machine())).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert compile_ir("define i32 @f(i32 %x) { %y = mul i32 %x, 3 ret i32 %y }", host_machine())
