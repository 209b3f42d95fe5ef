"""Determinants, inverses, solutions of linear systems, factors: views and batches around `factorizations`."""

from __future__ import annotations

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.factorizations import (
    LU,
    cholesky,
    diagonal_of,
    first_bad,
    identity,
    lu,
    order_of,
    solved_by,
    substituted,
    triangle,
)
from mlc.lowering.torch.to_linalg.reduction import reduce
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.view import stretched, unsqueeze

Results = tuple[Tensor, ...]


def _batch(c: Conversion, a: Tensor) -> Tensor:
    """Leading dims as one."""
    return c.viewed(a, (c.dims.product(a.shape[:-2]), *a.shape[-2:]))


def _square(c: Conversion, a: Tensor) -> Tensor:
    """One batch of matrices; that they are square is checked when it is not known."""
    rows, columns = a.shape[-2:]
    if not c.dims.same(rows, columns):
        if isinstance(rows, int) or isinstance(columns, int):
            raise c.refuse("factors of matrices that are not square have no lowering")
        c.check(c.op(arith.CmpiOp, rows, columns, "eq"), c.message("the matrices must be square"))
        c.dims.equate(columns, rows)
    return _batch(c, a)


def _transposed(c: Conversion, a: Tensor) -> Tensor:
    n = a.rank
    return c.permuted(a, (*range(n - 2), n - 1, n - 2))


def _is_zero(b: Body, v: SSAValue, t: DType) -> SSAValue:
    return b.compare("eq", v, b.const(0.0, t), t)


def _singular(c: Conversion, factors: Tensor) -> Tensor:
    return first_bad(c, diagonal_of(c, factors), lambda b, v: _is_zero(b, v, factors.dtype))


def _checked(c: Conversion, result: Tensor, info: Tensor, message: str) -> Tensor:
    """`result` of matrices, after a check that no `info` of theirs is set."""
    text, places = c.message(message), c.plain(info)

    def fn(b: Body, at: list[SSAValue], v: SSAValue) -> SSAValue:
        bad = b.extract(places.value, [at[0]])
        b.check(b.compare("eq", bad, b.const(0, places.dtype), places.dtype), text)
        return v

    return indexed(c, result.shape, result.dtype, fn, [result])


def _lead(a: Tensor) -> tuple[Dim, ...]:
    return a.shape[:-2]


@lowers("aten._linalg_det")
def linalg_det(c: Conversion, a: Tensor) -> Results:
    found, t = lu(c, _square(c, a)), a.dtype
    (product,) = reduce(c, [diagonal_of(c, found.factors)], [1], t, 1, lambda b, v, acc: b.mul(acc, v, t))
    result = elementwise(c, [product, found.sign], t, lambda b, v, s: b.mul(v, s, t))
    return c.viewed(result, _lead(a)), *_factors(c, a, found)


def _factors(c: Conversion, a: Tensor, found: LU) -> tuple[Tensor, Tensor]:
    return c.viewed(found.factors, a.shape), c.viewed(found.pivots, a.shape[:-1])


@lowers("aten.det", "aten.linalg_det")
def det(c: Conversion, a: Tensor) -> Tensor:
    return linalg_det(c, a)[0]


@lowers("aten._linalg_slogdet")
def linalg_slogdet(c: Conversion, a: Tensor) -> Results:
    found, t = lu(c, _square(c, a)), a.dtype
    diagonal = diagonal_of(c, found.factors)

    def signs(b: Body, v: SSAValue, acc: SSAValue) -> SSAValue:
        one = b.op(math.CopySignOp, b.const(1.0, t), v)
        return b.mul(acc, b.select(_is_zero(b, v, t), b.const(0.0, t), one), t)

    (sign,) = reduce(c, [diagonal], [1], t, 1, signs)
    (total,) = reduce(c, [diagonal], [1], t, 0, lambda b, v, acc: b.add(acc, b.op(math.LogOp, b.abs(v, t)), t))
    sign = elementwise(c, [sign, found.sign], t, lambda b, v, s: b.mul(v, s, t))
    return c.viewed(sign, _lead(a)), c.viewed(total, _lead(a)), *_factors(c, a, found)


@lowers("aten.linalg_slogdet", "aten.slogdet")
def slogdet(c: Conversion, a: Tensor) -> Results:
    return linalg_slogdet(c, a)[:2]


def _inverse(c: Conversion, a: Tensor) -> tuple[Tensor, Tensor]:
    whole = _square(c, a)
    found = lu(c, whole)
    return solved_by(c, found, identity(c, whole.shape[0], whole.shape[1], a.dtype)), _singular(c, found.factors)


@lowers("aten.linalg_inv_ex")
def linalg_inv_ex(c: Conversion, a: Tensor, *_: object) -> Results:
    result, info = _inverse(c, a)
    return c.viewed(result, a.shape), c.viewed(info, _lead(a))


@lowers("aten.linalg_inv", "aten.inverse")
def linalg_inv(c: Conversion, a: Tensor) -> Tensor:
    result, info = _inverse(c, a)
    return c.viewed(_checked(c, result, info, "the matrix is singular"), a.shape)


def _solve(c: Conversion, a: Tensor, x: Tensor, left: bool) -> tuple[Tensor, Tensor, LU, tuple[Dim, ...]]:
    """(solution, info, factors, shape of the solution); matrices as one batch."""
    vector = x.rank == 1 or (x.rank == a.rank - 1 and all(map(c.dims.same, x.shape, a.shape)))
    x = unsqueeze(c, x, x.rank) if vector else x
    lead = broadcast_shape(c, [_lead(a), _lead(x)])
    a = stretched(c, a, (*lead, *a.shape[-2:]))
    x = stretched(c, x, (*lead, *x.shape[-2:]))
    found = lu(c, _square(c, a if left else _transposed(c, a)))
    result = solved_by(c, found, _batch(c, x if left else _transposed(c, x)))
    result = result if left else _transposed(c, result)
    return result, _singular(c, found.factors), found, x.shape[:-1] if vector else x.shape


@lowers("aten._linalg_solve_ex")
def linalg_solve_ex(c: Conversion, a: Tensor, x: Tensor, left: bool = True, *_: object) -> Results:
    result, info, found, shape = _solve(c, a, x, left)
    return c.viewed(result, shape), *_factors(c, a, found), c.viewed(info, _lead(a))


@lowers("aten.linalg_solve")
def linalg_solve(c: Conversion, a: Tensor, x: Tensor, left: bool = True) -> Tensor:
    result, info, _, shape = _solve(c, a, x, left)
    return c.viewed(_checked(c, result, info, "the matrix is singular"), shape)


@lowers("aten.linalg_lu_factor_ex")
def linalg_lu_factor_ex(c: Conversion, a: Tensor, pivot: bool = True, *_: object) -> Results:
    if not pivot:
        raise c.refuse("factors without pivoting have no lowering")
    found = lu(c, _square(c, a))
    return *_factors(c, a, found), c.viewed(_singular(c, found.factors), _lead(a))


@lowers("aten.linalg_lu_factor")
def linalg_lu_factor(c: Conversion, a: Tensor, pivot: bool = True) -> Results:
    return linalg_lu_factor_ex(c, a, pivot)[:2]


@lowers("aten.linalg_lu")
def linalg_lu(c: Conversion, a: Tensor, pivot: bool = True) -> Results:
    if not pivot:
        raise c.refuse("factors without pivoting have no lowering")
    found = lu(c, _square(c, a))
    return _unpacked(c, a, found.factors, found.order)


def _unpacked(c: Conversion, a: Tensor, factors: Tensor, order: Tensor) -> Results:
    t, places = a.dtype, c.plain(order).value

    def moved(b: Body, at: list[SSAValue]) -> SSAValue:
        here = b.index_compare("eq", b.to_index(b.extract(places, [at[0], at[2]])), at[1])
        return b.select(here, b.const(1, t), b.const(0, t))

    parts = (
        indexed(c, factors.shape, t, moved),
        triangle(c, factors, upper=False, unit=True),
        triangle(c, factors, upper=True),
    )
    return tuple(c.viewed(p, a.shape) for p in parts)


@lowers("aten.lu_unpack")
def lu_unpack(c: Conversion, factors: Tensor, pivots: Tensor, data: bool = True, moves: bool = True) -> Results:
    if not (data and moves):
        raise c.refuse("part of the factors has no lowering", hint="ask for all of them")
    swaps = c.viewed(pivots, (c.dims.product(pivots.shape[:-1]), pivots.shape[-1]))
    return _unpacked(c, factors, _square(c, factors), order_of(c, swaps))


@lowers("aten.linalg_lu_solve")
def linalg_lu_solve(
    c: Conversion, factors: Tensor, pivots: Tensor, x: Tensor, left: bool = True, adjoint: bool = False
) -> Tensor:
    if not left or adjoint:
        raise c.refuse("solving from the right or with the transpose has no lowering", hint="use torch.linalg.solve")
    lead = broadcast_shape(c, [_lead(factors), _lead(x)])
    factors = stretched(c, factors, (*lead, *factors.shape[-2:]))
    pivots = stretched(c, pivots, (*lead, pivots.shape[-1]))
    x = stretched(c, x, (*lead, *x.shape[-2:]))
    order = order_of(c, c.viewed(pivots, (c.dims.product(lead), pivots.shape[-1])))
    found = LU(_square(c, factors), order, order, order)  # a solve asks for no sign and no pivots
    return c.viewed(solved_by(c, found, _batch(c, x)), x.shape)


# -- triangular and positive definite matrices -------------------------------------------------------------------


def _triangular(c: Conversion, a: Tensor, x: Tensor, upper: bool, unit: bool) -> Tensor:
    lead = broadcast_shape(c, [_lead(a), _lead(x)])
    a = stretched(c, a, (*lead, *a.shape[-2:]))
    x = stretched(c, x, (*lead, *x.shape[-2:]))
    return c.viewed(substituted(c, _square(c, a), _batch(c, x), upper=upper, unit=unit), x.shape)


@lowers("aten.linalg_solve_triangular")
def linalg_solve_triangular(
    c: Conversion, a: Tensor, x: Tensor, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    if left:
        return _triangular(c, a, x, upper, unitriangular)
    out = _triangular(c, _transposed(c, a), _transposed(c, x), not upper, unitriangular)
    return _transposed(c, out)


@lowers("aten.triangular_solve")
def triangular_solve(
    c: Conversion, x: Tensor, a: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Results:
    turned = _transposed(c, a) if transpose else a
    return _triangular(c, turned, x, upper != transpose, unitriangular), a


def _cholesky(c: Conversion, a: Tensor, upper: bool) -> tuple[Tensor, Tensor]:
    factor = cholesky(c, _square(c, _transposed(c, a) if upper else a))
    t = a.dtype
    info = first_bad(c, diagonal_of(c, factor), lambda b, v: b.logical_not(b.compare("gt", v, b.const(0.0, t), t)))
    return (_transposed(c, factor) if upper else factor), info


@lowers("aten.linalg_cholesky_ex")
def linalg_cholesky_ex(c: Conversion, a: Tensor, upper: bool = False, *_: object) -> Results:
    factor, info = _cholesky(c, a, upper)
    return c.viewed(factor, a.shape), c.viewed(info, _lead(a))


@lowers("aten.linalg_cholesky", "aten.cholesky")
def linalg_cholesky(c: Conversion, a: Tensor, upper: bool = False) -> Tensor:
    factor, info = _cholesky(c, a, upper)
    return c.viewed(_checked(c, factor, info, "the matrix is not positive definite"), a.shape)


@lowers("aten.cholesky_solve")
def cholesky_solve(c: Conversion, x: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    lower, higher = (factor, _transposed(c, factor)) if not upper else (_transposed(c, factor), factor)
    return _triangular(c, higher, _triangular(c, lower, x, False, False), True, False)


@lowers("aten.cholesky_inverse")
def cholesky_inverse(c: Conversion, factor: Tensor, upper: bool = False) -> Tensor:
    whole = _square(c, factor)
    ones = c.viewed(identity(c, whole.shape[0], whole.shape[1], factor.dtype), factor.shape)
    return cholesky_solve(c, ones, factor, upper)
