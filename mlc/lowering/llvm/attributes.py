"""Reading properties of ops of any dialect by name: converters do not import the dialects' op classes."""

from __future__ import annotations

from functools import lru_cache

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, DenseIntOrFPElementsAttr, IntegerAttr, i32
from xdsl.ir import Attribute, Operation

from mlc.errors import UnsupportedError


@lru_cache(maxsize=4096)
def i32_array(*values: int) -> DenseArrayBase:
    """`array<i32: …>`, made once per content."""
    return DenseArrayBase.from_list(i32, values)


def int_array(op: Operation, name: str) -> list[int]:
    """A dense integer array, or an array of integer attributes, as numbers; empty when the property is absent."""
    attr = op.properties.get(name)
    if isinstance(attr, DenseArrayBase):
        return [int(v) for v in attr.iter_values()]  # pyright: ignore[reportAttributeAccessIssue]
    return int_list(attr) if isinstance(attr, ArrayAttr) else []


def int_list(attr: Attribute) -> list[int]:
    """An array of integer or bool attributes as numbers."""
    assert isinstance(attr, ArrayAttr)
    out: list[int] = []
    for item in attr.data:
        assert isinstance(item, IntegerAttr)
        out.append(item.value.data)
    return out


def flag_names(attr: Attribute | None) -> set[str]:
    """Names in a bit-enum attribute such as fast-math or overflow flags."""
    return {str(flag) for flag in getattr(attr, "data", ())}


def enum_name(op: Operation, name: str) -> str:
    """The case of an enum property."""
    return str(getattr(op.properties[name], "data", ""))


def plain_values(attr: DenseIntOrFPElementsAttr) -> list[int | float]:
    """Numbers of a dense constant, one for a splat; complex ones are refused."""
    values = [next(iter(attr.iter_values()))] if attr.is_splat() else list(attr.iter_values())
    if any(isinstance(v, tuple) for v in values):
        raise UnsupportedError("complex constants have no llvm form")
    return values  # pyright: ignore[reportReturnType]
