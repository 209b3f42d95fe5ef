"""Checks of promises, for mlc's own tests, fuzzing, `mlc-opt --bisect` and third parties: programs, inputs, oracles,
reduction of a failing program to a few ops.

In: a pass, its contract, a program. Out: a finding, or none. May import `mlc.ir`, `mlc.dialects`, `mlc.interp`.
"""
