"""Blocks, operations and constants of a function under construction; invariant code is placed where it is invariant.

Scopes mirror the loop nest. Address arithmetic goes to the outermost scope in which its operands exist, in front of
that scope's `anchor` (the branch into the nested region being built), and each scope remembers what it computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    VectorType,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import LimitError
from mlc.lowering.llvm.attributes import i32_array

MAX_NESTING = 96
"""Region nest of one function: conversion and LLVM both recurse over it."""


@dataclass(slots=True)
class Scope:
    """One level of the region nest: where its code currently ends and what address code it holds."""

    block: Block
    anchor: Operation | None = None
    cache: dict[tuple[object, ...], SSAValue] = field(default_factory=dict)


class BlockBuilder:
    """Appends to the block at hand, and hoists what may be hoisted."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.scopes: list[Scope] = []
        self.depth: dict[SSAValue, int] = {}
        self.loc: LocationAttr | None = None
        self._constants: dict[tuple[Attribute, Attribute], SSAValue] = {}
        self._constant_ops: list[Operation] = []
        self._ints: dict[tuple[int, int], SSAValue] = {}

    # Blocks and scopes

    def new_block(self, arg_types: Sequence[Attribute] = ()) -> Block:
        """A block at the end of the function; its arguments belong to the scope pushed next."""
        block = Block(arg_types=arg_types)
        self.region.add_block(block)
        return block

    @property
    def here(self) -> Scope:
        """The innermost scope."""
        return self.scopes[-1]

    def push(self, block: Block) -> None:
        """Enter a nested region that starts with `block`; the enclosing scope must have its branch emitted."""
        if len(self.scopes) > MAX_NESTING:
            raise LimitError(f"loops and conditions nested deeper than {MAX_NESTING}")
        if self.scopes:
            self.here.anchor = self.here.block.last_op
        self.scopes.append(Scope(block))
        self.own(*block.args)

    def pop(self, continue_at: Block) -> None:
        """Leave the nested region; the enclosing scope goes on in `continue_at`."""
        self.scopes.pop()
        self.continue_at(continue_at)

    def continue_at(self, block: Block) -> None:
        """The innermost scope goes on in `block` (dominated by all it has computed)."""
        self.here.block = block
        self.here.anchor = None
        self.own(*block.args)

    def own(self, *values: SSAValue) -> None:
        """`values` exist from the innermost scope on."""
        for v in values:
            self.depth[v] = len(self.scopes) - 1

    # Operations

    def add(self, op: Operation) -> None:
        """Append an op without results of interest, or a terminator."""
        self.here.block.add_op(op)

    def emit(
        self,
        cls: type[Operation],
        operands: Sequence[SSAValue],
        result: Attribute,
        properties: Mapping[str, Attribute] | None = None,
    ) -> SSAValue:
        """Append a one-result op at the current place."""
        op = cls.create(operands=operands, result_types=(result,), properties=properties or {}, location=self.loc)
        scope = self.scopes[-1]
        scope.block.add_op(op)
        value = op.results[0]
        self.depth[value] = len(self.scopes) - 1
        return value

    def effect(
        self, cls: type[Operation], operands: Sequence[SSAValue], properties: Mapping[str, Attribute] | None = None
    ) -> None:
        """Append an op without results."""
        self.here.block.add_op(cls.create(operands=operands, properties=properties or {}, location=self.loc))

    def branch(self, target: Block, args: Sequence[SSAValue] = ()) -> None:
        """End the current block with a jump."""
        self.add(llvm.BrOp.create(operands=args, successors=(target,), location=self.loc))

    def cond_branch(
        self,
        cond: SSAValue,
        then: Block,
        then_args: Sequence[SSAValue],
        other: Block,
        other_args: Sequence[SSAValue],
    ) -> None:
        """End the current block with a conditional jump."""
        segments = i32_array(1, len(then_args), len(other_args))
        op = llvm.CondBrOp.create(
            operands=(cond, *then_args, *other_args),
            successors=(then, other),
            properties={"operandSegmentSizes": segments},
            location=self.loc,
        )
        self.add(op)

    def _hoisted(self, depth: int, key: tuple[object, ...], make: Operation) -> SSAValue:
        scope = self.scopes[depth]
        if depth == len(self.scopes) - 1 or scope.anchor is None:
            scope.block.add_op(make)
        else:
            scope.block.insert_op_before(make, scope.anchor)
        value = make.results[0]
        self.depth[value] = depth
        scope.cache[key] = value
        return value

    def pure(
        self, cls: type[Operation], operands: Sequence[SSAValue], result: Attribute, key: object = None,
        properties: Mapping[str, Attribute] | None = None,
    ) -> SSAValue:  # fmt: skip
        """A speculatable integer or pointer op, shared and placed in the outermost scope that has its operands."""
        depth = max((self.depth[v] for v in operands), default=0)
        full_key = (cls, *operands, key)
        found = self.scopes[depth].cache.get(full_key)
        if found is not None:
            return found
        op = cls.create(operands=operands, result_types=(result,), properties=properties or {}, location=self.loc)
        return self._hoisted(depth, full_key, op)

    # Constants

    def constant(self, value: Attribute, ty: Attribute) -> SSAValue:
        """A constant, once per function, at the top of the entry block."""
        key = (value, ty)
        found = self._constants.get(key)
        if found is None:
            op = llvm.ConstantOp.create(result_types=(ty,), properties={"value": value}, location=self.loc)
            self._constant_ops.append(op)
            found = self._constants[key] = op.results[0]
            self.depth[found] = 0
        return found

    def int_const(self, value: int, width: int = 64) -> SSAValue:
        """An integer constant; wraps to `width`."""
        key = (value, width)
        found = self._ints.get(key)
        if found is None:
            ty = IntegerType(width)
            found = self._ints[key] = self.constant(IntegerAttr(_wrapped(value, width), ty), ty)
        return found

    def dense(self, values: Sequence[float | int], ty: Attribute) -> SSAValue:
        """A vector constant; one value stands for all elements. Integers wrap to the element's width."""
        assert isinstance(ty, VectorType)
        if isinstance(ty.element_type, IntegerType):
            values = [_wrapped(int(v), ty.element_type.width.data) for v in values]
        return self.constant(DenseIntOrFPElementsAttr.from_list(ty, values), ty)  # pyright: ignore

    def splat(self, value: float | int, ty: Attribute) -> SSAValue:
        """`value` in each element of a scalar or 1-D vector type."""
        if isinstance(ty, VectorType):
            return self.dense([value], ty)
        if isinstance(ty, IntegerType):
            return self.int_const(int(value), ty.width.data)
        return self.constant(FloatAttr(float(value), ty), ty)  # pyright: ignore

    def zero(self, ty: Attribute) -> SSAValue:
        """The all-zero value of a scalar or vector type."""
        return self.splat(0, ty)


def _wrapped(value: int, width: int) -> int:
    """`value` in the range of a signed integer of `width` bits; a bool is 0 or 1."""
    if width == 1:
        return value & 1
    half = 1 << (width - 1)
    return (value + half) % (2 * half) - half
