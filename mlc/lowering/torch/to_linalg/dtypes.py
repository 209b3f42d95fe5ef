"""Element types as torch names them, and what they are called in builtin MLIR.

Builtin integers carry no sign, torch's do: `ui8` and `si8` are both `i8` below the torch level, so the sign travels
in `DType` while a function is converted and picks the signed or the unsigned operation.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    Signedness,
    bf16,
    f16,
    f32,
    f64,
)
from xdsl.ir import Attribute

from mlc.errors import UnsupportedError


@dataclass(frozen=True)
class DType:
    """One torch element type. `kind`: f(loat), i(nteger), u(nsigned), b(ool)."""

    name: str
    kind: str
    bits: int
    mlir: AnyFloat | IntegerType
    code: int

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @property
    def is_int(self) -> bool:
        """Integer other than bool."""
        return self.kind in "iu"

    @property
    def compute(self) -> DType:
        """The type ATen's CPU kernels calculate in: half types work in f32 and round once at the end."""
        return F32 if self in (F16, BF16) else self

    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        if self.kind == "u":
            return 0, (1 << self.bits) - 1
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1


F32 = DType("f32", "f", 32, f32, 6)
F64 = DType("f64", "f", 64, f64, 7)
F16 = DType("f16", "f", 16, f16, 5)
BF16 = DType("bf16", "f", 16, bf16, 15)
I64 = DType("i64", "i", 64, IntegerType(64), 4)
I32 = DType("i32", "i", 32, IntegerType(32), 3)
I16 = DType("i16", "i", 16, IntegerType(16), 2)
I8 = DType("i8", "i", 8, IntegerType(8), 1)
U8 = DType("u8", "u", 8, IntegerType(8), 0)
BOOL = DType("bool", "b", 1, IntegerType(1), 11)

ALL = (F32, F64, F16, BF16, I64, I32, I16, I8, U8, BOOL)
_BY_CODE = {t.code: t for t in ALL}
_FLOATS: dict[type[Attribute], DType] = {
    Float32Type: F32,
    Float64Type: F64,
    Float16Type: F16,
    BFloat16Type: BF16,
}


def of_code(code: int) -> DType:
    """torch's ScalarType number -> DType."""
    if code not in _BY_CODE:
        raise UnsupportedError(
            f"torch scalar type number {code} has no lowering", hint="use a real dtype up to 64 bits"
        )
    return _BY_CODE[code]


def of_attribute(attr: Attribute) -> DType:
    """Element type of a `!torch.vtensor` (or builtin tensor) -> DType."""
    if type(attr) in _FLOATS:
        return _FLOATS[type(attr)]
    if isinstance(attr, IntegerType):
        bits = attr.width.data
        if bits == 1:
            return BOOL
        unsigned = attr.signedness.data == Signedness.UNSIGNED
        for t in (U8,) if unsigned else (I64, I32, I16, I8):
            if t.bits == bits:
                return t
    raise UnsupportedError(f"element type {attr} has no lowering", hint="use a real dtype up to 64 bits")


_RANK = {t: i for i, t in enumerate((BOOL, U8, I8, I16, I32, I64, F16, BF16, F32, F64))}


def promote(a: DType, b: DType) -> DType:
    """torch.promote_types."""
    if a == b:
        return a
    if {a, b} == {F16, BF16}:
        return F32
    if {a, b} == {U8, I8}:
        return I16
    return a if _RANK[a] > _RANK[b] else b
