"""Fixtures: run a piece of IR text in the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc.interp import run_function
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.verifier import verify_module


def parse_module(text: str) -> ModuleOp:
    """The module written in `text`."""
    ctx = make_context()
    module = parse_text(text, ctx, name="test.mlir")
    verify_module(module)
    return module


@pytest.fixture
def parse() -> Callable[[str], ModuleOp]:
    """Parse and verify IR text."""
    return parse_module


@pytest.fixture
def run() -> Callable[..., list[Any]]:
    """`run(text, *inputs)`: results of @f; memref arguments' contents follow."""

    def call(text: str, *inputs: Any, **kwargs: Any) -> list[Any]:
        results, buffers = run_function(parse_module(text), "f", inputs, **kwargs)
        return [*results, *buffers]

    return call
