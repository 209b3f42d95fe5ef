"""What the console scripts share: exit codes and messages of errors, no traceback unless `--debug` is given."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TextIO

from mlc.errors import InternalError, MlcError, UsageError

Body = Callable[[list[str], TextIO, TextIO], int]


def run_command(name: str, body: Body, argv: Sequence[str] | None, stdout: TextIO | None, stderr: TextIO | None) -> int:
    """Run `body(arguments, out, err)`; returns the exit code. Never raises."""
    out = stdout or sys.stdout
    err = stderr or sys.stderr
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        code = body(arguments, out, err)
        out.flush()
        return code
    except MlcError as e:
        if debug:
            traceback.print_exc(file=err)
        print(f"{name}: {printable(str(e))}", file=err)
        return e.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=err)
        return 130
    except BrokenPipeError:  # whoever reads has seen enough
        _drop(out)
        return 0
    except OSError as e:
        _drop(out)
        print(f"{name}: {UsageError(f'cannot write the output: {e.strerror or e}')}", file=err)
        return UsageError.exit_code
    except Exception as e:
        if debug:
            traceback.print_exc(file=err)
        bug = InternalError(f"{type(e).__name__}: {e}", hint="run again with --debug and report the traceback")
        print(f"{name}: {printable(str(bug))}", file=err)
        return bug.exit_code


def printable(text: str) -> str:
    """`text` with what a terminal would obey or cannot show as escapes: names in files are anybody's."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _drop(out: TextIO) -> None:
    """Let what is still buffered for a standard output that takes no more go nowhere, when Python exits."""
    if out is sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
