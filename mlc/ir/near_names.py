"""For a name that nothing is registered under: the one that is spelt almost so.

torch.aten.convolutoin      did you mean torch.aten.convolution?
arit.addf                   did you mean arith.addf?
!torch.vtensr               did you mean !torch.vtensor?
tensr<4xf32>                did you mean tensor?
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from xdsl.ir import Dialect

from mlc.ir.context import MlcContext, environment

_TYPES = (
    *("tensor", "memref", "vector", "index", "none", "complex", "tuple"),
    *("f16", "bf16", "f32", "f64", "i1", "i8", "i16", "i32", "i64"),
)
_NONE = "mlc-opt --show-dialects lists the dialects"


def near_name(message: str, text: str, position: int, ctx: MlcContext) -> str | None:
    """What to say to a parser's `message` about the `text` at `position`; None where it is not about a name."""
    if (m := re.search(r"Operation ([\w.$-]+) is not registered", message)) is not None:
        names = near_op(m.group(1), ctx)
    elif (m := re.search(r"^'([\w.$-]+)' is not registered", message)) is not None:
        mark = text.rfind(m.group(1), 0, position + len(m.group(1)))
        sign = text[mark - 1 : mark] if mark > 0 and text[mark - 1] in "!#" else ""
        names = [f"{sign}{name}" for name in _in_dialects(m.group(1), ctx, _attribute_names)]
    elif message == "type expected" and (word := re.compile(r"[A-Za-z]\w*").match(text, position)) is not None:
        names = _near(word.group(), _TYPES)
        return _question(names) if names else None
    else:
        return None
    if (left_out := environment().hint) is not None:
        return left_out
    return _question(names) if names else _NONE


def near_op(name: str, ctx: MlcContext) -> list[str]:
    """Ops that `name` may be meant for; those of func and builtin can be written without their dialect."""
    if "." in name:
        return _in_dialects(name, ctx, _op_names)
    whole = [op for dialect in ("func", "builtin") for op in _op_names(ctx.get_dialect(dialect))]
    short = {op.partition(".")[2]: op for op in whole}
    return [short[name]] if name in short else _near(name, short)  # short names hold inside of func.func alone


def _question(names: list[str]) -> str:
    return f"did you mean {' or '.join(names)}?"


def _near(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, sorted(names), n=2)


def _op_names(dialect: Dialect) -> Iterable[str]:
    """All names of a dialect; one that makes its ops on demand has `op_names`."""
    every = getattr(dialect, "op_names", None)
    return every() if every is not None else [op.name for op in dialect.operations]


def _attribute_names(dialect: Dialect) -> Iterable[str]:
    return [attribute.name for attribute in dialect.attributes]


def _in_dialects(name: str, ctx: MlcContext, names_of: Callable[[Dialect], Iterable[str]]) -> list[str]:
    """The same name in a dialect spelt almost so, else names spelt almost so in this or that dialect."""
    known, _, rest = name.partition(".")
    if known not in ctx.registered_dialect_names:
        similar = _near(known, ctx.registered_dialect_names)
        for dialect in similar:
            if f"{dialect}.{rest}" in names_of(ctx.get_dialect(dialect)):
                return [f"{dialect}.{rest}"]
        if not similar:
            return []
        known = similar[0]
    return [f"{known}.{near}" for near in _near(rest, (n.partition(".")[2] for n in names_of(ctx.get_dialect(known))))]
