"""The same as xDSL's check of an op against its definition, sooner, for ops that pass it.

    arith.addf: two operands, one result, no regions, one property   -- looked up once for each definition
    types and properties against their constraints                   -- for each op

xDSL asks for each op anew which of its operands are variadic and where their number is noted. An op that does not pass
here is checked by xDSL, which says what is wrong. Test: `tests/ir/test_fast_verify.py`.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from xdsl.ir import Attribute, Operation, OpTrait, SSAValue
from xdsl.irdl import OpDef, OptionalDef, VariadicDef
from xdsl.irdl import operations as irdl
from xdsl.irdl.constraints import AnyAttr, SingleOf, VerificationContext

_verify = OpDef.verify
_SUCCESSOR = irdl.VarIRConstruct.SUCCESSOR
Check = Callable[[Any, VerificationContext], None]


class _Values:
    """What a definition says of the operands of an op, or of its results."""

    def __init__(self, definition: OpDef, construct: Any, defs: Sequence[tuple[str, Any]]) -> None:
        self.definition, self.construct, self.count = definition, construct, len(defs)
        self.constraints = [(d.constr, isinstance(d, VariadicDef)) for _, d in defs]
        self.variadic = sum(variadic for _, variadic in self.constraints)
        self.optional = any(isinstance(d, OptionalDef) for _, d in defs)
        sized: Any = irdl.get_attr_size_option(construct)
        self.sized: Any = next((option for option in definition.options if isinstance(option, sized)), None)
        singles = enumerate(constraint for constraint, _ in self.constraints)
        self.singles = [(i, check) for i, constraint in singles if (check := _single(constraint)) is not None]

    def hold(self, op: Operation, values: Sequence[SSAValue], known: VerificationContext) -> bool:
        """Whether `values` are as many as they should, and of the types; what is wrong may be raised, too."""
        if not self.variadic and self.sized is None:
            if len(values) != self.count:
                return False
            for i, check in self.singles:
                check(values[i].type, known)
            return True
        sizes = self._sizes(op, len(values))
        if sizes is None:
            return False
        at = 0
        for (constraint, _), size in zip(self.constraints, sizes, strict=True):
            constraint.verify(tuple([v.type for v in values[at : at + size]]), known)
            at += size
        return True

    def _sizes(self, op: Operation, count: int) -> Sequence[int] | None:
        """How many values there are of each definition; None where that does not come out."""
        if self.sized is not None:
            irdl.verify_variadic_attr_size(op, self.definition, self.construct, self.sized)
            return self.sized.container(op)[self.sized.attribute_name].get_values()
        size, rest = divmod(count - self.count + self.variadic, self.variadic)
        if size < 0 or rest or (self.optional and size > 1):
            return None
        return [size if variadic else 1 for _, variadic in self.constraints]


def _single(constraint: Any) -> Check | None:
    """The check of the type of one value; None where every type is right."""
    if not isinstance(constraint, SingleOf):
        return lambda type, known: constraint.verify((type,), known)
    return _check(constraint.constr)


def _check(constraint: Any) -> Check | None:
    return None if isinstance(constraint, AnyAttr) else constraint.verify


class _Plan:
    """What a definition asks of its ops."""

    def __init__(self, definition: OpDef) -> None:
        self.definition = definition
        self.operands = _Values(definition, irdl.VarIRConstruct.OPERAND, definition.operands)
        self.results = _Values(definition, irdl.VarIRConstruct.RESULT, definition.results)
        sized = (irdl.AttrSizedRegionSegments, irdl.AttrSizedSuccessorSegments)
        self.inner = bool(definition.regions or definition.successors) or any(
            isinstance(option, sized) for option in definition.options
        )
        self.properties = _named(definition.properties)
        self.attributes = _named(definition.attributes)

    def holds(self, op: Operation) -> bool:
        """Whether `op` is as it should; what is wrong may be raised, too."""
        known = VerificationContext()
        if not self.operands.hold(op, op._operands, known) or not self.results.hold(op, op.results, known):
            return False
        if self.inner or op.regions or op.successors:
            irdl.irdl_op_verify_regions(op, self.definition, known)
            irdl.verify_variadic_size(op, self.definition, _SUCCESSOR)
        if not all(name in self.definition.properties for name in op.properties):
            return False
        if not _are(self.properties, op.properties, known) or not _are(self.attributes, op.attributes, known):
            return False
        for trait in self.definition.traits:
            if _checks(type(trait)):
                trait.verify(op)
        return True


def _named(definitions: Mapping[str, Any]) -> list[tuple[str, bool, Check | None]]:
    return [(name, isinstance(d, OptionalDef), _check(d.constr)) for name, d in definitions.items()]


def _are(wanted: Iterable[tuple[str, bool, Check | None]], have: Mapping[str, Attribute], known: Any) -> bool:
    for name, optional, check in wanted:
        value = have.get(name)
        if value is None:
            if not optional:
                return False
        elif check is not None:
            check(value, known)
    return True


@cache
def _checks(trait: type[OpTrait]) -> bool:
    return trait.verify is not OpTrait.verify


_plans: dict[int, _Plan] = {}  # by the definition's id, which stays its own as the plan holds the definition


def verify_definition(self: OpDef, op: Operation) -> None:
    """`OpDef.verify`."""
    plan = _plans.get(id(self))
    if plan is None:
        plan = _plans[id(self)] = _Plan(self)
    with suppress(Exception):  # xDSL says what it is
        if plan.holds(op):
            return
    _verify(self, op)


REPLACED: tuple[tuple[Any, str, Any], ...] = ((OpDef, "verify", verify_definition),)
"""Where, under which name, and what stands there inside `fast_build`."""
