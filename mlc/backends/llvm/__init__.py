"""The CPU backend: LLVM IR text, object code and linking through llvmlite.

In: modules of the llvm dialect, a machine model. Out: object code, assembly, addresses. The only importer of llvmlite.
`compile` and llvmlite are imported when something is compiled: code from the cache needs neither.
"""

from mlc.backends.llvm.backend import CPU_BACKEND
from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.target import host_machine

__all__ = ["CPU_BACKEND", "host_machine", "load_objects"]
