"""The compile context: xDSL's context plus the weight store, remarks and the target machine.

Passes get it as `ctx`. `make_context()` registers every dialect found through the `xdsl.universe` entry points
(ours and third parties' alike), lazily.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xdsl.context import Context
from xdsl.ir import Operation
from xdsl.universe import Universe

from mlc.ir.environment import Environment, read_environment
from mlc.ir.extensions import extended
from mlc.ir.remarks import RemarkLog
from mlc.ir.resources import ResourceStore


@dataclass
class MlcContext(Context):
    """xDSL context with what a compile carries along."""

    resources: ResourceStore = field(default_factory=ResourceStore)
    remarks: RemarkLog = field(default_factory=RemarkLog)
    external: dict[str, dict[str, str]] = field(default_factory=dict)  # `external_resources` of the text last parsed
    machine: Any = None  # mlc.backends.machine.MachineModel of the target; Any keeps ir below backends

    def _get_known_op(self, name: str) -> type[Operation] | None:
        """xDSL's lookup, then the dialect's own `find`: a dialect of thousands of ops makes classes on demand."""
        if (known := super()._get_known_op(name)) is not None:
            return known
        dialect = self._loaded_dialects.get(name.partition(".")[0])
        find = getattr(dialect, "find", None)
        if find is not None and (found := find(name)) is not None:
            self._loaded_ops[name] = found
            return found
        return None

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
            self.external,
            self.machine,
        )


_environment: Environment | None = None


def environment() -> Environment:
    """What plug-ins give, and those that are left out (entry points read once)."""
    global _environment
    if _environment is None:
        _environment = read_environment()
    return _environment


def universe() -> Universe:
    """All dialects and passes of this environment."""
    return environment().universe


def make_context(*, allow_unregistered: bool = False) -> MlcContext:
    """A context that knows every registered dialect; each is imported when first met."""
    ctx = MlcContext(allow_unregistered)
    for name, factory in universe().all_dialects.items():
        ctx.register_dialect(name, extended(name, factory))
    return ctx


def context_with(resources: ResourceStore, machine: Any) -> MlcContext:
    """A context of these weights and this machine model."""
    ctx = make_context()
    ctx.resources, ctx.machine = resources, machine
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
