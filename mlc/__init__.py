"""mlc: a multi-level compiler for machine-learning models.

    import mlc
    compiled = mlc.compile(model)
    y = compiled(x)
"""

__version__ = "0.1.0"
