"""`mlc.compile(tune=True)`: measure other ways of compiling a model and keep what is fastest.

In: a function that builds the model under given choices, and inputs. Out: the build to keep, with its `Choices`.
Choices are options of passes, so `mlc-opt` runs what tuning found. Imported only when tuning is asked for, but for
`choices`, which the driver reads and stores. May import everything but the face (`mlc.api`, `mlc.driver`).
"""
