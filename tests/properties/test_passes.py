"""Every registered pass keeps its contract on random programs of its profile.

One property for all passes: the contract says what to draw and how to compare. `MLC_PROPERTY_EXAMPLES` sets the number
of programs per pass (200; campaigns run through `make fuzz`).
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.campaign import run_tape, targets
from fuzz.corpus import tapes_of
from fuzz.reduce import reduce_tape, reproducer
from mlc.testing.oracle import Outcome
from mlc.testing.program import Discard, Program
from mlc.testing.upstream import UPSTREAM

EXAMPLES = int(os.environ.get("MLC_PROPERTY_EXAMPLES", "200"))
CONTRACTS = targets()
MAX_DISCARDS = 0.15
MIN_FIRED = 10


def _smaller(name: str, data: bytes, program: Program, outcome: Outcome) -> tuple[bytes, Program, Outcome]:
    """The find on a smaller program; the one at hand where it shows in that only."""
    assert outcome.finding is not None
    kind = outcome.finding.kind

    def still(candidate: bytes) -> bool:
        try:
            _, again, _ = run_tape(name, CONTRACTS[name], candidate, thorough=True)
        except Discard:
            return False
        return again.finding is not None and again.finding.kind == kind

    small = reduce_tape(data, still, budget=100)
    if not still(small):
        return data, program, outcome
    program, outcome, _ = run_tape(name, CONTRACTS[name], small, thorough=True)
    return small, program, outcome


@pytest.mark.parametrize("name", CONTRACTS)
def test_pass_keeps_its_contract(name: str):
    contract = CONTRACTS[name]
    seen: Counter[str] = Counter()
    fired: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a find is cut down by `reduce_tape`, which knows tapes and stops in time
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=80, max_size=240))
    def holds(data: bytes) -> None:
        seen["programs"] += 1
        try:
            program, outcome, options = run_tape(name, contract, data, thorough=sum(data) % 8 == 0)
        except Discard as e:
            seen["discarded"] += 1
            seen[f"because {str(e)[:80]}"] += 1
            return
        seen["changed"] += outcome.changed
        fired.update(outcome.fired)
        seen["compared"] += bool(outcome.domains)
        if outcome.finding is not None:
            data, program, outcome = _smaller(name, data, program, outcome)
            assert outcome.finding is not None
            shown = f"{reproducer(name, options, program, outcome.finding)}\n// after:\n{outcome.finding.after}"
            pytest.fail(f"{outcome.finding.kind}: {outcome.finding.detail}\ntape {data.hex()}\n{shown}", pytrace=False)

    holds()
    assert seen["discarded"] <= MAX_DISCARDS * seen["programs"], f"too many discards: {dict(seen)}"
    enough = min(MIN_FIRED, EXAMPLES // 20)
    assert seen["changed"] >= enough, f"the pass hardly ever did anything: {dict(seen)}"
    rare = {rule: fired[rule] for rule in contract.rules_of(name) if fired[rule] < enough}
    assert not rare or name in UPSTREAM, f"rules that hardly ever fire: {rare}; give them a witness in fuzz/generators"
    assert seen["compared"] >= seen["programs"] // 4, f"hardly any program was compared: {dict(seen)}"


@pytest.mark.parametrize("name", CONTRACTS)
def test_stored_tapes(name: str):
    """Tapes that once led to a find."""
    for data in tapes_of(name):
        try:
            _, outcome, _ = run_tape(name, CONTRACTS[name], data, thorough=True)
        except Discard:
            continue
        assert outcome.finding is None, f"tape {data.hex()}: {outcome.finding}"
