"""`--mlir-elide-elementsattrs-if-larger`: big literals become a placeholder handle, so that a listing is readable."""

from __future__ import annotations

import math

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, DenseResourceAttr
from xdsl.ir import Attribute, Operation

ELIDED = "__elided__"


def elided(root: Operation, limit: int | None) -> Operation:
    """A copy with `dense_resource<__elided__>` for literals of more than `limit` elements; `root` itself without."""
    if limit is None:
        return root
    copy = root.clone()
    for op in copy.walk():
        for table in (op.properties, op.attributes):
            for name, attr in list(table.items()):
                table[name] = _elided(attr, limit)
    return copy


def _elided(attr: Attribute, limit: int) -> Attribute:
    if isinstance(attr, DenseIntOrFPElementsAttr):
        count = math.prod(attr.get_shape())
        if count > limit and len(attr.data.data) > 8:  # at most 8 bytes: a splat, short as it is
            return DenseResourceAttr.from_params(ELIDED, attr.type)
    return attr
