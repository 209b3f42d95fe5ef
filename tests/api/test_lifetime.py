"""Threads, forks, signals and the end of the process: no crash, no hang, no wrong numbers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc

PRELUDE = """
import os, signal, sys, threading, time
import torch
import mlc
layers = [torch.nn.Linear(4, 4) for _ in range(6)]
model, x = torch.nn.Sequential(*layers).eval(), torch.randn(2, 4)
compiled = mlc.compile(model, cache_dir=sys.argv[1])
torch.set_grad_enabled(False)
"""

FORK = """
want = compiled(x)
pid = os.fork()
if pid == 0:
    os._exit(0 if torch.equal(compiled(x), want) and compiled(torch.ones(5, 4)).shape == (5, 4) else 1)
print(os.waitpid(pid, 0)[1])
"""

FORK_WHILE_COMPILING = """
started = threading.Event()
class Signalling(torch.nn.Module):
    def forward(self, x):
        started.set()
        return model(x)
other = mlc.compile(Signalling(), cache_dir=sys.argv[1])
thread = threading.Thread(target=other, args=(x,))
thread.start()
started.wait()
pid = os.fork()
if pid == 0:
    from mlc.ir import fast_build
    compiled(x), other(torch.ones(3, 4))
    os._exit(1 if fast_build._depth else 0)
print(os.waitpid(pid, 0)[1])
thread.join()
"""

END_OF_PROCESS = """
import atexit
compiled(x)
class Last:
    def __del__(self):
        compiled(x)
        print("and once more")
last = Last()
compiled.myself = compiled
atexit.register(lambda: print("0", compiled(x).shape, mlc.compile(lambda x: (x @ x.T).exp(), cache_dir="")(x).shape))
late = mlc.compile(torch.nn.Linear(4, 3), cache_dir=sys.argv[1])
threading.Thread(target=late, args=(x,), daemon=True).start()
"""

SIGNALS = """
y = torch.ones(2, 4)
first, second = compiled(x), compiled(y)
def handler(*_):
    assert torch.equal(compiled(y), second)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for _ in range(20000):
    assert torch.equal(compiled(x), first)
signal.setitimer(signal.ITIMER_REAL, 0)
print(0)
"""


@pytest.mark.parametrize("script", [FORK, FORK_WHILE_COMPILING, END_OF_PROCESS, SIGNALS])
def test_process(script: str, cache_dir: Path):
    command = [sys.executable, "-c", PRELUDE + script, str(cache_dir)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout.startswith("0") and not run.stderr, run.stderr


def test_many_shapes_from_many_threads(cache_dir: Path):
    """The eager model runs in the same threads: what a capture does to modules must not be seen there."""
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    compiled = mlc.compile(model, cache_dir=cache_dir)
    wrong: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for i in range(12):
                x = torch.randn((i * 5 + offset) % 12 + 1, 6)
                with torch.no_grad():
                    torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
