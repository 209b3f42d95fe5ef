"""Arguments of `mlc-opt`. Pass flags (`--cse`, `--my-pass='option=1'`) keep their order, as in `mlir-opt`.

As LLVM's tools read flags: one dash or two (`-cse`), and yes-or-no flags take a value too (`--mlir-timing=false`).
"""

from __future__ import annotations

import argparse
import difflib
from dataclasses import dataclass, field
from typing import NoReturn, TextIO

from mlc.errors import UsageError
from mlc.ir.context import environment
from mlc.ir.pipeline import Item, load_pass, pass_names, pass_options, pass_summary
from mlc.ir.pipeline_text import flag_items, parse_pipeline
from mlc.universe import PASSES

SPLIT_MARKER = "// -----"
_YES = ("", "1", "true", "TRUE", "True")
_NO = ("0", "false", "FALSE", "False")


@dataclass
class OptArgs:
    """Parsed arguments."""

    values: argparse.Namespace
    passes: list[Item] = field(default_factory=list)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint="mlc-opt --help shows all flags")


def build_parser() -> argparse.ArgumentParser:
    """The flags apart from one per pass."""
    about = "Runs passes over a .mlir file, in the manner of mlir-opt."
    p = _Parser(prog="mlc-opt", description=about, allow_abbrev=False, add_help=False, usage="mlc-opt [flags] [FILE]")
    p.add_argument("input_file", nargs="?", default="-", metavar="FILE", help="a .mlir file; '-' or nothing: stdin")
    g = p.add_argument_group("general")
    g.add_argument("-h", "--help", action="store_true", help="show this")
    g.add_argument("--version", action="store_true")
    g.add_argument("--show-dialects", action="store_true", help="names of the registered dialects")
    g.add_argument("--list-passes", action="store_true", help="all passes with their options")
    g.add_argument("--debug", action="store_true", help="show Python tracebacks")
    _pipeline_flags(p.add_argument_group("pipeline"))
    _dump_flags(p.add_argument_group("looking into a pipeline"))
    _text_flags(p.add_argument_group("input and output"))
    r = p.add_argument_group("running")
    r.add_argument("--run", action="store_true", help="execute the result in the reference interpreter")
    r.add_argument("--native", action="store_true", help="with --run: compile and execute natively")
    r.add_argument("--entry-point", default="forward", metavar="FUNC")
    r.add_argument("--inputs", metavar="FILE", help="an .npz file with arg0, arg1, … (random by --seed otherwise)")
    r.add_argument("--seed", type=_natural, default=0, metavar="N")
    return p


def _natural(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 on")
    return int(text)


def _pipeline_flags(g: argparse._ArgumentGroup) -> None:
    g.add_argument("-p", "--pass-pipeline", metavar="TEXT", help="builtin.module(func.func(cse,canonicalize),…)")
    g.add_argument("--mlc-pipeline", metavar="TARGET", help="compile pipeline: cpu, or that of a target")
    g.add_argument(
        "--target", metavar="NAME", help="machine model, pipeline and code generator: native, or a backend's"
    )
    g.add_argument("--mlc-to", metavar="LEVEL", help="stop --mlc-pipeline at this level")
    g.add_argument("--dump-pass-pipeline", action="store_true", help="print the pipeline to standard error")
    g.add_argument("--verify-each", action="store_true", default=True, help="verify after each pass (=false: do not)")
    g.add_argument("--mlir-disable-threading", action="store_true", help="accepted: passes run in one thread anyway")
    g.add_argument("--run-reproducer", action="store_true", help="run the pipeline stored in the file")
    g.add_argument("--bisect", action="store_true", help="name the pass and rewrite that changes the meaning")


def _dump_flags(g: argparse._ArgumentGroup) -> None:
    for when in ("before", "after"):
        g.add_argument(f"--mlir-print-ir-{when}", action="append", default=[], metavar="PASS,…")
        g.add_argument(f"--mlir-print-ir-{when}-all", action="store_true")
    g.add_argument("--mlir-print-ir-after-change", action="store_true", help="after a pass only if it changed the IR")
    g.add_argument("--mlir-print-ir-after-failure", action="store_true", help="after a pass only if it failed")
    g.add_argument("--mlir-print-ir-module-scope", action="store_true", help="print the whole module, not the function")
    g.add_argument("--mlir-print-ir-tree-dir", metavar="DIR", help="write the dumps into files below DIR")
    g.add_argument("--mlir-timing", action="store_true", help="time per pass")
    g.add_argument("--mlir-timing-display", choices=["tree", "list"], default="tree")
    g.add_argument("--mlir-pass-statistics", action="store_true", help="what each pass did, counted from its remarks")
    g.add_argument("--mlir-pass-statistics-display", choices=["pipeline", "list"], default="pipeline")
    g.add_argument("--mlir-pass-pipeline-crash-reproducer", metavar="FILE", help="on a failure write input + pipeline")
    g.add_argument(
        "--mlir-pass-pipeline-local-reproducer", action="store_true", help="with that: the failing pass and its input"
    )
    g.add_argument("--mlir-generate-reproducer", metavar="FILE", help="write input + pipeline in any case")
    g.add_argument("--remarks", action="store_true", help="print remarks (applied, missed, analysis)")


def _text_flags(g: argparse._ArgumentGroup) -> None:
    g.add_argument("-o", dest="output_file", metavar="FILE", help="write the result there (whole or not at all)")
    g.add_argument("--allow-unregistered-dialect", action="store_true")
    g.add_argument("--no-implicit-module", action="store_true", help="the file must hold a builtin.module itself")
    g.add_argument("--split-input-file", action="store_true", help=f"chunks apart; =MARKER instead of {SPLIT_MARKER}")
    g.add_argument("--output-split-marker", default=SPLIT_MARKER, metavar="TEXT")
    g.add_argument("--verify-diagnostics", action="store_true", help="check expected-error@… comments; =only-expected")
    g.add_argument("--verify-roundtrip", action="store_true", help="print, parse again and compare")
    g.add_argument("--mlir-print-op-generic", action="store_true")
    g.add_argument("--mlir-print-debuginfo", action="store_true", help="print locations")
    g.add_argument("--mlir-print-local-scope", action="store_true", help="no aliases (mlc-opt never prints any)")
    g.add_argument("--mlir-elide-elementsattrs-if-larger", type=int, metavar="N", help="elide larger constants")
    g.add_argument("--mlir-elide-resource-strings-if-larger", type=int, metavar="N", help="elide longer resources")
    g.add_argument("--resources", action="append", default=[], metavar="FILE", help="a .safetensors file of weights")
    g.add_argument("--emit", choices=["mlir", "llvm", "asm"], default="mlir", help="what to print at the end")


def help_text(parser: argparse.ArgumentParser) -> str:
    """The flags in their groups, then mlc's passes."""
    lines = [parser.format_help(), "passes (in order: --cse --canonicalize --my-pass='option=1 other=2,3'):"]
    for name in sorted(PASSES):
        cls = load_pass(name)
        options = pass_options(cls)
        lines.append(f"  --{name}{f' ({options})' if options else ''}\n                        {pass_summary(cls)}")
    lines.append(f"  and {len(pass_names()) - len(PASSES)} from elsewhere: mlc-opt --list-passes")
    return "\n".join(lines) + "\n"


def parse_args(argv: list[str], out: TextIO) -> OptArgs | None:
    """Parse; None when help was printed."""
    parser = build_parser()
    actions = {o: a for a in parser._actions for o in a.option_strings}
    known = set(pass_names())
    passes: list[Item] = []
    rest: list[str] = []
    switched: dict[str, object] = {}
    takes_value = False
    for given in argv:
        arg = _two_dashes(given, actions, known)
        flag, equals, value = arg.partition("=")
        if takes_value or not arg.startswith("-") or arg == "-" or flag == "--":
            rest.append(given)
            takes_value = False
        elif flag in actions:
            action = actions[flag]
            if action.nargs == 0 and equals:
                switched[action.dest] = _switch(flag, value)
            else:
                rest.append(arg)
                takes_value = action.nargs != 0 and not equals
        elif arg[2:].partition("=")[0] in known and arg.startswith("--"):
            passes += flag_items(flag[2:], value)
        elif not arg.startswith("--") and flag[:2] in actions:  # -oFILE
            rest.append(arg)
        else:
            raise _unknown(flag, [*known, *(f.lstrip("-") for f in actions)])
    values = parser.parse_args(rest)
    for name, value in switched.items():
        setattr(values, name, value)
    if values.help:
        out.write(help_text(parser))
        return None
    _check_together(values)
    if values.pass_pipeline is not None:
        if passes:
            raise UsageError("--pass-pipeline and single pass flags together", hint="put all passes into the pipeline")
        passes = parse_pipeline(values.pass_pipeline)
    return OptArgs(values, passes)


def _check_together(v: argparse.Namespace) -> None:
    """Flags that would do nothing beside the others are refused."""
    if not v.run:
        for flag, given in (("--native", v.native), ("--inputs", v.inputs is not None)):
            if given:
                raise UsageError(f"{flag} without --run", expected=f"--run {flag}", hint="mlc-opt --help: running")
    ends = [f for f, given in (("--run", v.run), ("--bisect", v.bisect), ("--emit", v.emit != "mlir")) if given]
    if len(ends) > 1:
        raise UsageError(f"{' and '.join(ends)} together", expected="one of them: each says what the output is")


def _two_dashes(arg: str, actions: dict[str, argparse.Action], known: set[str]) -> str:
    """`-cse` as `--cse`, `--no-verify-each` as `--verify-each=false`."""
    if arg.startswith("-") and not arg.startswith("--"):
        name = arg[1:].partition("=")[0]
        if f"--{name}" in actions or name in known:
            arg = f"-{arg}"
    return "--verify-each=false" if arg == "--no-verify-each" else arg


def _switch(flag: str, value: str) -> object:
    """The value of a yes-or-no flag; two of them take a text too."""
    if flag == "--split-input-file" and value not in (*_YES, *_NO):
        return value
    if flag == "--verify-diagnostics" and value in ("all", "only-expected"):
        return value
    if value not in (*_YES, *_NO):
        raise UsageError(f"{flag} is '{value}'", expected="true or false")
    return value in _YES


def _unknown(flag: str, names: list[str]) -> UsageError:
    near = difflib.get_close_matches(flag.lstrip("-"), names, n=2)
    hint = f"did you mean {' or '.join(f'--{n}' for n in near)}?" if near else "mlc-opt --help"
    return UsageError(f"unknown flag or pass '{flag}'", hint=environment().hint or hint)
