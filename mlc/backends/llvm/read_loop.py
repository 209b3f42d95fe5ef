"""LLVM IR of a loop that reads memory in order and adds it up, as fast as a core can.

i32 read_loop(ptr data, i64 trips)       a trip reads `READS` vectors of `lanes` numbers
"""

from __future__ import annotations

READS = 8


def read_loop(lanes: int) -> str:
    """The module as text. The sum is returned, so that nothing is left out."""
    vector, numbers = f"<{lanes} x i32>", range(READS)
    phis = [f"  %a{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in numbers]
    steps = [
        line
        for k in numbers
        for line in (
            f"  %p{k} = getelementptr {vector}, ptr %row, i64 {k}",
            f"  %v{k} = load {vector}, ptr %p{k}, align 4",
            f"  %b{k} = add {vector} %a{k}, %v{k}",
        )
    ]
    sums = [f"  %s{k} = add {vector} {f'%s{k - 1}' if k else 'zeroinitializer'}, %b{k}" for k in numbers]
    return "\n".join(
        [
            "define i32 @read_loop(ptr %data, i64 %trips) {",
            "entry:",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *phis,
            f"  %row = getelementptr [{READS} x {vector}], ptr %data, i64 %i",
            *steps,
            "  %next = add i64 %i, 1",
            "  %more = icmp ult i64 %next, %trips",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *sums,
            f"  %r = call i32 @llvm.vector.reduce.add({vector} %s{READS - 1})",
            "  ret i32 %r",
            "}",
            f"declare i32 @llvm.vector.reduce.add({vector})",
        ]
    )
