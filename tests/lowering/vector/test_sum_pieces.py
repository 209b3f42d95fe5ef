"""Long sums in pieces: where loops are cut, and that all terms are there once, whatever the schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects import arith, scf, vector
from xdsl.dialects.builtin import Float32Type, VectorType

from mlc.lowering.vector.sum_pieces import LEAST_CHAIN, UNKNOWN, piece_sizes
from mlc.lowering.vector.target import Target
from tests.lowering.vector.programs import MULTIPLY_ADD, Kernel, check, lowered
from tests.lowering.vector.test_rows import ADD, softmax

CHAIN = Target().chain


def longest(terms: int, loops: list[tuple[int, int | None]], sizes: dict[int, list[int]]) -> int:
    """Terms that one accumulator takes one after the other, counted level by level."""
    most = terms
    for dim, trips in loops:
        edges = [*reversed(sizes.get(dim, [])), trips or UNKNOWN]
        before = 1
        for edge in edges:
            terms *= -(-edge // before)
            most = max(most, terms)
            before = edge
            if edge is not edges[-1]:
                terms = 1
    return most


@settings(suppress_health_check=[HealthCheck.too_slow])  # beside other programs
@given(
    st.integers(1, 640),
    st.lists(st.integers(1, 5000) | st.none(), min_size=1, max_size=4),
    st.sampled_from([LEAST_CHAIN, 17, 128, CHAIN]),
)
def test_no_chain_is_longer_than_asked_for(terms: int, trips: list[int | None], chain: int):
    loops = list(enumerate(trips))
    sizes = piece_sizes(terms, loops, chain)
    assert longest(terms, loops, sizes) <= max(chain, terms)
    for dim, found in sizes.items():
        assert all(a % b == 0 for a, b in pairwise(found))
        assert found[0] <= (trips[dim] or UNKNOWN)


@pytest.mark.parametrize(
    ("terms", "loops", "sizes"),
    [
        (16, [(3, 3), (2, 3), (1, 4)], {}),
        (16, [(3, 3), (2, 3), (1, 32)], {1: [2]}),  # 512 channels, 3x3: 16 pieces of 288
        (4, [(0, 1024)], {0: [64]}),
        (16, [(1, 31), (0, 31)], {0: [1]}),  # a piece per row
        (400, [(0, 32)], {0: [1]}),
        (1, [(0, 1 << 20)], {0: [65536, 256]}),
        (4, [(0, None)], {0: [64]}),
    ],
)
def test_where_loops_are_cut(terms: int, loops: list[tuple[int, int | None]], sizes: dict[int, list[int]]):
    assert piece_sizes(terms, loops, CHAIN) == sizes


def additions_to_totals(kernel: Kernel, **options: object) -> int:
    """Additions of vectors, or scalars, in loops whose own values they are: totals and what a piece summed up."""
    loops = [op for op in lowered(kernel, **options)[1].walk() if isinstance(op, scf.ForOp)]
    inner = {r for op in loops for r in op.results}
    return sum(
        isinstance(op, arith.AddfOp) and op.lhs in loop.body.block.args and op.rhs in inner
        for loop in loops
        for op in loop.body.block.ops
    )


def accumulators(kernel: Kernel) -> int:
    return max(len(op.iter_args) for op in lowered(kernel)[1].walk() if isinstance(op, scf.ForOp))


def test_kernels_with_few_terms_are_as_they_were():
    for k in (64, CHAIN):
        kernel = Kernel(f"x=5x{k} w={k}x32 out=5x32").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
        assert str(lowered(kernel)[1]) == str(lowered(kernel, chain=1 << 40)[1])
    kernel = Kernel("x=1x2x9x9x8 w=2x2x3x3x8x16 out=1x2x7x7x16").fill("out")
    kernel.contract("n,c,h+i,w+j,k|f,c,i,j,k,g->n,f,h,w,g", "x", "w", "out")
    assert additions_to_totals(kernel) == 0


def test_a_total_per_accumulator():
    kernel = Kernel("x=12x704 w=704x32 out=12x32").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    assert additions_to_totals(kernel) == accumulators(kernel)
    check(kernel, domain="field")


@pytest.mark.parametrize("k", [5, 6, 23, 24, 25, 64, 97, 300])
@pytest.mark.parametrize("m", [1, 7])
def test_products(m: int, k: int):
    kernel = Kernel(f"x={m}x{k} w={k}x27 out={m}x27").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    check(kernel, domain="field", chain=LEAST_CHAIN, native=k == 97)


def test_a_product_is_added_to_what_is_there():
    kernel = Kernel("x=3x97 w=97x27 out=3x27").contract("m,k|k,n->m,n", "x", "w", "out")
    assert additions_to_totals(kernel, chain=7)
    check(kernel, domain="field", chain=7)


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("chain", [5, 9, 30])
def test_convolutions(channels: int, chain: int):
    kernel = Kernel(f"x=1x{channels}x7x7x8 w=2x{channels}x3x3x8x16 out=1x2x5x5x16").fill("out")
    kernel.contract("n,c,h+i,w+j,k|f,c,i,j,k,g->n,f,h,w,g", "x", "w", "out")
    assert additions_to_totals(kernel, chain=chain)
    check(kernel, domain="field", chain=chain, native=channels == 3)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 300, 9), (5, 641, 8), (3, 160, 5)])
def test_products_of_rows(m: int, k: int, n: int):
    kernel = Kernel(f"x={m}x{k} w={n}x{k} out={m}x{n}").fill("out").contract("m,k|n,k->m,n", "x", "w", "out")
    assert additions_to_totals(kernel, chain=5, vector_bits=128)
    check(kernel, domain="field", chain=5, vector_bits=128)


def test_products_over_panels_of_rows():
    kernel = Kernel("x=2x97x16 w=40x97 out=2x16x40").fill("out").contract("a,k,b|n,k->a,b,n", "x", "w", "out")
    assert additions_to_totals(kernel, chain=9)
    check(kernel, domain="field", chain=9)


@pytest.mark.parametrize("shape", ["4x50x33", "50x4x3", "9x70x16"])
@pytest.mark.parametrize("equation", ["a,b,c->a,c", "a,b,c->c", "a,b,c->b", "a,b,c->a", "a,b,c->b,c"])
def test_sums_along_any_dim(shape: str, equation: str):
    sizes = dict(zip("abc", shape.split("x"), strict=True))
    out = "x".join(sizes[d] for d in equation.partition("->")[2].split(","))
    kernel = Kernel(f"x={shape} out={out}").fill("out").generic(equation, ["x", "out"], ADD)
    check(kernel, domain="field", chain=LEAST_CHAIN, vector_bits=128)


def test_the_sum_of_all():
    kernel = Kernel("x=9x130 out=").fill("out").generic("a,b->", ["x", "out"], ADD)
    check(kernel, domain="field", chain=LEAST_CHAIN, vector_bits=128)


@pytest.mark.parametrize("k", [0, 1, 5, 6, 64, 97, 700])
def test_dynamic_sizes(k: int):
    kernel = Kernel("x=5x? w=?x20 out=5x20").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    assert additions_to_totals(kernel)
    check(kernel, kernel.arrays([k, k]), chain=LEAST_CHAIN)
    row = Kernel("x=3x? out=3").fill("out").generic("i,j->i", ["x", "out"], ADD)
    check(row, row.arrays([k]), chain=LEAST_CHAIN, vector_bits=128)


def test_a_row_whose_greatest_is_taken_beside_its_sum():
    check(softmax("3", "700", local=True), chain=LEAST_CHAIN, vector_bits=128)


def test_a_body_that_adds_several_terms():
    body = [*MULTIPLY_ADD[:1], "%q = arith.addf %acc, %p : f32", "%r = arith.addf %a1, %q : f32"]
    kernel = Kernel("x=5x97 w=97x27 out=5x27").fill("out").generic("m,k|k,n->m,n", ["x", "w", "out"], body)
    assert additions_to_totals(kernel, chain=150)
    check(kernel, domain="field", chain=150)


@pytest.mark.parametrize(
    "body",
    [
        ["%r = arith.maximumf %acc, %a0 : f32"],
        ["%r = arith.mulf %acc, %a0 : f32"],
        ["%h = arith.addf %acc, %a0 : f32", "%r = arith.mulf %h, %a0 : f32"],
        ["%h = arith.mulf %acc, %a0 : f32", "%r = arith.addf %h, %a0 : f32"],
    ],
)
def test_what_is_no_sum_stays_whole(body: list[str]):
    kernel = Kernel("x=100x20 out=20").generic("k,n->n", ["x", "out"], body)
    assert str(lowered(kernel, chain=LEAST_CHAIN)[1]) == str(lowered(kernel)[1])


def test_integers_stay_whole():
    body = ["%r = arith.addi %acc, %a0 : i32"]
    kernel = Kernel("x=1000x20:i32 out=20:i32").generic("k,n->n", ["x", "out"], body)
    assert str(lowered(kernel)[1]) == str(lowered(kernel, chain=1 << 40)[1])


def test_pieces_begin_with_nothing():
    """Their accumulators begin at zeros, not at what totals hold."""
    kernel = Kernel("x=12x704 w=704x32 out=12x32").contract("m,k|k,n->m,n", "x", "w", "out")
    (inner,) = (
        op
        for op in lowered(kernel)[1].walk()
        if isinstance(op, scf.ForOp) and any(o.name == vector.FMAOp.name for o in op.body.block.ops)
    )
    kinds = {type(a.owner) for a in inner.iter_args}
    assert kinds == {arith.ConstantOp}
    assert all(isinstance(a.type, VectorType) and isinstance(a.type.element_type, Float32Type) for a in inner.iter_args)
