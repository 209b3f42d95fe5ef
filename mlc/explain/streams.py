"""What every run must read from memory, since no cache holds it from one run to the next.

weights of a model that are more than the caches together, and data of a single call that is: all of it
anything else may still be in a cache
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.dialects.memref import CastOp, GetGlobalOp
from xdsl.ir import Operation, SSAValue

from mlc.backends.machine import MachineModel
from mlc.explain.accesses import trips
from mlc.explain.costs import Cost, kernel_cost


@dataclass(frozen=True)
class Streams:
    """`weights`: numbers of the arguments that are weights, by the symbol of a kernel; `cache`: bytes of all levels;
    `total`: of the weights that a run reads."""

    weights: Mapping[str, Set[int]]
    cache: int
    total: int

    def of(self, cost: Cost) -> int:
        """Bytes that a call reads from memory."""
        if cost.bytes > self.cache:
            return cost.bytes - cost.written
        return cost.weights if self.total > self.cache else 0


def streams_of(calls: Sequence[CallOp], kernels: Mapping[str, FuncOp], machine: MachineModel) -> Streams:
    """Of a model whose `calls` are of these kernels, by symbol. In a loop weights are read again while they are warm:
    they count as none."""
    weights: dict[str, Set[int]] = {}
    total = 0
    for call in calls:
        symbol = call.callee.root_reference.data
        if trips(call) == 1:
            here = frozenset(n for n, v in enumerate(call.operands) if is_weight(v))
            weights[symbol] = weights.get(symbol, here) & here
            total += kernel_cost(kernels[symbol], passed_sizes(call, kernels[symbol]), here).weights
    return Streams(weights, machine.l2 + machine.l3, total)


def passed_sizes(call: CallOp, kernel: FuncOp) -> dict[SSAValue, tuple[int, ...]]:
    """Sizes of the arguments that the kernel leaves open and that `call` passes through a cast."""
    sizes: dict[SSAValue, tuple[int, ...]] = {}
    for value, arg in zip(call.operands, kernel.body.block.args, strict=True):
        source = value.owner.operands[0].type if isinstance(value.owner, CastOp) else None
        if isinstance(source, MemRefType) and source.has_static_shape():
            sizes[arg] = tuple(source.get_shape())
    return sizes


def is_weight(value: SSAValue) -> bool:
    """Whether a call is given weights by this operand."""
    owner = value.owner
    while isinstance(owner, Operation) and owner.name.startswith("memref.") and owner.operands:
        owner = owner.operands[0].owner
    return isinstance(owner, GetGlobalOp)
