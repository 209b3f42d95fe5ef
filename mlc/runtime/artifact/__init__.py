"""Saved models: the file, and how a call is bound to the compiled code without torch and without the user's classes.

`file.py` reads and writes the container, `plan.py` says how a call is bound, `call.py` binds one, `model.py` is what
`mlc.load` returns. Everything read from a file is checked before it is used; all that is wrong is an `ArtifactError`.
"""
