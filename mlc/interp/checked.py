"""The meaning that another package gives an op, behind a check: a reference that is wrong about its own types would
make every comparison with it worthless.

    example.squared_relu gives float64 for tensor<3xf32>   -->   PluginError: 'example.squared_relu': its meaning,
                                                                 example_package.squared_relu, gave float64[3]

mlc's own are not checked: they are tested one by one. Tests: tests/repo/test_foreign_semantics.py
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DYNAMIC_INDEX, ShapedType, TensorType, VectorType
from xdsl.ir import Attribute, Operation

from mlc.errors import MlcError, PluginError, UnsupportedError
from mlc.ir.locations import format_location
from mlc.ir.memory import OutOfBounds
from mlc.ir.semantics import SemanticsFn, semantics_of

_HINT = "report it to the package that brings the dialect; the error's cause has the traceback"


def meaning_of(op: Operation) -> SemanticsFn:
    """What runs `op`."""
    fn = semantics_of(op)
    return fn if getattr(fn, "__module__", "").partition(".")[0] == "mlc" else checked(fn)


def checked(fn: SemanticsFn) -> SemanticsFn:
    """`fn`, whose results are what the op's types say; PluginError names op, function and what was expected."""
    name = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', repr(fn))}"

    @functools.wraps(fn)
    def run_checked(op: Operation, args: tuple[Any, ...], run: Any) -> Any:
        try:
            given = fn(op, args, run)
        except (MlcError, OutOfBounds, MemoryError, RecursionError):
            raise
        except (Exception, SystemExit) as e:
            raise _error(op, name, f"failed: {type(e).__name__}: {e}".rstrip(": ")) from e
        if op.successors or not op.results:
            return given
        if not isinstance(given, tuple | list) or len(given) != len(op.results):
            shown = f"{len(given)} values" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
            raise _error(op, name, f"gave {shown}", f"a tuple of {len(op.results)}, one for each result")
        for value, result in zip(given, op.results, strict=True):
            expected = _expected(value, result.type, run)
            if expected is not None:
                raise _error(op, name, f"gave {_shown(value)}", expected)
        return given

    return run_checked


def _expected(value: Any, t: Attribute, run: Any) -> str | None:
    """What a value of type `t` is in this domain; None where `value` is such a one, or nothing is known of the type."""
    whole = isinstance(t, TensorType | VectorType)
    if isinstance(t, ShapedType) and not whole:  # memory
        return None
    try:
        dtype = run.domain.dtype(t)
    except UnsupportedError:
        return None
    sizes = list(t.get_shape()) if whole else []
    shape = list(np.shape(value))
    # a scalar of a body stands for one element of each point: it may have any shape
    fits = not whole or (
        len(shape) == len(sizes) and all(n in (DYNAMIC_INDEX, m) for n, m in zip(sizes, shape, strict=True))
    )
    if fits and getattr(value, "dtype", None) == dtype:
        return None
    text = f"[{', '.join('?' if n == DYNAMIC_INDEX else str(n) for n in sizes)}]" if whole else ""
    return f"{dtype}{text} in the domain '{run.domain.name}', for {t}"


def _shown(value: Any) -> str:
    if not hasattr(value, "dtype"):
        return f"a {type(value).__name__}"
    return f"{value.dtype}{list(np.shape(value))}"


def _error(op: Operation, name: str, message: str, expected: str | None = None) -> PluginError:
    where = format_location(op.location) or None
    return PluginError(f"'{op.name}': its meaning, {name}, {message}", where, expected, _HINT)
