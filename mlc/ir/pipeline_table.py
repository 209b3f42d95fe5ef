"""The CPU pipeline as a table: which pass runs at which level, in which order, and why in that order.

`mlc.compile`, `mlc-opt --mlc-pipeline=cpu`, the documentation and the property tests all read this one table.
`CPU_PIPELINE` holds both parts: `MODULE_ROWS` see the whole module; `KERNEL_ROWS` work on each function on its own: the
driver runs them on one kernel at a time (a kernel that is in the cache never sees them). `ORDER` states constraints
that the order must satisfy; a test checks them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mlc.errors import UsageError
from mlc.ir.contract import Level


@dataclass(frozen=True)
class Row:
    """One step: the pass by name, its options, and the level of the IR after it."""

    pass_name: str
    level: Level
    options: dict[str, object] = field(default_factory=dict, hash=False)


class Order(NamedTuple):
    """`before` must run before `after`, because."""

    before: str
    after: str
    because: str


MODULE_ROWS: tuple[Row, ...] = (
    Row("torch-canonicalize", "torch"),
    Row("torch-fold-batch-norm", "torch"),
    Row("torch-roll-loops", "torch"),
    Row("torch-batch-projections", "torch"),
    Row("convert-torch-to-linalg", "linalg"),
    Row("convert-tm-tensor-to-linalg", "linalg"),
    Row("linalg-block-layouts", "linalg"),
    Row("linalg-fold-arith-extension", "linalg"),
    Row("linalg-winograd-conv2d", "linalg"),
    Row("linalg-winograd-pointwise", "linalg"),
    Row("linalg-accumulate-products", "linalg"),
    Row("linalg-pack-matmul", "linalg"),
    Row("linalg-winograd-matmul", "linalg"),
    Row("linalg-split-matmul", "linalg"),
    Row("linalg-hoist-constants", "linalg"),
    Row("linalg-decompose-named-ops", "linalg"),
    Row("linalg-propagate-reshapes", "linalg"),
    Row("linalg-fold-transposes", "linalg"),
    Row("linalg-fuse-elementwise", "linalg"),
    Row("linalg-form-kernels", "kernels"),
    Row("bufferize", "buffers"),
    Row("plan-memory", "buffers"),
    Row("share-kernels", "buffers"),
)

PRECISION_ROWS: dict[str, tuple[Row, ...]] = {
    "float32": (),
    "bfloat16": (Row("linalg-demote-contraction-inputs", "linalg"),),
    "int8": (
        Row("linalg-quantize-contraction-inputs", "linalg"),
        Row("linalg-narrow-integral-contractions", "linalg"),
    ),
}
"""Steps that `mlc.compile(precision=...)` adds, before the layouts are chosen."""

LAID_OUT_ROWS: dict[str, tuple[Row, ...]] = {
    "bfloat16": (Row("linalg-demote-convolution-inputs", "linalg"),),
}
"""Steps that it adds right after that."""

KERNEL_ROWS: tuple[Row, ...] = (
    Row("expand-attention", "loops"),
    Row("expand-winograd", "loops"),
    Row("expand-winograd-matmul", "loops"),
    Row("expand-split-matmul", "loops"),
    Row("vectorize-structured", "loops"),
    Row("linalg-to-loops", "loops"),
    Row("expand-math", "loops"),
    Row("scf-parallel-outline", "loops"),
    Row("scf-parallel-to-for", "loops"),
    Row("convert-to-llvm", "llvm"),
)

CHECK_BOUNDS = Row("check-bounds", "loops")
"""Between the two levels of `KERNEL_ROWS` for `mlc.compile(debug="bounds")`."""

ORDER: tuple[Order, ...] = (
    Order("torch-canonicalize", "torch-fold-batch-norm", "copies and inactive dropout may stand between the two ops"),
    Order(
        "torch-canonicalize",
        "torch-roll-loops",
        "what is dropped in one step and not in another hides that they are equal",
    ),
    Order(
        "torch-fold-batch-norm",
        "torch-roll-loops",
        "a batch norm is folded into the layer that stands before it, outside",
    ),
    Order("torch-roll-loops", "torch-batch-projections", "only loops are looked into"),
    Order("torch-batch-projections", "convert-torch-to-linalg", "linear layers are known by name in the torch dialect"),
    Order("torch-fold-batch-norm", "convert-torch-to-linalg", "batch norm is known by name only in the torch dialect"),
    Order("convert-tm-tensor-to-linalg", "linalg-block-layouts", "layouts spread through linalg ops only"),
    Order("convert-tm-tensor-to-linalg", "linalg-hoist-constants", "constant expressions are of linalg ops"),
    Order("convert-tm-tensor-to-linalg", "linalg-demote-contraction-inputs", "products are known as linalg.matmul"),
    Order("linalg-demote-contraction-inputs", "linalg-block-layouts", "convolutions and products are known by name"),
    Order("linalg-demote-contraction-inputs", "linalg-pack-matmul", "panels hold the type that is multiplied"),
    Order("linalg-block-layouts", "linalg-demote-convolution-inputs", "it is written for blocked channels"),
    Order("linalg-demote-convolution-inputs", "linalg-winograd-conv2d", "it says which ones tiles compute faster"),
    Order("linalg-demote-convolution-inputs", "linalg-winograd-pointwise", "what is rounded is not scaled"),
    Order("linalg-demote-convolution-inputs", "linalg-hoist-constants", "rounded filters are constant expressions"),
    Order("linalg-block-layouts", "linalg-fold-arith-extension", "it is written for blocked channels"),
    Order("linalg-fold-arith-extension", "linalg-winograd-conv2d", "it says which ones tiles compute faster"),
    Order("linalg-fold-arith-extension", "linalg-winograd-pointwise", "what is bf16 is not scaled"),
    Order("linalg-fold-arith-extension", "linalg-accumulate-products", "products are known as linalg.matmul"),
    Order("linalg-fold-arith-extension", "linalg-pack-matmul", "panels hold the type that is multiplied"),
    Order("linalg-fold-arith-extension", "linalg-hoist-constants", "weights are still seen to be extended"),
    Order("convert-tm-tensor-to-linalg", "linalg-quantize-contraction-inputs", "products are known as linalg.matmul"),
    Order("linalg-quantize-contraction-inputs", "linalg-narrow-integral-contractions", "it makes the integers"),
    Order("linalg-narrow-integral-contractions", "linalg-block-layouts", "what made the integers is still whole"),
    Order("linalg-narrow-integral-contractions", "linalg-pack-matmul", "panels hold the type that is multiplied"),
    Order("convert-torch-to-linalg", "linalg-accumulate-products", "products are known as linalg.matmul"),
    Order("linalg-accumulate-products", "linalg-pack-matmul", "products are known as linalg.matmul"),
    Order("linalg-block-layouts", "linalg-hoist-constants", "packed weights are constant expressions"),
    Order("linalg-block-layouts", "linalg-winograd-conv2d", "it is written for blocked channels"),
    Order("linalg-winograd-conv2d", "linalg-hoist-constants", "transformed filters are constant expressions"),
    Order("linalg-winograd-conv2d", "linalg-decompose-named-ops", "it knows filters by the pack that lays them out"),
    Order("expand-winograd", "vectorize-structured", "its structured ops are to be vectorised"),
    Order("linalg-block-layouts", "linalg-winograd-pointwise", "it is written for blocked channels"),
    Order("linalg-winograd-pointwise", "linalg-hoist-constants", "prepared filters are constant expressions"),
    Order("linalg-winograd-pointwise", "linalg-decompose-named-ops", "it knows filters by the pack that lays them out"),
    Order("linalg-pack-matmul", "linalg-winograd-matmul", "it is written for packed panels"),
    Order("linalg-winograd-matmul", "linalg-hoist-constants", "prepared weights are constant expressions"),
    Order("linalg-winograd-matmul", "linalg-decompose-named-ops", "it knows weights by the pack that lays them out"),
    Order("linalg-pack-matmul", "linalg-split-matmul", "it is written for packed panels"),
    Order("linalg-block-layouts", "linalg-split-matmul", "it is written for blocked channels"),
    Order(
        "linalg-winograd-matmul", "linalg-split-matmul", "where pairs of terms gain, the matrix unit has less to give"
    ),
    Order("linalg-winograd-pointwise", "linalg-split-matmul", "what pairs of channels gain by is theirs"),
    Order("linalg-demote-convolution-inputs", "linalg-split-matmul", "what is rounded is one part"),
    Order("linalg-split-matmul", "linalg-hoist-constants", "prepared weights are constant expressions"),
    Order("linalg-split-matmul", "linalg-decompose-named-ops", "it knows weights by the pack that lays them out"),
    Order("expand-attention", "vectorize-structured", "its structured ops are to be vectorised"),
    Order("expand-winograd-matmul", "vectorize-structured", "its structured ops are to be vectorised"),
    Order("expand-split-matmul", "vectorize-structured", "its structured ops are to be vectorised"),
    Order("linalg-pack-matmul", "linalg-hoist-constants", "packed weights are constant expressions"),
    Order("linalg-block-layouts", "linalg-decompose-named-ops", "layouts are chosen by the names of convolutions"),
    Order("linalg-pack-matmul", "linalg-decompose-named-ops", "panels are made for matmuls known by name"),
    Order("linalg-hoist-constants", "linalg-decompose-named-ops", "packs of weights are run as named ops"),
    Order("linalg-hoist-constants", "linalg-fuse-elementwise", "constant arithmetic must not fuse into the model"),
    Order("linalg-decompose-named-ops", "linalg-fuse-elementwise", "only generics fuse"),
    Order("linalg-decompose-named-ops", "linalg-propagate-reshapes", "packs become transposing copies to fuse"),
    Order("linalg-propagate-reshapes", "linalg-fuse-elementwise", "a reshape in between keeps ops from fusing"),
    Order("linalg-propagate-reshapes", "linalg-fold-transposes", "reshapes hide a transpose from its contraction"),
    Order("linalg-fold-transposes", "linalg-fuse-elementwise", "a copy fused elsewhere can no longer be folded"),
    Order("linalg-fuse-elementwise", "linalg-form-kernels", "an epilogue is one elementwise op after its root"),
    Order("plan-memory", "share-kernels", "the casts it puts before calls would stand between buffers and their users"),
    Order("vectorize-structured", "linalg-to-loops", "scalar loops are for what could not be vectorised"),
    Order("vectorize-structured", "expand-math", "polynomials are built on whole vectors"),
    Order("linalg-to-loops", "expand-math", "scalar math ops are expanded too"),
    Order("expand-math", "scf-parallel-outline", "the cost of a loop is counted in the ops that it ends as"),
    Order("scf-parallel-outline", "scf-parallel-to-for", "loops on one thread are no longer known to be parallel"),
    Order("expand-math", "convert-to-llvm", "a math op left over becomes a call of the C library"),
)

LEVELS: tuple[Level, ...] = ("torch", "linalg", "kernels", "buffers", "loops", "llvm")


def checked_level(level: str) -> Level:
    """`level`; a UsageError with the near name where there is none such."""
    for known in LEVELS:
        if level == known:
            return known
    near = difflib.get_close_matches(str(level), LEVELS, n=1)
    raise UsageError(
        f"there is no level '{level}'",
        expected=f"one of: {', '.join(LEVELS)}",
        hint=f"did you mean '{near[0]}'?" if near else None,
    )


@dataclass(frozen=True)
class Pipeline:
    """The rows of a target: `module` on the whole module, `kernels` on each function on its own.

    A backend gives one (`Backend.pipeline`); another package's is usually the CPU's with passes put in:

        CPU_PIPELINE.insert("my-pass", after="linalg-fold-transposes")
    """

    module: tuple[Row, ...]
    kernels: tuple[Row, ...]

    def insert(
        self, name: str, *, before: str = "", after: str = "", options: dict[str, object] | None = None
    ) -> Pipeline:
        """This pipeline with the pass `name` beside the row of another, at the level of the IR there."""
        anchor = before or after
        if not anchor or (before and after):
            raise UsageError(f"where to put pass '{name}'", expected="either before= or after= with the name of a pass")
        for rows in (self.module, self.kernels):
            names = [row.pass_name for row in rows]
            if anchor in names:
                at = names.index(anchor) + bool(after)
                row = Row(name, rows[max(0, at - 1)].level, options or {})
                new = (*rows[:at], row, *rows[at:])
                return replace(self, module=new) if rows is self.module else replace(self, kernels=new)
        known = [row.pass_name for row in (*self.module, *self.kernels)]
        near = difflib.get_close_matches(anchor, known, n=1)
        raise UsageError(
            f"the pipeline has no pass '{anchor}' to put '{name}' beside",
            expected=f"one of: {', '.join(known)}",
            hint=f"did you mean '{near[0]}'?" if near else None,
        )

    def at_precision(self, precision: str) -> Pipeline:
        """This pipeline with the rows that lower the precision of float32 models, where there are any."""
        rows = PRECISION_ROWS[precision]
        if not rows:
            return self
        at = [i for i, row in enumerate(self.module) if row.pass_name == "linalg-block-layouts"]
        if not at:
            raise UsageError(
                f"precision '{precision}' is not available for this target",
                expected="a pipeline with the pass linalg-block-layouts, before which numbers are rounded",
                hint="precision='float32'",
            )
        before, layouts, after = self.module[: at[0]], self.module[at[0]], self.module[at[0] + 1 :]
        return replace(self, module=(*before, *rows, layouts, *LAID_OUT_ROWS.get(precision, ()), *after))

    def kernel_rows(self, *, bounds: bool = False) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The rows of a kernel up to the loops level and after it; with `bounds`, accesses are checked in between."""
        loops = tuple(row for row in self.kernels if row.level == "loops")
        rest = tuple(row for row in self.kernels if row.level != "loops")
        if bounds:  # a check that fails ends the kernel: its loops stay in it
            loops = (*(row for row in loops if row.pass_name != "scf-parallel-outline"), CHECK_BOUNDS)
        return loops, rest

    def until(self, level: Level, *, bounds: bool = False) -> tuple[Row, ...]:
        """The rows that bring a captured module to `level`."""
        limit = LEVELS.index(level)
        loops, rest = self.kernel_rows(bounds=bounds)
        return tuple(row for row in (*self.module, *loops, *rest) if LEVELS.index(row.level) <= limit)


CPU_PIPELINE = Pipeline(MODULE_ROWS, KERNEL_ROWS)
