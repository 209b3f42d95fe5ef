"""Weights inside text: the `{-# dialect_resources #-}` section, read into the weight store and written from it.

    {-# dialect_resources: { builtin: { w: "0x04000000<hex of the bytes>" } } #-}

xDSL keeps the blobs of all files ever parsed in one table of the builtin dialect and renames a handle that it has seen
before; the table is therefore emptied before each parse and each print.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects.builtin import DenseResourceAttr, ModuleOp
from xdsl.ir import Operation

from mlc.errors import InternalError, ParseError
from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location
from mlc.ir.values import byte_size, dtype_of, static_shape

_ALIGNMENT = "0x40000000"


def blob_table(ctx: MlcContext) -> dict[str, str]:
    """xDSL's table of blobs, handle to hex text."""
    interface = ctx.get_dialect("builtin").get_interface(OpAsmDialectInterface)
    if interface is None:
        raise InternalError("the builtin dialect has no resource table")
    return interface._blob_storage


def resource_attributes(module: Operation) -> Iterator[tuple[Operation, DenseResourceAttr]]:
    """Every `dense_resource` of a module with the op that holds it."""
    for op in module.walk():
        for attr in (*op.properties.values(), *op.attributes.values()):
            if isinstance(attr, DenseResourceAttr):
                yield op, attr


def adopt_resources(module: ModuleOp, ctx: MlcContext) -> None:
    """Move the blobs that the text carried into `ctx.resources`; sizes are checked against the types."""
    blobs = {name: text for name, text in blob_table(ctx).items() if text}
    if not blobs:
        return
    for op, attr in resource_attributes(module):
        name = attr.resource_handle.data
        text = blobs.pop(name, None)
        if text is not None:
            ctx.resources.set(name, _decode(op, name, text, attr))


def _decode(op: Operation, name: str, text: str, attr: DenseResourceAttr) -> np.ndarray:
    where = format_location(op.location) or None
    try:
        data = bytes.fromhex(text[2:])[4:]
    except ValueError:
        raise ParseError(f"resource '{name}' is not hexadecimal", where=where) from None
    shape = static_shape(attr.type)
    size = byte_size(attr.type)
    wanted = int(np.prod(shape, dtype=np.int64)) * size
    if len(data) != wanted:
        raise ParseError(f"resource '{name}' has {len(data)} bytes", where=where, expected=f"{wanted} for {attr.type}")
    dtype = dtype_of(attr.type)
    if dtype.itemsize != size:  # bf16 is stored as its bits
        dtype = np.dtype(f"u{size}")
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def offer_resources(module: ModuleOp, ctx: MlcContext, limit: int) -> None:
    """Put the loaded weights that `module` names and that have at most `limit` bytes where the printer finds them."""
    table = blob_table(ctx)
    table.clear()
    for _, attr in resource_attributes(module):
        name = attr.resource_handle.data
        if name in table or not ctx.resources.is_loaded(name):
            continue
        array = ctx.resources.get(name)
        if array.nbytes <= limit:
            table[name] = _ALIGNMENT + array.tobytes().hex().upper()
