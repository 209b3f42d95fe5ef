"""`--mlir-elide-elementsattrs-if-larger`: big literals become a placeholder handle, so that a listing is readable."""

from __future__ import annotations

import math

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, DenseResourceAttr, ModuleOp
from xdsl.ir import Attribute

ELIDED = "__elided__"


def elide_large_constants(module: ModuleOp, limit: int) -> None:
    """Literals of more than `limit` elements become `dense_resource<__elided__>`, as upstream prints them."""
    for op in module.walk():
        for table in (op.properties, op.attributes):
            for name, attr in list(table.items()):
                table[name] = _elided(attr, limit)


def _elided(attr: Attribute, limit: int) -> Attribute:
    if isinstance(attr, DenseIntOrFPElementsAttr):
        count = math.prod(attr.get_shape())
        if count > limit and len(attr.data.data) > 8:  # at most 8 bytes: a splat, short as it is
            return DenseResourceAttr.from_params(ELIDED, attr.type)
    return attr
