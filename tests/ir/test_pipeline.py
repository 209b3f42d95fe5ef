"""Textual pipelines, and what nesting means: per function, alone, the same as on the module."""

from __future__ import annotations

import random

import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from fuzz.campaign import targets
from fuzz.profiles import PROFILES
from fuzz.tape import Tape
from mlc.errors import MlcError, UsageError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.passes import MlcPass, Span
from mlc.ir.pipeline import Instruments, OpPipeline, load_pass, make_pass, nests, pass_names, run_pipeline
from mlc.ir.pipeline_text import parse_pipeline, pipeline_text

CONTRACTS = targets()
NESTED = [n for n in CONTRACTS if nests(make_pass(n))]

TEXTS = {
    "cse": "builtin.module(cse)",
    "builtin.module(func.func(cse,canonicalize))": "builtin.module(func.func(cse,canonicalize))",
    " builtin.module ( func.func ( cse , canonicalize ) , dce ) ": "builtin.module(func.func(cse,canonicalize),dce)",
    "func.func(cse)": "builtin.module(func.func(cse))",
    "any(cse)": "builtin.module(cse)",
    "builtin.module(any(cse))": "builtin.module(any(cse))",
    "builtin.module(builtin.module(plan-memory))": "builtin.module(builtin.module(plan-memory))",
    "builtin.module(func.func())": "builtin.module(func.func())",
    "builtin.module()": "builtin.module()",
    "": "builtin.module()",
    "linalg-pack-matmul{block=16}": "builtin.module(linalg-pack-matmul{block=16})",
    "vectorize-structured{vector-bits=256 vector-registers=16}": (
        "builtin.module(vectorize-structured{vector-bits=256 vector-registers=16})"
    ),
    "vectorize-structured{vector_bits=256}": "builtin.module(vectorize-structured{vector-bits=256})",
    "scf-parallel-loop-tiling{parallel-loop-tile-sizes=4,2}": (
        "builtin.module(scf-parallel-loop-tiling{parallel-loop-tile-sizes=4,2})"
    ),
    "arith-add-fastmath{flags=nnan}": 'builtin.module(arith-add-fastmath{flags="nnan"})',
}

REFUSED = {
    "func.func(plan-memory)": "can't nest pass 'plan-memory' restricted to 'builtin.module'",
    "builtin.module(any(linalg-form-kernels))": "can't nest pass 'linalg-form-kernels'",
    "builtin.module(func.func(builtin.module(plan-memory)))": "can't nest pass 'plan-memory'",
    "func.fun(cse)": "did you mean func.func",
    "arith.addi(cse)": "not isolated from above",
    "builtin.module(func.func)": "column 16",
    "builtin.module(cse": "expected: ')'",
    "builtin.module(cse dce)": "column 16",
    "cse)": "column 4",
    "cse,": "expected: a pass name",
    "(cse)": "column 1",
    "cse,,dce": "column 5",
    "func.func(" * 60 + "cse" + ")" * 60: "at most 50",
    "linalg-pack-matmul{block=x}": "block: int",
    "linalg-pack-matmul{blok=3}": "did you mean 'block'?",
    "linalg-pack-matmul{block}": "block: int",
    "linalg-pack-matmul{block=1,2}": "block: int",
    "linalg-pack-matmul{block=-3}": "option 'block' is -3\n  expected: block: 1 to 256 or 0",
    "vectorize-structured{vector-bits=300}": "vector-bits: a power of two, 64 to 2048",
    "vectorize-structured{vector-registers=0}": "vector-registers: 8 to 256",
    "apply-eqsat-pdl{max-iterations=x}": "expected: max-iterations: int",
    "memref-streamify{streams=-3}": "streams: at least 0",
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_round_trips(text: str):
    items = parse_pipeline(text)
    assert pipeline_text(items) == TEXTS[text]
    assert parse_pipeline(pipeline_text(items)) == items
    assert parse_pipeline(pipeline_text(items, pretty=True)) == items


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_the_reason(text: str):
    with pytest.raises(UsageError) as e:
        parse_pipeline(text)
    assert REFUSED[text] in str(e.value)


TWO = """
func.func private @unused() { func.return }
func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  func.return %2 : i32
}
builtin.module @inner {
  func.func @g(%a: i32) -> i32 {
    %0 = func.call @h(%a) : (i32) -> i32
    func.return %0 : i32
  }
  func.func private @h(i32) -> i32
}
"""


def events(pipeline: str) -> list[str]:
    """`pass on symbol`, in the order in which passes ran on TWO."""
    ctx = make_context()
    module = parse_text(TWO, ctx)
    seen: list[str] = []

    def before(p: ModulePass, op: object) -> None:
        symbol = getattr(op, "sym_name", None)
        seen.append(f"{p.name} on {symbol.data if isinstance(symbol, StringAttr) else 'root'}")

    run_pipeline(parse_pipeline(pipeline), ctx, module, Instruments(before=before))
    assert [op.sym_name.data for op in module.ops if isinstance(op, FuncOp | ModuleOp) and op.sym_name] == [
        "unused", "f", "inner",
    ]  # fmt: skip
    return seen


def test_a_nested_pipeline_runs_function_by_function():
    assert events("builtin.module(func.func(cse,dce),cse)") == [
        "cse on unused", "dce on unused", "cse on f", "dce on f", "cse on root",
    ]  # fmt: skip
    assert events("builtin.module(any(cse))") == ["cse on unused", "cse on f", "cse on inner"]
    assert events("builtin.module(builtin.module(func.func(cse)))") == ["cse on g", "cse on h"]
    assert events("builtin.module(llvm.func(cse))") == []


def doubled(module: ModuleOp) -> None:
    """Every function once more under another name."""
    for op in list(module.ops):
        if isinstance(op, FuncOp):
            copy = op.clone()
            copy.properties["sym_name"] = StringAttr(f"{op.sym_name.data}.again")
            module.body.block.add_op(copy)


@pytest.mark.parametrize("name", NESTED)
def test_nested_is_what_the_pass_does_on_the_module(name: str):
    """The promise of `Contract.nests`: no function's result depends on another symbol."""
    generate = PROFILES[CONTRACTS[name].profile]
    options = dict(next(iter(CONTRACTS[name].options), {}))
    changed = 0
    for seed in range(12):
        program = generate(Tape(random.Random(seed).randbytes(150)))
        doubled(program.module)
        whole, alone = program.copy(), program.copy()
        start = print_text(whole.module)
        outcomes = []
        for p, pipeline in (
            (whole, [make_pass(name, options)]),
            (alone, [OpPipeline("func.func", (make_pass(name, options),))]),
        ):
            try:
                run_pipeline(pipeline, p.ctx, p.module, Instruments(verify_each=True))
            except MlcError as e:
                outcomes.append(f"{type(e).__name__}: {e}")
            else:
                remarks = [(r.kind, r.op, r.where, r.message) for r in p.ctx.remarks]
                outcomes.append(f"{print_text(p.module)}\n{remarks}")
        assert outcomes[0] == outcomes[1]
        changed += print_text(whole.module) != start
    assert changed >= 2, "the pass hardly ever did anything"


def test_every_number_option_of_our_passes_has_a_range():
    for name in pass_names():
        cls = load_pass(name)
        if issubclass(cls, MlcPass):
            for option, field in cls.__dataclass_fields__.items():
                if "int" in str(field.type):
                    assert isinstance(field.metadata.get("span"), Span), f"{name}: {option}"
