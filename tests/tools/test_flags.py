"""The flags of `mlc-opt`, as users of `mlir-opt` know them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from mlc.ir.pipeline import load_pass, pass_summary
from mlc.tools.mlc_opt import main
from mlc.universe import PASSES

TWO = """func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  func.return %2 : i32
}
func.func @g(%a: i32) -> i32 {
  func.return %a : i32
}
"""
NESTED = "--pass-pipeline=builtin.module(func.func(cse,canonicalize),cse)"
RESOURCE = """func.func @f() -> (tensor<2xf32>, tensor<3xi32>) {
  %0 = arith.constant dense_resource<w> : tensor<2xf32>
  %1 = arith.constant dense<[1, 2, 3]> : tensor<3xi32>
  func.return %0, %1 : tensor<2xf32>, tensor<3xi32>
}
{-# dialect_resources: { builtin: { w: "0x10000000000080BF00000040", unused: "0x0400000000000000" } } #-}
"""


def opt(tmp_path: Path, text: str, *args: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    file = tmp_path / "in.mlir"
    file.write_text(text)
    out, err = io.StringIO(), io.StringIO()
    return main([str(file), *args], stdout=out, stderr=err), out.getvalue(), err.getvalue()


def good(tmp_path: Path, text: str, *args: str) -> tuple[str, str]:
    """Standard output and error of a run that succeeds."""
    code, out, err = opt(tmp_path, text, *args)
    assert code == 0, err
    return out, err


def headers(err: str) -> list[str]:
    """Titles of the IR dumps."""
    return re.findall(r"// -----// IR Dump (.*) //----- //", err)


def test_pipelines_are_shown_nested(tmp_path: Path):
    _, err = good(tmp_path, TWO, NESTED, "--dump-pass-pipeline")
    assert "builtin.module(\n  func.func(\n    cse,\n    canonicalize\n  ),\n  cse\n)" in err


def test_ir_dumps(tmp_path: Path):
    cse, canonicalize = "CommonSubexpressionElimination: cse", "Canonicalize: canonicalize"
    _, err = good(tmp_path, TWO, NESTED, "--mlir-print-ir-after-all")
    assert headers(err) == [f"After {cse}", f"After {canonicalize}"] * 2 + [f"After {cse}"]
    assert err.count("builtin.module {") == 1, "a nested pass shows its function"
    _, err = good(
        tmp_path, TWO, NESTED, "--mlir-print-ir-before=canonicalize", "--mlir-print-ir-after=cse,canonicalize"
    )
    assert headers(err)[:3] == [f"After {cse}", f"Before {canonicalize}", f"After {canonicalize}"]
    _, err = good(tmp_path, TWO, NESTED, "--mlir-print-ir-after-change")
    assert headers(err) == [f"After {cse}"] and "@f" in err and "@g" not in err
    _, err = good(tmp_path, TWO, NESTED, "--mlir-print-ir-before-all", "--mlir-print-ir-module-scope")
    assert headers(err)[2] == f"Before {cse} ('func.func' operation: @g)"
    assert err.count("builtin.module {") == 5
    _, err = good(tmp_path, TWO, NESTED, "--mlir-print-ir-after-failure", "--mlir-print-ir-after-all")
    assert headers(err) == []
    code, _, err = opt(tmp_path, TWO, "--cse", "--mlir-print-ir-after=csse")
    assert code == 2 and "did you mean 'cse'" in err


def test_ir_dumps_as_files(tmp_path: Path):
    tree = tmp_path / "tree"
    good(
        tmp_path,
        TWO,
        NESTED,
        "--mlir-print-ir-before-all",
        "--mlir-print-ir-after-all",
        f"--mlir-print-ir-tree-dir={tree}",
    )
    root = tree / "builtin_module_no-symbol-name"
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.mlir")) == [
        "1_cse.mlir", "2_cse.mlir",
        *(f"func_func_{f}/0_{i}_{('cse', 'canonicalize')[i // 2]}.mlir" for f in "fg" for i in range(4)),
    ]  # fmt: skip
    code, _, err = opt(
        tmp_path, TWO, "--cse", "--mlir-print-ir-after-all", f"--mlir-print-ir-tree-dir={tmp_path}/in.mlir"
    )
    assert code == 2 and "cannot write below" in err


def test_timing_and_statistics(tmp_path: Path):
    _, err = good(tmp_path, TWO, NESTED, "--mlir-timing")
    names = [line.split("%)")[1] for line in err.splitlines() if "%)" in line]
    assert names == [
        "  Parser", "  'func.func' Pipeline", "    cse", "    (verifier)", "    canonicalize", "  cse", "  (verifier)",
        "  Output", "  Rest", "  Total",
    ]  # fmt: skip
    _, err = good(tmp_path, TWO, NESTED, "-mlir-timing=1", "--mlir-timing-display=list", "--verify-each=false")
    names = {line.split("%)")[1].strip() for line in err.splitlines() if "%)" in line}
    assert names == {"Parser", "cse", "canonicalize", "Output", "Rest", "Total"}
    loops = (
        'func.func @f(%n: index) { "scf.parallel"(%n, %n, %n) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> '
        "({ ^bb0(%i: index): scf.reduce }) : (index, index, index) -> () func.return }"
    )
    _, err = good(tmp_path, loops, "--scf-parallel-to-for", "--mlir-pass-statistics")
    assert "... Pass statistics report ..." in err
    assert "scf-parallel-to-for\n  (S)      1 applied\n" in err


def test_flags_as_llvm_reads_them(tmp_path: Path):
    out, err = good(tmp_path, TWO, "-cse", "-mlir-print-op-generic=true", "--mlir-timing=false")
    assert '"arith.muli"(%0, %0)' in out and err == ""
    for value in ("0", "false"):
        assert "verifier" not in good(tmp_path, TWO, "--cse", f"--verify-each={value}", "--mlir-timing")[1]
    for value in ("1", "true"):
        assert "verifier" in good(tmp_path, TWO, "--cse", f"--verify-each={value}", "--mlir-timing")[1]
    code, _, err = opt(tmp_path, TWO, "--mlir-timing=maybe")
    assert code == 2 and "expected: true or false" in err
    file = tmp_path / "out.mlir"
    assert good(tmp_path, TWO, f"-o{file}") == ("", "") and "func.func @f" in file.read_text()
    for spelling in (
        "--linalg-pack-matmul=block=16",
        "--linalg-pack-matmul='block=16'",
        "--linalg-pack-matmul={block=16}",
    ):
        assert "linalg-pack-matmul{block=16}" in good(tmp_path, TWO, spelling, "--dump-pass-pipeline")[1]


def test_information(tmp_path: Path):
    out, _ = good(tmp_path, "", "--help")
    assert "looking into a pipeline:" in out and "--linalg-pack-matmul (block=0" in out
    assert good(tmp_path, "", "--version")[0].startswith("mlc-opt ")
    listed, _ = good(tmp_path, "", "--list-passes")
    assert re.search(r"linalg-pack-matmul\{block=0 .*\}\n    Pack constant", listed)
    whole = "what differs is left open, their calls pass it.\n"  # two lines of a docstring
    assert whole in out and whole in listed


def test_summaries_of_passes_are_whole_sentences():
    for name in PASSES:
        summary = pass_summary(load_pass(name))
        assert summary.endswith(".") and "\n" not in summary, f"{name}: {summary}"


def test_printing(tmp_path: Path):
    out, _ = good(tmp_path, TWO, "--mlir-print-debuginfo", "--mlir-print-local-scope")
    assert re.search(r'arith.muli %0, %1 : i32 loc\(".*in.mlir":4:3\)', out)
    assert good(tmp_path, "// nothing\n")[0] == "builtin.module {\n}\n"
    code, _, err = opt(tmp_path, TWO, "--no-implicit-module")
    assert code == 1 and "builtin.module operation expected" in err
    assert good(tmp_path, f"builtin.module {{ {TWO} }}", "--no-implicit-module")[0] == good(tmp_path, TWO)[0]
    assert good(tmp_path, TWO, "--verify-roundtrip") == good(tmp_path, TWO)
    kept = "llvm.func internal @f() attributes {no_inline} {\n  llvm.return\n}\n"
    assert "attributes {no_inline}" in good(tmp_path, kept, "--verify-roundtrip")[0]


def test_resources_of_the_text_stay_with_it(tmp_path: Path):
    out, _ = good(tmp_path, RESOURCE)
    section = '{-#\n  dialect_resources: {\n    builtin: {\n      w: "0x10000000000080BF00000040"\n    }\n  }\n#-}\n'
    assert out.endswith("}\n\n" + section)
    assert good(tmp_path, out)[0] == out
    out, _ = good(
        tmp_path, RESOURCE, "--mlir-elide-resource-strings-if-larger=20", "--mlir-elide-elementsattrs-if-larger=2"
    )
    assert "{-#" not in out and "dense_resource<__elided__> : tensor<3xi32>" in out and "dense_resource<w>" in out
    big = "0x04000000" + "3F" * (1 << 20)
    blobs = f'{{-# dialect_resources: {{ builtin: {{ w: "{big}" }} }} #-}}'
    text = f"%0 = arith.constant dense_resource<w> : tensor<{1 << 18}xf32>\n{blobs}"
    assert big in good(tmp_path, text)[0], "what came with the text is not lost"


def test_splitting(tmp_path: Path):
    one = "func.func @f() { func.return }\n"
    module = good(tmp_path, one)[0]
    assert good(tmp_path, f"{one}// -----\n{one}", "--split-input-file")[0] == f"{module}// -----\n{module}"
    out, _ = good(tmp_path, f"{one}// ====\n{one}", "--split-input-file=// ====", "--output-split-marker=// next")
    assert out.replace("\n", "") == f"{module}// next{module}".replace("\n", "")
    code, out, err = opt(tmp_path, f"{one}// -----\nfoo.bar\n// -----\nbar.baz", "--split-input-file")
    assert (code, out) == (1, "")
    assert "in.mlir:3:1:" in err and "in.mlir:5:1:" in err, "every chunk says what is wrong with it"


DIAGNOSTICS = {
    "above": ("foo.bar\n// expected-error@above {{not registered}}", True),
    "below past others": (
        "// expected-error@below {{not registered}}\n// expected-note@below {{dialects}}\nfoo.bar",
        True,
    ),
    "plus": ("// expected-error @+2 {{not registered}}\n\nfoo.bar", True),
    "regular expression": ("foo.bar // expected-error-re {{foo.{{b.r}} is not {{(un)?registered}}}}", True),
    "not the expression": ("foo.bar // expected-error-re {{foo.{{b.z}} is}}", False),
    "no expression": ("foo.bar // expected-error {{foo.{{b.r}}}}", False),
    "wrong line": ("foo.bar\n// expected-error {{not registered}}", False),
    "warning": (
        "// expected-warning@below {{takes the torch level}}\n// expected-remark@below {{nothing to do}}\n"
        "module { func.func @f(%a: i32) -> i32 { %0 = arith.addi %a, %a : i32\n func.return %0 : i32 } }",
        True,
    ),
    "unexpected warning": (TWO, False),
    "unmet": ("// expected-remark {{never}}", False),
}


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_verify_diagnostics(name: str, tmp_path: Path):
    text, met = DIAGNOSTICS[name]
    code, _, err = opt(tmp_path, text, "--verify-diagnostics", "--torch-canonicalize")
    assert (code == 0) == met, err
    code, _, err = opt(tmp_path, text, "--verify-diagnostics=only-expected", "--torch-canonicalize")
    assert (code == 0) == (met or name.startswith("unexpected")), err


def test_a_pass_off_its_level_says_so(tmp_path: Path):
    _, err = good(tmp_path, TWO, "--linalg-fuse-elementwise", "--remarks")
    assert "in.mlir:1: warning: pass 'linalg-fuse-elementwise' takes the linalg level" in err
    assert "[linalg-fuse-elementwise] missed: builtin.module: nothing to do" in err
    linalg = (
        "func.func @f(%a: tensor<2xf32>) -> tensor<2xf32> {\n"
        "%0 = arith.addf %a, %a : tensor<2xf32>\n func.return %0 : tensor<2xf32> }"
    )
    assert good(tmp_path, linalg, "--linalg-fuse-elementwise")[1] == ""
    assert "takes the buffers level" in good(tmp_path, linalg, "--plan-memory")[1]
    assert good(tmp_path, linalg, "--mlc-pipeline=cpu", "--mlc-to=linalg", "--entry-point=f")[1] == "", (
        "starts anywhere"
    )
    assert good(tmp_path, "func.func @f() { func.return }", "--linalg-fuse-elementwise")[1] == ""


UNREGISTERED = """func.func @f(%a: tensor<2xf32>) -> tensor<2xf32> {
  %0 = "foo.bar"(%a) ({
  ^bb0(%x: f32):
    "foo.yield"(%x) : (f32) -> ()
  }) {a = 3 : i32} : (tensor<2xf32>) -> tensor<2xf32>
  "foo.sink"(%0) : (tensor<2xf32>) -> ()
  func.return %0 : tensor<2xf32>
}
"""


def test_unregistered_ops_stand_anywhere_in_a_block(tmp_path: Path):
    out, _ = good(
        tmp_path, UNREGISTERED, "--allow-unregistered-dialect", "--verify-roundtrip", "--cse", "--canonicalize"
    )
    assert '"foo.sink"(%0)' in out and '"foo.yield"(%x)' in out and "{a = 3 : i32}" in out
    code, _, err = opt(tmp_path, UNREGISTERED)
    assert code == 1 and "foo.bar is not registered" in err
