"""Plug-ins that fail, or take names that others have, spoil nothing else and are named when they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.packages import install, opt

PASSES = """
from dataclasses import dataclass
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe

@dataclass(frozen=True)
class Crash(ModulePass):
    name = "plug-crash"

    def apply(self, ctx, op):
        raise KeyError("gone")

def broken():
    raise OSError("no such library")

UNIVERSE = Universe(all_dialects={"plug": broken}, all_passes={"plug-crash": lambda: Crash, "plug-broken": broken})
CLASH = Universe(all_passes={"cse": lambda: Crash, "plug-clash": lambda: Crash})
TWIN = Universe(all_passes={"plug-crash": lambda: Crash})
"""
BACKENDS = """
from mlc.backends.llvm import CPU_BACKEND

class Mine:
    name = "mine"
    names = ("mine",)

    def targets(self):
        return self.names

    def machine(self, target):
        return CPU_BACKEND.machine("native")

    def __getattr__(self, attribute):
        return getattr(CPU_BACKEND, attribute)

class Shadow(Mine):
    names = ("native", "shadow")

MINE, SHADOW, BARE = Mine(), Shadow(), object()
"""
MLP = "examples/mlp.mlir"
NATIVE = (MLP, "--run", "--native")


def test_a_plugin_that_fails_is_left_out_and_named(tmp_path: Path):
    entries = "[xdsl.universe]\nbad = bad_package:UNIVERSE\n[mlc.backends]\nbad = bad_package:BACKEND\n"
    env = install(tmp_path, "bad_package", "import no_such_module\n", entries)
    assert opt(env, *NATIVE)[::2] == (0, "")
    cause = "(package bad_package 1.0): ModuleNotFoundError: No module named 'no_such_module'"
    dialect = "entry point 'bad = bad_package:UNIVERSE' of group xdsl.universe " + cause
    backend = "entry point 'bad = bad_package:BACKEND' of group mlc.backends " + cause
    for flags, message in (
        (["--target=bad"], "plugin: no backend for target 'bad'"),
        (["--target=bad"], backend),
        (["--bad-pass"], dialect),
        (["--pass-pipeline=builtin.module(bad-pass)"], dialect),
    ):
        code, out, err = opt(env, MLP, *flags)
        assert (code, out) == (2, "") and message in err and "Traceback" not in err
    assert "Traceback" in opt(env, MLP, "--target=bad", "--debug")[2]
    file = tmp_path / "f.mlir"
    file.write_text("func.func @f() {\n  bad.op\n  func.return\n}\n")
    code, _, err = opt(env, str(file))
    assert code == 1 and "f.mlir:2" in err and dialect in err
    assert dialect in opt(env, "--list-passes")[1] and backend in opt(env, "--version")[1]


def test_names_that_two_packages_give(tmp_path: Path):
    entries = "[xdsl.universe]\nplug = plug_package:UNIVERSE\nq = plug_package:CLASH\nr = plug_package:TWIN\n"
    env = install(tmp_path, "plug_package", PASSES, entries)
    assert opt(env, *NATIVE)[::2] == (0, "")
    for name, message in (
        ("cse", "pass 'cse' is defined by xdsl"),
        ("plug-clash", "pass 'cse' is defined by xdsl"),
        ("plug-crash", "pass 'plug-crash' is defined by plug_package 1.0 already"),
        ("plug-broken", "pass 'plug-broken' of entry point 'plug = plug_package:UNIVERSE'"),
    ):
        code, out, err = opt(env, MLP, f"--{name}")
        assert (code, out) == (2, "") and message in err and "package plug_package 1.0" in err
    out = opt(env, "--list-passes")[1]
    assert "plug-broken\n    cannot be loaded: " in out and "left out: entry point 'q = plug_package:CLASH'" in out


def test_a_pass_that_crashes_and_a_dialect_that_does_not_load(tmp_path: Path):
    env = install(tmp_path, "plug_package", PASSES, "[xdsl.universe]\nplug = plug_package:UNIVERSE\n")
    code, _, err = opt(env, MLP, "--plug-crash")
    assert code == 70 and "pass 'plug-crash' failed: KeyError: 'gone'" in err
    assert "comes from package 'plug_package'; mlc-opt --mlir-pass-pipeline-crash-reproducer=FILE writes" in err
    crash = tmp_path / "crash.mlir"
    assert opt(env, MLP, "--plug-crash", f"--mlir-pass-pipeline-crash-reproducer={crash}")[0] == 70
    assert 'pipeline: "builtin.module(plug-crash)"' in crash.read_text()
    file = tmp_path / "f.mlir"
    file.write_text("func.func @f() {\n  plug.op\n  func.return\n}\n")
    code, _, err = opt(env, str(file))
    assert code == 2 and "dialect 'plug' of entry point 'plug = plug_package:UNIVERSE'" in err and "OSError" in err


@pytest.mark.parametrize(
    ("entry", "target", "message"),
    [
        ("SHADOW", "shadow", "target 'native' belongs to mlc-compiler"),
        ("BARE", "bare", "it lacks name, targets, machine, pipeline"),
    ],
)
def test_backends_that_are_refused(entry: str, target: str, message: str, tmp_path: Path):
    entries = f"[mlc.backends]\nmine = mine_package:MINE\nother = mine_package:{entry}\n"
    env = install(tmp_path, "mine_package", BACKENDS, entries)
    assert opt(env, *NATIVE)[::2] == (0, "")
    assert opt(env, *NATIVE, "--target=mine")[::2] == (0, "")
    code, _, err = opt(env, MLP, f"--target={target}")
    assert code == 2 and message in err and "(package mine_package 1.0)" in err
