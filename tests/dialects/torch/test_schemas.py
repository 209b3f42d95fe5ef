"""Every ATen overload that the installed PyTorch knows parses, verifies and prints; torch-mlir reads those it knows."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue

from mlc.dialects.aten_schema import parse_schema
from mlc.dialects.torch import (
    NO_DEFAULT,
    TORCH,
    Schema,
    SchemaType,
    aten_op,
    has_schema,
    schema,
    schema_names,
)
from mlc.dialects.torch.types import (
    ANY,
    BOOL,
    DEVICE,
    FLOAT,
    GENERATOR,
    INT,
    NONE,
    NUMBER,
    STR,
    NonValueTensorType,
    TorchDictType,
    TorchListType,
    TorchOptionalType,
    TorchTupleType,
    VTensorType,
    f32,
)
from mlc.errors import UnsupportedError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text

VALUE = VTensorType.get((2, None), f32)
ALIASED = NonValueTensorType.get((2, None), f32)
SCALARS: dict[str, Attribute] = {
    "int": INT,
    "SymInt": INT,
    "ScalarType": INT,
    "Layout": INT,
    "MemoryFormat": INT,
    "QScheme": INT,
    "float": FLOAT,
    "SymFloat": FLOAT,
    "bool": BOOL,
    "SymBool": BOOL,
    "str": STR,
    "Dimname": STR,
    "Scalar": NUMBER,
    "number": NUMBER,
    "complex": NUMBER,
    "Device": DEVICE,
    "Generator": GENERATOR,
    "NoneType": NONE,
}


def type_for(wanted: SchemaType, tensor: Attribute) -> Attribute:
    """Some type that an argument of schema type `wanted` may have."""
    match wanted.kind:
        case "Tensor":
            return tensor
        case "Optional":
            return TorchOptionalType(type_for(wanted.element, tensor))
        case "List":
            return TorchListType(type_for(wanted.element, tensor))
        case "Tuple":
            return TorchTupleType(tuple(type_for(a, tensor) for a in wanted.args))
        case "Dict":
            return TorchDictType(type_for(wanted.args[0], tensor), type_for(wanted.args[1], tensor))
        case kind:
            return SCALARS.get(kind, ANY)


def functions(names: list[str]) -> ModuleOp:
    """One function that calls each op on its arguments, of which there is one of each type."""
    block = Block()
    arguments: dict[Attribute, SSAValue] = {}
    for name in names:
        described = schema(name)
        tensor = ALIASED if described.mutates else VALUE
        for argument in described.arguments:
            wanted = type_for(argument.type, tensor)
            if wanted not in arguments:
                arguments[wanted] = block.insert_arg(wanted, len(block.args))
        operands = [arguments[type_for(a.type, tensor)] for a in described.arguments]
        result_types = [type_for(r.type, tensor) for r in described.returns]
        block.add_op(aten_op(name).create(operands=operands, result_types=result_types))
    block.add_op(ReturnOp())
    return ModuleOp([FuncOp("f", ([a.type for a in block.args], []), Region(block))])


def test_the_data_file_is_large_and_its_lines_parse() -> None:
    names = schema_names()
    assert sum(name.startswith("aten.") for name in names) > 3000
    for name in names:
        assert schema(name).name == name


def test_every_overload_round_trips() -> None:
    module = functions(list(schema_names()))
    module.verify()
    text = print_text(module)
    again = parse_text(text, make_context())
    again.verify()
    assert print_text(again) == text


def test_generic_form_round_trips() -> None:
    module = functions(list(schema_names()[::10]))
    text = print_text(module, generic=True)
    assert print_text(parse_text(text, make_context()), generic=True) == text


@pytest.mark.upstream
def test_torch_mlir_reads_every_op_that_it_knows() -> None:
    """A few calls are refused because it looks at their operands more closely; none for how they are written."""
    from torch_mlir.dialects import torch as upstream

    known = {getattr(value, "OPERATION_NAME", "") for value in vars(upstream).values()}
    names = [name for name in schema_names() if f"torch.{name}" in known]
    assert len(names) > 750
    text = "\n// -----\n".join(print_text(functions([name])) for name in names)
    run = subprocess.run(
        ["torch-mlir-opt", "--split-input-file"], input=text, capture_output=True, text=True, check=False
    )
    errors = re.findall(r"error: (.*)", run.stderr)
    assert len(errors) < 20
    for error in errors:
        assert re.match(r"'torch\.[\w.]+' op ", error), error


@pytest.mark.torch
def test_the_data_file_is_what_the_script_writes() -> None:
    """In a process of its own: other tests may have registered ops."""
    script = "from scripts.generate_aten_schemas import schema_lines; print('\\n'.join(schema_lines()))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    stored = (files("mlc.dialects") / "aten_schemas.txt").read_text().splitlines()
    assert stored[1:] == run.stdout.strip().splitlines()


def test_importing_the_dialect_makes_no_aten_classes() -> None:
    script = (
        "import mlc.dialects.torch as t; from mlc.dialects.torch.aten import _make; "
        "assert _make.cache_info().currsize == 0; from mlc.dialects.aten_schema import schema; "
        "assert schema.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_one_class_per_overload() -> None:
    assert aten_op("aten.add.Tensor") is aten_op("torch.aten.add.Tensor") is TORCH.find("torch.aten.add.Tensor")
    assert aten_op("aten.add.Tensor").name == "torch.aten.add.Tensor"
    assert "torch.aten.add.Tensor" in set(TORCH.op_names()) and "torch.prim.If" in set(TORCH.op_names())
    assert TORCH.find("torch.aten.no_such_op") is None and not has_schema("aten.no_such_op")


def test_unknown_op_is_refused_with_near_names() -> None:
    with pytest.raises(UnsupportedError, match=r"aten\.add\.Tensr.*\n.*aten\.add\.Tensor"):
        aten_op("aten.add.Tensr")


@pytest.mark.parametrize(
    ("line", "arguments", "returns"),
    [
        ("aten::f(Tensor(a!) self, *, Scalar alpha=1) -> Tensor(a!)", ["Tensor", "Scalar"], ["Tensor"]),
        (
            "aten::f(Tensor?[] x, int[2] y=[0, 1]) -> (Tensor out, Tensor[] rest)",
            ["Tensor?[]", "int[2]"],
            ["Tensor", "Tensor[]"],
        ),
        ("aten::f(Dict(str, t)(a!) self, t[](b) l) -> (str, t)[]", ["Dict(str, t)", "t[]"], ["(str, t)[]"]),
        ("aten::f(SymInt[1]? s=None, float x=-inf, str m='a b') -> ()", ["SymInt[1]?", "float", "str"], []),
    ],
)
def test_schema_notation(line: str, arguments: list[str], returns: list[str]) -> None:
    parsed: Schema = parse_schema(line)
    assert [str(a.type) for a in parsed.arguments] == arguments
    assert [str(r.type) for r in parsed.returns] == returns


def test_schema_details() -> None:
    add = schema("aten.add_.Tensor")
    assert add.mutates and not add.is_functional and add.arguments[0].alias == "a!" == add.returns[0].alias
    assert add.arguments[2].default == 1 and add.arguments[2].kwarg_only and add.index("alpha") == 2
    assert schema("aten.max.dim").returns[1].name == "indices"
    assert schema("aten.add.Tensor").arguments[1].default is NO_DEFAULT
    assert schema("aten.conv2d").arguments[3].default == (1, 1)
    assert schema("aten.view").arguments[0].alias == "a"
    with pytest.raises(KeyError, match="no argument 'nope'"):
        add.index("nope")
    with pytest.raises(ValueError, match="expected"):
        parse_schema("aten::f(Tensor x -> Tensor")
