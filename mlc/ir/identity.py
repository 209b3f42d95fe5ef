"""Ops and values are told apart, and found in dicts, by Python itself: xDSL's methods for it say the same, slower.

    values[op.results[0]]      SSAValue.__hash__: return id(self)      -->  object.__hash__

A tenth of what passes on kernels take were these calls. Hashes come out as other numbers, so it is done only where mlc
is who imports xDSL: what another program holds in sets by then must still be found there.
Test: tests/ir/test_identity.py
"""

from __future__ import annotations

from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation

from mlc.dataclass_code import XDSL_WAS_THERE

if not XDSL_WAS_THERE:
    for owner in (SSAValue, IRDLOperation):
        setattr(owner, "__hash__", object.__hash__)  # noqa: B010 - of a class that is another's
        setattr(owner, "__eq__", object.__eq__)  # noqa: B010
