"""Calls of intrinsics of one target, which have no op of their own.

%r = llvm.call_intrinsic "llvm.x86.…"(%a, %b) : (…) -> …
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import llvm
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, SSAValue

from mlc.lowering.llvm.attributes import i32_array
from mlc.lowering.llvm.builder import FunctionBuilder


def _properties(name: str, args: Sequence[SSAValue]) -> dict[str, Attribute]:
    return {
        "intrin": StringAttr(name),
        "fastmathFlags": llvm.FastMathAttr(None),
        "op_bundle_sizes": i32_array(),
        "operandSegmentSizes": i32_array(len(args), 0),
    }


def call_intrinsic(b: FunctionBuilder, name: str, args: Sequence[SSAValue], kind: Attribute) -> SSAValue:
    """The result of an intrinsic."""
    return b.emit(llvm.CallIntrinsicOp, args, kind, _properties(name, args))


def do_intrinsic(b: FunctionBuilder, name: str, args: Sequence[SSAValue]) -> None:
    """A call of an intrinsic without a result."""
    b.effect(llvm.CallIntrinsicOp, args, _properties(name, args))
