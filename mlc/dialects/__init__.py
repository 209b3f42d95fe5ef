"""Ops, types, verifiers and each op's reference semantics. No passes. May import `mlc.ir`, `mlc.errors`."""

if __name__ != "mlc.dialects":
    raise ImportError("import this package as mlc.dialects: the top-level 'dialects' is a link kept for editing")
