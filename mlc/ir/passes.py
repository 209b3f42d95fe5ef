"""Base class of mlc's passes: an xDSL `ModulePass` with a contract, a location rule and remarks.

    @dataclass(frozen=True)
    class FoldBatchNorm(MlcPass):
        name = "torch-fold-batch-norm"
        contract = Contract(level_in="torch", level_out="torch", preserves=WithinUlp(4, "..."), profile="torch-conv-bn")

        def run(self, ctx: MlcContext, module: ModuleOp) -> None: ...

A concrete subclass without `name` and `contract` raises when it is defined, so it can never reach a pipeline.
An option that takes numbers says which: `block: int = option(0, Span(0, 1024))`; others are refused by name.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from mlc.errors import UsageError
from mlc.ir.context import MlcContext, context_of
from mlc.ir.contract import Contract


@dataclass(frozen=True)
class Span:
    """What a number may be: `low` to `high`, a power of two if said; `special` values mean what the pass says."""

    low: int
    high: int
    power_of_two: bool = False
    special: tuple[int, ...] = ()

    def holds(self, value: int) -> bool:
        """Whether the number is allowed."""
        if value in self.special:
            return True
        return self.low <= value <= self.high and not (self.power_of_two and value & (value - 1))

    def __str__(self) -> str:
        text = f"{'a power of two, ' if self.power_of_two else ''}{self.low} to {self.high}"
        return " or ".join((text, *(str(s) for s in self.special)))


def option(default: Any, span: Span) -> Any:
    """An option of a pass that takes a number within `span` (or its default)."""
    return field(default=default, metadata={"span": span})


@dataclass(frozen=True)
class MlcPass(ModulePass):
    """A pass with a contract. Subclasses implement `run`; options are dataclass fields as in xDSL."""

    contract: ClassVar[Contract]

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if inspect.isabstract(cls):
            return
        if not isinstance(getattr(cls, "contract", None), Contract):
            raise TypeError(f"pass {cls.__name__} has no contract: set `contract = Contract(...)`")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            span, value = f.metadata.get("span"), getattr(self, f.name)
            if isinstance(span, Span) and value != f.default and not span.holds(value):
                name = f.name.replace("_", "-")
                raise UsageError(f"pass '{self.name}': option '{name}' is {value}", expected=f"{name}: {span}")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        self.run(context_of(ctx), op)

    @abstractmethod
    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        """Rewrite `module` in place."""
