"""What ops do to arrays: arithmetic rounded as the IR says, packing, filter transforms, in numpy alone.

In: numpy arrays and plain Python data. Out: numpy arrays. The meanings of the ops (`mlc/dialects/*/semantics*.py`,
`mlc/interp/domains`) call it, and so does whoever computes derived constants without the IR (`mlc/arrays/recipes.py`).
May import nothing but `mlc.errors`.
"""
