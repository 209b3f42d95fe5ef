"""what remains -> scf loops over scalars; loop clean-up.

May import `mlc.dialects`, `mlc.ir`, `mlc.errors`; never another step.
"""
