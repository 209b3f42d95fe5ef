"""linalg on tensors -> fused kernels: layouts, packing, elementwise fusion, kernel formation.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`; never another step.
"""
