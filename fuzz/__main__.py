"""`python -m fuzz --seconds 60 [--pass NAME …] [--seed N] [--ledger FILE] [--out FOLDER]`: a campaign.

Exit code 1 when something was found. Each pass gets a line in the ledger and on standard output.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fuzz.campaign import campaign, contract_of, targets
from mlc.errors import MlcError


def main(argv: list[str] | None = None) -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Random programs against every pass's contract."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long in all")
    parser.add_argument(
        "--pass", dest="passes", action="append", default=[], help="only this pass, of any package (may be repeated)"
    )
    parser.add_argument("--seed", type=int, default=None, help="seed of the tapes; the time by default")
    parser.add_argument("--ledger", type=Path, default=Path("fuzz-ledger.jsonl"), help="JSON lines are appended here")
    parser.add_argument("--out", type=Path, default=Path("fuzz-finds"), help="reduced finds are written here")
    options = parser.parse_args(argv)
    known = list(targets())
    for name in options.passes:
        if name not in known:
            try:
                contract_of(name)
            except MlcError as e:
                parser.error(f"no pass {name}: {e}; known: {', '.join(known)}, and those of other packages")
    seed = int(time.time()) if options.seed is None else options.seed
    tallies = campaign(options.passes or known, options.seconds, seed, options.out)
    lines = [tally.line(name, seed) for name, tally in tallies.items()]
    with options.ledger.open("a") as ledger:
        ledger.writelines(line + "\n" for line in lines)
    for line in lines:
        print(line)
    return 1 if any(tally.finds for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
