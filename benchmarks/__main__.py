"""`python -m benchmarks`: measure what was asked for, then write the files of `files.py`."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlc
from benchmarks import about, arguments, files, ratios, table
from benchmarks.measure import measure
from benchmarks.plan import Settings, Unit
from benchmarks.process import ChildFailed, run_module
from benchmarks.progress import Progress
from benchmarks.runlog import RunLog
from mlc.runtime.threads import available_cores

HERE = Path(__file__).parent
STORED = HERE / "ratios.json"


def open_log(settings: Settings, fresh: bool) -> RunLog:
    """The log of these settings and this state of mlc, with the machine's limits in it."""
    package = Path(str(mlc.__file__)).parent
    identity = {
        "settings": json.loads(json.dumps(asdict(settings))),
        "machine": about.machine(),
        "versions": about.versions(),
        "mlc": about.source_hash(package),
    }
    log = RunLog(HERE / "progress" / f"{settings.name()}.jsonl", identity, fresh=fresh)
    if log.outdated:
        print("the machine, mlc or its peers changed since the interrupted run: starting over", file=sys.stderr)
    elif log.resumed:
        print(f"going on after {len(log.records)} of {len(settings.units())} (FRESH=1 starts over)", file=sys.stderr)
    for threads in settings.threads:
        if str(threads) not in log.extra:
            log.note(str(threads), run_module(["benchmarks.limits", str(threads)]))
    return log


def limits_again(log: RunLog) -> None:
    """Neighbours may have been busy at the start: the better of two measurements is the machine's limit."""
    for threads, before in log.extra.items():
        after = run_module(["benchmarks.limits", threads])
        log.note(threads, {name: max(value, after[name]) for name, value in before.items()})


def ratios_of(settings: Settings) -> dict[str, dict[str, float]]:
    """What regressions are seen against; only float32 has stored ratios."""
    return ratios.load(STORED, about.machine()) if settings.precision == "float32" else {}


def run(settings: Settings, log: RunLog) -> list[dict[str, Any]]:
    """Every unit's record, in order; what the log has is not measured again."""
    units = settings.units()
    stored = ratios_of(settings)
    progress = Progress(sys.stderr, len(units), sum(u.key in log.records for u in units))
    for unit in units:
        if unit.key not in log.records:
            progress.unit(str(unit))
            log.add(unit.key, one(unit, settings, progress))
            record = log.records[unit.key]
            fallen = bool(ratios.regressions([record], stored))
            limits = log.extra.get(str(unit.threads))
            progress.advance(table.terminal_line(record, limits, fallen=fallen, colour=sys.stderr.isatty()))
    return [log.records[unit.key] for unit in units]


def one(unit: Unit, settings: Settings, progress: Progress) -> dict[str, Any]:
    """A unit that fails as a whole is a record that says why."""
    try:
        return measure(unit, settings.engines, settings.runs, progress.step)
    except ChildFailed as e:
        return {"row": unit.row, "threads": unit.threads, "contended": unit.contended, "failed": str(e)}


def accept() -> str:
    """Store the ratios of the latest run, and say so."""
    found = files.latest(HERE)
    if found is None:
        raise ValueError("there are no results of uncontended rows in float32; run make bench first")
    path, results = found
    if "machine" not in results:
        raise ValueError(f"{path.name} does not say on which machine it was measured; run make bench again")
    count = ratios.accept(STORED, results)
    if not count:
        raise ValueError(f"no row of {path.name}, the latest run, has times of both mlc and a peer")
    return f"{count} row{'s' if count > 1 else ''} of {path.name} ({results['machine']}) stored in {STORED.name}"


def main() -> int:
    """See the package's docstring."""
    p = arguments.parser()
    args = p.parse_args()
    if args.accept:
        try:
            print(accept())
        except ValueError as e:
            p.error(str(e))
        return 0
    settings, left_out = arguments.settings(p, args, available_cores())
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    known = ratios.machines(STORED)
    if known and about.machine() not in known and settings.precision == "float32":
        print(f"{STORED.name} has only other machines ({'; '.join(known)}): no row is compared", file=sys.stderr)
    try:
        log = open_log(settings, args.fresh)
        records = run(settings, log)
        limits_again(log)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except ChildFailed as e:
        print(f"the limits of this machine could not be measured: {e}", file=sys.stderr)
        return 1
    report(settings, log, records)
    return 0 if any("engines" in r for r in records) else 1


def report(settings: Settings, log: RunLog, records: list[dict[str, Any]]) -> None:
    """Write the files, print the page, and drop the log."""
    results = {
        "about": about.sentence(str(datetime.date.today()), about.versions(), settings.precision),
        "machine": about.machine(),
        "precision": settings.precision,
        "runs": settings.runs,
        "engines": list(settings.engines),
        "limits": log.extra,
        "records": records,
    }
    fallen = ratios.regressions(records, ratios_of(settings))
    part = arguments.is_part(settings, available_cores())
    written, no_chart = files.write(files.of_run(HERE, settings.precision, part=part), results, fallen)
    print(f"\n{written[0].read_text(encoding='utf-8')}")
    for f in fallen:
        print(table.in_red(f"regressed: {f}", sys.stdout.isatty()))
    if no_chart:
        print(f"no chart: {no_chart}", file=sys.stderr)
    names = ", ".join(str(path.relative_to(HERE.parent)) for path in written)
    print(f"written: {names}{' (a part of the table)' if part else ''}", file=sys.stderr)
    log.close()


if __name__ == "__main__":
    sys.exit(main())
