"""A loop that keeps a matrix unit as busy as it can be, as LLVM IR: what the limit of its products is measured with."""

from __future__ import annotations

from mlc.dialects.llvm.intrinsics import TILE_LOAD, TILE_STORE

SUMS = 4  # registers, enough for each product to find its sums of the step before ready
PRODUCTS = 16 * 16 * 16  # of groups of terms, in one instruction


def tile_loop(intrinsic: str) -> str:
    """`float fma_loop(i64 trips, float x)`: `trips` times `SUMS` products by `intrinsic`, of two tiles (an instruction
    takes three different registers)."""
    numbers = range(SUMS)
    whole = "i16 16, i16 64"
    return "\n".join(
        [
            f"declare x86_amx @{TILE_LOAD}(i16, i16, ptr, i64)",
            f"declare void @{TILE_STORE}(i16, i16, ptr, i64, x86_amx)",
            f"declare x86_amx @{intrinsic}(i16, i16, i16, x86_amx, x86_amx, x86_amx)",
            "define float @fma_loop(i64 %trips, float %value) {",
            "entry:",
            "  %memory = alloca [1024 x i8], align 64",
            "  store [1024 x i8] zeroinitializer, ptr %memory",
            f"  %x = call x86_amx @{TILE_LOAD}({whole}, ptr %memory, i64 64)",
            f"  %y = call x86_amx @{TILE_LOAD}({whole}, ptr %memory, i64 64)",
            *(f"  %z{k} = call x86_amx @{TILE_LOAD}({whole}, ptr %memory, i64 64)" for k in numbers),
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *(f"  %a{k} = phi x86_amx [ %z{k}, %entry ], [ %b{k}, %loop ]" for k in numbers),
            *(
                f"  %b{k} = call x86_amx @{intrinsic}(i16 16, i16 64, i16 64, x86_amx %a{k}, x86_amx %x, x86_amx %y)"
                for k in numbers
            ),
            "  %next = add i64 %i, 1",
            "  %more = icmp ult i64 %next, %trips",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *(f"  call void @{TILE_STORE}({whole}, ptr %memory, i64 64, x86_amx %b{k})" for k in numbers),
            "  %f = load float, ptr %memory",
            "  ret float %f",
            "}",
        ]
    )
