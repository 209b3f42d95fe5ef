"""How each ATen op is said in linalg on tensors: one module per family, found by name in `registry.LOWERINGS`.

Importing `to_linalg.all_lowerings` fills the registry.
"""
