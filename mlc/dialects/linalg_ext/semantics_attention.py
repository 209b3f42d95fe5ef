"""Reference semantics of `linalg_ext.attention`: all scores, their softmax by rows, the weighted sums of values."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Operation

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, semantics


@semantics("linalg_ext.attention")
def attention(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, AttentionOp)
    q, k, v, *masks = (a.read() if isinstance(a, Buffer) else np.asarray(a) for a in args[:-1])
    d = run.domain
    scores = d.sum(d.float2("mul", k[:, None, :, :], q[:, :, None, :], f32), (3,), f32)
    scale = d.constant(np.float32(op.scale.value.data), f32)
    scores = d.float2("mul", scores, np.broadcast_to(scale, scores.shape), f32)
    seen = np.broadcast_to(np.tri(*scores.shape[1:], dtype=bool) if op.causal is not None else True, scores.shape)
    for mask in masks:
        every = np.broadcast_to(np.repeat(mask, len(scores) // len(mask), axis=0), scores.shape)
        if mask.dtype == bool:
            seen = seen & every
        else:
            scores = d.float2("add", scores, every, f32)
    # below every finite score, so that the power of one at minus infinity is zero
    peak: Any = np.broadcast_to(d.constant(np.float32(np.finfo(np.float32).min), f32), scores.shape[:2])
    for j in range(scores.shape[2]):
        peak = np.where(seen[..., j], d.float2("max", peak, scores[..., j], f32), peak)
    e = d.float1("exp", d.float2("sub", scores, np.broadcast_to(peak[..., None], scores.shape), f32), f32)
    zero = d.constant(np.float32(0), f32)
    e = np.where(seen, e, np.broadcast_to(zero, e.shape))
    total = d.sum(e, (2,), f32)
    weighted = d.sum(d.float2("mul", e[..., None], v[:, None, :, :], f32), (2,), f32)
    one = d.constant(np.float32(1), f32)
    inverse = d.float2("div", np.broadcast_to(one, total.shape), total, f32)
    nothing = d.compare("oeq", total, np.broadcast_to(zero, total.shape), f32)
    inverse = np.where(nothing, np.broadcast_to(zero, total.shape), inverse)
    result = np.asarray(d.float2("mul", weighted, np.broadcast_to(inverse[..., None], weighted.shape), f32))
    if isinstance(args[-1], Buffer):
        args[-1].write(result)
        return ()
    return (result,)
