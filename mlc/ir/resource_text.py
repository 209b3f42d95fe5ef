"""Weights inside text: the `{-# dialect_resources #-}` section, read into the weight store and written from it.

    {-# dialect_resources: { builtin: { w: "0x04000000<hex of the bytes>" } } #-}

xDSL keeps the blobs of all files ever parsed in one table of the builtin dialect and renames a handle that it has seen
before; the table is therefore emptied before each parse. Blobs that a text brings along are printed with it again.
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

External = dict[str, dict[str, str]]
_ALIGNMENT = 64


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
            alignment, array = _decode(op, name, text, attr)
            ctx.resources.set(name, array)
            ctx.resources.alignments[name] = alignment


def _decode(op: Operation, name: str, text: str, attr: DenseResourceAttr) -> tuple[int, np.ndarray]:
    where = format_location(op.location) or None
    try:
        blob = bytes.fromhex(text[2:])
    except ValueError:
        raise ParseError(f"resource '{name}' is not hexadecimal", where=where) from None
    alignment, data = int.from_bytes(blob[:4], "little"), blob[4:]
    if not alignment or alignment & (alignment - 1):
        raise ParseError(f"resource '{name}' has alignment {alignment}", where=where, expected="a power of two")
    shape = static_shape(attr.type)
    size = byte_size(attr.type)
    wanted = int(np.prod(shape, dtype=np.int64)) * size
    if len(data) != wanted:
        raise ParseError(f"resource '{name}' has {len(data)} bytes", where=where, expected=f"{wanted} for {attr.type}")
    dtype = dtype_of(attr.type)
    if dtype.itemsize != size:  # bf16 is stored as its bits
        dtype = np.dtype(f"u{size}")
    return alignment, np.frombuffer(data, dtype=dtype).reshape(shape)


def metadata_text(
    module: Operation, ctx: MlcContext, limit: int, *, longest: int | None = None, external: External | None = None
) -> str:
    """The file metadata section, or nothing when there is nothing to say.

    It holds the tensors that `module` names and that came with its text or have at most `limit` bytes, but none whose
    hexadecimal text is longer than `longest`; then `external`, which are resources of tools (a reproducer's pipeline).
    """
    blobs: dict[str, str] = {}
    for _, attr in resource_attributes(module):
        name = attr.resource_handle.data
        if name in blobs or not ctx.resources.is_loaded(name):
            continue
        array = ctx.resources.get(name)
        alignment = ctx.resources.alignments.get(name)
        if alignment is None and array.nbytes > limit:
            continue
        if longest is not None and 2 * (array.nbytes + 5) > longest:
            continue
        head = (_ALIGNMENT if alignment is None else alignment).to_bytes(4, "little")
        blobs[name] = f'"0x{(head + array.tobytes()).hex().upper()}"'
    sections = []
    if blobs:
        sections.append(_section("dialect_resources", {"builtin": dict(sorted(blobs.items()))}))
    if external:
        sections.append(_section("external_resources", external))
    return "{-#\n" + ",\n".join(sections) + "\n#-}\n" if sections else ""


def _section(name: str, groups: External) -> str:
    texts = []
    for group, entries in groups.items():
        body = ",\n".join(f"      {key}: {value}" for key, value in entries.items())
        texts.append(f"    {group}: {{\n{body}\n    }}")
    return f"  {name}: {{\n" + ",\n".join(texts) + "\n  }"
