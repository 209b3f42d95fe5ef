"""Group the stages of a kernel into nests: loops over common outer dims, the stages one after the other inside.

    fill(out); conv(x, w -> out); relu(out)   -->  one nest: for outer points: fill, conv's reduction loops, relu, store
    max(x -> m); exp(x - m -> out); sum(out -> s); div(out, s)  -->  one nest: for rows: four loops along the row

A stage joins the nest before it when both address what they share by the same elements at the same outer point; the
dims of both are matched through those accesses, split where one walks a dim in blocks. Dims that are parallel in
every stage are the nest's `outer`; what else a stage has is its own (`private`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import SSAValue

from mlc.lowering.vector.sizes import Size
from mlc.lowering.vector.space import Access, Space, Stage


@dataclass
class Nest:
    """Stages under common outer loops. `outer` is ordered, outermost first."""

    space: Space
    stages: list[Stage] = field(default_factory=list)
    outer: list[int] = field(default_factory=list)

    def private(self, stage: Stage) -> list[int]:
        """Dims of `stage` that are not outer loops."""
        return [d for d in stage.dims() if d not in self.outer]

    def accesses(self) -> list[Access]:
        return [a for s in self.stages for a in s.accesses()]

    def written(self) -> set[SSAValue]:
        return {r for s in self.stages for r in s.written()}

    def add_first(self, stage: Stage) -> None:
        self.stages.append(stage)
        self.outer = list(stage.parallel)


def form_nests(stages: list[Stage], space: Space) -> list[Nest]:
    """Nests in program order. Fills wait for the stage that accumulates onto them."""
    nests: list[Nest] = []
    fills: dict[SSAValue, Stage] = {}

    def place(stage: Stage) -> None:
        if nests and _join(nests[-1], stage):
            return
        nests.append(Nest(space))
        nests[-1].add_first(stage)

    for stage in stages:
        if _is_fill(stage):
            root = stage.outs[0].root
            if root in fills:
                place(fills.pop(root))
            fills[root] = stage
            continue
        wanted = [root for root in fills if root in stage.roots()]
        if not wanted:
            place(stage)
            continue
        mine = [fills.pop(root) for root in wanted]
        if nests and _join_all(nests[-1], [stage], mine):
            continue
        nest = Nest(space)
        nest.add_first(stage)
        if _join_all(nest, [], mine):
            nests.append(nest)
            continue
        for fill in mine:
            place(fill)
        place(stage)
    for stage in fills.values():
        place(stage)
    for nest in nests:
        merge_dims(nest)
    return nests


def _is_fill(stage: Stage) -> bool:
    return (
        len(stage.outs) == 1
        and not stage.reads_out(0)
        and not any(isinstance(o, Access) for o in stage.ins)
        and (not stage.reduction and not stage.uses_index)
    )


def _snapshot(stage: Stage) -> Stage:
    return Stage(
        stage.op,
        list(stage.parallel),
        list(stage.reduction),
        list(stage.ins),
        list(stage.outs),
        stage.block,
        [dict(f) for f in stage.indices],
        stage.uses_index,
        stage.tables,
        stage.dot,
    )


def _restore(stage: Stage, saved: Stage) -> None:
    stage.parallel, stage.reduction = list(saved.parallel), list(saved.reduction)
    stage.ins, stage.outs = list(saved.ins), list(saved.outs)
    stage.indices = [dict(f) for f in saved.indices]


def _join_all(nest: Nest, stages: list[Stage], fills: list[Stage]) -> bool:
    """Join `stages`, then put `fills` before the first stage that touches what they fill. All or nothing."""
    everything = nest.stages + stages + fills
    saved = [(s, _snapshot(s)) for s in everything]
    before, outer = list(nest.stages), list(nest.outer)

    def attach() -> bool:
        if not all(_join(nest, stage) for stage in stages):
            return False
        for fill in fills:
            root = fill.outs[0].root
            user = next((i for i, s in enumerate(nest.stages) if root in s.roots()), None)
            if user is None or not _join(nest, fill):
                return False
            nest.stages.insert(user, nest.stages.pop())
        return True

    if attach():
        return True
    for stage, old in saved:
        _restore(stage, old)
    nest.stages, nest.outer = before, outer
    return False


def _join(nest: Nest, stage: Stage) -> bool:
    """Put `stage` at the end of `nest` if that keeps the meaning; otherwise leave both as they were."""
    saved = [(s, _snapshot(s)) for s in (*nest.stages, stage)]
    outer = list(nest.outer)
    if _try_join(nest, stage):
        return True
    for s, old in saved:
        _restore(s, old)
    nest.outer = outer
    return False


def _try_join(nest: Nest, stage: Stage) -> bool:
    written = nest.written()
    tables = frozenset[SSAValue]().union(*(s.tables for s in nest.stages))
    if stage.tables & written or tables & stage.written():
        return False
    dependent = (written & stage.roots()) | ({a.root for a in nest.accesses()} & stage.written())
    if not dependent:
        return False
    for root in sorted(dependent, key=lambda r: _first_use(nest, r)):
        theirs = next(a for a in nest.accesses() if a.root is root)
        ours = next(a for a in stage.accesses() if a.root is root)
        if not _match(nest, stage, theirs, ours):
            return False
    for root in dependent:
        seen = {(a.const, a.coeffs) for a in (*nest.accesses(), *stage.accesses()) if a.root is root}
        if len(seen) != 1:
            return False
    both = [d for d in nest.outer if d in stage.parallel]
    for s in (*nest.stages, stage):
        private_parallel = [d for d in s.parallel if d not in both]
        if private_parallel and s.reduction:
            return False
    nest.outer = both
    nest.stages.append(stage)
    return _outer_separates(nest)


def _outer_separates(nest: Nest) -> bool:
    """Whether every written value depends on all outer dims (each outer point owns what it writes)."""
    for stage in nest.stages:
        for out in stage.outs:
            have = {d for d, _ in out.coeffs}
            if any(d not in have for d in nest.outer):
                return False
    return True


def _first_use(nest: Nest, root: SSAValue) -> int:
    return next(i for i, s in enumerate(nest.stages) if root in s.roots())


def _match(nest: Nest, stage: Stage, theirs: Access, ours: Access) -> bool:
    """Split and rename the dims of `ours` so that it reads `theirs`. Both walk the same mixed-radix offsets."""
    if theirs.const != ours.const:
        return False
    space = nest.space
    a = [(c, d) for d, c in theirs.coeffs]
    b = [(c, d) for d, c in ours.coeffs]
    if len({c for c, _ in a}) != len(a) or len({c for c, _ in b}) != len(b):
        return False  # two dims at one stride: a sliding window, not a grid
    while a and b:
        common = next(((x, y) for x in a for y in b if x[0] == y[0]), None)
        if common is None:
            return False
        (c, da), (_, db) = common
        a.remove((c, da))
        b.remove((c, db))
        if da == db:
            continue
        ea, eb = space.extents[da], space.extents[db]
        if ea == eb:
            stage.rewrite({db: [(da, 1)]})
        elif (rest := ea.divide(eb)) is not None and eb.static is not None:
            high, low = _split(space, da, rest, eb)
            for s in nest.stages:
                s.rewrite({da: [(high, eb.factor), (low, 1)]})
            nest.outer = [n for d in nest.outer for n in ((high, low) if d == da else (d,))]
            stage.rewrite({db: [(low, 1)]})
            a.append((c * eb, high))
        elif (rest := eb.divide(ea)) is not None and ea.static is not None:
            high, low = _split(space, db, rest, ea)
            stage.rewrite({db: [(high, ea.factor), (low, 1)]})
            stage.rewrite({low: [(da, 1)]})
            b.append((c * ea, high))
        else:
            return False
    return not a and not b


def _split(space: Space, dim: int, high: Size, low: Size) -> tuple[int, int]:
    return space.new_dim(high), space.new_dim(low)


def merge_dims(nest: Nest) -> None:
    """Collapse neighbouring dims that every access walks as one: (oh, ow) of an unpadded image, the whole of a
    contiguous elementwise kernel, (kw, ic) of a channel-blocked convolution."""
    while _merge_one(nest):
        pass


def _merge_one(nest: Nest) -> bool:
    dims: list[int] = list(nest.outer)
    for stage in nest.stages:
        dims += [d for d in nest.private(stage) if d not in dims]
    for high in dims:
        for low in dims:
            if high != low and _mergeable(nest, high, low):
                _merge(nest, high, low)
                return True
    return False


def _mergeable(nest: Nest, high: int, low: int) -> bool:
    if (high in nest.outer) != (low in nest.outer):
        return False
    extent = nest.space.extents[low]
    for stage in nest.stages:
        has = [d in stage.dims() for d in (high, low)]
        if has == [False, False]:
            continue
        if has != [True, True] or (high in stage.parallel) != (low in stage.parallel):
            return False
        if any(a.coeff(high) != a.coeff(low) * extent for a in stage.accesses()):
            return False
        if stage.uses_index and any(
            Size(f.get(high, 0)) != Size(f.get(low, 0)) * extent for f in stage.indices if high in f or low in f
        ):
            return False
    return True


def _merge(nest: Nest, high: int, low: int) -> None:
    space = nest.space
    one = space.new_dim(space.extents[high] * space.extents[low])
    for stage in nest.stages:
        stage.ins = [_merged(o, high, low, one) if isinstance(o, Access) else o for o in stage.ins]
        stage.outs = [_merged(o, high, low, one) for o in stage.outs]
        stage.parallel = _renamed(stage.parallel, high, low, one)
        stage.reduction = _renamed(stage.reduction, high, low, one)
        for form in stage.indices:
            if low in form:
                form[one] = form.pop(low)
            form.pop(high, None)
    nest.outer = _renamed(nest.outer, high, low, one)


def _merged(access: Access, high: int, low: int, one: int) -> Access:
    coeffs = dict(access.coeffs)
    coeffs.pop(high, None)
    if low in coeffs:
        coeffs[one] = coeffs.pop(low)
    return access.with_coeffs(coeffs)


def _renamed(dims: list[int], high: int, low: int, one: int) -> list[int]:
    return [one if d == low else d for d in dims if d != high]
