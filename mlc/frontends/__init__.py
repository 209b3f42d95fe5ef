"""From a user's program to the torch dialect: one folder per kind of source.

In: a model and example inputs. Out: a `builtin.module` with `@forward`, its weights in `ctx.resources`, and what a
caller needs to bind real inputs to it. May import dialects and ir; the only folder that imports torch.
"""
