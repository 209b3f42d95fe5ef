"""How each op of the loops level is converted: converters register by op name, the walk looks them up.

@converts("arith.addi")
def addi(b: FunctionBuilder, op: Operation) -> None:
    b.values[op.results[0]] = ...
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Block, Operation

from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.lowering.llvm.builder import FunctionBuilder

Converter = Callable[[FunctionBuilder, Operation], None]

_CONVERTERS: dict[str, Converter] = {}


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Register a converter for ops by name."""

    def register(fn: Converter) -> Converter:
        for name in names:
            if name in _CONVERTERS:
                raise ValueError(f"two converters for {name}")
            _CONVERTERS[name] = fn
        return fn

    return register


def family_of(name: str) -> str:
    """The module that converts ops of this name."""
    return _CONVERTERS[name].__module__.rpartition(".")[2]


def convert_op(b: FunctionBuilder, op: Operation) -> None:
    """Convert one op at the current place."""
    fn = _CONVERTERS.get(op.name)
    if fn is None:
        raise UnsupportedError(
            f"op '{op.name}' cannot be converted to the llvm dialect",
            where=format_location(op.location) or None,
            hint=f"lower it first, to ops of {', '.join(sorted({n.partition('.')[0] for n in _CONVERTERS}))}",
        )
    b.loc = op.location
    b.module.converted[op.name] += 1
    try:
        fn(b, op)
    except UnsupportedError as e:
        if e.where is None:
            e.where = format_location(op.location) or f"op '{op.name}'"
        raise


def convert_block(b: FunctionBuilder, block: Block) -> Operation:
    """Convert a block's ops but its terminator, which is returned."""
    last = block.last_op
    assert last is not None, "block without a terminator"
    op = block.first_op
    while op is not last:
        assert op is not None
        convert_op(b, op)
        op = op.next_op
    return last
