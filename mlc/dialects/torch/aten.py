"""ATen ops: one class an overload, made from its schema when first asked for.

    %2 = torch.aten.mul.Tensor %0, %1 : !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>

Every argument of the schema is an operand, in order, defaults written out. `aten_op("aten.add.Tensor")` is the class.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from xdsl.ir import SSAValue

from mlc.dialects.aten_schema import Schema, has_schema, schema
from mlc.dialects.torch.base import TorchOp
from mlc.dialects.torch.effects import traits_of
from mlc.dialects.torch.verify import verify_against_schema


class AtenOp(TorchOp):
    """Base of all ops made from a schema. `schema_name` is `aten.add.Tensor`."""

    schema_name: ClassVar[str]

    @classmethod
    def schema(cls) -> Schema:
        """Argument names, types, defaults, aliases and returns."""
        return schema(cls.schema_name)

    def operand(self, argument: str) -> SSAValue:
        """The operand that is the schema argument `argument`."""
        return self.operands[self.schema().index(argument)]

    def verify_(self) -> None:
        verify_against_schema(self, self.schema())


def aten_op(name: str) -> type[AtenOp]:
    """Class of `aten.add.Tensor` (`torch.` may stand in front); an unknown name is refused with near ones."""
    return _make(name.removeprefix("torch."))


@cache
def _make(name: str) -> type[AtenOp]:
    found = schema(name)
    title = "".join(part[:1].upper() + part[1:] for part in name.replace("_", ".").split("."))
    return type(
        f"{title}Op",
        (AtenOp,),
        {
            "__doc__": f"`{name}`, made from its schema.",
            "__module__": __name__,
            "name": f"torch.{name}",
            "schema_name": name,
            "traits": traits_of(found),
        },
    )


def find_aten_op(name: str) -> type[AtenOp] | None:
    """Class of `torch.aten.add.Tensor`, or None when no schema has that name."""
    short = name.removeprefix("torch.")
    return aten_op(short) if has_schema(short) else None
