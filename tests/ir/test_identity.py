"""`mlc.ir.identity`: ops and values equal themselves alone; sets that were there before mlc keep what they hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
{first}
from xdsl.dialects.test import TestOp
from xdsl.dialects.builtin import i32
from xdsl.ir import Block, SSAValue
ops = [TestOp(result_types=[i32, i32]) for _ in range(3)]
values = [*(v for op in ops for v in op.results), *Block(arg_types=[i32, i32]).args]
held, numbers = {{*ops, *values}}, {{v: n for n, v in enumerate(values)}}
{second}
import mlc.ir.fast_build
assert (SSAValue.__hash__ is object.__hash__) == {changed}
assert all(x in held for x in (*ops, *values)) and [numbers[v] for v in values] == list(range(len(values)))
assert all((a == b) == (a is b) and (a != b) == (a is not b) for a in (*ops, *values) for b in (*ops, *values, None, 1))
assert TestOp() not in held
print("right")
"""


@pytest.mark.parametrize("changed", [True, False])
def test_identity(changed: bool) -> None:
    orders = {"first": "import mlc.ir.fast_build", "second": ""} if changed else {"first": "", "second": "import mlc"}
    script = SCRIPT.format(changed=changed, **orders)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "right\n", done.stderr
