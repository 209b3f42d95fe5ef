"""LLVM dialect to object code; one folder per target; machine models as data. The only importers of llvmlite."""

if __name__ != "mlc.backends":
    raise ImportError("import this package as mlc.backends: the top-level 'backends' is a link kept for editing")
