"""kernels on tensors -> memrefs with destinations and one planned arena.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`; never another step.
"""
