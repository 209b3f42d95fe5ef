"""From what was just recorded to code: out of the cache without the compiler, or by `mlc/driver.py`.

compile_recorded(captured.graph, resources, options)    # imports xDSL only where the cache lacks the model

The graph leads to the digest of the module that it becomes, and that to the bundle (`mlc/keys.py`). The first start
with a model compiles it and keeps both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mlc.cached_bundle import cached_bundle
from mlc.compiled import Compiled
from mlc.ir.resources import ResourceStore
from mlc.keys import graph_key, model_key, places_key
from mlc.linking import link
from mlc.options import Options
from mlc.phases import Phases
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import DiskCache, cache_at, using
from mlc.setting import Setting, setting_of
from mlc.tuning.choices import Choices

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from mlc.build import InputsFor


class Recorded(Protocol):
    """What a frontend recorded (`mlc.frontends.torch.graph.Graph`)."""

    @property
    def digest(self) -> str:
        """What stands for it in keys: all that decides what the code does."""
        ...

    def places(self) -> str:
        """A hash of the source lines of its ops."""
        ...

    def custom_names(self) -> set[str]:
        """Ops of `torch.library` in it."""
        ...

    def module(self) -> ModuleOp:
        """A torch-level module of it, a new one at each call."""
        ...


def compile_recorded(
    recorded: Recorded, resources: ResourceStore, options: Options, inputs: InputsFor | None = None
) -> Compiled:
    """The compiled form of what was recorded, whose weights are in `resources`. `inputs` as in `compile_module`."""
    phases = Phases()
    cache = cache_at(options.cache_dir)
    with using(cache):
        with phases.phase("hash"):
            setting = setting_of(options, recorded.custom_names())
            found = _find(recorded, setting, options, cache, tuned=inputs is not None and options.tune)
        if found is not None:
            return _linked(found, recorded, resources, options, setting, phases)
    with phases.phase("import of the compiler"):
        from mlc.ir.late_formats import late_formats  # noqa: PLC0415 - imports xdsl

        with late_formats():
            from mlc import driver  # noqa: PLC0415 - imports xdsl
    return driver.compile_captured(recorded, resources, options, setting, inputs, phases)


@dataclass(frozen=True)
class _Found:
    digest: str
    bundle: Bundle


def _find(
    recorded: Recorded, setting: Setting, options: Options, cache: DiskCache | None, *, tuned: bool
) -> _Found | None:
    """What the cache has of a model, if its messages name the same lines."""
    if cache is None:
        return None
    graph, fingerprint = recorded.digest, setting.fingerprint
    known = cache.get(graph_key(graph, fingerprint))
    if known is None:
        return None
    own = known.decode()

    def places() -> str | None:
        found = cache.get(places_key(graph, recorded.places(), fingerprint))
        return found.decode() if found is not None else None

    key = model_key(own, fingerprint, options, tuned_for(options) if tuned else "")
    bundle = cached_bundle(cache, key, places)
    return _Found(own, bundle) if bundle is not None else None


def remember(recorded: Recorded, digest: str, places: str, fingerprint: str, cache: DiskCache) -> None:
    """What was recorded leads to the module of this digest. `places`: the hash of that one's source lines, where they
    are in messages."""
    cache.put(graph_key(recorded.digest, fingerprint), digest.encode())
    if places:
        cache.put(places_key(recorded.digest, recorded.places(), fingerprint), places.encode())


def tuned_for(options: Options) -> str:
    """Where the choices of a tuned model come from."""
    return f"tuned for {options.num_threads} threads"


def _linked(
    found: _Found, recorded: Recorded, resources: ResourceStore, options: Options, setting: Setting, phases: Phases
) -> Compiled:
    executable = link(found.bundle, resources, setting.backend, phases)
    executable.num_threads = options.num_threads
    choices = Choices.from_json(found.bundle.choices)
    return Compiled(
        executable, recorded.module, resources, options, setting, phases, from_cache=True, choices=choices,
        digest=found.digest,
    )  # fmt: skip
