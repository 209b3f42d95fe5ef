"""What a pass that lowers the precision left alone in a function, told as one remark where it changed nothing there.

missed: func.func: nothing is quantised (26 linalg.conv_2d_nchw_fchw: only plain products are)
"""

from __future__ import annotations

from collections import Counter

from xdsl.ir import Block, Operation

from mlc.ir.context import MlcContext


class Tally:
    """Of one function. `changed`: how many ops are of lower precision now."""

    def __init__(self, ctx: MlcContext, pass_name: str, message: str) -> None:
        self.ctx, self.pass_name, self.message = ctx, pass_name, message
        self.changed = 0
        self._kept: Counter[tuple[str, str]] = Counter()

    def keep(self, op: Operation, reason: str, what: str = "") -> None:
        """`op` stays as it is; `message` and the reason are a remark. `what`: what such ops are called."""
        self.ctx.remarks.missed(self.pass_name, op, self.message, reason=reason)
        self._kept[what or op.name, reason] += 1

    def tell(self, entry: Block, nothing: str, none: str = "") -> None:
        """Where nothing changed, why; `none`: the reason where there was nothing to look at, if that is to be told."""
        function = entry.parent_op()
        reasons = "; ".join(f"{n} {what}: {reason}" for (what, reason), n in self._kept.items()) or none
        if not self.changed and function is not None and reasons:
            self.ctx.remarks.missed(self.pass_name, function, nothing, reason=reasons)
