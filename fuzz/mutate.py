"""Mutation testing: small lies put into a pass's source, one at a time; its property must see each of them.

    python -m fuzz.mutate --pass linalg-fold-transposes --mutants 30 --programs 60
    a < b  -> a <= b     and -> or     if c -> if not c     n -> n + 1     + -> -     True -> False

Each mutant runs in a forked process on random programs of the pass's profile and on its stored tapes. It is killed by a
finding, an error, a timeout, or a rule that hardly fires any more. Code that only chooses what is fast survives by
right, so a score of 100 % is out of reach; survivors are listed for reading. A line per pass goes to
`fuzz/mutation-scores.jsonl`.
"""

from __future__ import annotations

import argparse
import ast
import copy
import datetime
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.campaign import run_tape, targets
from fuzz.corpus import tapes_of
from mlc.ir.pipeline import load_pass
from mlc.testing.program import Discard

SCORES = Path(__file__).parent / "mutation-scores.jsonl"
_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
}  # fmt: skip


def _alter(node: ast.AST) -> str:
    """Change one node in place; what was done, or nothing where the node is not of a kind to change."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            node.ops = [_COMPARE[type(op)]()]
            return f"{type(op).__name__} -> {type(node.ops[0]).__name__}"
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return f"-> {type(node.op).__name__}"
        case ast.If() | ast.IfExp() | ast.While():
            node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
            return "condition negated"
        case ast.BinOp(op=op) if type(op) in _BINARY:
            node.op = _BINARY[type(op)]()
            return f"{type(op).__name__} -> {type(node.op).__name__}"
        case ast.Constant(value=bool()):
            node.value = not node.value
            return f"-> {node.value}"
        case ast.Constant(value=int()):
            node.value = int(node.value) + 1  # pyright: ignore[reportArgumentType]
            return f"-> {node.value}"
        case _:
            return ""


def _changeable(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of function bodies, in order: not annotations, asserts, contracts or what is said in remarks."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Assert | ast.arguments | ast.AnnAssign):
            continue
        if isinstance(tree, ast.FunctionDef) and child is tree.returns:
            continue
        if isinstance(child, ast.Assign) and isinstance(tree, ast.ClassDef):
            continue
        if isinstance(child, ast.keyword) and child.arg == "strict":  # of zip: an assertion
            continue
        if isinstance(child, ast.Call) and "remarks" in ast.unparse(child.func):
            continue
        yield child
        yield from _changeable(child)


def mutants(source: str) -> list[tuple[str, ast.Module]]:
    """Every mutant of a file: where and what, and its tree."""
    tree = ast.parse(source)
    found: list[tuple[str, ast.Module]] = []
    for k, node in enumerate(_changeable(tree)):
        if not _alter(copy.deepcopy(node)):
            continue
        other = copy.deepcopy(tree)
        target = list(_changeable(other))[k]
        what = _alter(target)
        found.append((f"line {getattr(target, 'lineno', 0)}: {what}", ast.fix_missing_locations(other)))
    return found


def _tapes(name: str, programs: int) -> list[bytes]:
    """What every mutant of a pass is run on: stored tapes, then random ones."""
    rng = random.Random(1)
    return tapes_of(name) + [rng.randbytes(rng.randint(80, 240)) for _ in range(programs)]


def _dies(name: str, tapes: list[bytes], rules: set[str], seconds: int, patch: Callable[[], None]) -> bool:
    """Whether the property of the pass sees what `patch` does to it, in a forked process."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    signal.alarm(seconds)
    code = 1
    try:
        patch()
        code = int(_seen(name, tapes, rules))
    finally:
        os._exit(code)


def _seen(name: str, tapes: list[bytes], rules: set[str]) -> bool:
    """Whether a program shows it, or a rule that fired before hardly ever does: what the property asks for."""
    contract = targets()[name]
    fired: Counter[str] = Counter()
    for k, tape in enumerate(tapes):
        try:
            _, outcome, _ = run_tape(name, contract, tape, thorough=k % 4 == 0)
        except Discard:
            continue
        if outcome.finding is not None:
            return True
        fired.update(outcome.fired)
    return not rules <= _frequent(fired, len(tapes))


def _frequent(fired: Counter[str], programs: int) -> set[str]:
    """Rules that fire ten times in 200 programs."""
    return {rule for rule, times in fired.items() if times * 200 >= 10 * programs}


def _baseline(name: str, tapes: list[bytes]) -> set[str]:
    """Rules that fire often enough without a mutant."""
    fired: Counter[str] = Counter()
    for tape in tapes:
        try:
            fired.update(run_tape(name, targets()[name], tape, thorough=False)[1].fired)
        except Discard:
            continue
    return _frequent(fired, len(tapes))


def score(name: str, count: int, programs: int, seed: int, seconds: int) -> dict[str, object]:
    """Try a sample of the mutants of a pass's file."""
    module = sys.modules[load_pass(name).__module__]
    assert module.__file__ is not None
    every = mutants(Path(module.__file__).read_text())
    sample = random.Random(seed).sample(every, min(count, len(every)))
    tapes = _tapes(name, programs)
    rules = _baseline(name, tapes)

    def survives(tree: ast.Module) -> bool:
        code = compile(tree, str(module.__file__), "exec")
        return not _dies(name, tapes, rules, seconds, lambda: exec(code, module.__dict__))

    if not survives(ast.parse(Path(module.__file__).read_text())):
        raise SystemExit(f"{name}: the property fails without any mutant")
    survivors = [what for what, tree in sample if survives(tree)]
    return {
        "pass": name,
        "date": datetime.date.today().isoformat(),
        "mutants": len(every),
        "tried": len(sample),
        "killed": len(sample) - len(survivors),
        "score": round((len(sample) - len(survivors)) / max(1, len(sample)), 3),
        "programs": programs,
        "seed": seed,
        "survivors": sorted(survivors),
    }


def main() -> None:
    """Score passes, print and append a line for each."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.mutate", description="Mutants of passes against properties.")
    parser.add_argument("--pass", dest="passes", action="append", default=[], help="only this pass (may be repeated)")
    parser.add_argument("--mutants", type=int, default=30, help="how many of a pass's mutants to try")
    parser.add_argument("--programs", type=int, default=60, help="programs per mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=60, help="a mutant that runs longer counts as seen")
    options = parser.parse_args()
    for name in options.passes or list(targets()):
        line = json.dumps(score(name, options.mutants, options.programs, options.seed, options.seconds))
        print(line, flush=True)
        with SCORES.open("a") as scores:
            scores.write(line + "\n")


if __name__ == "__main__":
    main()
