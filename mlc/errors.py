"""The errors a user can see. Nothing else may leave mlc.

Each carries a code, the place in the user's source, what was expected and a way out. The command-line tools turn
the class into an exit code: 1 the input was rejected, 2 the call itself was wrong, 3 a limit, 70 a bug of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass
class MlcError(Exception):
    """Base of all errors: `message` says what is wrong, `where` the user's place, `hint` what to do."""

    message: str
    where: str | None = None
    expected: str | None = None
    hint: str | None = None

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.code}: {self.message}" if self.where else f"{self.code}: {self.message}"]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.where, self.expected, self.hint))


class UsageError(MlcError):
    """The call was wrong: an unknown flag, pass, option or argument."""

    code = "usage"
    exit_code = 2


class PluginError(MlcError):
    """Another package's dialect, pass or backend cannot be had: its entry point fails or contradicts another."""

    code = "plugin"
    exit_code = 2


class ParseError(MlcError):
    """The text is not IR."""

    code = "parse"


class VerifyError(MlcError):
    """The IR is well-formed text but breaks a rule of an op, a type, SSA or a level."""

    code = "verify"


class UnsupportedError(MlcError):
    """A thing mlc knows of but cannot do; every such thing of a model is named at once."""

    code = "unsupported"


class ShapeError(MlcError):
    """A shape does not fit: wrong rank, dimension or symbolic disagreement."""

    code = "shape"


class DTypeError(MlcError):
    """An element type or device does not fit."""

    code = "dtype"


class ArtifactError(MlcError):
    """A saved model or a cache entry is damaged, hostile or of another version."""

    code = "artifact"


class ExecutionError(MlcError):
    """The program itself went wrong at run time: an index out of range, a division by zero."""

    code = "execution"


class LimitError(MlcError):
    """A documented limit was passed: text size, nesting, rank, number of ops."""

    code = "limit"
    exit_code = 3


class InternalError(MlcError):
    """A bug of ours; the message says how to report it and where the reproducer lies."""

    code = "internal"
    exit_code = 70
