"""A compiled model: code that runs, and what it takes to show how that came about, made when somebody asks.

unit.run(arrays)                        needs none of the compiler
unit.ir("linalg"), unit.remarks()       the module is made of what was captured, and lowered again
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlc.ir.contract import Level
from mlc.ir.resources import ResourceStore
from mlc.options import Options
from mlc.phases import Phases
from mlc.runtime.cache import cache_at
from mlc.runtime.executable import Executable
from mlc.runtime.offload import Block
from mlc.setting import Setting
from mlc.tuning.choices import Choices

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from mlc.ir.context import MlcContext
    from mlc.ir.remarks import Remark


@dataclass
class Compiled:
    """An executable with what is needed to show how it came about.

    `captured` gives the captured module, `digest` what the cache knows the compiled one by.
    """

    executable: Executable
    captured: Callable[[], ModuleOp]
    resources: ResourceStore
    options: Options
    setting: Setting
    phases: Phases
    from_cache: bool
    choices: Choices
    digest: str = ""

    @cached_property
    def source(self) -> ModuleOp:
        """The captured module."""
        return self.captured()

    @cached_property
    def ctx(self) -> MlcContext:
        """A context to lower it in."""
        from mlc.ir.context import context_with  # noqa: PLC0415 - not needed to run a model

        return context_with(self.resources, self.setting.machine)

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Run natively on dense or strided numpy arrays."""
        return self.executable.run(inputs)

    def text(self) -> str:
        """The captured module as text."""
        from mlc.ir.parsing import print_text  # noqa: PLC0415 - not needed to run a model

        return print_text(self.source)

    def ir(self, level: Level) -> str:
        """The module as text at `level` (recomputed from the captured module)."""
        from mlc.ir.parsing import print_text  # noqa: PLC0415 - not needed to run a model

        return print_text(self.lowered(level))

    def asm(self) -> str:
        """Assembly of every kernel and of the entry point."""
        from mlc import lower_again  # noqa: PLC0415 - not needed to run a model

        return lower_again.asm(self)

    def remarks(self) -> list[Remark]:
        """What every pass did and did not do (the passes run again: cached kernels never met them)."""
        from mlc import lower_again  # noqa: PLC0415 - not needed to run a model

        return lower_again.remarks(self)

    def lowered(self, level: Level, ctx: MlcContext | None = None) -> ModuleOp:
        """A fresh module at `level`, made from the captured one; remarks go to `ctx`."""
        from mlc import lower_again  # noqa: PLC0415 - not needed to run a model

        return lower_again.lowered(self, level, ctx)

    def memory_in_use(self, tables: Collection[str]) -> list[tuple[int, int]]:
        """Addresses and bytes of the constants that calls read, but for those weights of which they only look up
        rows."""
        addresses = {self.resources.get(n).ctypes.data for n in tables}
        return [(c.ctypes.data, c.nbytes) for c in self.executable.constants if c.ctypes.data not in addresses]

    def copies_of_weights(self) -> list[Block]:
        """Memory of the weights whose elements were brought into order before anything was made from them."""
        arrays = [self.resources.get(n) for n in self.resources if self.resources.is_loaded(n)]
        bases = [a if a.base is None else a.base for a in arrays]
        return [Block(b.ctypes.data, b.nbytes) for b in bases if isinstance(b, np.ndarray) and b.flags.owndata]

    def scratch_directory(self) -> Path:
        """Where files may be made that go with this process."""
        cache = cache_at(self.options.cache_dir)
        return cache.directory if cache is not None else Path(tempfile.gettempdir())
