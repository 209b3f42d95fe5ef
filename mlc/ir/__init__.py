"""Thin layer over xDSL: context and weight store, contracts, pass base, remarks, locations, op semantics.

In: nothing of mlc. Out: what dialects, lowering, interp and the driver share. May import xdsl, numpy, `mlc.arrays` and
`mlc.errors`; never a dialect, a pass, torch or llvmlite.
"""
