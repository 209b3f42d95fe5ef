"""Products whose vectors run along rows of the result: the rows packed into panels, the weights as they lie.

    y[m1, m0, n] += x[m1, k, m0] * w[n, k]     w is a scalar per result, x a vector along m0; y is contiguous along n

Lanes along n would gather w, lanes along m0 scatter y. So accumulators are vectors along m0 and become vectors along n
in registers once per tile (`panel_writer.py`); what comes before and after the product works on these.
Tests: tests/lowering/vector/test_panels.py
"""

from __future__ import annotations

from dataclasses import dataclass

from mlc.lowering.vector.bodies import combiners
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.sizes import ONE, ZERO
from mlc.lowering.vector.space import Access, Stage


@dataclass(frozen=True)
class RowPanels:
    """`across`: the dim that accumulators are vectors along; `lanes`: the one that results are contiguous along;
    `panels`: other outer dims; `weights`: read along its rows, one scalar per accumulator."""

    across: int
    lanes: int
    panels: tuple[int, ...]
    weights: Access


def row_panels(nest: Nest, width: int) -> RowPanels | None:
    """The product of `nest`, where it is the only stage with loops of its own and reads panels of rows."""
    products = [s for s in nest.stages if nest.private(s)]
    if len(products) != 1 or width & (width - 1) or width == 1:
        return None
    (stage,) = products
    if len(nest.private(stage)) != 1 or not stage.reduction or combiners(stage) is None or stage.dot is not None:
        return None
    if any(nest.space.static(d) is None for d in stage.dims()):
        return None
    read = [o for o in stage.ins if isinstance(o, Access)]
    if len(read) != 2 or read[0].root is read[1].root:
        return None
    for rows, weights in (read, read[::-1]):
        for across in nest.outer:
            found = _match(nest, stage, rows, weights, across, width)
            if found is not None:
                return found
    return None


def _match(nest: Nest, stage: Stage, rows: Access, weights: Access, across: int, width: int) -> RowPanels | None:
    (inner,) = nest.private(stage)
    lanes = [d for d in nest.outer if weights.coeff(d) != ZERO]
    if len(lanes) != 1 or rows.coeff(across) != ONE or weights.coeff(across) != ZERO:
        return None
    (n,) = lanes
    full = (nest.space.static(across) or 0) % width == 0 and (nest.space.static(n) or 0) >= width
    if not full or rows.coeff(n) != ZERO or weights.coeff(n) == ONE or weights.coeff(inner) != ONE:
        return None
    around = [a for s in nest.stages for a in s.accesses() if a not in (rows, weights)]
    written = [a for s in nest.stages for a in s.outs]
    if any(a.coeff(n) not in (ZERO, ONE) for a in around) or any(a.coeff(n) != ONE for a in written):
        return None
    if any(a.root in (rows.root, weights.root) for a in around) or any(s.uses_index or s.tables for s in nest.stages):
        return None
    return RowPanels(across, n, tuple(d for d in nest.outer if d not in (n, across)), weights)
