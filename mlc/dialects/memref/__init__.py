"""What xDSL's `memref` lacks of upstream MLIR: custom syntax of ops that xDSL only reads in generic form, and missing
ops.

In: xDSL's memref. Out: op classes under upstream names. No passes.
"""
