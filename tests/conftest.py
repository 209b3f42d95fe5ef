"""Collects `.mlir` files with RUN lines and runs them in-process.

    // RUN: mlc-opt --cse %s | filecheck %s
    // RUN: not mlc-opt --no-such-pass %s 2>&1 | filecheck %s --check-prefix=ERR

Supported: `mlc-opt` (first, optionally behind `not`), `2>&1`, `| filecheck %s [--check-prefix=P]`, `%s`, `%t`.
A file without a RUN line is not collected.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options
from filecheck.parser import Parser as FileCheckParser

from mlc.tools.mlc_opt import main

# Tools of this environment (torch-mlir-opt, mlc-opt) are found without activating it.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
# Tests fork and look at their own threads: workers of numpy or PyTorch, which do not survive forks, are in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests run beside each other already; tests of compiling in further processes ask for some.
os.environ.setdefault("MLC_COMPILE_WORKERS", "0")


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.File | None:
    if file_path.suffix == ".mlir" and "RUN:" in file_path.read_text(errors="replace"):
        return MlirFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first: at the end one process would be left alone with it."""
    items.sort(key=lambda item: "tests/properties/" not in item.nodeid)


class MlirFile(pytest.File):
    def collect(self):
        lines = self.path.read_text().splitlines()
        runs = [line.split("RUN:", 1)[1].strip() for line in lines if line.startswith("// RUN:")]
        for i, run in enumerate(runs):
            yield MlirRun.from_parent(self, name=f"run{i}", run=run)


class MlirFailure(Exception):
    pass


class MlirRun(pytest.Item):
    def __init__(self, *, run: str, **kwargs):
        super().__init__(**kwargs)
        self.run = run

    def runtest(self) -> None:
        source = str(self.path)
        temporary = str(Path(self.config.rootpath) / ".pytest_cache" / f"{self.path.stem}.tmp")
        stages = [s.strip() for s in self.run.split("|")]
        argv = [a.replace("%s", source).replace("%t", temporary) for a in shlex.split(stages[0])]
        expect_failure = argv[0] == "not"
        argv = argv[1:] if expect_failure else argv
        merge = "2>&1" in argv
        argv = [a for a in argv if a != "2>&1"]
        if argv[0] != "mlc-opt":
            raise MlirFailure(f"RUN line starts with {argv[0]!r}; only mlc-opt is known")
        out = io.StringIO()
        err = out if merge else io.StringIO()
        code = main(argv[1:], stdout=out, stderr=err)
        if (code != 0) != expect_failure:
            raise MlirFailure(f"exit code {code} of: {self.run}\n{err.getvalue()}\n{out.getvalue()[-4000:]}")
        if len(stages) > 1:
            check = [a.replace("%s", source) for a in shlex.split(stages[1])]
            if check[0] not in ("filecheck", "FileCheck"):
                raise MlirFailure(f"stage {check[0]!r} is not filecheck")
            options = parse_argv_options(check)
            messages = io.StringIO()
            with contextlib.redirect_stdout(messages), contextlib.redirect_stderr(messages):
                matcher = Matcher(options, FInput("<output>", out.getvalue()), FileCheckParser.from_opts(options))
                code = matcher.run()
            if code != 0:
                raise MlirFailure(f"{messages.getvalue()}\n--- output ---\n{out.getvalue()[-6000:]}")

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, MlirFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}: {self.run}"
