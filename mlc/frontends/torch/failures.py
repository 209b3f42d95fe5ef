"""Why a run of the model failed: a mistake that eager makes, too, a thing that no capture can do, or a fault of ours.

model(x), eager fails as well        -->   ExecutionError: the model itself failed on (x: float32[2, 5]): ValueError: …
torch.autograd.grad inside of it     -->   UnsupportedError: this model needs autograd inside forward
eager works                          -->   UnsupportedError: this model runs in eager, but recording it failed
"""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlc.errors import DTypeError, ExecutionError, MlcError, ShapeError, UnsupportedError
from mlc.frontends.torch.arguments import describe_signature
from mlc.frontends.torch.places import is_users_file
from mlc.frontends.torch.problems import CONTROL_FLOW, READS_VALUE

_LIMITS: tuple[tuple[str, str, str], ...] = (
    (
        "functional tensor",
        "changes a tensor in place that is neither an input nor a buffer",
        "register it with register_buffer(), or compute a new tensor",
    ),
    ("require grad", "needs autograd inside forward", "compile the part without it"),
    ("requires grad", "needs autograd inside forward", "compile the part without it"),
    ("data is not allocated yet", "reads the memory of a tensor in Python", READS_VALUE),
)


def limit_of(error: Exception) -> UnsupportedError | None:
    """What no capture can do, where that is what a run ended with."""
    file, line = line_of(error)
    where = f"{file}:{line}" if file else None
    text = _first_line(error)
    for sign, what, way in _LIMITS:
        if isinstance(error, RuntimeError) and sign in text:
            return UnsupportedError(f"this model {what} ({text})", where=where, hint=way)
    if (operator := _control_flow(error)) is not None:
        return UnsupportedError(f"this model uses the control-flow op '{operator}'", where=where, hint=CONTROL_FLOW)
    return None


def failure(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], given: str, error: Exception
) -> MlcError:
    """The error to raise for `error`, which a run under the recorder ended with; `given` describes the arguments.

    The model is run once more without the recorder: that settles whose fault it is.
    """
    file, line = line_of(error)
    if not raised_by_hand(error):
        try:
            model(*args, **kwargs)
        except Exception as eager:
            error = eager
        else:
            ours = UnsupportedError(
                f"this model runs in eager on ({given}), but recording it failed: "
                f"{type(error).__name__}: {_first_line(error)}",
                where=f"{file}:{line}" if file else None,
                hint='please report this with the traceback that mlc.compile(model, debug="verify") shows; '
                "compile the parts of the model around that line",
            )
            ours.__cause__ = error
            return ours
    file, line = line_of(error)
    failed = ExecutionError(
        f"the model itself failed on ({given}): {type(error).__name__}: {_first_line(error)}",
        where=f"{file}:{line}" if file else None,
        expected=f"arguments that fit {describe_signature(model)}",
        hint="it fails in the same way without mlc",
    )
    failed.__cause__ = error
    return failed


def told(error: MlcError) -> tuple[MlcError, BaseException | None]:
    """An error and its cause as the user is to read them: the user's own frames, and none of how mlc came to know."""
    cause: BaseException | None = error
    while isinstance(cause, MlcError):
        cause = cause.__cause__ if isinstance(error, ExecutionError | ShapeError | DTypeError) else None
    if cause is not None:
        at = cause.__traceback__
        while at is not None and not is_users_file(at.tb_frame.f_code.co_filename):
            at = at.tb_next
        cause = cause.with_traceback(at or cause.__traceback__)
    return error.with_traceback(None), cause


def raised_by_hand(error: BaseException | None) -> bool:
    """Whether the user's own code says `raise` or `assert` where this error comes from."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    if not frames or not is_users_file(frames[-1].filename):
        return False
    return re.search(r"\b(raise|assert)\b", linecache.getline(frames[-1].filename, frames[-1].lineno or 0)) is not None


def line_of(error: BaseException) -> tuple[str, int]:
    """File and line of the innermost user's frame in a traceback."""
    found = ("", 0)
    for frame in traceback.extract_tb(error.__traceback__):
        if is_users_file(frame.filename):
            found = (frame.filename, frame.lineno or 0)
    return found


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _control_flow(error: BaseException) -> str | None:
    """The higher-order operator inside of which a run failed."""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        ours = path.stem == "cond"  # done by `control_flow.py`: what fails is what is in a branch
        if path.parent.name == "_higher_order_ops" and path.parents[1].name == "torch" and not ours:
            return path.stem
    return None
