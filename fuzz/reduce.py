"""Shrink a find: cut the tape, zero its bytes; then write it as a test that can be put into the tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.ir.parsing import print_text
from mlc.testing.oracle import Finding
from mlc.testing.program import Program

Still = Callable[[bytes], bool]


def reduce_tape(data: bytes, still: Still, *, budget: int = 300) -> bytes:
    """The smallest tape found that still shows the fault. Shorter and smaller bytes are simpler programs."""
    left = budget

    def holds(candidate: bytes) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and candidate != data and still(candidate)

    changed = True
    while changed and left > 0:
        changed = False
        for candidate in _shorter(data):
            if holds(candidate):
                data, changed = candidate, True
                break
        if changed:
            continue
        for at in range(len(data)):
            for value in _smaller(data[at]):
                candidate = data[:at] + bytes([value]) + data[at + 1 :]
                if holds(candidate):
                    data, changed = candidate, True
                    break
    return data.rstrip(b"\0")


def _shorter(data: bytes) -> list[bytes]:
    """The tape cut at the end, or with a stretch taken out; large cuts first."""
    out: list[bytes] = []
    size = len(data) // 2
    while size >= 1:
        out.append(data[:-size])
        out += [data[:k] + data[k + size :] for k in range(0, len(data) - size, size)]
        size //= 2
    return out


def _smaller(value: int) -> list[int]:
    return [v for v in dict.fromkeys((0, 1, value // 2, value - 1)) if 0 <= v < value]


def reproducer(name: str, options: dict[str, Any], program: Program, finding: Finding) -> str:
    """A `.mlir` regression test: a RUN line, what is wrong, the program with its weights."""
    flags = " ".join(f"{k}={v}" for k, v in options.items())
    pipeline = f"{name}{{{flags}}}" if flags else name
    said = "\n".join(f"// {line}" for line in f"{finding.kind}: {finding.detail}".splitlines())
    for key in program.resources:
        program.resources.set(key, np.asarray(program.resources.get(key)))
    body = print_text(program.module, ctx=program.ctx, resource_limit=1 << 16)
    return (
        f"// RUN: mlc-opt --pass-pipeline='builtin.module({pipeline})' %s | filecheck %s\n{said}\n"
        f"// seed of the inputs: {program.seed}\n\n// CHECK: @{program.entry}\n{body}"
    )
