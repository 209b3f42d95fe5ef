"""The CPU backend: LLVM IR text, object code and linking through llvmlite.

In: modules of the llvm dialect, a machine model. Out: object code, assembly, addresses. The only importer of llvmlite.
"""

from mlc.backends.llvm.backend import CPU_BACKEND
from mlc.backends.llvm.compile import assembly, compile_llvm_module, compile_many, llvm_ir
from mlc.backends.llvm.jit import NativeLibrary, load_objects
from mlc.backends.llvm.target import host_machine

__all__ = [
    "CPU_BACKEND",
    "NativeLibrary",
    "assembly",
    "compile_llvm_module",
    "compile_many",
    "host_machine",
    "llvm_ir",
    "load_objects",
]
