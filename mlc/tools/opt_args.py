"""Arguments of `mlc-opt`. Pass flags (`--cse`, `--my-pass='option=1'`) keep their order, as in `mlir-opt`."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import dataclass, field
from typing import NoReturn, TextIO

from xdsl.passes import ModulePass

from mlc.errors import UsageError
from mlc.ir.pipeline import load_pass, parse_pipeline, pass_names


@dataclass
class OptArgs:
    """Parsed arguments."""

    values: argparse.Namespace
    passes: list[ModulePass] = field(default_factory=list)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint="mlc-opt --help shows all flags")


def build_parser() -> argparse.ArgumentParser:
    """The flags apart from one per pass."""
    p = _Parser(prog="mlc-opt", description=__doc__, allow_abbrev=False, add_help=True)
    p.add_argument("input_file", nargs="?", default="-", help="a .mlir file; '-' or nothing: standard input")
    p.add_argument("-o", dest="output_file", metavar="FILE", help="write the result there (whole or not at all)")
    g = p.add_argument_group("passes (also one flag per pass, in order: --cse --canonicalize='option=value')")
    g.add_argument("-p", "--pass-pipeline", metavar="TEXT", help="builtin.module(func.func(cse,canonicalize))")
    g.add_argument("--mlc-pipeline", metavar="TARGET", help="the compile pipeline of a target: cpu")
    g.add_argument("--mlc-to", metavar="LEVEL", help="stop --mlc-pipeline at this level")
    g.add_argument("--verify-each", default=True, action=argparse.BooleanOptionalAction, help="verify after each pass")
    g.add_argument("--mlir-print-ir-before", action="append", default=[], metavar="PASS")
    g.add_argument("--mlir-print-ir-after", action="append", default=[], metavar="PASS")
    g.add_argument("--mlir-print-ir-before-all", action="store_true")
    g.add_argument("--mlir-print-ir-after-all", action="store_true")
    g.add_argument("--mlir-print-ir-after-change", action="store_true", help="after a pass only if it changed the IR")
    g.add_argument("--mlir-print-ir-after-failure", action="store_true")
    g.add_argument("--mlir-print-ir-tree-dir", metavar="DIR", help="write the dumps into files below DIR")
    g.add_argument("--mlir-timing", action="store_true", help="time per pass")
    g.add_argument("--mlir-pass-statistics", action="store_true", help="what each pass did, from its remarks")
    g.add_argument("--mlir-pass-pipeline-crash-reproducer", metavar="FILE", help="on a failure write input + pipeline")
    g.add_argument("--run-reproducer", action="store_true", help="run the pipeline stored in a reproducer file")
    g.add_argument("--remarks", action="store_true", help="print remarks (applied, missed, analysis)")
    g.add_argument("--bisect", action="store_true", help="name the pass and rewrite that changes the meaning")
    f = p.add_argument_group("input and output")
    f.add_argument("--allow-unregistered-dialect", action="store_true")
    f.add_argument("--split-input-file", action="store_true", help="chunks separated by // -----")
    f.add_argument("--verify-diagnostics", action="store_true", help="check expected-error@… comments")
    f.add_argument("--mlir-print-op-generic", action="store_true")
    f.add_argument("--mlir-print-debuginfo", action="store_true", help="print locations")
    f.add_argument("--mlir-elide-elementsattrs-if-larger", type=int, metavar="N", help="elide larger constants")
    f.add_argument("--resources", action="append", default=[], metavar="FILE", help="a .safetensors file of weights")
    f.add_argument("--emit", choices=["mlir", "llvm", "asm"], default="mlir", help="what to print at the end")
    r = p.add_argument_group("running")
    r.add_argument("--run", action="store_true", help="execute the result in the reference interpreter")
    r.add_argument("--native", action="store_true", help="with --run: compile and execute natively")
    r.add_argument("--entry-point", default="forward", metavar="FUNC")
    r.add_argument("--inputs", metavar="FILE", help="an .npz file with arg0, arg1, … (random by --seed otherwise)")
    r.add_argument("--seed", type=int, default=0)
    i = p.add_argument_group("information")
    i.add_argument("--show-dialects", action="store_true")
    i.add_argument("--list-passes", action="store_true")
    i.add_argument("--dump-pass-pipeline", action="store_true", help="print the pipeline to standard error")
    i.add_argument("--version", action="store_true")
    i.add_argument("--debug", action="store_true", help="show Python tracebacks")
    return p


def parse_args(argv: list[str], out: TextIO) -> OptArgs | None:
    """Parse; None when help was printed."""
    parser = build_parser()
    if "-h" in argv or "--help" in argv:
        out.write(parser.format_help())
        return None
    passes: list[ModulePass] = []
    rest: list[str] = []
    known = set(pass_names())
    flags = {o for a in parser._actions for o in a.option_strings}
    for arg in argv:
        name, _, value = arg[2:].partition("=")
        if arg.startswith("--") and f"--{name}" not in flags:
            if name not in known:
                near = difflib.get_close_matches(name, [*known, *(f[2:] for f in flags)], n=2)
                hint = f"did you mean {' or '.join(f'--{n}' for n in near)}?" if near else "mlc-opt --help"
                raise UsageError(f"unknown flag or pass '--{name}'", hint=hint)
            load_pass(name)
            options = value.strip("{}'\"")
            passes += parse_pipeline(f"{name}{{{options}}}" if options else name)
        else:
            rest.append(arg)
    values = parser.parse_args(rest)
    if values.pass_pipeline is not None:
        if passes:
            raise UsageError("--pass-pipeline and single pass flags together", hint="put all passes into the pipeline")
        passes = parse_pipeline(values.pass_pipeline)
    return OptArgs(values, passes)
