"""A generated program: IR, entry, weights, and how to make inputs for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import FunctionType, ModuleOp

from mlc.interp.run import function_type
from mlc.ir.context import MlcContext, make_context
from mlc.ir.locations import source_location
from mlc.ir.parsing import parse_text
from mlc.ir.resources import ResourceStore
from mlc.ir.verifier import verify_module

_PARENT: MlcContext | None = None


class Discard(Exception):
    """The tape led to nothing testable: undefined behaviour, an earlier pass that refused."""


@dataclass
class Program:
    """`features` says what the program contains, for coverage; `int_limits` bounds int inputs by argument; `sizes` are
    the sizes of memref arguments (their types may be dynamic); `signature` is the entry's type as generated, which
    passes may change."""

    module: ModuleOp
    ctx: MlcContext
    entry: str = "forward"
    seed: int = 0
    features: tuple[str, ...] = ()
    int_limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    sizes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    signature: FunctionType = field(init=False)

    def __post_init__(self) -> None:
        self.signature = function_type(self.module, self.entry)

    def refresh_signature(self) -> None:
        """Take the entry's type as it is now for the type as generated."""
        self.signature = function_type(self.module, self.entry)

    @property
    def resources(self) -> ResourceStore:
        """Weights."""
        return self.ctx.resources

    def copy(self) -> Program:
        """Module and weights apart from the original's."""
        ctx = self.ctx.clone()
        ctx.resources = ResourceStore()
        for name in self.ctx.resources:
            ctx.resources.set(name, self.ctx.resources.get(name))
        ctx.remarks = type(self.ctx.remarks)()
        out = Program(self.module.clone(), ctx, self.entry, self.seed, self.features, self.int_limits, self.sizes)
        out.signature = self.signature
        return out


def fresh_context() -> MlcContext:
    """A context with every dialect met so far already loaded, and an empty weight store."""
    global _PARENT
    if _PARENT is None:
        _PARENT = make_context()
    ctx = _PARENT.clone()
    ctx.resources = ResourceStore()
    ctx.remarks = type(_PARENT.remarks)()
    return ctx


def build(
    text: str,
    *,
    weights: dict[str, np.ndarray] | None = None,
    entry: str = "forward",
    seed: int = 0,
    features: tuple[str, ...] = (),
    int_limits: dict[int, tuple[int, int]] | None = None,
    sizes: dict[int, tuple[int, ...]] | None = None,
) -> Program:
    """A program of generated text."""
    ctx = fresh_context()
    module = parse_text(text, ctx, name="fuzz.mlir")
    return finish(
        module, ctx=ctx, weights=weights, entry=entry, seed=seed, features=features, int_limits=int_limits, sizes=sizes
    )


def finish(
    module: ModuleOp,
    *,
    ctx: MlcContext | None = None,
    weights: dict[str, np.ndarray] | None = None,
    entry: str = "forward",
    seed: int = 0,
    features: tuple[str, ...] = (),
    int_limits: dict[int, tuple[int, int]] | None = None,
    sizes: dict[int, tuple[int, ...]] | None = None,
) -> Program:
    """A program of a built module: weights stored, a location on every op, verified."""
    ctx = ctx or fresh_context()
    for name, value in (weights or {}).items():
        ctx.resources.set(name, value)
    for k, op in enumerate(module.walk()):
        op.location = source_location("fuzz.py", k + 1)
    verify_module(module, ctx)
    return Program(module, ctx, entry, seed, features, int_limits or {}, sizes or {})
