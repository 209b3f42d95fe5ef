"""What semantics functions see of the engine when their op has regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import Block, Operation, Region

from mlc.errors import InternalError
from mlc.ir.semantics import Domain, Results


class RegionRunner:
    """The engine, plus the compiled regions of the op being run."""

    __slots__ = ("_base", "_regions", "call", "domain", "iteration", "resources", "state", "symbol", "tick")

    def __init__(self, base: Any, regions: dict[Region, Callable[..., Results]]) -> None:
        self._base = base
        self._regions = regions
        self.domain: Domain = base.domain
        self.resources = base.resources
        self.iteration = base.iteration
        self.state = base.state
        self.call = base.call
        self.symbol: Callable[[str], Operation | None] = base.symbol
        self.tick = base.tick

    def function(self, region: Region) -> Callable[..., Results]:
        """The compiled region itself."""
        return self._regions[region]

    def run_region(self, region: Region, args: Sequence[Any]) -> Results:
        """Run a region of the op and return its terminator's operands."""
        return self._regions[region](*args)

    def run_block(self, block: Block, args: Sequence[Any]) -> Results:
        """Run the single block of a region of the op."""
        region = block.parent
        if region is None or region not in self._regions:
            raise InternalError("a block outside the op's own regions cannot be run")
        return self._regions[region](*args)
