"""`mlc-opt`: run passes over a `.mlir` file, in the manner of `mlir-opt`.

    mlc-opt file.mlir --pass-pipeline='builtin.module(func.func(cse,canonicalize))'
    mlc-opt file.mlir --cse --canonicalize
    mlc-opt file.mlir --mlc-pipeline=cpu --mlc-to=kernels
    mlc-opt file.mlir --run --entry-point=forward --seed=0

Exit codes: 0 fine, 1 the input was rejected, 2 wrong usage, 3 a limit, 70 a bug of ours, 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

from mlc.errors import InternalError, MlcError
from mlc.tools.opt_args import parse_args
from mlc.tools.opt_session import run_session


def main(argv: Sequence[str] | None = None, *, stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """Entry point; returns the exit code. Never raises, never leaves a traceback unless `--debug` is given."""
    out = stdout or sys.stdout
    err = stderr or sys.stderr
    debug = "--debug" in (argv if argv is not None else sys.argv[1:])
    try:
        args = parse_args(list(sys.argv[1:] if argv is None else argv), out)
        if args is None:
            return 0
        return run_session(args, out, err)
    except MlcError as e:
        if debug:
            traceback.print_exc(file=err)
        print(f"mlc-opt: {e}", file=err)
        return e.exit_code
    except KeyboardInterrupt:
        print("mlc-opt: interrupted", file=err)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as e:
        if debug:
            traceback.print_exc(file=err)
        bug = InternalError(f"{type(e).__name__}: {e}", hint="run again with --debug and report the traceback")
        print(f"mlc-opt: {bug}", file=err)
        return bug.exit_code


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
