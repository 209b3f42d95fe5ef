"""Types, hand-written ops, verifier messages, effects, helpers, and the meaning of the dialect's own ops."""

# ruff: noqa: E501 - IR text

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Operation
from xdsl.traits import is_side_effect_free
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch import (
    BOOL,
    FLOAT,
    INT,
    NONE,
    NOT_CONSTANT,
    NUMBER,
    STR,
    NonValueTensorType,
    TorchDictType,
    TorchListType,
    TorchOptionalType,
    TorchTupleType,
    TorchUnionType,
    VTensorType,
    builtin_tensor_type,
    constant,
    constant_value,
    create,
    device,
    list_construct,
    list_elements,
    list_unpack,
    literal,
    operand,
    schema_of,
)
from mlc.dialects.torch.inference import infer
from mlc.dialects.torch.prim import fits
from mlc.dialects.torch.types import f32, i1, si64, ui8
from mlc.errors import ExecutionError, ParseError
from mlc.interp.run import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.resources import ResourceStore

T23 = VTensorType.get((2, 3), f32)


def parse(text: str) -> ModuleOp:
    """Parse and verify."""
    module = parse_text(text, make_context())
    module.verify()
    return module


@pytest.mark.parametrize(
    "text",
    [
        "!torch.vtensor",
        "!torch.vtensor<[2,?],f32>",
        "!torch.vtensor<[],si64>",
        "!torch.vtensor<*,f16>",
        "!torch.vtensor<[0,3],unk>",
        "!torch.vtensor<[2],complex<f32>>",
        "!torch.vtensor<[2],!torch.qint8>",
        "!torch.tensor",
        "!torch.tensor<[2],bf16>",
        "!torch.int",
        "!torch.Device",
        "!torch.list<int>",
        "!torch.list<optional<vtensor<[2,?],i1>>>",
        "!torch.optional<list<tensor>>",
        "!torch.tuple<vtensor<[2],f32>, int>",
        "!torch.tuple<>",
        "!torch.union<float, int, none>",
        "!torch.dict<str, tensor<*,f32>>",
        '!torch.nn.Module<"pkg.Class">',
        "!torch.list<dict<int, tuple<str, any>>>",
    ],
)
def test_types_round_trip(text: str) -> None:
    source = f"builtin.module {{\n  func.func private @f({text}) -> ()\n}}\n"
    assert print_text(parse(source)) == source


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("!torch.vtensor<*,unk>", "!torch.vtensor"),
        ("!torch.vtensor<[2, -1], f32>", "!torch.vtensor<[2,?],f32>"),
        ("!torch.list<!torch.int>", "!torch.list<int>"),
    ],
)
def test_other_spellings_of_types(text: str, printed: str) -> None:
    assert printed in print_text(parse(f"func.func private @f({text}) -> ()"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!torch.vtensor<[2],i64>", "no element type"),
        ("!torch.vtensor<[2],index>", "no element type"),
        ("!torch.list<i32>", "unknown type 'i32'"),
        ("!torch.vtensor<[2]>", "','"),
        ("!torch.vtensor<[-2],f32>", "negative size"),
        ("!torch.nothing", "not registered"),
    ],
)
def test_wrong_types_are_refused(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        parse(f"func.func private @f({text}) -> ()")


def test_type_properties() -> None:
    t = VTensorType.get([2, None], f32)
    assert t.shape == (2, None) and t.element_type == f32 and t.rank == 2 and not t.has_static_shape
    assert VTensorType.get().shape is None and VTensorType.get().rank is None and T23.has_static_shape
    assert str(builtin_tensor_type(VTensorType.get([2, None], si64))) == "tensor<2x?xi64>"
    assert str(builtin_tensor_type(VTensorType.get([2], ui8))) == "tensor<2xi8>"
    assert str(builtin_tensor_type(VTensorType.get(None, i1))) == "tensor<*xi1>"
    with pytest.raises(VerifyException, match="element type is unknown"):
        builtin_tensor_type(VTensorType.get([2]))


@pytest.mark.parametrize(
    ("sub", "super", "yes"),
    [
        (INT, TorchOptionalType(INT), True),
        (NONE, TorchOptionalType(INT), True),
        (INT, NUMBER, True),
        (STR, NUMBER, False),
        (INT, TorchUnionType((FLOAT, INT)), True),
        (T23, VTensorType.get(), True),
        (T23, VTensorType.get((2, None)), True),
        (VTensorType.get(), T23, False),
        (NonValueTensorType.get(), VTensorType.get(), False),
        (TorchTupleType((INT, T23)), TorchTupleType((NUMBER, VTensorType.get())), True),
        (TorchListType(T23), TorchListType(VTensorType.get()), True),
    ],
)
def test_subtypes(sub: object, super: object, yes: bool) -> None:
    assert fits(sub, super) is yes  # pyright: ignore[reportArgumentType]


def wrong(make: Callable[[Block], Operation], message: str) -> None:
    """`make` builds an op that the verifier must refuse."""
    block = Block(arg_types=[T23, INT, STR, BOOL, TorchListType(INT), VTensorType.get()])
    with pytest.raises(VerifyException, match=message):
        make(block).verify()


def test_verifier_messages() -> None:
    wrong(
        lambda b: create("aten.add.Tensor", (b.args[0], b.args[2], b.args[1]), (T23,)),
        r"'torch.aten.add.Tensor': argument 'other' expects Tensor, got !torch.str",
    )
    wrong(
        lambda b: create("aten.add.Tensor", (b.args[0], b.args[0]), (T23,)),
        r"'torch.aten.add.Tensor' expects 3 operands \(self, other, alpha\), got 2",
    )
    wrong(lambda b: create("aten.relu", (b.args[0],), ()), "expects 1 results, got 0")
    wrong(lambda b: create("aten.relu", (b.args[0],), (INT,)), "result 'result0' expects Tensor, got !torch.int")
    wrong(
        lambda b: create("aten.view", (b.args[0], b.args[1]), (T23,)),
        r"argument 'size' expects SymInt\[\], got !torch.int",
    )
    wrong(lambda b: list_construct((b.args[0],), INT), "element 0 is .* which does not fit")
    wrong(lambda b: list_unpack(b.args[1], (INT,)), "operand must be !torch.list")
    wrong(lambda b: create("copy.to_tensor", (b.args[0],), (NonValueTensorType.get((2,), f32),)), "differ")
    wrong(lambda b: create("prim.TupleConstruct", (b.args[1],), (TorchTupleType(()),)), "do not fit")
    wrong(lambda b: create("prim.DictConstruct", (b.args[1],), (TorchDictType(INT, INT),)), "as many values")
    wrong(lambda b: create("derefine", (b.args[1],), (STR,)), "does not fit")
    wrong(lambda b: create("prim.unchecked_cast", (), (STR,)), "expects 1 operands, got 0")
    wrong(lambda b: literal("w", T23).clone() if b.args[0] is None else _wrong_literal(), "do not fit the result")


def _wrong_literal() -> Operation:
    op = literal("w", T23).clone()
    return type(op).create(result_types=(VTensorType.get((4,), f32),), attributes=op.attributes)


def test_leniencies() -> None:
    """What torch-mlir accepts besides the plain types."""
    block = Block(
        arg_types=[T23, INT, NONE, NUMBER, TorchListType(T23), TorchOptionalType(T23), VTensorType.get((2,), si64)]
    )
    x, i, none, number, tensors, maybe, index = block.args
    create("aten.add.Tensor", (x, x, number), (VTensorType.get(),)).verify()
    create("aten.sum", (x, none), (VTensorType.get((), f32),)).verify()
    create("aten.cat", (tensors, i), (VTensorType.get(),)).verify()
    create("aten.linear", (x, x, maybe), (T23,)).verify()
    create("aten.linear", (x, x, none), (T23,)).verify()
    indices = list_construct((none, index), TorchOptionalType(VTensorType.get()))
    indices.verify()
    create("aten.index.Tensor", (x, indices.results[0]), (VTensorType.get(),)).verify()


def test_effects() -> None:
    block = Block(arg_types=[T23, NonValueTensorType.get((2, 3), f32)])
    value, aliased = block.args
    one, half, yes, no = (constant(v) for v in (1, 0.5, True, False))
    block.add_ops((one, half, yes, no))
    add = create("aten.add.Tensor", (value, value, one.results[0]), (T23,))
    assert is_side_effect_free(add) and is_side_effect_free(one) and is_side_effect_free(literal("w", T23))
    assert not is_side_effect_free(create("aten.add_.Tensor", (aliased, aliased, one.results[0]), (aliased.type,)))
    assert not is_side_effect_free(create("aten.relu", (aliased,), (aliased.type,)))
    train = create("aten.dropout", (value, half.results[0], yes.results[0]), (T23,))
    evaluate = create("aten.dropout", (value, half.results[0], no.results[0]), (T23,))
    assert not is_side_effect_free(train) and is_side_effect_free(evaluate)
    assert not is_side_effect_free(create("aten._assert_scalar", (one.results[0], constant("m").results[0]), ()))
    view = create("aten.alias", (value,), (T23,))
    assert is_side_effect_free(view)


def test_helpers() -> None:
    place = FileLineColLoc(StringAttr("model.py"), IntAttr(3), IntAttr(0))
    two, none, text = constant(2, place), constant(None), constant("tanh")
    assert two.location == place and two.results[0].name_hint == "int2"
    assert [constant_value(op.results[0]) for op in (two, none, text, constant(2.5), constant(True))] == [
        2,
        None,
        "tanh",
        2.5,
        True,
    ]
    assert constant_value(device("cpu", place).results[0]) == "cpu"
    numbers = list_construct((two.results[0], two.results[0]), INT, place)
    assert constant_value(numbers.results[0]) == [2, 2] and numbers.location == place
    assert list_elements(numbers.results[0]) == (two.results[0], two.results[0])
    wide = create("derefine", (two.results[0],), (TorchOptionalType(INT),), location=place)
    assert constant_value(wide.results[0]) == 2
    block = Block(arg_types=[INT, T23])
    half_known = list_construct((two.results[0], block.args[0]), INT)
    assert constant_value(half_known.results[0]) is NOT_CONSTANT and list_elements(block.args[0]) is None
    add = create("torch.aten.add.Tensor", (block.args[1], block.args[1], two.results[0]), (T23,))
    assert operand(add, "alpha") is two.results[0] and schema_of(add).arguments[2].name == "alpha"
    with pytest.raises(TypeError):
        bool(NOT_CONSTANT)
    with pytest.raises(TypeError, match="no torch constant"):
        constant(object())  # pyright: ignore[reportArgumentType]


def test_inference_through_lists() -> None:
    block = Block(arg_types=[VTensorType.get((5, None), f32)])
    sizes = [constant(v) for v in (2, 3)]
    block.add_ops(sizes)
    listed = list_construct([s.results[0] for s in sizes], INT)
    zero = constant(0)
    block.add_ops((listed, zero))
    split = create(
        "aten.split_with_sizes",
        (block.args[0], listed.results[0], zero.results[0]),
        (TorchListType(VTensorType.get()),),
    )
    unpack = list_unpack(split.results[0], (VTensorType.get(), VTensorType.get()))
    block.add_ops((split, unpack))
    assert infer(unpack) == (VTensorType.get((2, None), f32), VTensorType.get((3, None), f32))
    stack = create(
        "aten.stack",
        (list_construct(unpack.results, VTensorType.get()).results[0], zero.results[0]),
        (VTensorType.get(),),
    )
    assert infer(stack) == (VTensorType.get(),)
    inplace = create(
        "aten.relu_", (Block(arg_types=[NonValueTensorType.get((2,), f32)]).args[0],), (NonValueTensorType.get(),)
    )
    assert infer(inplace) == (NonValueTensorType.get((2,), f32),)


LOOP = """
func.func @forward(%x: !torch.vtensor<[3],f32>) -> !torch.vtensor<[3],f32> {
  %n = torch.constant.int 5
  %true = torch.constant.bool true
  %one = torch.constant.int 1
  %three = torch.constant.int 3
  %r = torch.prim.Loop %n, %true, init(%x) {
  ^bb0(%i: !torch.int, %acc: !torch.vtensor<[3],f32>):
    %again = torch.aten.lt.int %i, %three : !torch.int, !torch.int -> !torch.bool
    %even = torch.aten.remainder.int %i, %two : !torch.int, !torch.int -> !torch.int
    %is_even = torch.aten.eq.int %even, %zero : !torch.int, !torch.int -> !torch.bool
    %next = torch.prim.If %is_even -> (!torch.vtensor<[3],f32>) {
      %s = torch.aten.add.Scalar %acc, %i, %one : !torch.vtensor<[3],f32>, !torch.int, !torch.int -> !torch.vtensor<[3],f32>
      torch.prim.If.yield %s : !torch.vtensor<[3],f32>
    } else {
      %m = torch.aten.mul.Scalar %acc, %three : !torch.vtensor<[3],f32>, !torch.int -> !torch.vtensor<[3],f32>
      torch.prim.If.yield %m : !torch.vtensor<[3],f32>
    }
    torch.prim.Loop.condition %again, iter(%next : !torch.vtensor<[3],f32>)
  } : (!torch.int, !torch.bool, !torch.vtensor<[3],f32>) -> !torch.vtensor<[3],f32>
  return %r : !torch.vtensor<[3],f32>
}
"""


def test_loops_and_ifs_run() -> None:
    text = LOOP.replace("%one = ", "%two = torch.constant.int 2\n  %zero = torch.constant.int 0\n  %one = ", 1)
    module = parse(text)
    (out,) = run_module(module, "forward", [np.array([1.0, 2.0, 3.0], np.float32)])
    x = np.array([1.0, 2.0, 3.0], np.float32)
    for i in range(4):  # trips 0, 1, 2, 3: the condition after trip 3 is 3 < 3
        x = x + i if i % 2 == 0 else x * 3
    assert np.array_equal(out, x) and out.dtype == np.float32


def test_literals_and_the_border_to_builtin_types_run() -> None:
    module = parse("""
    func.func @forward(%x: tensor<2xi8>) -> (tensor<2xi8>, i64, f64, i1) {
      %v = torch_c.from_builtin_tensor %x : tensor<2xi8> -> !torch.vtensor<[2],ui8>
      %w = torch.vtensor.literal(dense_resource<w> : tensor<2xui8>) : !torch.vtensor<[2],ui8>
      %one = torch.constant.int 1
      %s = torch.aten.add.Tensor %v, %w, %one : !torch.vtensor<[2],ui8>, !torch.vtensor<[2],ui8>, !torch.int -> !torch.vtensor<[2],ui8>
      %r = torch_c.to_builtin_tensor %s : !torch.vtensor<[2],ui8> -> tensor<2xi8>
      %zero = torch.constant.int 0
      %size = torch.aten.size.int %v, %zero : !torch.vtensor<[2],ui8>, !torch.int -> !torch.int
      %i = torch_c.to_i64 %size
      %f = torch.constant.float 2.5
      %d = torch_c.to_f64 %f
      %b = torch.constant.bool true
      %t = torch_c.to_i1 %b
      return %r, %i, %d, %t : tensor<2xi8>, i64, f64, i1
    }
    """)
    store = ResourceStore()
    store.set("w", np.array([250, 3], np.uint8))
    out, size, number, flag = run_module(module, "forward", [np.array([-1, 5], np.int8)], resources=store)
    assert out.dtype == np.int8 and np.array_equal(out, np.array([-7, 8], np.int8))
    assert size == 2 and number == 2.5 and flag


def test_lists_tuples_and_casts_run() -> None:
    module = parse("""
    func.func @forward(%x: !torch.vtensor<[4],f32>) -> (!torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>) {
      %zero = torch.constant.int 0
      %two = torch.constant.int 2
      %c = torch.tensor_static_info_cast %x : !torch.vtensor<[4],f32> to !torch.vtensor<[?],f32>
      %l = torch.aten.split.Tensor %c, %two, %zero : !torch.vtensor<[?],f32>, !torch.int, !torch.int -> !torch.list<vtensor>
      %a:2 = torch.prim.ListUnpack %l : !torch.list<vtensor> -> !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>
      %t = torch.prim.TupleConstruct %a#0, %a#1 : !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32> -> !torch.tuple<vtensor<[2],f32>, vtensor<[2],f32>>
      %u:2 = torch.prim.TupleUnpack %t : !torch.tuple<vtensor<[2],f32>, vtensor<[2],f32>> -> !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>
      %o = torch.derefine %two : !torch.int to !torch.optional<int>
      %p = torch.prim.unchecked_cast %o : !torch.optional<int> -> !torch.int
      %g = torch.prim.TupleIndex %t, %zero : !torch.tuple<vtensor<[2],f32>, vtensor<[2],f32>>, !torch.int -> !torch.vtensor<[2],f32>
      %m = torch.aten.mul.Scalar %g, %p : !torch.vtensor<[2],f32>, !torch.int -> !torch.vtensor<[2],f32>
      return %u#1, %m : !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>
    }
    """)
    a, b = run_module(module, "forward", [np.arange(4, dtype=np.float32)])
    assert a.tolist() == [2, 3] and b.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('%b = torch.constant.bool false\ntorch.runtime.assert %b, "must be"', "must be"),
        (
            '%s = torch.constant.str "stop"\n%n = torch.constant.none\ntorch.prim.RaiseException %s, %n : !torch.str, !torch.none',
            "stop",
        ),
        ("%c = torch.tensor_static_info_cast %x : !torch.vtensor<[?],f32> to !torch.vtensor<[3],f32>", "is not"),
        ("%i = torch.aten.Int.Tensor %x : !torch.vtensor<[?],f32> -> !torch.int", "not one number"),
    ],
)
def test_programs_that_go_wrong(body: str, message: str) -> None:
    module = parse(f"func.func @forward(%x: !torch.vtensor<[?],f32>) {{\n{body}\nreturn\n}}")
    with pytest.raises(ExecutionError, match=message):
        run_module(module, "forward", [np.zeros(4, np.float32)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%0 = torch.aten.no_such_op", "torch.aten.no_such_op"),
        ("%0 = torch.constant.int 9223372036854775808", "64 bits"),
        ("%0 = torch.constant.float 0x7FF00000000000000", "bit pattern"),
        ("%0 = torch.copy.to_tensor %x : !torch.vtensor<[2],f32>", "expects a !torch.tensor"),
    ],
)
def test_text_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(f"func.func @f(%x: !torch.vtensor<[2],f32>) {{\n{text}\nreturn\n}}")
