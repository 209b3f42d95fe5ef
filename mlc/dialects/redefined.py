"""Lets a class that derives from an xDSL op define it anew: with an `assembly_format` and properties of its own.

    @irdl_op_definition
    class DivSIOp(Redefined, arith.DivSIOp):
        is_exact = opt_prop_def(UnitAttr, prop_name="isExact")
        assembly_format = "…"

xDSL refuses a format where the base has made `parse` and `print` from its own, and the base's `verify_` a property that
it does not know. Rules that the base's `verify_` adds to its fields are to be repeated.
"""

from __future__ import annotations

from xdsl.ir import Operation


class Redefined(Operation):
    """In front of the bases: takes back their `parse`, `print` and `verify_`."""

    print = Operation.print
    parse = Operation.__dict__["parse"]
    verify_ = Operation.verify_
