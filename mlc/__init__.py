"""mlc: a multi-level compiler for machine-learning models.

import mlc
compiled = mlc.compile(model)
y = compiled(x)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlc.errors import MlcError
from mlc.runtime.threads import get_num_threads, num_threads, set_num_threads

if TYPE_CHECKING:
    from mlc.api import CompiledModel, compile

__version__ = "0.1.0"
__all__ = [
    "CompiledModel",
    "MlcError",
    "__version__",
    "compile",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
]


def __getattr__(name: str) -> Any:
    """`mlc.compile` and its result type, imported at first use: `import mlc` alone stays light."""
    if name in ("compile", "CompiledModel"):
        from mlc.ir.collector import collector_paused  # noqa: PLC0415 - lazy on purpose

        with collector_paused():
            from mlc import api  # noqa: PLC0415 - lazy on purpose

        return getattr(api, name)
    raise AttributeError(f"module 'mlc' has no attribute '{name}'")
