"""What the console scripts share: exit codes and messages of errors, no traceback unless `--debug` is given."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TextIO

from mlc.errors import InternalError, MlcError

Body = Callable[[list[str], TextIO, TextIO], int]


def run_command(name: str, body: Body, argv: Sequence[str] | None, stdout: TextIO | None, stderr: TextIO | None) -> int:
    """Run `body(arguments, out, err)`; returns the exit code. Never raises."""
    out = stdout or sys.stdout
    err = stderr or sys.stderr
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        return body(arguments, out, err)
    except MlcError as e:
        if debug:
            traceback.print_exc(file=err)
        print(f"{name}: {e}", file=err)
        return e.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=err)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as e:
        if debug:
            traceback.print_exc(file=err)
        bug = InternalError(f"{type(e).__name__}: {e}", hint="run again with --debug and report the traceback")
        print(f"{name}: {bug}", file=err)
        return bug.exit_code
