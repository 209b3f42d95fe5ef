"""Ops of MLIR's llvm dialect that xDSL lacks or restricts, under their upstream names and syntax.

In: `mlc/ir`, xDSL. Out: `ops.OPS`, merged into xDSL's dialect by `mlc.ir.extensions`. No passes live here.
"""
