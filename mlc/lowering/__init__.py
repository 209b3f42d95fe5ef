"""The staircase: one folder per step, one file per pass. Steps meet only in the IR, never by import.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`.
"""

if __name__ != "mlc.lowering":
    raise ImportError("import this package as mlc.lowering: the top-level 'lowering' is a link kept for editing")
