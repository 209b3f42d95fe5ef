"""Write the ops that capture takes apart to mlc/frontends/torch/composite_ops.txt.

    python scripts/generate_composite_ops.py

One name a line, sorted: the functional ops that PyTorch can define by others and that have no lowering of their own.
Run it again when an op got a lowering (it then stays whole) or when the pinned torch version changes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch._decomp import decomposition_table

from mlc.frontends.torch.emit import op_name
from mlc.frontends.torch.normalise import NORMALISERS
from mlc.lowering.torch.to_linalg.all_lowerings import LOWERINGS
from mlc.lowering.torch.to_linalg.complex_numbers import COMPLEX_LOWERINGS

NAMESPACES = ("aten", "prims")
ABOUT_LAYOUT = ("sparse", "mkldnn", "cudnn", "miopen", "cufft", "fbgemm", "quantize", "vulkan", "to_dense", "_test_")

# PyTorch's definitions of these give other numbers or shapes than its kernels.
UNFAITHFUL = ("multilabel_margin_loss", "multi_margin_loss")
SKIPPED = (*ABOUT_LAYOUT, *UNFAITHFUL)


def overloads() -> list[torch._ops.OpOverload]:
    """All overloads of `NAMESPACES` that Python can call."""
    found: list[torch._ops.OpOverload] = []
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = name.partition("::")
        packet, _, overload = rest.partition(".")
        if namespace in NAMESPACES:
            known = getattr(getattr(torch.ops, namespace), packet, None)
            op = getattr(known, overload or "default", None)
            if isinstance(op, torch._ops.OpOverload):
                found.append(op)
    return found


def is_composite(op: torch._ops.OpOverload) -> bool:
    """Whether PyTorch says what the op is made of, and that is a function of dense tensors."""
    if op._schema.is_mutable or torch.Tag.nondeterministic_seeded in op.tags:
        return False
    if not any("Tensor" in str(r.type) for r in op._schema.returns) or any(w in op_name(op) for w in SKIPPED):
        return False
    return op._can_decompose() or op in decomposition_table


def names() -> list[str]:
    """The lines of the file."""
    whole = {name.removeprefix("torch.") for name in (*LOWERINGS, *COMPLEX_LOWERINGS)} | set(NORMALISERS)
    return sorted({op_name(op) for op in overloads() if is_composite(op)} - whole)


def main() -> None:
    """Write the file and say what is in it."""
    target = Path(__file__).parent.parent / "mlc" / "frontends" / "torch" / "composite_ops.txt"
    lines = names()
    target.write_text("".join(f"{line}\n" for line in lines))
    print(f"{target.name}: {len(lines)} ops")


if __name__ == "__main__":
    main()
