"""Ctrl-C anywhere in the first compile of a process: nothing half-done stays, and the next call works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Each child is a fork that has torch but not yet mlc, and is interrupted at the n-th call of a function of mlc.
CODE = """
import gc, os, sys, traceback
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(9, 16)
        self.norm = torch.nn.BatchNorm1d(16)

    def forward(self, x):
        return self.norm(self.lin(x)).relu()

torch.manual_seed(0)
model, x = Net().eval(), torch.randn(2, 9)
with torch.no_grad():
    expected = model(x)
ROOT, cache = sys.argv[1], sys.argv[2]

left = 0  # calls until the interrupt

def interrupt_at(number):
    global left
    left = number
    def profile(frame, event, arg):
        global left
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
    return profile

def child(number):
    compiled = None
    buffers = {name: id(b) for name, b in model.named_buffers()}
    sys.setprofile(interrupt_at(number))
    try:
        import mlc
        compiled = mlc.compile(model, cache_dir=f"{cache}/{number}")
        compiled(x)
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    import mlc
    from mlc.ir import fast_build
    assert {name: id(b) for name, b in model.named_buffers()} == buffers
    assert gc.isenabled() and fast_build._depth == 0
    assert torch._C._len_torch_dispatch_stack() == 0 and torch._C._len_torch_function_stack() == 0
    half = [f for _, _, files in os.walk(f"{cache}/{number}") for f in files if f.startswith("tmp")]
    assert not half, half
    compiled = compiled or mlc.compile(model, cache_dir=f"{cache}/{number}")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x), expected)
    return left <= 0

number, interrupted = 300, 0
while True:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, b"i" if child(number) else b"-")
        except BaseException:
            print("interrupted at call", number, flush=True)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 1)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    assert status == 0, (number, status)
    if answer != b"i":
        break
    interrupted += 1
    number = int(number * float(sys.argv[3])) + 7
print("interrupted", interrupted)
"""


def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path):
    root = str(Path(__file__).parents[2] / "mlc")
    run = subprocess.run(
        [sys.executable, "-c", CODE, root, str(tmp_path), "5"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert int(run.stdout.split()[-1]) >= 3
