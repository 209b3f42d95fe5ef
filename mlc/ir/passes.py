"""Base class of mlc's passes: an xDSL `ModulePass` with a contract, a location rule and remarks.

    @dataclass(frozen=True)
    class FoldBatchNorm(MlcPass):
        name = "torch-fold-batch-norm"
        contract = Contract(level_in="torch", level_out="torch", preserves=WithinUlp(4, "..."), profile="torch-conv-bn")

        def run(self, ctx: MlcContext, module: ModuleOp) -> None: ...

A concrete subclass without `name` and `contract` raises when it is defined, so it can never reach a pipeline.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from mlc.ir.context import MlcContext, context_of
from mlc.ir.contract import Contract


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

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        self.run(context_of(ctx), op)

    @abstractmethod
    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        """Rewrite `module` in place."""
