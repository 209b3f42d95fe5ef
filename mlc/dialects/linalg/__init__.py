"""What xDSL's `linalg` lacks of upstream MLIR, under upstream names and syntax, and what linalg ops mean.

In: xDSL's linalg. Out: `structured_ops` (batch matmul, depthwise convolutions, pooling; `linalg.generic` with several
results), `relayout_ops` (pack, unpack, softmax), semantics. No passes.
"""
