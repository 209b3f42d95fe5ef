"""Upstream MLIR accepts what the vector passes write.

`torch-mlir-opt` does not register the vector dialect; the same wheel's Python bindings load it on demand.
"""

from __future__ import annotations

import pytest

from mlc.ir.parsing import print_text
from tests.lowering.vector.programs import Kernel, lowered
from tests.lowering.vector.test_rows import softmax

NEG = ["%r = arith.negf %a0 : f32"]
SELECT = ["%c = arith.cmpf ogt, %a0, %acc : f32", "%s = arith.select %c, %a0, %acc : f32", "%r = math.sin %s : f32"]

KERNELS = {
    "matmul": Kernel("x=30x24 w=2x24x16 out=30x2x16").fill("out").contract("m,k|n,k,o->m,n,o", "x", "w", "out"),
    "dynamic": Kernel("x=?x? w=?x? out=?x?").fill("out").contract("m,k|n,k->m,n", "x", "w", "out"),
    "rows": softmax("3", "40", local=True),
    "transpose": Kernel("x=20x37 out=37x20").generic("j,i->i,j", ["x", "out"], NEG),
    "select": Kernel("x=20 out=20").generic("i->i", ["x", "out"], SELECT),
    "strided": Kernel("x=4x6 out=4x6@20,1").generic("i,j->i,j", ["x", "out"], NEG),
}


@pytest.mark.upstream
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_upstream_verifies_the_loops_level(name: str):
    from torch_mlir import ir

    _, after, _ = lowered(KERNELS[name], "vectorize-structured", "expand-math")
    with ir.Context():
        assert ir.Module.parse(print_text(after)).operation.verify()
