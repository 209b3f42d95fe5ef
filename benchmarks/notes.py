"""Remarks of the report: how ratios are made, and what an engine's lower precision really is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RATIOS = (
    "x best peer (quartiles in brackets) and x eager are medians of the peer's time over mlc's in the same round, so"
    " they can differ from the quotient of the median times beside them; the best peer has the smallest median."
)
MARK = "†"
FLOAT32_ERROR = 2.0**-14
"""Relative errors below are float32's: its rounding is 2^-24, bfloat16's is 2^-9 and int8's is coarser still."""

ENGINES: Mapping[str, Mapping[str, str]] = {
    "bfloat16": {
        "mlc": 'precision="bfloat16": linear layers, and convolutions where the machine multiplies pairs of bf16; all'
        " else in float32",
        "eager": "PyTorch with model and inputs converted to bfloat16, not eager in float32",
        "inductor": "torch.compile of the model and inputs converted to bfloat16",
        "openvino": "the float32 model with a hint that bfloat16 may be used, which machines without bf16 ignore",
    },
    "int8": {
        "mlc": 'precision="int8": linear layers; all else in float32',
        "eager": "PyTorch with nn.Linear layers quantised dynamically by torch.ao (int8 weights and inputs); all else,"
        " and so the whole of a model without nn.Linear, is eager in float32",
        "ort": "ONNX Runtime with MatMul and Gemm quantised dynamically by its own tool (int8 weights); all else in"
        " float32",
    },
}


def mark(engine: Mapping[str, Any], precision: str) -> str:
    """After the figures of an engine that was to compute in lower precision, and whose error is float32's."""
    error = engine.get("error")
    return MARK if precision in ENGINES and error is not None and error < FLOAT32_ERROR else ""


def footnote(rows: Sequence[Mapping[str, Any]], precision: str) -> list[str]:
    """What the marks mean, where there are any."""
    marked = any(mark(engine, precision) for row in rows for engine in row["engines"].values())
    return (
        [f"{MARK} The error is of float32's size: this was computed in float32, not in {precision}."] if marked else []
    )


def lower_precision(engines: Sequence[str], precision: str) -> list[str]:
    """What each engine of a run in lower precision is."""
    if precision not in ENGINES:
        return []
    lines = [f"- {name}: {ENGINES[precision][name]}." for name in engines if name in ENGINES[precision]]
    return [f"### The engines in {precision}", "\n".join(lines)]
