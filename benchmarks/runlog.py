"""The log of a run that is under way: JSON lines, a header and one record per finished unit.

log = RunLog(path, {"settings": …, "versions": …})      goes on where an equal header stopped, else starts over
log.records                                              {"resnet50/1": {…}}
log.add("resnet50/1", record)                            on disk when it returns
log.close()                                              the run is complete: the file goes
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class RunLog:
    """See the module's docstring. `resumed`: whether there was something to go on from; `header`: as stored."""

    def __init__(self, path: Path, identity: dict[str, Any], *, fresh: bool = False) -> None:
        self._path = path
        self.records: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        lines = [] if fresh or not path.exists() else _whole_lines(path)
        self.resumed = bool(lines) and lines[0].get("identity") == identity
        self.outdated = bool(lines) and not self.resumed
        if not self.resumed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
            self._append({"identity": identity})
            return
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        for line in lines[1:]:
            (self.records if "record" in line else self.extra)[line["key"]] = line.get("record", line.get("value"))

    def add(self, key: str, record: Any) -> None:
        """A unit is measured."""
        self.records[key] = record
        self._append({"key": key, "record": record})

    def note(self, key: str, value: Any) -> None:
        """A fact about the run as a whole."""
        self.extra[key] = value
        self._append({"key": key, "value": value})

    def close(self) -> None:
        """The run is complete."""
        self._path.unlink()

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines up to the first that was cut off."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
