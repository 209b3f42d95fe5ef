"""`mlc info`, `mlc verify` and `mlc run`: saved models from the shell.

    mlc info m.mlc                                  what is in it: versions, inputs, weights
    mlc verify m.mlc                                check every byte, every reference and the IR
    mlc run m.mlc --input x.npy --output y.npy      run it on arrays
    mlc run m.mlc --input x.npy --input mask=m.npy --output results.npz

Inputs are `.npy` files in the order of the arguments, or by name. Results are written as they come: one array to
`.npy`, several to `.npz` under their places (`y`, `states.0`).
Tests: tests/tools/test_artifact_command.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mlc.artifact.load import check, load
from mlc.errors import UsageError
from mlc.runtime.artifact.contents import Contents, read_contents
from mlc.runtime.artifact.file import ArtifactFile, checked_path
from mlc.runtime.artifact.trees import Record
from mlc.runtime.files import unwritable, write_whole
from mlc.tools.command import printable

_TARGET = "a .npz file, or a .npy file for a single array"


def add_commands(commands: Any) -> None:
    """The subcommands, each with `handle(args, out)`."""
    info = commands.add_parser("info", help="what is in a saved model")
    info.set_defaults(handle=_info)
    verify = commands.add_parser("verify", help="check a saved model: every byte, every reference, the IR")
    verify.set_defaults(handle=_verify)
    run = commands.add_parser("run", help="run a saved model on arrays")
    run.set_defaults(handle=_run)
    for parser in (info, verify, run):
        parser.add_argument("model", help="a file that compiled.save(path) wrote")
        parser.add_argument("--debug", action="store_true", help="show tracebacks of internal errors")
    run.add_argument("--input", action="append", default=[], metavar="[NAME=]FILE", help="an argument, a .npy file")
    run.add_argument("--output", metavar="FILE", help="where results go: .npy or .npz")
    run.add_argument("--threads", type=int, help="threads to run on (default: one per core)")
    run.add_argument("--target", default="native", help="what to compile for (default: native)")


def _info(args: argparse.Namespace, out: TextIO) -> int:
    file = ArtifactFile(checked_path(args.model))
    contents = read_contents(file)
    size = file.path.stat().st_size
    lines = [
        f"{args.model}: {contents.name}, saved by mlc {contents.mlc}, {size / 1e6:.1f} MB",
        f"  {_weights(contents)}, precision {contents.precision}",
    ]
    for number, version in enumerate(contents.versions):
        plan = version.plan
        lines.append(f"  version {number}: {plan.describe()} -> {plan.results.describe()}")
        machine, told = version.tuned
        lines += [f"    on {machine} bits: {text}" for text in told]
    print(printable("\n".join(lines)), file=out)
    return 0


def _weights(contents: Contents) -> str:
    nbytes = sum(a.nbytes for a in contents.arrays)
    states = f", {len(contents.states)} that it changes" if contents.states else ""
    return f"{len(contents.arrays)} arrays of {nbytes / 1e6:.1f} MB{states}"


def _verify(args: argparse.Namespace, out: TextIO) -> int:
    contents = check(args.model)
    count = len(contents.versions)
    print(f"{args.model}: sound, {count} version{'s' if count > 1 else ''}, {_weights(contents)}", file=out)
    return 0


def _run(args: argparse.Namespace, out: TextIO) -> int:
    positional: list[np.ndarray] = []
    named: dict[str, np.ndarray] = {}
    for text in args.input:
        name, equals, path = text.partition("=")
        if equals and name.isidentifier():
            named[name] = _array(path)
        else:
            positional.append(_array(text))
    target = Path(args.output) if args.output else None
    if target is not None:
        _check_target(target)
    loaded = load(args.model, num_threads=args.threads, target=args.target)
    results = dict(_named(loaded(*positional, **named), ""))
    for name, value in results.items():
        shown = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
        print(printable(f"{name or 'result'}: {shown}"), file=out)
    if target is not None:
        _write(target, results)
    return 0


def _check_target(path: Path) -> None:
    """UsageError where nothing can be written there, before the model is compiled and run."""
    why = unwritable(path) if path.suffix in (".npy", ".npz") else "its name ends in neither .npy nor .npz"
    if why is not None:
        raise UsageError(f"cannot write '{path}': {why}", expected=_TARGET)


def _array(path: str) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"cannot read '{path}': {error}", expected="a .npy file of numbers") from None
    if not isinstance(found, np.ndarray):
        raise UsageError(f"'{path}' holds several arrays", expected="a .npy file for each --input")
    return found


def _named(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Leaves of results by their places: `y`, `states.0`."""
    if isinstance(value, dict | Record):
        inner = list(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        inner = list(zip(getattr(value, "_fields", ()), value, strict=True))
    elif isinstance(value, tuple | list):
        inner = list(enumerate(value))
    else:
        yield place, value
        return
    for key, item in inner:
        yield from _named(item, f"{place}.{key}" if place else str(key))


def _write(path: Path, results: dict[str, Any]) -> None:
    arrays = {name or "result": np.asarray(v) for name, v in results.items() if v is not None}
    held = BytesIO()
    if path.suffix == ".npz":
        np.savez(held, allow_pickle=False, **arrays)
    elif path.suffix == ".npy" and len(arrays) == 1:
        np.save(held, next(iter(arrays.values())), allow_pickle=False)
    else:
        raise UsageError(
            f"cannot write {len(arrays)} result{'s' if len(arrays) != 1 else ''} to '{path}'",
            expected=_TARGET,
        )
    try:
        write_whole(path, held.getvalue())
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror or error}") from None
