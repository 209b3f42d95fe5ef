"""`!llvm.x86_amx`, which xDSL lacks: the content of a tile register."""

from __future__ import annotations

from xdsl.ir import ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition


@irdl_attr_definition
class X86AMXType(ParametrizedAttribute, TypeAttribute):
    """A tile of up to 1 KB. Values are made and used by intrinsics alone."""

    name = "llvm.x86_amx"
