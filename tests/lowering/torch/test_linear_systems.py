"""Determinants, inverses, solutions, factors, distances."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mlc.errors import ExecutionError
from mlc.interp import run_module
from tests.lowering.torch.single_op import check, lowered, module_of, to_numpy

torch.manual_seed(0)
A = torch.randn(2, 3, 4, 4) + 3 * torch.eye(4)
ROTATED = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0], [0.0, 0.0, 4.0]])
SINGULAR = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
P = torch.randn(2, 3, 3)
P = P @ P.mT + torch.eye(3)
L = torch.linalg.cholesky(P)
X = torch.randn(2, 3, 4, 2)
LU, PIVOTS = torch.linalg.lu_factor(A)
U, V = torch.randn(2, 5, 3), torch.randn(2, 4, 3)

CASES: list[tuple[str, tuple[Any, ...]]] = [
    ("linalg_det", (A,)),
    ("det", (ROTATED,)),
    ("linalg_det", (SINGULAR,)),
    ("det", (torch.zeros(3, 0, 0),)),
    ("linalg_slogdet", (ROTATED,)),
    ("linalg_inv", (A,)),
    ("inverse", (ROTATED.double(),)),
    ("linalg_inv_ex", (ROTATED,)),
    ("linalg_solve", (A, X)),
    ("linalg_solve", (ROTATED, torch.randn(3))),
    ("linalg_solve", (ROTATED, torch.randn(2, 3), False)),
    ("_linalg_solve_ex", (ROTATED, torch.randn(3, 2))),
    ("linalg_lu", (A,)),
    ("linalg_lu_factor", (ROTATED,)),
    ("linalg_lu_factor_ex", (SINGULAR * torch.tensor([[1.0, 1.0], [1.0, 0.0]]),)),
    ("lu_unpack", (LU, PIVOTS)),
    ("linalg_lu_solve", (LU, PIVOTS, X)),
    ("linalg_solve_triangular", (A, X, True)),
    ("linalg_solve_triangular", (A[0, 0], X[0].mT, False, False, True)),
    ("triangular_solve", (X[0, 0], A[0, 0], False, True)),
    ("linalg_cholesky", (P,)),
    ("linalg_cholesky_ex", (P.double(), True)),
    ("cholesky", (P[0],)),
    ("cholesky_solve", (torch.randn(3, 2), L[0])),
    ("cholesky_inverse", (L[0].mT.contiguous(), True)),
    ("cdist", (U, V)),
    ("cdist", (U, V, math.inf)),
    ("cdist", (U[0], V, 1.0)),
    ("_cdist_forward", (U, V, 3.0, None)),
    ("cdist", (torch.zeros(2, 0), torch.zeros(3, 0))),
    ("_pdist_forward", (U[0], 2.0)),
    ("cosine_similarity", (U, U + 1, 2)),
    ("cosine_similarity", (U, U[0, :1], -1)),
    ("cosine_similarity", (torch.tensor(2.0), torch.tensor(-3.0), 0)),
    ("cosine_similarity", (torch.zeros(2, 3), U[0, :2])),
    ("cosine_similarity", (torch.zeros(2, 3).half(), U[0, :2].half())),
    ("native_batch_norm", (U, None, None, None, None, True, 0.1, 1e-5)),
]


@pytest.mark.parametrize(("name", "args"), CASES, ids=[f"{i}-{n}" for i, (n, _) in enumerate(CASES)])
def test_close(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, reassociates=True)


@pytest.mark.parametrize(
    ("name", "args"),
    [("linalg_inv", (A,)), ("linalg_cholesky", (P,)), ("cdist", (U, V)), ("cosine_similarity", (U, U + 1))],
)
def test_unknown_sizes(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, reassociates=True, dynamic=True)


@pytest.mark.parametrize(("name", "args"), [("linalg_inv", (A,)), ("linalg_cholesky", (P,))])
def test_matrices_without_a_solution_are_named(name: str, args: tuple[Any, ...]) -> None:
    (good,) = args
    module, _ = module_of(f"aten.{name}", args, {}, good, False)
    lowered(module)
    bad = good.clone()
    bad[-1, ..., :, :] = 0
    with pytest.raises(ExecutionError, match=r"singular|not positive definite"):
        run_module(module, "forward", [to_numpy(bad)])
