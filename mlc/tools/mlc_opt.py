"""`mlc-opt`: run passes over a `.mlir` file, in the manner of `mlir-opt`.

    mlc-opt file.mlir --pass-pipeline='builtin.module(func.func(cse,canonicalize))'
    mlc-opt file.mlir --cse --canonicalize
    mlc-opt file.mlir --mlc-pipeline=cpu --mlc-to=kernels
    mlc-opt file.mlir --run --entry-point=forward --seed=0

Exit codes: 0 fine, 1 the input was rejected, 2 wrong usage, 3 a limit, 70 a bug of ours, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from mlc.tools.command import run_command
from mlc.tools.opt_args import parse_args
from mlc.tools.opt_session import run_session


def main(argv: Sequence[str] | None = None, *, stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """Entry point; returns the exit code. Never raises, never leaves a traceback unless `--debug` is given."""
    return run_command("mlc-opt", _body, argv, stdout, stderr)


def _body(argv: list[str], out: TextIO, err: TextIO) -> int:
    args = parse_args(argv, out)
    return 0 if args is None else run_session(args, out, err)


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
