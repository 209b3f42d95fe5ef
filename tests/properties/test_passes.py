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
from fuzz.reduce import reproducer
from mlc.testing.program import Discard

EXAMPLES = int(os.environ.get("MLC_PROPERTY_EXAMPLES", "200"))
CONTRACTS = targets()
MAX_DISCARDS = 0.15
MIN_FIRED = 10


@pytest.mark.parametrize("name", CONTRACTS)
def test_pass_keeps_its_contract(name: str):
    contract = CONTRACTS[name]
    seen: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=24, max_size=200))
    def holds(data: bytes) -> None:
        seen["programs"] += 1
        try:
            program, outcome, options = run_tape(name, contract, data, thorough=sum(data) % 8 == 0)
        except Discard as e:
            seen["discarded"] += 1
            seen[f"because {str(e)[:80]}"] += 1
            return
        seen["changed"] += outcome.changed
        seen["compared"] += bool(outcome.domains)
        if outcome.finding is not None:
            shown = f"{reproducer(name, options, program, outcome.finding)}\n// after:\n{outcome.finding.after}"
            pytest.fail(f"{outcome.finding.kind}: {outcome.finding.detail}\ntape {data.hex()}\n{shown}", pytrace=False)

    holds()
    assert seen["discarded"] <= MAX_DISCARDS * seen["programs"], f"too many discards: {dict(seen)}"
    assert seen["changed"] >= min(MIN_FIRED, EXAMPLES // 20), f"the pass hardly ever did anything: {dict(seen)}"
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
