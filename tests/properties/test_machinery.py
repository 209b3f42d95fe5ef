"""The property suite itself: it reports planted lies, covers every pass and op, and its parts do what they say."""

from __future__ import annotations

import importlib
import json
import random

import numpy as np
import pytest
from xdsl.dialects.builtin import UnknownLoc

import fuzz.__main__ as command
from fuzz import campaign as campaigns
from fuzz.campaign import targets
from fuzz.canaries import CANARIES
from fuzz.profiles import PROFILES
from fuzz.reduce import reduce_tape, reproducer
from fuzz.tape import Tape
from mlc.ir.contract import Contract
from mlc.ir.extensions import EXTENSIONS
from mlc.ir.parsing import parse_text
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import load_pass
from mlc.ir.pipeline_table import KERNEL_ROWS, LAID_OUT_ROWS, MODULE_ROWS, PRECISION_ROWS
from mlc.ir.semantics import has_semantics
from mlc.testing.oracle import Finding, check
from mlc.testing.program import Discard
from mlc.universe import DIALECTS, PASSES


def tapes(n: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(rng.choice((24, 60, 120))) for _ in range(n)]


@pytest.mark.parametrize(("canary", "kind"), CANARIES, ids=lambda c: getattr(c, "name", c))
def test_planted_lies_are_reported(canary: type[MlcPass], kind: str):
    """Within 200 programs, as the kind it is."""
    for data in tapes(200):
        program = PROFILES[canary.contract.profile](Tape(data))
        try:
            outcome = check(canary, canary.contract, program, thorough=kind in ("determinism", "idempotence"))
        except Discard:
            continue
        if outcome.finding is not None:
            assert outcome.finding.kind == kind, outcome.finding
            return
    pytest.fail(f"{canary.name} went unreported")


def test_canaries_cover_every_kind_of_equality_and_check():
    relations = {type(canary.contract.preserves).__name__ for canary, _ in CANARIES}
    assert relations == {"Bitwise", "Reassociates", "WithinUlp", "WithinBound", "Narrows"}
    kinds = {"values", "location", "determinism", "idempotence", "verifier", "crash", "rule", "race"}
    assert {kind for _, kind in CANARIES} >= kinds


def test_every_pass_has_a_contract_with_a_known_profile():
    for name in PASSES:
        cls = load_pass(name)
        assert issubclass(cls, MlcPass) and isinstance(cls.contract, Contract), name
    for name, contract in targets().items():
        assert contract.profile in PROFILES, f"{name} names profile '{contract.profile}'"


def test_every_pass_of_the_pipeline_stands_under_a_property():
    rows = (
        *MODULE_ROWS,
        *KERNEL_ROWS,
        *(row for added in (*PRECISION_ROWS.values(), *LAID_OUT_ROWS.values()) for row in added),
    )
    assert {row.pass_name for row in rows} <= set(targets())


def test_a_pass_without_a_contract_cannot_be_defined():
    with pytest.raises(TypeError, match="no contract"):
        type("Bare", (MlcPass,), {"name": "bare", "run": lambda self, ctx, module: None})


def test_every_op_of_ours_has_semantics():
    """Ops that we add to upstream dialects; torch's are counted by their own tests."""
    missing: list[str] = []
    for dialect, modules in EXTENSIONS.items():
        if dialect in DIALECTS:
            continue
        for module in modules:
            missing += [op.name for op in importlib.import_module(module).OPS if not has_semantics(op.name)]
    assert not missing, f"no reference semantics: {', '.join(sorted(set(missing)))}"


@pytest.mark.parametrize("profile", PROFILES)
def test_generators_make_valid_located_deterministic_programs(profile: str):
    made = discarded = 0
    for data in tapes(30, seed=1):
        try:
            first, second = PROFILES[profile](Tape(data)), PROFILES[profile](Tape(data))
        except Discard:
            discarded += 1
            continue
        made += 1
        assert first.module.is_structurally_equivalent(second.module)
        assert not any(isinstance(op.location, UnknownLoc) for op in first.module.ops)
    assert discarded <= 0.15 * (made + discarded)


def test_the_empty_tape_is_the_simplest_program():
    for profile, generate in PROFILES.items():
        assert len(list(generate(Tape(b"")).module.walk())) < 50, profile


def test_tapes_read_zero_past_their_end():
    tape = Tape(b"\xff\x03")
    assert tape.byte() == 255 and tape.below(2) == 1 and tape.used == 2
    assert tape.byte() == 0 and not tape.chance(99) and tape.pick("abc") == "a" and tape.shuffled(3) == [0, 1, 2]
    assert tape.used == 2


def test_reduction_keeps_the_fault_and_shrinks():
    def fault(data: bytes) -> bool:
        return sum(data) >= 300 and 7 in data

    start = bytes(random.Random(3).randbytes(120)) + b"\x07"
    small = reduce_tape(start, fault)
    assert fault(small) and len(small) <= 4


def test_a_reproducer_is_a_runnable_test():
    program = PROFILES["linalg"](Tape(tapes(1, seed=5)[0]))
    text = reproducer("linalg-fuse-elementwise", {}, program, Finding("values", "result 0 differs\nat [1]"))
    assert text.startswith(
        "// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-fuse-elementwise)' %s | filecheck %s"
    )
    assert "// values: result 0 differs\n// at [1]" in text
    again = parse_text(text, program.copy().ctx)
    assert len(list(again.walk())) == len(list(program.module.walk()))


def test_campaigns_write_a_ledger_and_reduced_finds(tmp_path, monkeypatch):
    """With a canary in place of a pass: found, reduced, written down, exit code 1."""
    canary = CANARIES[0][0]
    monkeypatch.setattr(campaigns, "targets", lambda: {canary.name: canary.contract})
    monkeypatch.setattr(command, "targets", lambda: {canary.name: canary.contract})
    monkeypatch.setattr(campaigns, "make_pass", lambda name, options: canary())
    monkeypatch.setattr("fuzz.corpus.FOLDER", tmp_path / "corpus")
    ledger, out = tmp_path / "ledger.jsonl", tmp_path / "finds"
    code = command.main(["--seconds", "4", "--seed", "1", "--ledger", str(ledger), "--out", str(out)])
    record = json.loads(ledger.read_text())
    assert code == 1 and record["pass"] == canary.name and record["executions"] > 0
    assert record["finds"] and record["bound"] is None
    text = (out / record["finds"][0]["test"]).read_text()
    assert "RUN: mlc-opt" in text and "arith.subf" in text
    assert len(text.splitlines()) < 40
    assert list((tmp_path / "corpus").glob("*.tape"))


def test_unknown_passes_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--pass", "no-such-pass"])
    assert "no pass no-such-pass" in capsys.readouterr().err


def test_inputs_differ_by_kind_and_follow_types():
    from mlc.testing.inputs import make_inputs

    program = PROFILES["linalg"](Tape(bytes(range(64))))
    normal, edge, whole = (make_inputs(program, kind) for kind in ("normal", "edge", "integers"))
    for a, b, c in zip(normal, edge, whole, strict=True):
        assert np.shape(a) == np.shape(b) == np.shape(c)
        if np.asarray(a).dtype.kind == "f":
            assert np.all(np.isfinite(a)) and np.array_equal(c, np.round(c))
