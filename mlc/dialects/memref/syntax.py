"""Upstream's custom syntax for memref ops that xDSL reads and prints in the generic form only.

    memref.copy %a, %b : memref<4xf32> to memref<4xf32>
    %c = memref.cast %a : memref<4xf32> to memref<?xf32>

The classes derive from xDSL's, so code that looks for those finds these; irdl wants their fields spelled out again.
"""

from __future__ import annotations

from xdsl.dialects import memref
from xdsl.dialects.builtin import IndexType, MemRefType, UnrankedMemRefType
from xdsl.irdl import base, irdl_op_definition, operand_def, result_def


@irdl_op_definition
class CopyOp(memref.CopyOp):
    """`memref.copy %source, %destination : … to …`."""

    source = operand_def(MemRefType)
    destination = operand_def(MemRefType)
    assembly_format = "$source `,` $destination attr-dict `:` type($source) `to` type($destination)"


@irdl_op_definition
class CastOp(memref.CastOp):
    """`memref.cast %source : … to …`."""

    source = operand_def(base(MemRefType) | base(UnrankedMemRefType))
    dest = result_def(base(MemRefType) | base(UnrankedMemRefType))
    assembly_format = "$source attr-dict `:` type($source) `to` type($dest)"


@irdl_op_definition
class MemorySpaceCastOp(memref.MemorySpaceCastOp):
    """`memref.memory_space_cast %source : … to …`."""

    source = operand_def(base(MemRefType) | base(UnrankedMemRefType))
    dest = result_def(base(MemRefType) | base(UnrankedMemRefType))
    assembly_format = "$source attr-dict `:` type($source) `to` type($dest)"


@irdl_op_definition
class RankOp(memref.RankOp):
    """`memref.rank %m : …`."""

    source = operand_def(MemRefType)
    rank = result_def(IndexType)
    assembly_format = "$source attr-dict `:` type($source)"


OPS = (CopyOp, CastOp, MemorySpaceCastOp, RankOp)
