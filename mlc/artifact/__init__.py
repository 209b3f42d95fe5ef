"""Saving compiled models and loading them: `save.py` writes captures with their weights, `load.py` compiles them again.

The file and the call are `mlc/runtime/artifact`, which needs neither the compiler nor torch. What a capture is as plain
data only the frontend knows (`mlc/frontends/torch/portable.py`).
"""
