"""kernels on memrefs -> loops over vectors: contractions, elementwise, reductions, vector math.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`; never another step.
"""
