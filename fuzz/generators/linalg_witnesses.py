"""Witnesses: program pieces on which a rule of a pass must fire, and near misses on which it must not.

Half of the programs of a pass's profile embed some of its witnesses (`WITNESSES`, by pass). The tape picks sizes,
operands and which of the conditions a near miss breaks. What the rest of the program does stays random.
"""

from __future__ import annotations

from fuzz.generators.linalg_fusion_witnesses import FusionWitnesses
from fuzz.generators.linalg_layout_witnesses import LayoutWitnesses
from fuzz.generators.recurrence_witnesses import RecurrenceWitnesses
from fuzz.tape import Generator, Tape
from mlc.testing.program import Program


class WitnessGenerator(LayoutWitnesses, FusionWitnesses, RecurrenceWitnesses):
    """A random program with witnesses of any pass among its steps."""


BLOCKED = (
    *("blocked_elementwise", "blocked_reduction", "blocked_reduction", "blocked_pad", "blocked_concat"),
    *("blocked_concat", "blocked_slice", "blocked_slice", "blocked_depthwise"),
)
WITNESSES: dict[str, tuple[str, ...]] = {
    "linalg-pack-matmul": (
        *("transposed_weight", "tied_weight", "transposed_weight", "biased_product", "tied_weight", "weight_both_ways"),
        *("tied_weight", "product_of_weights", "tied_weight"),
    ),
    "linalg-fold-arith-extension": (
        *("computed_product", "transposed_weight", "computed_product", "biased_product", "computed_product"),
    ),
    "linalg-accumulate-products": ("added_products",),
    "linalg-block-layouts": BLOCKED,
    "linalg-decompose-named-ops": ("pack", "broadcast", "reduce", "reshape"),
    "linalg-hoist-constants": ("same_constant_twice",),
    "linalg-propagate-reshapes": ("there_and_back", "op_behind_collapse", "op_behind_expand"),
    "linalg-fold-transposes": ("transposed_operand", "heads", "transposed_result", "transposed_result"),
    "linalg-fuse-elementwise": ("cheap_with_readers", "cheap_with_readers", "summed"),
    "linalg-form-kernels": (
        *("splat", "elements", "scalar_loop", "scalar_loop", "continued_product", "recurrence", "recurrence"),
    ),
}
"""By the pass whose rules they exercise."""


def witnessed(pass_name: str, steps: dict[str, int]) -> Generator:
    """Programs of `steps`, half of them with witnesses of the pass."""

    def generate(tape: Tape) -> Program:
        return WitnessGenerator(tape, steps, WITNESSES[pass_name]).program()

    return generate
