"""Load and run compiled models: executable, disk cache, artifact file.

In: native code by address, constants as numpy arrays. Out: numpy arrays. Imports numpy, `mlc.arrays` and
`mlc.errors` only; never xdsl, llvmlite or torch.
"""
