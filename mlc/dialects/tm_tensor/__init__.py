"""The `tm_tensor` dialect of torch-mlir's linalg-on-tensors files: what linalg has no op for.

%0:2 = tm_tensor.scan dimension(1) inclusive(true) ins(%x : …) outs(%y, %acc : …) { … } -> …, …
%1 = tm_tensor.scatter {dimension_map = array<i64: 0>} unique_indices(false) ins(%u, %indices : …) outs(%x : …)
%2:2 = tm_tensor.sort dimension(1) outs(%x, %i : …) { … } -> …, …
%3:2 = tm_tensor.topk dimension(1) ins(%x, %i : …) outs(%y, %j : …) { … } -> …, …
%4 = tm_tensor.attention ins(%q, %k, %v, %mask : …) outs(%o : …) -> …
"""

from __future__ import annotations

from xdsl.ir import Dialect

from mlc.dialects.tm_tensor.ops import AttentionOp, ScanOp, ScatterOp, SortOp, TopkOp, YieldOp

TM_TENSOR = Dialect("tm_tensor", [AttentionOp, ScanOp, ScatterOp, SortOp, TopkOp, YieldOp], [])
