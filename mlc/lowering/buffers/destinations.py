"""Which operand of an op is the destination of which result, and whether its contents are read.

%f = linalg.fill ins(%z) outs(%e)         result 0 is written over %e; %e is not read
%m = linalg.matmul ins(%a, %b) outs(%f)   result 0 is written over %f; %f is read
%r = func.call @kernel_3(%x, %d)          result 0 is written over %d; read when the kernel reads it
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects import func, tensor
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation, OpResult, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp

VIEW_OPS = (tensor.ExtractSliceOp, tensor.ExpandShapeOp, tensor.CollapseShapeOp, tensor.CastOp)


def is_tensor(value: SSAValue) -> bool:
    """Whether `value` is a ranked tensor."""
    return isinstance(value.type, TensorType)


def is_permutation(m: AffineMap) -> bool:
    """Whether the map is a permutation of its dimensions."""
    positions = [e.position for e in m.results if isinstance(e, AffineDimExpr)]
    return len(positions) == len(m.results) == m.num_dims and len(set(positions)) == m.num_dims


def indexing_maps(op: Operation) -> tuple[AffineMap, ...] | None:
    """The maps of a structured op, one per operand; None for others."""
    if isinstance(op, LinalgStructuredOperation):
        return tuple(m.data for m in op.get_indexing_maps())
    return None


def is_elementwise(op: Operation) -> bool:
    """Whether every iteration of a structured op may run in any order."""
    return isinstance(op, LinalgStructuredOperation) and all(str(i.data) == "parallel" for i in op.get_iterator_types())


@dataclass
class Destinations:
    """Answers for one module; what is found about a kernel is kept."""

    functions: dict[str, func.FuncOp]
    _reads: dict[tuple[str, int], bool] = field(default_factory=dict)
    _taken_apart: dict[tuple[Operation, int], bool] = field(default_factory=dict)

    @classmethod
    def of_module(cls, module: ModuleOp) -> Destinations:
        """The functions at the top of `module`, by name."""
        return cls({f.sym_name.data: f for f in module.body.block.ops if isinstance(f, func.FuncOp)})

    def indices(self, op: Operation) -> tuple[int, ...]:
        """Operand index of the destination of each tensor result; empty when `op` is no such op."""
        if isinstance(op, LinalgStructuredOperation):
            first = len(op.inputs)
            return tuple(range(first, first + len(op.res)))
        if op.name in ("linalg.softmax", "linalg.broadcast", "linalg.reduce") and op.results:
            return (1,)
        if isinstance(op, (WinogradConv2DOp, PreparedMatmulOp)) and op.results:
            return tuple(range(2, 2 + len(op.res)))
        if isinstance(op, AttentionOp) and op.res:
            return (len(op.inputs),)
        if isinstance(op, func.CallOp):
            first = len(op.arguments) - len(op.results)
            return tuple(range(first, len(op.arguments)))
        return ()

    def destination(self, value: SSAValue) -> SSAValue | None:
        """The tensor that `value` is written over, when an op with destinations made it."""
        if not isinstance(value, OpResult):
            return None
        indices = self.indices(value.op)
        return value.op.operands[indices[value.index]] if indices else None

    def reads_contents(self, op: Operation, index: int) -> bool:
        """Whether the result of `op` depends on what was in its destination operand `index`."""
        if (op, index) in self._taken_apart:
            return self._taken_apart[op, index]
        if isinstance(op, LinalgStructuredOperation):
            if isinstance(op, linalg.FillOp | linalg.CopyOp | linalg.TransposeOp):
                return False
            maps = indexing_maps(op)
            assert maps is not None
            return bool(op.body.block.args[index].uses) or not is_permutation(maps[index])
        if op.name in ("linalg.softmax", "linalg.broadcast", WinogradConv2DOp.name, AttentionOp.name):
            return False
        if isinstance(op, PreparedMatmulOp):
            return op.operands[index] is op.output
        if isinstance(op, func.CallOp):
            return self._kernel_reads(op.callee.string_value(), index)
        return True

    def remember(self, op: Operation) -> None:
        """Keep the answers for `op`, whose body is about to move elsewhere: a loop may still ask about it."""
        self._taken_apart.update({(op, i): self.reads_contents(op, i) for i in self.indices(op)})

    def _kernel_reads(self, name: str, index: int) -> bool:
        key = (name, index)
        if key not in self._reads:
            kernel = self.functions.get(name)
            self._reads[key] = kernel is None or not kernel.body.blocks or self._read(kernel.body.block.args[index])
        return self._reads[key]

    def _read(self, value: SSAValue) -> bool:
        for use in value.uses:
            op = use.operation
            if isinstance(op, tensor.DimOp):
                continue
            if isinstance(op, VIEW_OPS):
                if self._read(op.results[0]):
                    return True
            elif use.index not in self.indices(op) or self.reads_contents(op, use.index):
                return True
        return False


def root_value(value: SSAValue, destinations: Destinations) -> SSAValue:
    """Follow destinations and insertions back to the value whose memory `value` will lie in."""
    while isinstance(value, OpResult):
        before = destinations.destination(value)
        if before is None and isinstance(value.op, tensor.InsertSliceOp | tensor.InsertOp):
            before = value.op.dest
        if before is None:
            break
        value = before
    return value


def erase(op: Operation) -> None:
    """Take an unused op out of its block."""
    op.detach()
    op.erase()
