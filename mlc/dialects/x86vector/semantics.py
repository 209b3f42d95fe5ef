"""Reference semantics of the x86vector dialect.

An op's terms are added one after the other, each sum rounded: the processor keeps to that up to subnormals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, semantics
from mlc.ir.values import element_type


@semantics("x86vector.avx512.dot")
def dot(op: Operation, args: Args, run: Runner) -> Results:
    return (dot_bf16(op, args, run),)


def dot_bf16(op: Operation, args: Args, run: Runner) -> Any:
    """Odd products first, then even ones, each added by a fused multiply-add in f32."""
    acc, a, b = args
    narrow, wide = element_type(op.operands[1].type), op.results[0].type
    x, y = (run.domain.convert(v, narrow, element_type(wide)) for v in (a, b))
    for k in (1, 0):
        acc = run.domain.fma(x[..., k::2], y[..., k::2], acc, wide)
    return acc


@semantics("x86vector.avx512.dot.ui8")
def dot_ui8(op: Operation, args: Args, run: Runner) -> Results:
    return (dot_int8(args),)


def dot_int8(args: Args) -> Any:
    """Sums modulo 2^32."""
    acc, a, b = (np.asarray(v) for v in args)
    products = a.view(np.uint8).astype(np.int32) * b.astype(np.int32)
    return acc + products.reshape(*acc.shape, 4).sum(axis=-1, dtype=np.int32)


@semantics("x86vector.avx512.permvar")
def permvar(op: Operation, args: Args, run: Runner) -> Results:
    return (permuted(*args),)


def permuted(table: Any, index: Any) -> Any:
    """Elements of `table` by `index`, modulo the table's lanes."""
    return table[np.asarray(index) & (table.shape[-1] - 1)]
