"""ATen's ops on Python numbers and lists against TorchScript's own; what every rule and meaning must have."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from mlc.dialects.torch import infer_call, schema, schema_names
from mlc.dialects.torch import inference as inference_module
from mlc.dialects.torch.inference import inferable
from mlc.dialects.torch.second_names import SECOND_NAMES
from mlc.ir.semantics import has_semantics, load_dialect_semantics, registered_semantics, semantics_of
from tests.dialects.torch import test_aten_elementwise, test_aten_nn, test_aten_reduce, test_aten_shape
from tests.dialects.torch.draw import words
from tests.dialects.torch.harness import Runner, build, check, to_numpy

pytestmark = pytest.mark.torch

INTS = ((7, 2), (-7, 2), (0, 3), (5, -3), (4, 4))
FLOATS = ((1.5, 2.0), (-0.5, 0.25), (3.0, 3.0))

BINARY_INT = words(
    "add.int sub.int mul.int floordiv.int remainder.int eq.int ne.int lt.int le.int gt.int ge.int div.int"
)
BINARY_FLOAT = [f"{name}.float" for name in words("add sub mul eq ne lt le gt ge div")]
MIXED = [f"{name}.{kind}" for name in words("add sub mul eq ne lt le gt ge") for kind in ("float_int", "int_float")]
OTHERS: dict[str, list[tuple[Any, ...]]] = {
    "aten.neg.int": [(3,), (-2,)],
    "aten.neg.float": [(3.5,)],
    "aten.pow.int": [(2, 10), (3, 0)],
    "aten.sqrt.int": [(9,)],
    "aten.sqrt.float": [(2.0,)],
    "aten.ceil.float": [(1.2,), (-1.2,)],
    "aten.floor.float": [(1.2,), (-1.2,)],
    "aten.div": [(3, 2), (1.0, 4)],
    "aten.Float.Scalar": [(3,), (2.5,)],
    "aten.Float.int": [(3,)],
    "aten.Int.Scalar": [(3,), (2.5,)],
    "aten.Int.float": [(2.9,), (-2.9,)],
    "aten.Int.bool": [(True,)],
    "aten.Bool.int": [(0,), (2,)],
    "aten.Bool.float": [(0.0,), (2.0,)],
    "aten.__not__": [(True,), (False,)],
    "aten.__and__.bool": [(True, False), (True, True)],
    "aten.__or__.bool": [(True, False), (False, False)],
    "aten.eq.bool": [(True, False)],
    "aten.eq.str": [("a", "a"), ("a", "b")],
    "aten.ne.str": [("a", "b")],
    "aten.eq.int_list": [([1, 2], [1, 2]), ([1], [2])],
    "aten.ne.int_list": [([1, 2], [1, 2])],
    "aten.__contains__.int_list": [([1, 2], 2), ([1], 3)],
    "aten.len.Tensor": [(torch.zeros(3, 2),)],
    "aten.Int.Tensor": [(torch.tensor(3),)],
    "aten.IntImplicit": [(torch.tensor(3),)],
    "aten.Float.Tensor": [(torch.tensor(2.5),)],
    "aten.FloatImplicit": [(torch.tensor(2.5),)],
    "aten.ScalarImplicit": [(torch.tensor(2.5),), (torch.tensor(2),)],
    "aten.Bool.Tensor": [(torch.tensor(0.0),), (torch.tensor(2),)],
    "aten.size": [(torch.zeros(3, 2),)],
    "aten.sym_size": [(torch.zeros(3, 2),)],
    "aten.sym_numel": [(torch.zeros(3, 2),)],
    "prim.max.int": [(2, 3)],
    "prim.min.int": [(2, 3)],
    "prim.max.self_int": [([4, 1, 2],)],
    "prim.min.self_int": [([4, 1, 2],)],
    "prim.dtype": [(torch.zeros(2, dtype=torch.bfloat16),), (torch.zeros(2, dtype=torch.int64),)],
    "prim.NumToTensor.Scalar": [(3,)],
    "prim.NumToTensor.bool": [(True,)],
    "aten._assert_scalar": [(1, "message")],
    "aten._assert_tensor_metadata": [(torch.zeros(2), [2], None, torch.float32)],
}


@pytest.mark.parametrize("name", BINARY_INT)
def test_ints(name: str) -> None:
    for pair in INTS:
        check(f"aten.{name}", pair)


@pytest.mark.parametrize("name", BINARY_FLOAT)
def test_floats(name: str) -> None:
    for pair in FLOATS:
        check(f"aten.{name}", pair)


@pytest.mark.parametrize("name", MIXED)
def test_mixed(name: str) -> None:
    for pair in ((1.5, 2), (2.0, 2)):
        check(f"aten.{name}", pair if name.endswith("float_int") else pair[::-1])


@pytest.mark.parametrize(("name", "calls"), OTHERS.items())
def test_other(name: str, calls: list[tuple[Any, ...]]) -> None:
    for arguments in calls:
        check(name, arguments)


# Generic ones, which TorchScript's binding cannot be called with.
GENERIC: dict[str, tuple[tuple[Any, ...], Any]] = {
    "aten.len.t": (([1, 2, 3],), 3),
    "aten.add.t": (([1, 2], [3]), [1, 2, 3]),
    "aten.__getitem__.t": (([1, 2, 3], -1), 3),
    "aten.to.prim_other": ((torch.zeros(2, 3), False, False), (2, 3)),
    "aten.__is__": ((None, None), True),
    "aten.__isnot__": ((1, None), True),
    "aten.numpy_T": ((torch.zeros(2, 3),), (3, 2)),
}


@pytest.mark.parametrize("name", GENERIC)
def test_generic(name: str) -> None:
    load_dialect_semantics("torch")
    arguments, expected = GENERIC[name]
    (got,) = semantics_of(op := build(name, list(arguments)))(op, tuple(to_numpy(a) for a in arguments), Runner())
    assert (got.shape if hasattr(got, "shape") else got) == expected


def _tested() -> set[str]:
    """Names that some table of these tests runs against PyTorch."""
    groups = [*test_aten_shape.CASES, *test_aten_reduce.CASES, *test_aten_nn.CASES]
    names = {f"aten.{n}" for group in groups for n in group.split()}
    names |= {f"aten.{n}" for n in (test_aten_elementwise.ANY + test_aten_elementwise.FLOAT_ONLY).split()}
    names |= {n for group in test_aten_elementwise.ARGUMENTS for n in group.split()}
    names |= {f"aten.{n}" for n in (*BINARY_INT, *BINARY_FLOAT, *MIXED)} | set(OTHERS) | set(GENERIC)
    return (
        names
        | {f"aten.{n}" for n in test_aten_elementwise.TESTED_BY_FUNCTIONS.split()}
        | set(ALIASES)
        | set(SECOND_NAMES)
    )


# Registered with the very function of another op that is tested.
ALIASES = frozenset(
    f"aten.{n}"
    for n in words(
        """
    absolute subtract.Tensor multiply.Tensor divide.Tensor true_divide.Tensor true_divide.Scalar not_equal.Tensor
    not_equal.Scalar less.Tensor greater.Tensor less_equal.Tensor greater_equal.Tensor max.other min.other arctan2
    clip clip.Tensor concatenate swapaxes swapdims transpose_copy.int permute_copy unsqueeze_copy squeeze_copy.dim
    squeeze_copy.dims view_copy _reshape_alias expand_copy tile slice_copy.Tensor select_copy.int narrow_copy
    unfold_copy diagonal_copy as_strided_copy t_copy linalg_matmul ger unsafe_chunk unsafe_split.Tensor
    unsafe_split_with_sizes split_with_sizes_copy split.sizes _unsafe_index.Tensor lift_fresh
    """
    )
)


def test_every_meaning_is_compared_with_pytorch() -> None:
    load_dialect_semantics("torch")
    ours = {name[6:] for name in registered_semantics() if name.startswith(("torch.aten.", "torch.prims."))}
    assert sorted(ours - _tested() - ELSEWHERE) == []


# Tested apart from the tables, or without a counterpart that PyTorch can call.
ELSEWHERE = frozenset(
    words(
        """
    aten.format aten.rrelu_with_noise_functional aten.empty.memory_format aten.empty_like aten.new_empty
    aten.empty_permuted aten.empty_strided aten.new_empty_strided aten._convolution aten._convolution.deprecated
    aten.convolution_overrideable aten.conv1d.padding aten.conv3d.padding prims.iota prims.squeeze
    prims.collapse prims.split_dim prims.view_of prims.sqrt
    """
    )
)


def test_rules_and_meanings_take_the_arguments_of_their_schemas() -> None:
    rules = inference_module._RULES
    for name in inferable():
        inspect.signature(rules[name]).bind(*schema(name).arguments)


def test_every_meaning_of_a_tensor_op_has_an_inference_rule() -> None:
    load_dialect_semantics("torch")
    known = set(inferable())
    missing = []
    for name in schema_names():
        tensors = any(str(r.type) in ("Tensor", "Tensor[]") for r in schema(name).returns)
        if has_semantics(f"torch.{name}") and tensors and name not in known:
            missing.append(name)
    assert missing == []


# The hundred ops that decomposed real programs use most.
CORE = """
view where.self mul.Tensor unsqueeze scalar_tensor arange.start_step sub.Tensor add.Tensor permute _to_copy
full_like full convolution clone sum.dim_IntList var.correction squeeze.dims expand index.Tensor
_assert_tensor_metadata sqrt abs mean slice.Tensor le.Scalar ne.Scalar bmm index_put avg_pool2d cat
_local_scalar_dense eq.Scalar linalg_vector_norm as_strided clamp div.Tensor max_pool2d_with_indices eq.Tensor
gt.Scalar logical_not mean.dim mm diagonal empty.memory_format scatter_reduce.two div.Tensor_mode
max_pool3d_with_indices any.dim exp gather remainder.Scalar _softmax index_select copy ge.Scalar isnan log neg
scatter.value lt.Scalar select.int unfold _adaptive_avg_pool2d _native_batch_norm_legit_no_training _assert_scalar
_index_put_impl flip logical_or adaptive_max_pool2d addmm logical_and mul.Scalar slice_scatter _fft_r2c
constant_pad_nd pow.Tensor_Scalar split_with_sizes _convolution _trilinear add.Scalar alias bitwise_or.Tensor log1p
pow.Tensor_Tensor remainder.Tensor tanh rrelu_with_noise_functional amax argmax clamp.Tensor empty_permuted
lt.Tensor max.dim minimum native_layer_norm rsqrt sort atan2 avg_pool3d embedding expm1 ge.Tensor min.dim prod
reciprocal relu var_mean.correction
"""


@pytest.mark.parametrize("name", CORE.split())
def test_the_most_used_ops_can_run(name: str) -> None:
    load_dialect_semantics("torch")
    assert has_semantics(f"torch.aten.{name}")


def test_number_kinds() -> None:
    """Results that are Python values say so."""
    assert [str(t) for t in infer_call("aten.item", (infer_call("aten.zeros", ([], None))[0],))] == ["!torch.number"]
