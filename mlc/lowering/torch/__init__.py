"""torch dialect -> linalg on tensors: fold batch norm, decompose, convert.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`; never another step.
"""
