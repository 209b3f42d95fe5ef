"""Where in the user's program an op comes from: file and line by the frame stack, module path by module hooks.

x = self.conv1(x)        # resnet.py:269, inside layer1.0
-->  loc("layer1.0.conv1"("resnet.py":269:0))
"""

from __future__ import annotations

import contextlib
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from torch.nn.modules import module as nn_module

from mlc.frontends.torch.graph import Location
from mlc.frontends.torch.owned import Owned

_OURS = str(Path(__file__).parents[2])
_TORCH = str(Path(torch.__file__).parent)
_STDLIB = sysconfig.get_paths()["stdlib"]


class Places:
    """Answers "where are we?" while a model runs in this thread."""

    def __init__(self, mine: Owned) -> None:
        self._names: dict[int, str] = {}
        for name, module in mine.modules:
            self._names[id(module)] = name
        self._stack: list[str] = [""]
        self._thread = threading.get_ident()
        self._is_users: dict[str, bool] = {}
        self._cache: dict[tuple[str, int, str], Location] = {}

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Keep the module path up to date inside the block."""
        before = nn_module.register_module_forward_pre_hook(self._enter)
        after = nn_module.register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    @property
    def path(self) -> str:
        """Qualified name of the module that runs; empty in the outermost one."""
        return self._stack[-1]

    def here(self) -> Location:
        """Location of the innermost line outside torch that is being executed."""
        return self.at(*self.line(), self.path)

    def at(self, file: str, line: int, path: str) -> Location:
        """The location, made once per place."""
        key = (file, line, path)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = Location(*key)
        return found

    def line(self) -> tuple[str, int]:
        """File and line of the innermost frame that is the user's."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            users = self._is_users.get(name)
            if users is None:
                users = self._is_users[name] = is_users_file(name)
            if users:
                return name, frame.f_lineno
            frame = frame.f_back
        return "", 0

    def _enter(self, module: torch.nn.Module, args: object) -> None:
        if threading.get_ident() == self._thread:
            self._stack.append(self._names.get(id(module), self._stack[-1]))

    def _leave(self, module: torch.nn.Module, args: object, output: object) -> None:
        if threading.get_ident() == self._thread and len(self._stack) > 1:
            self._stack.pop()


def is_users_file(name: str) -> bool:
    """Whether a frame of this file is the user's: not torch's, not the standard library's, not ours."""
    if name.startswith((_TORCH, _OURS, "<frozen")):
        return False
    return not name.startswith(_STDLIB) or "site-packages" in name
