"""vector, scf, memref, arith, func -> the llvm dialect.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`; never another step.
"""
