"""Which linker takes what, and that both give the same code."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import pytest

import mlc
from mlc.artifact import ready
from mlc.backends.llvm import half_support, host_machine, load_objects, orc
from mlc.backends.llvm.codegen import compile_ir
from mlc.backends.llvm.thread_pool import thread_pool
from mlc.backends.machine import preset
from mlc.errors import ArtifactError
from mlc.options import Options
from mlc.runtime.artifact.contents import read_contents
from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.elf import missing_symbols, read_object
from mlc.runtime.executable import Executable, NativeCode, TensorSpec
from mlc.runtime.linker import Library, LinkedLibrary
from tests.models.zoo import ZOO

NUMBER = "define i32 @f() { ret i32 7 }"
SHARED = "@c = common global i32 0 define i32 @f() { store i32 9, ptr @c %x = load i32, ptr @c ret i32 %x }"
SHARED_AND_ABSENT = "declare i32 @nobody() " + SHARED.replace("load i32, ptr @c", "call i32 @nobody()")


def called(library: Library) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int32)(library.address("f"))()


def test_what_mlc_cannot_link_llvm_does():
    here, there = (load_objects([compile_ir(text, host_machine())]) for text in (NUMBER, SHARED))
    assert isinstance(here, LinkedLibrary) and called(here) == 7
    assert isinstance(there, orc.OrcLibrary) and called(there) == 9
    assert there.find("nothing") is None
    with pytest.raises(ArtifactError, match="symbols that nobody defines: nobody"):
        load_objects([compile_ir(SHARED_AND_ABSENT, host_machine())])


def test_conversions_of_float16_are_linked_where_they_are_wanted():
    convert = "%x = load half, ptr %h %y = fpext half %x to float store float %y, ptr %f"
    text = f"define void @f(ptr %h, ptr %f) {{ {convert} ret void }}"
    code = compile_ir(text, preset("x86-64-sse2"))
    assert not half_support.SYMBOLS.isdisjoint(missing_symbols([read_object(code)]))
    library = load_objects([code])
    assert isinstance(library, LinkedLibrary)
    half, whole = np.array([1.5], np.float16), np.zeros(1, np.float32)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(library.address("f"))(half.ctypes.data, whole.ctypes.data)
    assert whole[0] == 1.5


@functools.cache
def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def example(spec: TensorSpec) -> np.ndarray:
    shape = tuple(d or 1 for d in spec.shape)
    if spec.dtype.kind == "f":
        return _rng().standard_normal(shape).astype(spec.dtype)
    return _rng().integers(0, 2, shape).astype(spec.dtype)


@pytest.mark.parametrize("name", ["mobilenet_v2", "bert_base"])
@pytest.mark.parametrize("threads", [1, 2])
def test_both_linkers_give_the_same_bits(name: str, threads: int, tmp_path: Path):
    """Every kernel of a model runs, by either."""
    model, inputs = ZOO[name].build(batch=2, small=True)
    mlc.compile(model, inputs, cache_dir=tmp_path, num_threads=1).save(tmp_path / "m.mlc")
    mlc.load(tmp_path / "m.mlc", cache_dir=tmp_path)
    found = ready.read(read_contents(ArtifactFile(tmp_path / "m.mlc")), Options(cache_dir=tmp_path))
    assert found is not None
    for bundle, own in found:
        assert isinstance(own.code.owner, LinkedLibrary)
        library = orc.load(bundle.objects)
        code = NativeCode(
            library.address("mlc_forward"), library.address("mlc_arena_size"), library.find("mlc_output_dims"), library
        )
        other = Executable(code, bundle.inputs, bundle.outputs, own.constants, bundle.assertions, thread_pool())
        own.num_threads = other.num_threads = threads
        arrays = [example(spec) for spec in bundle.inputs]
        results = [[a.tobytes() for a in e.run(arrays)] for e in (own, other)]
        assert results[0] == results[1] and any(any(r) for r in results[0])
