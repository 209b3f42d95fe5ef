"""Turn a region into the source of a Python function, once, instead of walking it op by op.

    %2 = arith.addf %0, %1 : f32                    v2 = (v0 + v1)
    %3 = math.exp %2 : f32                    -->   v3, = S0(O0, (v2,), run)
    func.return %3 : f32                            return (v3,)

Every op becomes a call of its semantics function, or the expression that function registered as `inline`. Regions
become nested functions, so values of outer regions are seen as Python sees them; blocks become a state loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.traits import IsTerminator

from mlc.errors import LimitError
from mlc.interp.checked import meaning_of
from mlc.interp.runner import RegionRunner
from mlc.ir.semantics import Domain, inline_of, semantics_of

HOISTED = frozenset({"arith.constant", "llvm.mlir.constant"})
"""Ops without operands or effects, evaluated once when the code is made."""

PASS_THROUGH = frozenset(
    {"func.return", "scf.yield", "scf.condition", "scf.reduce.return", "linalg.yield", "tensor.yield"}
)
"""Terminators that only hand their operands to the op around them."""

MAX_DEPTH = 80


class RegionCode:
    """Python source of one region, with the ops behind its lines."""

    def __init__(self, run: Any, domain: Domain) -> None:
        self.run = run
        self.domain = domain
        self.lines: list[str] = []
        self.line_ops: list[Operation | None] = []
        self.env: dict[str, Any] = {"np": np, "run": run, "RegionRunner": RegionRunner}
        self.names: dict[SSAValue, str] = {}
        self.counter = 0

    def emit(self, depth: int, text: str, op: Operation | None = None) -> None:
        if depth > MAX_DEPTH:
            raise LimitError(f"regions nested deeper than {MAX_DEPTH} cannot be interpreted")
        self.lines.append(" " * depth + text)
        self.line_ops.append(op)

    def fresh(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def bind(self, prefix: str, value: Any) -> str:
        name = self.fresh(prefix)
        self.env[name] = value
        return name

    def define(self, value: SSAValue) -> str:
        name = self.names[value] = self.fresh("v")
        return name

    def tuple_of(self, values: Sequence[SSAValue]) -> str:
        return "(" + "".join(f"{self.names[v]}, " for v in values) + ")"

    def function(self, region: Region, depth: int) -> str:
        """Emit `def` of a region; returns its name."""
        name = self.fresh("r")
        blocks = list(region.blocks)
        if not blocks:
            self.emit(depth, f"def {name}(): return ()")
            return name
        params = ", ".join(self.define(a) for a in blocks[0].args)
        self.emit(depth, f"def {name}({params}):")
        if len(blocks) == 1:
            self.block(blocks[0], depth + 1, {})
            return name
        states = {block: k for k, block in enumerate(blocks)}
        for block in blocks[1:]:
            for a in block.args:
                self.define(a)
        self.emit(depth + 1, "state = 0")
        self.emit(depth + 1, "while True:")
        self.emit(depth + 2, "run.tick()")
        for block, k in states.items():
            self.emit(depth + 2, f"if state == {k}:")
            self.block(block, depth + 3, states)
        return name

    def block(self, block: Block, depth: int, states: dict[Block, int]) -> None:
        ended = False
        for op in block.ops:
            if op.name in PASS_THROUGH:
                self.emit(depth, f"return {self.tuple_of(op.operands)}", op)
                ended = True
            elif op.successors:
                self.branch(op, depth, states)
                ended = True
            elif op.has_trait(IsTerminator, value_if_unregistered=False):
                self.operation(op, depth)
                self.emit(depth, f"return {self.tuple_of(op.operands)}", op)
                ended = True
            else:
                self.operation(op, depth)
        if not ended:
            self.emit(depth, "return ()")

    def branch(self, op: Operation, depth: int, states: dict[Block, int]) -> None:
        fn, this = self.bind("S", meaning_of(op)), self.bind("O", op)
        self.emit(depth, f"taken, passed = {fn}({this}, {self.tuple_of(op.operands)}, run)", op)
        for k, successor in enumerate(op.successors):
            self.emit(depth, f"if taken == {k}:", op)
            if successor.args:
                targets = "".join(f"{self.names[a]}, " for a in successor.args)
                self.emit(depth + 1, f"{targets}= passed", op)
            self.emit(depth + 1, f"state = {states[successor]}", op)
            self.emit(depth + 1, "continue", op)

    def operation(self, op: Operation, depth: int) -> None:
        results = op.results
        if op.name in HOISTED:
            (value,) = semantics_of(op)(op, (), self.run)
            self.names[results[0]] = self.bind("k", value)
            return
        expression = inline_of(op, self.domain) if len(results) < 2 else None
        if expression is not None:
            names = [self.names[v] for v in op.operands]
            target = f"{self.define(results[0])} = " if results else ""
            self.emit(depth, target + expression.format(*names), op)
            return
        fn, this = self.bind("S", meaning_of(op)), self.bind("O", op)
        args = self.tuple_of(op.operands)
        runner = "run"
        if op.regions:
            entries: list[str] = []
            for region in op.regions:
                function = self.function(region, depth)
                entries.append(f"{self.bind('R', region)}: {function}")
            runner = f"RegionRunner(run, {{{', '.join(entries)}}})"
        targets = "".join(f"{self.define(r)}, " for r in results)
        self.emit(depth, f"{targets + '= ' if targets else ''}{fn}({this}, {args}, {runner})", op)


@lru_cache(maxsize=64)
def _compiled(source: str) -> CodeType:
    """Functions of the same ops have the same source: what differs is in the environment."""
    return compile(source, "<mlc.interp>", "exec")


def _labelled(code: CodeType, label: str) -> CodeType:
    """`code`, and the functions in it, under a file name of its own."""
    inner = tuple(_labelled(c, label) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=label, co_consts=inner)


def compile_region(
    region: Region, run: Any, domain: Domain, label: str
) -> tuple[Callable[..., tuple[Any, ...]], RegionCode]:
    """A Python function of the region's entry arguments that returns the operands of its terminator."""
    code = RegionCode(run, domain)
    name = code.function(region, 0)
    try:
        compiled = _labelled(_compiled("\n".join(code.lines)), label)
    except (SyntaxError, RecursionError, MemoryError) as e:
        raise LimitError(f"{label} is nested too deeply to be interpreted") from e
    exec(compiled, code.env)
    return code.env[name], code
