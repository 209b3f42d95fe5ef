"""mlc: a multi-level compiler for machine-learning models.

import mlc
compiled = mlc.compile(model)
y = compiled(x)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlc.dataclass_code  # noqa: F401 - first: it is there for what others define
from mlc.errors import MlcError
from mlc.runtime.threads import get_num_threads, num_threads, set_num_threads

if TYPE_CHECKING:
    from mlc.api import CompiledModel, compile
    from mlc.artifact.load import load
    from mlc.runtime.artifact.model import LoadedModel

__version__ = "0.1.0"
__all__ = [
    "CompiledModel",
    "LoadedModel",
    "MlcError",
    "__version__",
    "compile",
    "get_num_threads",
    "load",
    "num_threads",
    "set_num_threads",
]


def __getattr__(name: str) -> Any:
    """`mlc.compile` and its result type, imported at first use: `import mlc` alone stays light."""
    if name in ("compile", "CompiledModel"):
        from mlc.phases import importing  # noqa: PLC0415 - lazy on purpose

        with importing():
            from mlc.ir.collector import collector_paused  # noqa: PLC0415 - lazy on purpose

            with collector_paused():
                from mlc import api  # noqa: PLC0415 - lazy on purpose

        return getattr(api, name)
    if name == "load":
        from mlc.ir.collector import collector_paused  # noqa: PLC0415 - lazy on purpose

        with collector_paused():
            from mlc.artifact import load as loading  # noqa: PLC0415 - lazy on purpose

        return loading.load
    if name == "LoadedModel":
        from mlc.runtime.artifact.model import LoadedModel  # noqa: PLC0415 - lazy on purpose

        return LoadedModel
    raise AttributeError(f"module 'mlc' has no attribute '{name}'")
