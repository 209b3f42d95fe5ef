"""`mlc`: what there is to do around compiled models: the disk cache, and saved models (`artifact_command.py`).

    mlc cache                    where it is, how many entries, how large, of how much ($MLC_CACHE_SIZE)
    mlc cache --trim 500MB       drop the least recently used entries until at most so much is left
    mlc cache --clear            drop all entries
    mlc info m.mlc               what is in a saved model; also `mlc verify`, `mlc run`

Exit codes as those of `mlc-opt`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from mlc.errors import UsageError
from mlc.runtime.byte_sizes import parse_size, shown
from mlc.runtime.cache import DiskCache, default_directory, limit_wanted
from mlc.tools.artifact_command import add_commands
from mlc.tools.command import run_command

_BOUND = "At most $MLC_CACHE_SIZE (500M, 4GiB; unset: 2GiB) is kept: what was used least recently makes room."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def _cache(args: argparse.Namespace, out: TextIO) -> int:
    directory = Path(args.dir).expanduser() if args.dir else default_directory()
    cache = DiskCache(directory, limit=limit_wanted())
    if (wrong := cache.cannot_be()) is not None:
        whose = "--dir" if args.dir else "MLC_CACHE_DIR" if os.environ.get("MLC_CACHE_DIR") else "the user's cache"
        raise UsageError(f"{whose}: {wrong}", expected="a directory, or where one can be made")
    bound = shown(cache.limit)
    if not directory.is_dir():
        print(f"{directory}: empty, of {bound}", file=out)
        return 0
    if args.clear:
        cache.clear()
    elif args.trim is not None:
        cache.trim(parse_size(args.trim))
    found = cache.info()
    print(f"{found.directory}: {found.entries} entries, {found.bytes / 1e6:.1f} MB of {bound}", file=out)
    return 0


def _run(arguments: list[str], out: TextIO, err: TextIO) -> int:
    parser = _Parser(prog="mlc", description="Look after compiled models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=_Parser)
    cache = commands.add_parser("cache", help="look at the disk cache, trim it or clear it", epilog=_BOUND)
    change = cache.add_mutually_exclusive_group()
    change.add_argument("--clear", action="store_true", help="drop all entries")
    change.add_argument("--trim", metavar="SIZE", help="drop the least recently used until at most SIZE is left")
    cache.add_argument("--dir", help="the cache directory (default: $MLC_CACHE_DIR, else the user's)")
    cache.add_argument("--debug", action="store_true", help="show tracebacks of internal errors")
    cache.set_defaults(handle=_cache)
    add_commands(commands)
    args = parser.parse_args(arguments)
    return args.handle(args, out)


def main(argv: Sequence[str] | None = None, *, stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("mlc", _run, argv, stdout, stderr)


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
