"""What LLVM says about this computer and about itself; kept on disk, so that a start from the cache needs no LLVM.

    host()  -->  Host(triple="x86_64-unknown-linux-gnu", cpu="znver4", features=("adx", "aes", …), version="llvm …")

It is found again by the files of llvmlite (names, sizes, times) and by what the kernel says about the processors.
Tests: tests/backends/llvm/test_host.py
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from mlc.runtime.cache import cache_in_use
from mlc.runtime.matrix_unit import matrix_unit_granted
from mlc.sources import digest

_PROCESSORS = Path("/proc/cpuinfo")
_TELLING = frozenset(
    (
        *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),  # of x86
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),  # of Arm
    )
)


_TILES = "amx-"  # features of the matrix unit, whose registers the kernel saves for processes that ask for it


@dataclass(frozen=True)
class Host:
    """`triple`: of this process; `cpu` and `features`: in LLVM's words; `version`: of LLVM and llvmlite; `withheld`:
    features that the processor has and the system does not let this process use."""

    triple: str
    cpu: str
    features: tuple[str, ...]
    version: str
    withheld: tuple[str, ...] = ()


@functools.cache
def host() -> Host:
    """This computer, as the cache in use knows it, or as LLVM says."""
    cache, key = cache_in_use(), host_key()
    stored = cache.get(key) if cache is not None and key is not None else None
    if stored is not None:
        known = json.loads(stored)
        return _granted(Host(known["triple"], known["cpu"], tuple(known["features"]), known["version"]))
    found = detected()
    if cache is not None and key is not None:
        cache.put(key, json.dumps(asdict(found)).encode())
    return _granted(found)


def _granted(found: Host) -> Host:
    """Without the features that the system does not let this process use."""
    tiles = tuple(name for name in found.features if name.startswith(_TILES))
    if not tiles or matrix_unit_granted():
        return found
    return replace(found, features=tuple(name for name in found.features if name not in tiles), withheld=tiles)


def detected() -> Host:
    """As LLVM says."""
    import llvmlite  # noqa: PLC0415 - not needed where the cache has the answer
    import llvmlite.binding as llvm  # noqa: PLC0415

    return Host(
        triple=llvm.get_process_triple(),
        cpu=llvm.get_host_cpu_name(),
        features=tuple(sorted(name for name, on in llvm.get_host_cpu_features().items() if on)),
        version=f"llvm {'.'.join(map(str, llvm.llvm_version_info))} llvmlite {llvmlite.__version__}",
    )


def host_key(processors: Path = _PROCESSORS) -> str | None:
    """What decides the answer, hashed; None where the system does not say enough."""
    spec = find_spec("llvmlite")
    try:
        text = processors.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    lines = {line for line in text.splitlines() if line.partition(":")[0].strip() in _TELLING}
    if spec is None or spec.origin is None or not any("flags" in n or "Features" in n for n in lines):
        return None
    parts = ["host 1", digest(Path(spec.origin).parent), platform.machine(), *sorted(lines)]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
