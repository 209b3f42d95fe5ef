"""The compile context: xDSL's context plus the weight store, remarks and the target machine.

Passes get it as `ctx`. `make_context()` registers every dialect found through the `xdsl.universe` entry points
(ours and third parties' alike), lazily.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xdsl.context import Context
from xdsl.universe import Universe

from mlc.ir.extensions import extended
from mlc.ir.remarks import RemarkLog
from mlc.ir.resources import ResourceStore


@dataclass
class MlcContext(Context):
    """xDSL context with what a compile carries along."""

    resources: ResourceStore = field(default_factory=ResourceStore)
    remarks: RemarkLog = field(default_factory=RemarkLog)
    machine: Any = None  # mlc.backends.machine.MachineModel of the target; Any keeps ir below backends

    def clone(self) -> MlcContext:
        base = super().clone()
        return MlcContext(
            base.allow_unregistered,
            base._loaded_dialects,
            base._loaded_ops,
            base._loaded_attrs,
            base._loaded_types,
            base._registered_dialects,
            self.resources,
            self.remarks,
            self.machine,
        )


_universe: Universe | None = None


def universe() -> Universe:
    """All dialects and passes of this environment (entry points read once)."""
    global _universe
    if _universe is None:
        _universe = Universe.get_multiverse()
    return _universe


def make_context(*, allow_unregistered: bool = False) -> MlcContext:
    """A context that knows every registered dialect; each is imported when first met."""
    ctx = MlcContext(allow_unregistered)
    for name, factory in universe().all_dialects.items():
        ctx.register_dialect(name, extended(name, factory))
    return ctx


def context_of(ctx: Context) -> MlcContext:
    """Passes are handed xDSL's `Context`; ours is expected. A bare one gets an empty store and log."""
    if isinstance(ctx, MlcContext):
        return ctx
    return MlcContext(
        ctx.allow_unregistered,
        ctx._loaded_dialects,
        ctx._loaded_ops,
        ctx._loaded_attrs,
        ctx._loaded_types,
        ctx._registered_dialects,
    )
