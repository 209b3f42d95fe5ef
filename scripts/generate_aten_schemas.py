"""Write the op schemas of the installed PyTorch to mlc/dialects/aten_schemas.txt.

    python scripts/generate_aten_schemas.py

One schema a line, sorted by name, as PyTorch prints it:

    aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor

The torch dialect makes its op classes from this file, so mlc itself never imports torch for them. Run it again when
the pinned torch version changes. Left out are schemas without fixed arguments or results (`...`) and those of ops
that the dialect writes by hand.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed::

NAMESPACES = ("aten", "prim", "prims", "quantized_decomposed")

HAND_WRITTEN = ("prim::TupleIndex", "prim::Uninitialized", "prim::unchecked_cast")

# torchvision's C++ ops are not in every wheel; their schemas are fixed by torchvision's public interface.
TORCHVISION = (
    "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    "torchvision::roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
    "torchvision::deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, "
    "SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor",
)


def schema_lines() -> list[str]:
    """All schemas of `NAMESPACES` and torchvision, sorted and without repeats."""
    registered = (str(schema) for schema in torch._C._jit_get_all_schemas())
    lines = {
        line
        for line in registered
        if line.split("::")[0] in NAMESPACES and "..." not in line and line.split("(")[0] not in HAND_WRITTEN
    }
    return sorted({*lines, *TORCHVISION})


def main() -> None:
    """Write the file and say what is in it."""
    target = Path(__file__).parent.parent / "mlc" / "dialects" / "aten_schemas.txt"
    lines = schema_lines()
    target.write_text("".join(f"{line}\n" for line in (f"# PyTorch {torch.__version__}", *lines)))
    print(f"{target.name}: {len(lines)} schemas, {sum(line.startswith('aten::') for line in lines)} of them aten")


if __name__ == "__main__":
    main()
