"""`mlc`: what there is to do around compiled models: the disk cache, and saved models (`artifact_command.py`).

    mlc cache                    where it is, how many entries, how large
    mlc cache --trim 500MB       drop the least recently used entries until at most so much is left
    mlc cache --clear            drop all entries
    mlc info m.mlc               what is in a saved model; also `mlc verify`, `mlc run`

Exit codes as those of `mlc-opt`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from mlc.errors import UsageError
from mlc.runtime.cache import DiskCache, default_directory
from mlc.tools.artifact_command import add_commands
from mlc.tools.command import run_command

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def parse_size(text: str) -> int:
    """Bytes of `500MB`, `500M`, `2GiB` or `4096`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS:
        raise UsageError(f"size '{text}'", expected="a number with a unit: 500MB, 500M, 2GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _cache(args: argparse.Namespace, out: TextIO) -> int:
    directory = Path(args.dir).expanduser() if args.dir else default_directory()
    if not directory.is_dir():
        print(f"{directory}: empty", file=out)
        return 0
    cache = DiskCache(directory)
    if args.clear:
        cache.clear()
    elif args.trim is not None:
        cache.trim(parse_size(args.trim))
    found = cache.info()
    print(
        f"{found.directory}: {found.entries} entries, {found.bytes / 1e6:.1f} MB of {cache.limit / 1e6:.0f} MB",
        file=out,
    )
    return 0


def _run(arguments: list[str], out: TextIO, err: TextIO) -> int:
    parser = _Parser(prog="mlc", description="Look after compiled models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=_Parser)
    cache = commands.add_parser("cache", help="look at the disk cache, trim it or clear it")
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
