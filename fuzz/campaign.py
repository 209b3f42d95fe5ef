"""Random tapes against passes, for a time; every run leaves a line in a ledger."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.corpus import save_tape, tapes_of
from fuzz.profiles import PROFILES
from fuzz.reduce import reduce_tape, reproducer
from fuzz.tape import Tape
from mlc.errors import UsageError
from mlc.ir.contract import Contract
from mlc.ir.fast_build import fast_build
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import load_pass, make_pass
from mlc.testing.oracle import Finding, Outcome, check
from mlc.testing.program import Discard, Program
from mlc.testing.upstream import UPSTREAM
from mlc.universe import PASSES

SIZES = (16, 40, 80, 160, 320)


def targets() -> dict[str, Contract]:
    """Every pass under a contract: ours, and upstream's that we use."""
    found: dict[str, Contract] = {}
    for name in PASSES:
        cls = load_pass(name)
        assert issubclass(cls, MlcPass)
        found[name] = cls.contract
    return {**found, **UPSTREAM}


def contract_of(name: str) -> Contract:
    """The contract of any registered pass, of another package too; `UsageError` where nothing can be drawn for it."""
    contract = targets().get(name)
    if contract is None:
        cls = load_pass(name)
        if not issubclass(cls, MlcPass):
            raise UsageError(f"pass '{name}' has no contract", expected="a subclass of mlc.ir.passes.MlcPass")
        contract = cls.contract
    if contract.profile not in PROFILES:
        message = f"the contract of pass '{name}' names profile '{contract.profile}'"
        raise UsageError(message, expected=f"one of: {', '.join(PROFILES)}")
    return contract


def run_tape(name: str, contract: Contract, data: bytes, *, thorough: bool) -> tuple[Program, Outcome, dict[str, Any]]:
    """One execution: program and options from the tape, then the check."""
    with fast_build(verify_attributes=True):
        tape = Tape(data)
        options = tape.pick(contract.options) if contract.options else {}
        program = PROFILES[contract.profile](tape)
        outcome = check(lambda: make_pass(name, dict(options)), contract, program, thorough=thorough)
    return program, outcome, dict(options)


@dataclass
class Tally:
    """What a campaign against one pass came to."""

    executions: int = 0
    discards: int = 0
    changed: int = 0
    finds: list[dict[str, str]] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def line(self, name: str, seed: int) -> str:
        """One JSON line; `bound` is 3/N, the failure rate excluded at 95 % when nothing was found."""
        compared = self.executions - self.discards
        return json.dumps(
            {
                "pass": name,
                "seed": seed,
                "executions": self.executions,
                "discards": self.discards,
                "changed": self.changed,
                "rules": dict(sorted(self.fired.items())),
                "finds": self.finds,
                "bound": None if self.finds or not compared else 3 / compared,
                "seconds": round(self.seconds, 2),
            },
            sort_keys=True,
        )


def campaign(names: Iterable[str], seconds: float, seed: int, out: Path) -> dict[str, Tally]:
    """Share `seconds` among the passes, round by round; finds are reduced and written to `out`."""
    contracts = {name: contract_of(name) for name in dict.fromkeys(names)}
    tallies = {name: Tally() for name in contracts}
    rng = random.Random(seed)
    stored = {name: tapes_of(name) for name in contracts}
    end = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < end:
        for name, contract in contracts.items():
            start = time.monotonic()
            data = _next_tape(rng, stored[name], turn)
            _execute(name, contract, data, tallies[name], out, thorough=turn % 8 == 0)
            tallies[name].seconds += time.monotonic() - start
            if time.monotonic() >= end:
                break
        turn += 1
    return tallies


def _next_tape(rng: random.Random, stored: list[bytes], turn: int) -> bytes:
    """Stored tapes first, then mutants of them and fresh bytes."""
    if turn < len(stored):
        return stored[turn]
    if stored and rng.random() < 0.2:
        data = bytearray(rng.choice(stored))
        for _ in range(rng.randint(1, 4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    return rng.randbytes(rng.choice(SIZES))


def _execute(name: str, contract: Contract, data: bytes, tally: Tally, out: Path, *, thorough: bool) -> None:
    tally.executions += 1
    try:
        _, outcome, _ = run_tape(name, contract, data, thorough=thorough)
    except Discard:
        tally.discards += 1
        return
    tally.changed += outcome.changed
    tally.fired.update(outcome.fired)
    if outcome.finding is not None:
        _report(name, contract, data, outcome.finding, tally, out)


def _report(name: str, contract: Contract, data: bytes, finding: Finding, tally: Tally, out: Path) -> None:
    """Reduce a find, once per kind and detail's beginning, and write the test that shows it."""
    key = f"{finding.kind}: {finding.detail[:60]}"
    if any(f["what"] == key for f in tally.finds):
        return
    small = reduce_tape(data, lambda d: _still(name, contract, d, finding.kind))
    program, outcome, options = run_tape(name, contract, small, thorough=True)
    found = outcome.finding or finding
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{len(tally.finds)}.mlir"
    path.write_text(reproducer(name, options, program, found))
    saved = save_tape(name, small)
    tally.finds.append({"what": key, "test": path.name, "tape": saved.name})


def _still(name: str, contract: Contract, data: bytes, kind: str) -> bool:
    try:
        _, outcome, _ = run_tape(name, contract, data, thorough=True)
    except Discard:
        return False
    return outcome.finding is not None and outcome.finding.kind == kind
