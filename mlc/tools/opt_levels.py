"""A pass that meets a module without a single op of its input level does nothing: say so.

    mlc-opt --linalg-fuse-elementwise torch_level.mlir
    torch_level.mlir:1: warning: pass 'linalg-fuse-elementwise' takes the linalg level; the module holds no op of it

The remark log gets it as `missed`. A module without ops to speak of is at every level.
"""

from __future__ import annotations

from xdsl.dialects.builtin import MemRefType, TensorType, UnrankedTensorType, VectorType
from xdsl.ir import Operation

from mlc.ir.contract import Level
from mlc.ir.passes import MlcPass

_SCALAR = frozenset({"arith", "math", "scf", "cf", "complex"})
_FRAME = frozenset({"builtin", "func"})


def misses_level(p: MlcPass, root: Operation) -> bool:
    """Whether `root` holds ops, but none of the level that `p` takes."""
    level = p.contract.level_in
    seen = False
    for op in root.walk():
        if level == "any" or _belongs(op, level):
            return False
        seen = seen or op.name.partition(".")[0] not in _FRAME
    return seen


def _belongs(op: Operation, level: Level) -> bool:
    dialect = op.name.partition(".")[0]
    match level:
        case "torch" | "llvm":
            return dialect == level
        case "linalg" | "kernels":
            return dialect in ("linalg", "tensor") or _holds(op, (TensorType, UnrankedTensorType))
        case "buffers":
            return dialect == "memref" or _holds(op, (MemRefType,))
        case _:
            return dialect in ("vector", "memref", *_SCALAR) or _holds(op, (MemRefType, VectorType))


def _holds(op: Operation, types: tuple[type, ...]) -> bool:
    return any(isinstance(t, types) for t in (*op.operand_types, *op.result_types))
