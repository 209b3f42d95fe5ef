"""Native kernels between guard pages: code that reads or writes outside its buffers ends its process, and is reported.

Random kernels on memrefs are vectorised and compiled for a machine model, then run in a child process. Each buffer
has a page without access right behind its last byte, in a second run right before its first. What lies between the rows
of strided buffers must stay as it was. (What the rows hold is compared elsewhere: tests/lowering/vector.)

    findings = guarded_runs("x86-64-avx2", tapes)          # {number of the tape: what was seen}
    python -m fuzz.guarded --machine x86-64-avx2 --count 1000
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import MemRefType

from fuzz.profiles import PROFILES
from fuzz.tape import Tape
from mlc.backends.llvm.testing import NativeKernel, compile_kernel, dynamic_sizes, dynamic_strides
from mlc.backends.machine import MachineModel, preset
from mlc.errors import ArtifactError, MlcError, UnsupportedError
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import KERNEL_ROWS
from mlc.testing.inputs import MemRefInput, make_inputs
from mlc.testing.program import Discard, Program

PAGE = mmap.PAGESIZE


class GuardedBuffer:
    """Bytes with a page that nobody may touch before and behind. `behind`: the last byte touches a guard, else the
    first does."""

    def __init__(self, nbytes: int, *, behind: bool) -> None:
        inner = -(-max(nbytes, 1) // PAGE) * PAGE
        self._pages = mmap.mmap(-1, inner + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for guard in (start, start + PAGE + inner):
            if protect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.address = start + PAGE + (inner - nbytes if behind else 0)
        self.nbytes = nbytes

    def write(self, data: np.ndarray) -> None:
        """Fill with the beginning of `data`."""
        ctypes.memmove(self.address, data.tobytes(), self.nbytes)

    def read(self, dtype: np.dtype[Any]) -> np.ndarray:
        """A copy of the contents."""
        return np.frombuffer(ctypes.string_at(self.address, self.nbytes), dtype=dtype)


def compiled(program: Program, machine: MachineModel) -> NativeKernel:
    """The kernel as the pipeline compiles it for `machine`."""
    copy = program.copy()
    copy.ctx.machine = machine
    for row in KERNEL_ROWS[:-1]:  # compile_kernel converts to the llvm dialect itself
        make_pass(row.pass_name, dict(row.options)).apply(copy.ctx, copy.module)
    return compile_kernel(copy.module, program.entry, machine, ctx=copy.ctx)


def call(kernel: NativeKernel, inputs: Sequence[Any], *, behind: bool, short: int = 0) -> list[np.ndarray]:
    """Run once between guards; what the buffers hold afterwards. `short`: elements that each buffer lacks."""
    buffers: list[tuple[GuardedBuffer, np.ndarray]] = []
    flat: list[Any] = []
    for x, t in zip(inputs, kernel.types, strict=True):
        if not isinstance(x, MemRefInput):
            flat.append(x)
            continue
        assert isinstance(t, MemRefType)
        size = x.data.itemsize
        buffer = GuardedBuffer(max(0, x.data.size - short) * size, behind=behind)
        buffer.write(x.data)
        buffers.append((buffer, x.data))
        flat.append(buffer.address + x.offset * size)
        flat += [x.sizes[d] for d in dynamic_sizes(t)]
        flat += [x.strides[d] for d in dynamic_strides(t)]
    status = kernel.pointer(*flat, None)  # no team: this thread alone
    if status:
        raise Discard(f"status {status}")
    return [buffer.read(data.dtype) for buffer, data in buffers]


def outside(x: MemRefInput) -> np.ndarray:
    """Which elements of the storage are no element of the memref."""
    mask = np.ones(x.data.size, dtype=np.bool_)
    at = np.full(x.sizes, x.offset)
    for d, (n, stride) in enumerate(zip(x.sizes, x.strides, strict=True)):
        at = at + (np.arange(n) * stride).reshape([-1 if k == d else 1 for k in range(len(x.sizes))])
    mask[at.ravel()] = False
    return mask


def run_one(data: bytes, machine: MachineModel, *, short: int = 0) -> str:
    """Compile and run the program of a tape; what is wrong, or nothing."""
    program = PROFILES["memref-kernels"](Tape(data))
    inputs = make_inputs(program, "normal")
    try:
        kernel = compiled(program, machine)
    except UnsupportedError as e:
        raise Discard(e.message) from e
    memrefs = [x for x in inputs if isinstance(x, MemRefInput)]
    for behind in (True, False):
        for k, (x, got) in enumerate(zip(memrefs, call(kernel, inputs, behind=behind, short=short), strict=True)):
            gaps = outside(x)[: got.size]
            if np.any(x.data[: got.size][gaps].view(np.uint8) != got[gaps].view(np.uint8)):
                return f"buffer {k}: written between its rows"
    return ""


def child(machine: MachineModel, short: int) -> None:
    """Tapes as lines on standard input; a line before each run and one with its outcome behind it."""
    for number, line in enumerate(sys.stdin):
        print(f"run {number}", flush=True)
        try:
            outcome = run_one(bytes.fromhex(line), machine, short=short)
        except (Discard, ArtifactError):  # f16 without machine instructions for it needs a library that nobody has
            outcome = ""
        except MlcError as e:
            outcome = f"{type(e).__name__}: {e}"
        print(f"end {number} {outcome}".replace("\n", " "), flush=True)


def guarded_runs(machine: str, tapes: Sequence[bytes], *, short: int = 0) -> dict[int, str]:
    """Run every tape in child processes (a new one after each that died); findings by number of the tape."""
    findings: dict[int, str] = {}
    start = 0
    while start < len(tapes):
        command = [sys.executable, "-m", "fuzz.guarded", "--child", "--machine", machine, "--short", str(short)]
        text = "\n".join(t.hex() for t in tapes[start:])
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        for line in lines:
            kind, number, *rest = line.split(" ", 2)
            if kind == "end" and rest and rest[0]:
                findings[start + int(number)] = rest[0]
        if done.returncode == 0:
            break
        if not lines or not lines[-1].startswith("run "):
            raise RuntimeError(f"the child ended between programs: {done.stderr[-2000:]}")
        died = start + int(lines[-1].split()[1])
        findings[died] = f"the process ended with {done.returncode}: memory outside the buffers, or a bad instruction"
        start = died + 1
    return findings


def random_tapes(count: int, seed: int) -> list[bytes]:
    """Tapes of a seed."""
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(40, 160)) for _ in range(count)]


def main() -> int:
    """Run tapes of a seed; print what was found. Exit code 1 when something was."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.guarded", description=__doc__)
    parser.add_argument("--machine", default="x86-64-avx512")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", type=int, default=0, help="elements that each buffer lacks, to see a fault")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(preset(options.machine), options.short)
        return 0
    tapes = random_tapes(options.count, options.seed)
    findings = guarded_runs(options.machine, tapes, short=options.short)
    for number, what in findings.items():
        print(f"{options.machine} tape {tapes[number].hex()}: {what}")
    print(f"{options.machine}: {len(tapes)} programs, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
