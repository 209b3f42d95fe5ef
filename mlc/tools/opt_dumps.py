"""IR dumps around passes, as mlir-opt's `--mlir-print-ir-*` flags give them.

    // -----// IR Dump After CommonSubexpressionElimination: cse //----- //
    func.func @f() { … }

With `--mlir-print-ir-tree-dir` each dump is a file: `builtin_module_no-symbol-name/func_func_f/1_0_cse.mlir` is the
first dump of @f, between the first and the second of its module. A nested pipeline takes a number of its parent too.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from mlc.errors import UsageError
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import load_pass
from mlc.ir.pipeline_text import pass_text
from mlc.tools.elide import elided


class Dumps:
    """What the flags ask for."""

    def __init__(self, v: argparse.Namespace, err: TextIO) -> None:
        self.err = err
        self.debuginfo: bool = v.mlir_print_debuginfo
        self.generic: bool = v.mlir_print_op_generic
        self.limit: int | None = v.mlir_elide_elementsattrs_if_larger
        self.module_scope: bool = v.mlir_print_ir_module_scope
        self.directory = Path(v.mlir_print_ir_tree_dir) if v.mlir_print_ir_tree_dir else None
        self.only_changes: bool = v.mlir_print_ir_after_change
        self.only_failures: bool = v.mlir_print_ir_after_failure
        self.names_before, self.names_after = _names(v.mlir_print_ir_before), _names(v.mlir_print_ir_after)
        self.all_before: bool = v.mlir_print_ir_before_all
        modified = self.only_changes or self.only_failures
        self.all_after: bool = v.mlir_print_ir_after_all or (modified and not self.names_after)
        self._seen = ""
        self._numbers: Counter[Operation] = Counter()
        self._entered: set[Operation] = set()

    @property
    def wanted(self) -> bool:
        """Whether anything is to be printed."""
        return bool(self.all_before or self.all_after or self.names_before or self.names_after)

    def before(self, p: ModulePass, op: Operation) -> None:
        """Ahead of each pass."""
        if self.all_before or p.name in self.names_before:
            self._dump("Before", p, op)
        if self.only_changes:
            self._seen = print_text(op)

    def after(self, p: ModulePass, op: Operation) -> None:
        """When a pass has succeeded."""
        asked = self.all_after or p.name in self.names_after
        if asked and not self.only_failures and not (self.only_changes and print_text(op) == self._seen):
            self._dump("After", p, op)

    def failed(self, p: ModulePass, op: Operation) -> None:
        """When a pass has failed: the IR as it left it."""
        if self.all_after or p.name in self.names_after:
            self._dump("After", p, op, " Failed")

    def _dump(self, when: str, p: ModulePass, op: Operation, state: str = "") -> None:
        shown = op
        if self.module_scope:
            while (parent := shown.parent_op()) is not None:
                shown = parent
        copy = elided(shown, self.limit)
        text = print_text(copy, debuginfo=self.debuginfo, generic=self.generic)
        if self.directory is not None:
            self._file(p, op, text)
            return
        place = f" ('{op.name}' operation{_symbol(op, ': @')})" if self.module_scope else ""
        title = f"IR Dump {when} {type(p).__name__}{state}: {pass_text(p)}{place}"
        self.err.write(f"// -----// {title} //----- //\n{text}\n")

    def _file(self, p: ModulePass, op: Operation, text: str) -> None:
        assert self.directory is not None
        chain = [op]
        while (parent := chain[0].parent_op()) is not None:
            chain.insert(0, parent)
        folder = self.directory
        for o in chain:
            folder /= f"{o.name.replace('.', '_')}_{_symbol(o) or 'no-symbol-name'}".replace("/", "_")[:200]
        if op in self._entered:  # dumps inside it took a number
            self._numbers[op] += 1
            self._entered.discard(op)
        number = "_".join(str(self._numbers[o]) for o in chain)
        self._numbers[op] += 1
        self._entered.update(chain[:-1])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}_{p.name}.mlir").write_text(text, encoding="utf-8")
        except OSError as e:
            raise UsageError(f"cannot write below '{self.directory}': {e.strerror or e}") from None


def _symbol(op: Operation, prefix: str = "") -> str:
    name = op.properties.get("sym_name") or op.attributes.get("sym_name")
    return f"{prefix}{name.data}" if isinstance(name, StringAttr) else ""


def _names(given: list[str]) -> set[str]:
    """Pass names of repeated, comma-separated flags, checked."""
    names = {n.strip() for text in given for n in text.split(",") if n.strip()}
    for name in sorted(names):
        load_pass(name)
    return names
