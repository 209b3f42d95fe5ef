"""Ops that xDSL's upstream dialects lack, added under their upstream names.

`EXTENSIONS[dialect]` names modules with `OPS` (a tuple of op classes) and optionally `ATTRS`. An op here replaces an
xDSL op of the same name (for a missing custom syntax, say). `mlc.ir.context.make_context` builds the merged dialect.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from xdsl.ir import Dialect

from mlc.ir.late_formats import is_known, late_formats

EXTENSIONS: dict[str, tuple[str, ...]] = {
    "arith": ("mlc.dialects.arith.shaped_ops", "mlc.dialects.arith.float_ops", "mlc.dialects.arith.flagged_ops"),
    "llvm": ("mlc.dialects.llvm.ops",),
    "vector": ("mlc.dialects.vector.ops",),
    "linalg": (
        "mlc.dialects.linalg.structured_ops",
        "mlc.dialects.linalg.named_ops",
        "mlc.dialects.linalg.relayout_ops",
        "mlc.dialects.linalg.reduce_op",
        "mlc.dialects.linalg.index_ops",
    ),
    "tensor": ("mlc.dialects.tensor.reshape_op",),
    "memref": ("mlc.dialects.memref.global_op", "mlc.dialects.memref.syntax", "mlc.dialects.memref.prefetch"),
    "scf": ("mlc.dialects.scf.syntax",),
    "cf": ("mlc.dialects.cf.syntax",),
}


def extended(name: str, factory: Callable[[], Dialect]) -> Callable[[], Dialect]:
    """`factory`, or one that loads a dialect of xDSL or mlc sooner, with the extra ops and attributes merged in."""
    if not is_known(factory):
        return factory

    def merged() -> Dialect:
        with late_formats():
            base = factory()
            modules = EXTENSIONS.get(name)
            if not modules:
                return base
            ops = {op.name: op for op in base.operations}
            attrs = {attr.name: attr for attr in base.attributes}
            for module_name in modules:
                module = importlib.import_module(module_name)
                ops.update({op.name: op for op in module.OPS})
                attrs.update({attr.name: attr for attr in getattr(module, "ATTRS", ())})
        return Dialect(base.name, list(ops.values()), list(attrs.values()), list(base._interfaces))

    return merged
